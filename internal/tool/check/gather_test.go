package check_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/check"
)

// answers is a backend that says what it is told; what it is not asked for is 404.
func answers(t *testing.T, paths map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, found := paths[r.URL.Path+"?"+r.URL.Query().Get("column")+","+r.URL.Query().Get("fn")]
		if !found {
			body, found = paths[r.URL.Path]
		}
		switch {
		case r.Header.Get("Authorization") != "Bearer token" && r.URL.Path != "/api/v1/health":
			w.WriteHeader(http.StatusUnauthorized)
		case !found:
			w.WriteHeader(http.StatusNotFound)
		case body == "503":
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"detail":"the store is not ready yet"}`)
		default:
			fmt.Fprint(w, body)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func gather(t *testing.T, url string, change func(*check.Options)) *check.Facts {
	t.Helper()
	opt := check.Options{URL: url, Token: "token", Window: 15 * time.Minute, Requests: 10, Inventory: true}
	if change != nil {
		change(&opt)
	}
	f, err := check.Gather(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// at 12:00; a minute's buckets of the last five and a part of the sixth.
var whole = map[string]string{
	"/api/v1/health":      `{"status":"ok","version":"1","components":{"ui":{"status":"ok"}}}`,
	"/api/v1/session":     `{"now":1764072000.5}`,
	"/api/v1/startup":     `{"steps":[]}`,
	"/api/v1/ledger":      `{"planned":10,"stored":8,"failed":1,"pending":1,"reasons":[{"outcome":"failed","reason":"connect","ticks":1}]}`,
	"/api/v1/ledger/grid": `{"rows":[{"instance":"7","database":"","family":"collector","counts":{"planned":5,"stored":4,"pending":1}},{"instance":"7","database":"","family":"statements","counts":{"planned":5,"stored":5}}]}`,
	"/api/v1/collectors": `{"items":[{"id":"aa","name":"north","interval":10,"last_push":1764071999,"counts":{"planned":10,"stored":8,"failed":1,"pending":1},
		"cycle_trend":[null,0.5,0.25],"pool_open":2,"pool_max":10,"instances":[{"id":"7","cost_percent":0.5}]},{"id":"bb","name":"old","interval":10,"instances":[]}]}`,
	"/api/v1/instances": `{"items":[{"id":"7","name":"db7","status":"up","collector_id":"aa"}]}`,
	"/api/v1/instances/7": `{"families":[{"family":"wal","database":"","every":10,"planned":true,"absent":["wal_write"]},{"family":"tables","database":"d","every":10,"planned":false,"reason":"no_connect"},
		{"family":"unheard_of","database":"","every":10,"planned":true}]}`,
	"/api/v1/instances/7/statements":             `{"seconds":100,"total":{"calls":50,"total_exec_time":20.5},"cut":{"calls":10,"total_exec_time":0.5},"dropped":{"calls":5,"total_exec_time":0}}`,
	"/api/v1/instances/7/series":                 `{"series":[]}`,
	"/api/v1/instances/7/series?cpu_time,delta":  `{"series":[{"points":[[1764071640,null],[1764071700,600.000],[1764071760,null],[1764071820,1200.5]]}]}`,
	"/api/v1/instances/7/series?cpu_time,rate":   `{"series":[{"points":[[1764071640,10],[1764071700,10],[1764071760,10],[1764071820,20]]}]}`,
	"/api/v1/instances/7/series?memory_peak,max": `{"series":[{"points":[[1764071700,1048576],[1764071760,null],[1764071820,3145728]]}]}`,
	"/api/v1/instances/7/series?acquires,delta":  `{"series":[{"points":[[1764071700,30],[1764071760,null],[1764071820,12]]}]}`,
	"/api/v1/instances/7/series?rounds,delta":    `{"series":[{"points":[[1764071700,40]]}]}`,
	"/api/v1/instances/7/series?xact_commit,":    `{"series":[]}`,
	"/metrics": "# HELP x y\nprocess_start_time_seconds 1.764068400e+09\nprocess_cpu_seconds_total 36\npganalytics_http_requests_total{route=\"GET /api/v1/instances/{id}\",status=\"200\"} 90\npganalytics_http_requests_total{route=\"POST /api/v1/metrics/push\",status=\"401\"} 3\npganalytics_http_requests_total{route=\"GET /api/v1/instances\",status=\"400\"} 5\npganalytics_http_requests_total{route=\"a \\\"b\\\" \\\\ c\",status=\"503\"} 2\npganalytics_ingest_batches_total{reason=\"clock\",verdict=\"refused\"} 4\npganalytics_ingest_batches_total{reason=\"\",verdict=\"stored\"} 400\nbroken{\nbroken2{a=\"b} 1\n",
}

func TestGather(t *testing.T) {
	f := gather(t, answers(t, whole).URL, nil)
	if len(f.Unread) > 0 || len(f.Refused) > 0 {
		t.Fatalf("unread %q, refused %q", f.Unread, f.Refused)
	}
	if f.Now.UnixMicro() != 1764072000_500000 || f.To != f.Now || f.To.Sub(f.From) != 15*time.Minute || f.Version != "1" || f.OneProcess {
		t.Errorf("window %s to %s at %s, version %s", f.From, f.To, f.Now, f.Version)
	}
	if len(f.Collectors) != 1 || len(f.Instances) != 1 || !slices.Equal(f.Retired, []string{"old"}) {
		t.Fatalf("%d collectors, %d instances, retired %q", len(f.Collectors), len(f.Instances), f.Retired)
	}
	c, in := &f.Collectors[0], &f.Instances[0]
	// 600 ms at 10 ms/s and 1200.5 ms at 20 ms/s; a bucket that another's frame fills counts once.
	if c.CPU == nil || !near(c.CPU.Num, 1800.5) || !near(c.CPU.Den, 120_025) || *c.Cycle != 0.5 || *c.Memory != 3<<20 || c.Interval != 10*time.Second || c.Instances != 1 {
		t.Errorf("collector %+v", c)
	}
	if c.Held != nil {
		t.Errorf("held %v: four minutes were observed", *c.Held)
	}
	if in.Name != "db7" || in.Status != "up" || *in.Cost != 0.5 || in.Work.Acquires != 42 || in.Work.Rounds != 40 || in.Calls.Total != 50 || in.Calls.Stored != 35 || in.Calls.StoredTime != 20 {
		t.Errorf("instance %+v, work %+v, calls %+v", in, in.Work, in.Calls)
	}
	if *c.Work != *in.Work || c.Calls.Stored != 35 {
		t.Errorf("the collector's sums %+v %+v", c.Work, c.Calls)
	}
	if len(in.Families) != 1 || in.Families[0].Family != "wal" || !slices.Contains(in.Families[0].Columns, "wal_bytes") || slices.Contains(in.Families[0].Columns, "wal_write") {
		t.Errorf("families %+v", in.Families)
	}
	if b := f.Backend; b.Requests != 100 || b.Failed != 5 || b.Refused != 4 || b.CPU != 36 || b.Start != 1764068400 {
		t.Errorf("backend %+v", b)
	}
	if len(f.Requests) != 10 || len(f.Charts) != 10 || f.Ledger.Due() != 9 {
		t.Errorf("%d requests, %d charts, ledger %+v", len(f.Requests), len(f.Charts), f.Ledger)
	}
}

// TestGatherHeld: five whole minutes without a gap, and the highest that was held.
func TestGatherHeld(t *testing.T) {
	points := func(rates ...string) string {
		var out []string
		for i, r := range rates {
			out = append(out, fmt.Sprintf("[%d,%s]", 1764071100+60*i+60, r)) // the window begins at 11:45:00.5
		}
		return `{"series":[{"points":[` + strings.Join(out, ",") + `]}]}`
	}
	for _, c := range []struct {
		name, answer string
		want         float64
	}{
		{"five", points("100", "200", "150", "100", "120"), 10},
		{"the best five of seven", points("0", "300", "300", "310", "300", "350", "10"), 30},
		{"a gap begins anew", points("900", "900", "900", "null", "900", "50", "50", "50", "50"), 5},
		{"four", points("100", "200", "150", "100"), -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			paths := maps.Clone(whole)
			paths["/api/v1/instances/7/series?cpu_time,rate"] = c.answer
			got := gather(t, answers(t, paths).URL, nil).Collectors[0].Held
			if got == nil && c.want >= 0 || got != nil && !near(*got, c.want) {
				t.Errorf("held %v, want %v", deref(got), c.want)
			}
		})
	}
}

// TestGatherBroken: a backend that does not tell everything is judged by what is
// left, and each hole is named.
func TestGatherBroken(t *testing.T) {
	for _, path := range []string{"/api/v1/session", "/api/v1/startup", "/api/v1/ledger", "/api/v1/ledger/grid", "/api/v1/collectors", "/api/v1/instances", "/api/v1/instances/7/statements", "/api/v1/instances/7", "/metrics"} {
		for _, body := range []string{"503", "", "[1]"} {
			t.Run(path+" "+body, func(t *testing.T) {
				paths := maps.Clone(whole)
				paths[path] = body
				f := gather(t, answers(t, paths).URL, nil)
				if len(f.Unread) == 0 {
					t.Error("nobody is told")
				}
				r := check.Evaluate(f, nil)
				bad := map[string]string{"/api/v1/ledger": "starts", "/api/v1/collectors": "cpu", "/api/v1/instances": "services", "/api/v1/ledger/grid": "cpu", "/metrics": "starts"}[path]
				if bad != "" && !slices.Contains(r.Failed, bad) {
					t.Errorf("%s passed: %s", bad, row(t, r, bad).Measured)
				}
			})
		}
	}
	t.Run("no backend", func(t *testing.T) {
		s := answers(t, whole)
		s.Close()
		r := check.Evaluate(gather(t, s.URL, nil), nil)
		if r.Passed || row(t, r, "services").Verdict != check.Fail || len(r.Unread) == 0 {
			t.Errorf("passed %v, unread %q", r.Passed, r.Unread)
		}
	})
	t.Run("another program", func(t *testing.T) {
		s := answers(t, map[string]string{"/api/v1/health": "<html>"})
		if r := check.Evaluate(gather(t, s.URL, nil), nil); r.Passed || !strings.Contains(strings.Join(r.Unread, ""), "not an answer of pgAnalytics") {
			t.Errorf("passed %v, unread %q", r.Passed, r.Unread)
		}
	})
	t.Run("wrong token", func(t *testing.T) {
		_, err := check.Gather(t.Context(), check.Options{URL: answers(t, whole).URL, Token: "other", Window: time.Minute, Requests: 10})
		if !errors.Is(err, check.ErrUnauthorized) {
			t.Errorf("%v, want ErrUnauthorized", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := check.Gather(ctx, check.Options{URL: answers(t, whole).URL, Token: "token", Window: time.Minute, Requests: 10}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
	})
	t.Run("another service", func(t *testing.T) {
		s := answers(t, whole)
		f := gather(t, s.URL, func(o *check.Options) {
			o.Services = []check.Service{{Name: "well", URL: s.URL + "/api/v1/health"}, {Name: "ill", URL: s.URL + "/none"}}
		})
		if f.Services[0].Problem != "" || !strings.Contains(f.Services[1].Problem, "401") {
			t.Errorf("%+v", f.Services)
		}
	})
}

func TestScanLog(t *testing.T) {
	text := "level=INFO msg=cycle duration=3ms\nlevel=ERROR msg=x\n" + strings.Repeat("a", 100_000) + " Error \xff\nlast line without an end"
	l, err := check.ScanLog("x.log", strings.NewReader(text))
	if err != nil || l.Lines != 4 || l.Errors != 2 || l.First != "level=ERROR msg=x" {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	r := saved()
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := check.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != len(r.Rows) || len(got.Families) != 6 || *got.Backend != *r.Backend || row(t, check.Evaluate(healthy(), got), "regressions").Verdict != check.Pass {
		t.Errorf("loaded %+v", got)
	}
	for text, want := range map[string]string{"": "not a report", "[]": "not a report", `{"format":2,"families":[{}]}`: "format 2", `{"format":1}`: "no families"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := check.Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := check.Load(path + "x"); err == nil {
		t.Error("a file that is not there was loaded")
	}
}
