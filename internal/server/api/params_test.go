package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Every malformed parameter of every route is a 400 that names it and, as far as it
// can be, repeats its value.
func TestBadParameters(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	at := "/api/v1/instances/" + a.ids[db1]
	windows := []string{"/api/v1/instances", at, at + "/statements", at + "/statements/1", at + "/series?family=wal&column=wal_bytes", "/api/v1/events", "/api/v1/ledger", "/api/v1/ledger/grid", "/api/v1/collectors"}
	limits := []string{at + "/statements", "/api/v1/events", "/api/v1/ledger"}
	instances := []string{"/api/v1/events", "/api/v1/ledger", "/api/v1/ledger/grid"}
	type bad struct{ path, query, parameter string }
	var cases []bad
	each := func(paths []string, parameter string, queries ...string) {
		for _, p := range paths {
			for _, q := range queries {
				cases = append(cases, bad{p, q, parameter})
			}
		}
	}
	each(windows, "from", "from=yesterday", "from=", "from=2026-11-24", "from=2026-11-24T10:00:00", "from=2026-13-24T10:00:00Z", "from=2026-11-24T10:00:00+01:00", "from=-1", "from=1e9", "from=0x10",
		"from=NaN", "from=Infinity", "from=99999999999999999999", "from=1.", "from=.5", "from=1.0000000001", "from=300&to=300", "from=301&to=300", "from=9999-12-31T23:59:59Z", "from=1&from=2", "from=%00")
	each(windows, "to", "to=now", "to=0001-01-01T00:00:00Z", "to=253402300801", "to=1&to=1", "to=%ff")
	each(windows, "form", "form=1")
	each(windows, "token", "token=x")
	each(windows, "query", "%zz=1", "a;b=1")
	each(limits, "limit", "limit=0", "limit=-1", "limit=10001", "limit=ten", "limit=1.5", "limit=", "limit=1&limit=1", "limit=99999999999999999999", "limit=+5")
	each(instances, "instance", "instance=0", "instance=-1", "instance=db1", "instance=", "instance=01", "instance=999", "instance=99999999999999999999")
	each([]string{"/api/v1/ledger"}, "family", "family=nothing", "family=", "family=WAL")
	each([]string{"/api/v1/ledger/grid"}, "step", "step=0", "step=-5", "step=x", "step=1.5", "step=", "step=1&from=1&to=100000000", "step=1")
	each([]string{at + "/statements"}, "sort", "sort=nothing", "sort=", "sort=queryid", "sort=stats_since", "sort=calls%3Bdrop", "sort=Calls", "sort=mean_exec_time")
	each([]string{at + "/statements"}, "trend", "trend=-1", "trend=121", "trend=x", "trend=")
	each([]string{at + "/statements"}, "text", "text="+strings.Repeat("x", 1001), "text=")
	each([]string{at + "/statements"}, "database", "database=a&database=b", "database=%00", "database=")
	each([]string{at + "/statements"}, "user", "user="+strings.Repeat("x", 1001), "user=")
	series := []string{at + "/series"}
	each(series, "family", "", "family=", "family=nothing&column=x", "family=settings&column=setting", "family=statement_texts&column=query", "family=roles&column=rolname")
	each(series, "column", "family=wal", "family=wal&column=", "family=wal&column=nothing", "family=wal&column=stats_reset", "family=tables&column=last_vacuum", "family=database&column=datname", "family=database&column=datid")
	each(series, "fn", "family=wal&column=wal_bytes&fn=sum", "family=wal&column=wal_bytes&fn=", "family=wal&column=wal_bytes&fn=avg", "family=wal&column=wal_bytes&fn=max",
		"family=activity&column=sessions&fn=rate", "family=activity&column=sessions&fn=delta")
	each(series, "by", "family=activity&column=sessions&by=pid", "family=activity&column=sessions&by=sessions", "family=activity&column=sessions&by=", "family=wal&column=wal_bytes&by=wal_fpi")
	each(series, "step", "family=wal&column=wal_bytes&step=0", "family=wal&column=wal_bytes&step=x", "family=wal&column=wal_bytes&step=-60", "family=wal&column=wal_bytes&step=0.5",
		"family=wal&column=wal_bytes&step=1&from=1&to=100000000", "family=wal&column=wal_bytes&step=99999999999")
	each(series, "state", "family=wal&column=wal_bytes&state=active", "family=activity&column=sessions&state=a&state=b")
	each(series, "sessions", "family=activity&column=sessions&sessions=5")
	each(series, "queryid", "family=statements&column=calls&queryid=abc", "family=statements&column=calls&queryid=99999999999999999999")
	each(series, "toplevel", "family=statements&column=calls&toplevel=yes")
	each([]string{"/api/v1/instances/db1", "/api/v1/instances/0", "/api/v1/instances/-1/statements", "/api/v1/instances/1.5/series", "/api/v1/instances/01/statements/1"}, "id", "family=wal&column=wal_bytes")
	each([]string{at + "/statements/abc", at + "/statements/1.5", at + "/statements/99999999999999999999", at + "/statements/+1"}, "query_id", "")
	for _, c := range cases {
		path := c.path
		switch {
		case c.query == "":
		case strings.Contains(path, "?"):
			path += "&" + c.query
		case c.parameter == "id" && !strings.HasSuffix(path, "/series"):
		default:
			path += "?" + c.query
		}
		w := b.send("GET", path, b.api.Reveal(), nil)
		if w.Code != 400 || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
			continue
		}
		conforms(t, "GET", path, w)
		v := object(t, w)
		if v["parameter"] != c.parameter || !strings.Contains(fmt.Sprint(v["detail"]), c.parameter) {
			t.Errorf("%s: names %v (%v), want %s", path, v["parameter"], v["detail"], c.parameter)
		}
		if q, err := url.ParseQuery(c.query); err == nil && len(q[c.parameter]) == 1 && len(q.Get(c.parameter)) < 50 && !strings.ContainsAny(q.Get(c.parameter), "\xff\x00") && v["value"] != q.Get(c.parameter) {
			t.Errorf("%s: repeats %q", path, v["value"])
		}
	}
	if log := b.log.String(); strings.Contains(log, "request failed") {
		t.Errorf("a bad parameter is no failure of ours: %s", log)
	}
}

// Times may be given as they are answered, and in RFC 3339.
func TestWindows(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	at := "/api/v1/instances/" + a.ids[db1] + "/statements?"
	for query, want := range map[string]string{
		"from=1760000000&to=1760003600":                            "1760000000 1760003600",
		"from=1760000000.25&to=1760000000.250001":                  "1760000000.25 1760000000.250001",
		"from=2025-10-09T08:53:20Z&to=2025-10-09T11:53:20%2B02:00": "1760000000 1760003600",
		"from=2025-10-09T08:53:20.5Z&to=1760003600":                "1760000000.5 1760003600",
		"to=1760003600":          "1760000000 1760003600",
		"from=0&to=253402300799": "0 253402300799",
		"from=" + fmt.Sprint(time.Now().Add(time.Hour).Unix()) + "&to=4e9x": "",
	} {
		if want == "" {
			b.get(at+query, 400)
			continue
		}
		v := b.get(at+query, 200)
		if got := fmt.Sprint(v["from"], " ", v["to"]); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	now := float64(time.Now().Unix())
	v := b.get(at, 200)
	from, _ := v["from"].(interface{ Float64() (float64, error) }).Float64()
	to, _ := v["to"].(interface{ Float64() (float64, error) }).Float64()
	if to-from != 3600 || to < now-1 || to > now+60 {
		t.Errorf("the default window is %v to %v", from, to)
	}
	// A window in the future is empty, not an error.
	future := time.Now().Add(24 * time.Hour).Unix()
	b.get(at+fmt.Sprintf("from=%d&to=%d", future, future+60), 200)
	b.get(fmt.Sprintf("/api/v1/instances?from=%d&to=%d", future, future+60), 200)
	b.get(fmt.Sprintf("/api/v1/ledger?from=%d&to=%d", future, future+60), 200)
	b.get(fmt.Sprintf("/api/v1/instances/%s/series?family=wal&column=wal_bytes&from=%d&to=%d", a.ids[db1], future, future+60), 200)
}
