package main

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

type counts struct{ Planned, Stored, Failed, Skipped, Dropped, Pending, Missing int64 }

func (c *counts) list() [7]int64 {
	return [7]int64{c.Planned, c.Stored, c.Failed, c.Skipped, c.Dropped, c.Pending, c.Missing}
}

// checkLedger holds ledger_account and ledger_status against the API.
func checkLedger(t *testing.T, b *bed, conn *pgx.Conn, w *workload) {
	windows := [][2]time.Time{{w.from(), w.to()}, {w.start.Add(7 * time.Minute), w.start.Add(12*time.Minute + 500*time.Millisecond)}, {w.start.Add(-time.Hour), time.Now().Add(-time.Second)}}
	for i, window := range windows {
		from, to := window[0].UTC().Format(time.RFC3339Nano), window[1].UTC().Format(time.RFC3339Nano)
		for _, family := range []string{"", "tables", "activity", "wal", "statements"} {
			v := url.Values{"from": {from}, "to": {to}}
			if family != "" {
				v.Set("family", family)
			}
			var want counts
			b.get("/api/v1/ledger?"+v.Encode(), &want)
			sources := map[string]string{"ledger_account": fmt.Sprintf("ledger_account('%s', '%s') WHERE '%s' IN ('', family)", from, to, family)}
			if family == "" {
				for _, step := range []string{"7 seconds", "1 minute", "1 day"} {
					sources["ledger_outcomes by "+step] = fmt.Sprintf("ledger_outcomes('%s', '%s', '%s')", from, to, step)
				}
			}
			for name, source := range sources {
				a := ask(t, conn, `SELECT coalesce(sum(planned), 0)::bigint, coalesce(sum(stored), 0)::bigint, coalesce(sum(failed), 0)::bigint, coalesce(sum(skipped), 0)::bigint,
	coalesce(sum(dropped), 0)::bigint, coalesce(sum(pending), 0)::bigint, coalesce(sum(missing), 0)::bigint FROM `+source)
				var got [7]int64
				for i := range got {
					got[i] = a.rows[0][i].(int64)
				}
				if got != want.list() {
					t.Errorf("%s of %q from %s to %s: planned, stored, failed, skipped, dropped, pending, missing %v, the API has %v", name, family, from, to, got, want.list())
				}
			}
			if family == "" && i != 1 && (want.Planned == 0 || want.Failed == 0 || want.Skipped == 0 || want.Dropped == 0) {
				t.Errorf("from %s: %+v: the workload has none of something, so this shows nothing", from, want)
			}
		}
	}
	var items struct {
		Items []struct{ Name, Status string }
	}
	b.get("/api/v1/instances", &items)
	status := map[any]any{}
	for _, r := range ask(t, conn, "SELECT instance, status FROM ledger_status()").rows {
		status[r[0]] = r[1]
	}
	if len(status) != 3 || len(items.Items) != 3 {
		t.Errorf("%d instances, the API has %d, want 3", len(status), len(items.Items))
	}
	for _, i := range items.Items {
		if status[i.Name] != i.Status {
			t.Errorf("%s is %v, the API has %s", i.Name, status[i.Name], i.Status)
		}
	}
}

// targetOf finds a panel's query.
func targetOf(t *testing.T, list []*dashboard, uid, title string) string {
	t.Helper()
	for _, d := range list {
		for _, p := range d.Panels {
			if d.UID == uid && p.Title == title && len(p.Targets) > 0 {
				return p.Targets[0].RawSQL
			}
		}
	}
	t.Fatalf("no panel %q in %s", title, uid)
	return ""
}

type sums struct {
	QueryID       string `json:"query_id"`
	Query         string
	Database      string
	User          string
	Calls         float64
	TotalExecTime float64 `json:"total_exec_time"`
	Rows          float64
}

// checkStatements holds the tables of the dashboard of queries against the API.
func checkStatements(t *testing.T, b *bed, conn *pgx.Conn, base *expander, list []*dashboard) {
	var items struct{ Items []struct{ ID, Name string } }
	b.get("/api/v1/instances?", &items)
	id := ""
	for _, i := range items.Items {
		if i.Name == instance {
			id = i.ID
		}
	}
	for _, filter := range []string{"*", "shop"} {
		v := url.Values{"from": {base.from.UTC().Format(time.RFC3339Nano)}, "to": {base.to.UTC().Format(time.RFC3339Nano)}}
		if filter != "*" {
			v.Set("database", filter)
		}
		var want struct {
			Items                     []sums
			Rest, Cut, Dropped, Total sums
			Coverage                  struct{ Calls, Time float64 }
		}
		b.get("/api/v1/instances/"+id+"/statements?"+v.Encode(), &want)
		if len(want.Items) < 2 || want.Cut.Calls == 0 || want.Dropped.Calls == 0 {
			t.Fatalf("the API has %d items, cut %v, dropped %v: this shows nothing", len(want.Items), want.Cut, want.Dropped)
		}
		e := *base
		e.variables = map[string]string{"instance": instance, "database": filter, "user": "*"}
		run := func(title string) *answer {
			sql, err := e.expand(targetOf(t, list, uidQueries, title))
			if err != nil {
				t.Fatal(err)
			}
			return ask(t, conn, sql)
		}
		top := run("Statements by time")
		if len(top.rows) != len(want.Items) {
			t.Fatalf("%s: %d statements, the API has %d", filter, len(top.rows), len(want.Items))
		}
		at := map[string]int{}
		for i, c := range top.columns {
			at[c] = i
		}
		for i, r := range top.rows {
			w := want.Items[i]
			if r[at["queryid"]] != w.QueryID || r[at["query"]] != w.Query || r[at["database"]] != w.Database || r[at["user"]] != w.User ||
				!same(number(r[at["calls"]]), &w.Calls) || !same(number(r[at["total_exec_time"]]), &w.TotalExecTime) || !same(number(r[at["rows"]]), &w.Rows) {
				t.Errorf("%s: statement %d is %v, the API has %+v", filter, i, r, w)
			}
		}
		for i, part := range []sums{{Calls: want.Total.Calls - want.Cut.Calls - want.Dropped.Calls, TotalExecTime: want.Total.TotalExecTime - want.Cut.TotalExecTime - want.Dropped.TotalExecTime,
			Rows: want.Total.Rows - want.Cut.Rows - want.Dropped.Rows}, want.Cut, want.Dropped, want.Total} {
			r := run("Account").rows[i]
			if !same(number(r[1]), &part.Calls) || !same(number(r[2]), &part.TotalExecTime) || !same(number(r[3]), &part.Rows) {
				t.Errorf("%s: account %v, the API has %+v", filter, r, part)
			}
		}
	}
}

// checkMetrics holds the numbers of collectors against what they said, and the API.
func checkMetrics(t *testing.T, b *bed, conn *pgx.Conn, base *expander) {
	var out struct {
		Items []struct {
			Name          string
			State         string
			CPUPercent    *float64 `json:"cpu_percent"`
			MemoryBytes   *float64 `json:"memory_bytes"`
			CycleSeconds  *float64 `json:"cycle_seconds"`
			CoverageCalls *float64 `json:"coverage_calls"`
		}
	}
	b.get("/api/v1/collectors?"+url.Values{"from": {time.Now().Add(-15 * time.Minute).UTC().Format(time.RFC3339)}}.Encode(), &out)
	rows := map[string]map[string]any{}
	list := ask(t, conn, collectorsSQL)
	for _, r := range list.rows {
		m := map[string]any{}
		for i, c := range list.columns {
			m[c] = r[i]
		}
		rows[m["collector"].(string)] = m
	}
	for _, c := range out.Items {
		r := rows[c.Name]
		if r == nil || r["state"] != c.State {
			t.Errorf("collector %s: %v, the API has state %s", c.Name, r, c.State)
			continue
		}
		if c.Name == "alpha" && (!same(number(r["cpu_percent"]), new(5.0)) || c.CPUPercent == nil || *c.CPUPercent < 4.9 || *c.CPUPercent > 5.1 ||
			!same(number(r["memory"]), c.MemoryBytes) || !same(number(r["cycle"]), c.CycleSeconds)) {
			t.Errorf("alpha: CPU %v, memory %v, cycle %v; want 5 and the API's %s, %s, %s", r["cpu_percent"], r["memory"], r["cycle"], show(c.CPUPercent), show(c.MemoryBytes), show(c.CycleSeconds))
		}
	}
	// Over time: what each process used, and nothing of omega once it is silent.
	for title, want := range map[string]float64{"Collector CPU": 5, "Cycle time": 2, "Collector memory": 50 * mebibyte} {
		sql, err := base.expand(targetOf(t, []*dashboard{overviewChartsOnly()}, uidOverview, title))
		if err != nil {
			t.Fatal(err)
		}
		series := ask(t, conn, sql).series(t, "value")
		some, gaps := 0, 0
		for _, v := range series["alpha"] {
			if v != nil && !same(v, &want) {
				t.Errorf("%s of alpha: %g, want %g", title, *v, want)
			} else if v != nil {
				some++
			}
		}
		for _, v := range series["omega"] {
			if v == nil {
				gaps++
			}
		}
		if some < shown/3 || gaps < shown/3 || gaps == len(series["omega"]) {
			t.Errorf("%s: %d points of alpha, %d of %d of omega are gaps", title, some, gaps, len(series["omega"]))
		}
	}
}

// overviewChartsOnly leaves the stats out, which have the same titles.
func overviewChartsOnly() *dashboard {
	d := overviewDashboard()
	var charts []*panel
	for _, p := range d.Panels {
		if p.Type == "timeseries" {
			charts = append(charts, p)
		}
	}
	d.Panels = charts
	return d
}

// fires tells for each row of a rule whether it alerts.
func fires(t *testing.T, conn *pgx.Conn, m *keyMetric) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, r := range ask(t, conn, m.now).rows {
		v := number(r[len(r)-1])
		if v == nil {
			v = &m.silent
		}
		name := fmt.Sprint(r[1])
		if _, twice := out[name]; twice {
			t.Errorf("%s: two rows of %s", m.uid, name)
		}
		out[name] = *v > m.limit && !m.under || *v < m.limit && m.under
	}
	return out
}

// checkAlerts evaluates the five rules as Grafana does: the value, or what stands
// for silence, against the limit.
func checkAlerts(t *testing.T, conn *pgx.Conn) {
	for uid, want := range map[string]map[string]bool{
		"cpu": {"alpha": false, "omega": true}, "cycle": {"alpha": false, "omega": true}, "memory": {"alpha": false, "omega": true},
		"errors":   {instance: true, second: false, silent: true}, // db-1: failed and skipped ticks; db-3: missing ones
		"coverage": {instance: false},                             // the others' statements are not planned
	} {
		for _, m := range keyMetrics {
			if m.uid != uid {
				continue
			}
			if got := fires(t, conn, m); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("alert %s: %v, want %v", uid, got, want)
			}
		}
	}
}

// checkDocs runs what docs/grafana.md shows, and looks for the files that it names.
func checkDocs(t *testing.T, conn *pgx.Conn) {
	text, err := os.ReadFile(root + "/docs/grafana.md")
	if err != nil {
		t.Fatal(err)
	}
	statements := 0
	for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for sql := range strings.SplitSeq(strings.TrimSpace(block[1]), ";\n") {
			if a := ask(t, conn, strings.TrimSuffix(sql, ";")); len(a.rows) == 0 {
				t.Errorf("no rows:\n%s", sql)
			}
			statements++
		}
	}
	if statements < 4 {
		t.Errorf("%d statements found in docs/grafana.md", statements)
	}
	for _, path := range regexp.MustCompile(`(?:grafana|deploy)/[a-z/-]+\.(?:json|yaml|sql)`).FindAllString(string(text), -1) {
		if _, err := os.Stat(root + "/" + path); err != nil && !strings.Contains(string(text), "/etc/"+path) {
			t.Error(err)
		}
	}
	for _, m := range keyMetrics { // the table of alerts
		row := regexp.MustCompile(fmt.Sprintf(`(?m)^\| .pganalytics-%s. \|.*\| %d \|$`, m.uid, whole(m.silent)))
		if !row.MatchString(string(text)) {
			t.Errorf("docs/grafana.md has no row of the alert %s with %d for silence", m.uid, whole(m.silent))
		}
	}
}
