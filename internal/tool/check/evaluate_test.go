package check_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/check"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// healthy is a deployment that meets every target: two collectors, three instances,
// a window of 15 minutes at 60 s.
func healthy() *check.Facts {
	f := &check.Facts{
		URL: "http://backend:8080", Version: "1.2.3", Now: now, From: now.Add(-15 * time.Minute), To: now, Listed: true,
		Health: &check.Health{Status: "ok", Components: map[string]check.Component{"database": {Status: "ok"}, "timescale": {Status: "ok"}, "ingest": {Status: "ok"}, "ui": {Status: "ok"}}},
		Ledger: &check.Ledger{Counts: check.Counts{Planned: 305, Stored: 300, Pending: 5}},
		// 10,000 requests in the hour since the start, 36 s of CPU.
		Backend: &check.Backend{Start: unix(now.Add(-time.Hour)), At: unix(now), CPU: 36, Requests: 10000},
	}
	for i, name := range []string{"north", "south"} {
		f.Collectors = append(f.Collectors, check.Collector{
			ID: strings.Repeat(name[:1], 32), Name: name, Interval: time.Minute, LastPush: now.Add(-5 * time.Second),
			Counts: check.Counts{Planned: 152, Stored: 150, Pending: 2},
			CPU:    &check.Ratio{Num: 9000 * float64(i+1), Den: 900_000}, // 1 % and 2 %
			Held:   new(3.0), Memory: new(40.0 * (1 << 20)), Cycle: new(0.25 + 0.5*float64(i)), PoolOpen: new(2.0), PoolMax: new(10.0), Instances: 2 - i,
			Work:  &check.Work{Rounds: 100, RoundTrips: 103, Acquires: 100, AcquireTime: 30, Connects: 2, ConnectTime: 20},
			Calls: &check.Calls{Stored: 99_900, Total: 100_000, StoredTime: 5000, TotalTime: 5000, Seconds: 900},
		})
	}
	for _, in := range []struct{ id, name, collector string }{{"1", "db1", f.Collectors[0].ID}, {"2", "db2", f.Collectors[0].ID}, {"3", "db3", f.Collectors[1].ID}} {
		f.Instances = append(f.Instances, check.Instance{ID: in.id, Name: in.name, Status: "up", Collector: in.collector, Cost: new(0.2), Statements: check.Counts{Planned: 15, Stored: 15},
			Families: []check.Family{
				{Instance: in.name, Family: "wal", Every: 60, Columns: []string{"wal_bytes", "wal_records"}, Counts: check.Counts{Planned: 15, Stored: 15}},
				{Instance: in.name, Database: "shop", Family: "tables", Every: 60, Columns: []string{"seq_scan"}, Counts: check.Counts{Planned: 15, Stored: 15}},
			}})
	}
	for i := range 100 {
		f.Requests = append(f.Requests, time.Duration(i+1)*100*time.Microsecond) // 0.1 to 10 ms
	}
	f.Charts = []time.Duration{20 * time.Millisecond, 30 * time.Millisecond}
	return f
}

func row(t *testing.T, r *check.Report, id string) *check.Row {
	t.Helper()
	i := slices.IndexFunc(r.Rows, func(row check.Row) bool { return row.ID == id })
	if i < 0 {
		t.Fatalf("no row %q", id)
	}
	return &r.Rows[i]
}

// same measures of the same facts, as a report saved before an update has them.
func saved() *check.Report { return check.Evaluate(healthy(), nil) }

func TestHealthy(t *testing.T) {
	r := check.Evaluate(healthy(), saved())
	if !r.Passed || len(r.Failed)+len(r.Unjudged)+len(r.Monitored) > 0 || !slices.Equal(r.Own, []string{"cpu_cycle"}) { // two instances have to carry the process
		t.Fatalf("passed %v, failed %v, unjudged %v, monitored %v, own %v", r.Passed, r.Failed, r.Unjudged, r.Monitored, r.Own)
	}
	for _, want := range []struct {
		id    string
		value float64
		named string
	}{
		{"cpu", 2, "south"},                    // 18,000 ms of 900,000
		{"cycle", 0.75, "south"},               //
		{"memory", 40, "north"},                //
		{"overhead", 0.3, "north"},             // 30 ms for 100
		{"round_trips", 1, "north"},            // 103 less 3 for texts
		{"coverage", 99.9, "north"},            //
		{"success", 100, "north"},              // 150 of 152 - 2
		{"cpu_cycle", 1200, "south"},           // 20 ms/s x 60 s, one instance
		{"backend_cpu", 1, ""},                 // 36 s of an hour
		{"api", 9.9, ""},                       // the 99th of 100
		{"chart", 30, ""},                      //
		{"cost", 0.2, "db1"},                   //
		{"failed_requests", 0, ""},             //
		{"services", 0, "9 healthy"},           // 4 components, 2 collectors, 3 instances
		{"regressions", 0, "6 families"},       //
		{"starts", 0, "3 sources"},             //
		{"pool", 0, "2 open, 100 taken, 2 of"}, //
	} {
		got := row(t, r, want.id)
		if got.Value == nil || !near(*got.Value, want.value) || !strings.Contains(got.Measured, want.named) {
			t.Errorf("%s: measured %q (%v), want %v of %q", want.id, got.Measured, deref(got.Value), want.value, want.named)
		}
		if want.id != "regressions" && got.Before == "" {
			t.Errorf("%s: the report before is not shown", want.id)
		}
	}
}

func near(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

func deref(v *float64) any {
	if v == nil {
		return "no value"
	}
	return *v
}

// TestVerdicts: one thing differs from a healthy deployment; which rows say what.
func TestVerdicts(t *testing.T) {
	const pass, fail, none = check.Pass, check.Fail, check.NoData
	for _, c := range []struct {
		name   string
		change func(*check.Facts)
		rows   map[string]check.Verdict
		says   map[string]string // a part of what is measured or noted
		passed bool
	}{
		{"CPU above what must be", func(f *check.Facts) { f.Collectors[0].CPU.Num = 360_000 },
			map[string]check.Verdict{"cpu": fail, "cpu_monitored": fail}, map[string]string{"cpu": "40.00 % (north)"}, false},
		{"CPU above what is monitored", func(f *check.Facts) { f.Collectors[0].CPU.Num = 200_000 },
			map[string]check.Verdict{"cpu": pass, "cpu_monitored": fail}, map[string]string{"cpu_monitored": "north"}, true},
		{"CPU held", func(f *check.Facts) { f.Collectors[1].Held = new(31.0) }, map[string]check.Verdict{"cpu": pass, "cpu_held": fail}, nil, true},
		{"a window without five minutes", func(f *check.Facts) { f.From = now.Add(-2 * time.Minute); f.Collectors[0].Held = nil },
			map[string]check.Verdict{"cpu_held": none}, map[string]string{"cpu_held": "no five whole minutes"}, true},
		{"cycle", func(f *check.Facts) { f.Collectors[0].Cycle = new(10.0) }, map[string]check.Verdict{"cycle": fail, "cycle_alert": pass}, map[string]string{"cycle": "north"}, false},
		{"cycle, alert", func(f *check.Facts) { f.Collectors[0].Cycle = new(15.1) }, map[string]check.Verdict{"cycle": fail, "cycle_alert": fail}, nil, false},
		{"memory", func(f *check.Facts) { f.Collectors[0].Memory = new(151.0 * (1 << 20)) },
			map[string]check.Verdict{"memory": fail, "memory_alert": pass}, map[string]string{"memory": "151.0 MB"}, true},
		{"no collectors", func(f *check.Facts) { f.Collectors, f.Instances = nil, nil },
			map[string]check.Verdict{"cpu": none, "cycle": none, "pool": none, "services": none, "success": none, "coverage": none},
			map[string]string{"cpu": "no collector holds an instance", "cost": "no collector holds an instance", "services": "no collector holds an instance"}, false},
		{"the inventory could not be read", func(f *check.Facts) { f.Listed, f.Collectors, f.Instances = false, nil, nil },
			map[string]check.Verdict{"cpu": none, "services": none, "regressions": none}, map[string]string{"cpu": "could not be listed"}, false},
		{"a collector without data", func(f *check.Facts) {
			c := &f.Collectors[1]
			c.CPU, c.Cycle, c.Memory, c.Work, c.Calls, c.Counts = nil, nil, nil, nil, nil, check.Counts{}
		}, map[string]check.Verdict{"cpu": none, "cycle": none, "memory": none, "overhead": none, "pool": none, "success": none, "coverage": none, "services": pass},
			map[string]string{"cpu": "no data of south", "success": "no data of south"}, false},
		{"what is bad stays bad beside what is silent", func(f *check.Facts) { f.Collectors[0].CPU.Num, f.Collectors[1].CPU = 900_000, nil },
			map[string]check.Verdict{"cpu": fail}, map[string]string{"cpu": "no data of south"}, false},
		{"zero planned", func(f *check.Facts) {
			f.Ledger.Counts = check.Counts{Planned: 5, Pending: 5}
			f.Collectors[0].Counts, f.Collectors[1].Counts = f.Ledger.Counts, f.Ledger.Counts
		}, map[string]check.Verdict{"success": none, "errors_alert": none, "failed_rounds": none, "starts": none},
			map[string]string{"unexplained": "no tick was due"}, false},
		{"failed for a reason", func(f *check.Facts) {
			f.Ledger.Stored, f.Ledger.Failed, f.Ledger.Reasons = 298, 2, []check.Reason{{"failed", "lock_timeout", 2}}
			f.Collectors[0].Counts.Stored, f.Collectors[0].Counts.Failed = 148, 2
		}, map[string]check.Verdict{"success": fail, "errors_alert": fail, "failed_rounds": fail, "starts": pass},
			map[string]string{"success": "98.67 % (north)", "failed_rounds": "lock_timeout"}, true},
		{"failed without a reason", func(f *check.Facts) {
			f.Ledger.Stored, f.Ledger.Failed, f.Ledger.Reasons = 299, 1, []check.Reason{{"failed", "failed", 1}}
		}, map[string]check.Verdict{"starts": fail}, map[string]string{"starts": "1 tick failed(failed) or missing"}, false},
		{"a restart of the collector in the window", func(f *check.Facts) {
			f.Ledger.Stored, f.Ledger.Skipped, f.Ledger.Reasons = 299, 1, []check.Reason{{"skipped", "collector_down", 1}}
			f.Collectors[0].Counts.Stored, f.Collectors[0].Counts.Skipped = 149, 1
		}, map[string]check.Verdict{"starts": pass, "failed_rounds": pass, "success": pass}, map[string]string{"success": "99.33 %"}, true},
		{"dropped ticks", func(f *check.Facts) { f.Ledger.Stored, f.Ledger.Dropped = 290, 10 },
			map[string]check.Verdict{"starts": pass}, map[string]string{"lost": "10"}, true},
		{"a silent collector", func(f *check.Facts) { f.Collectors[1].LastPush = now.Add(-31 * time.Second) },
			map[string]check.Verdict{"services": fail}, map[string]string{"services": "collector south: silent for 31s"}, false},
		{"a collector that never pushed", func(f *check.Facts) { f.Collectors[1].LastPush = time.Time{} },
			map[string]check.Verdict{"services": fail}, map[string]string{"services": "collector south: has never pushed"}, false},
		{"a slow collector is not silent", func(f *check.Facts) { f.Collectors[1].LastPush = now.Add(-30 * time.Second) }, map[string]check.Verdict{"services": pass}, nil, true},
		{"an instance that is down", func(f *check.Facts) { f.Instances[2].Status, f.Instances[2].Reason = "down", "connect: refused" },
			map[string]check.Verdict{"services": fail}, map[string]string{"services": "instance db3: down, connect: refused"}, false},
		{"a component", func(f *check.Facts) {
			f.Health.Status = "down"
			f.Health.Components["ingest"] = check.Component{Status: "down", Detail: "waiting"}
		}, map[string]check.Verdict{"services": fail}, map[string]string{"services": "ingest: down waiting"}, false},
		{"no answer at all", func(f *check.Facts) { *f = check.Facts{Now: now, From: now.Add(-time.Minute), To: now} },
			map[string]check.Verdict{"cpu": none, "starts": none, "services": fail, "api": none, "failed_requests": none}, map[string]string{"services": "backend: no answer"}, false},
		{"another service", func(f *check.Facts) { f.Services = []check.Service{{Name: "grafana", Problem: "503"}} },
			map[string]check.Verdict{"services": fail}, map[string]string{"services": "grafana: 503"}, false},
		{"a retired collector", func(f *check.Facts) { f.Retired = []string{"old"} }, map[string]check.Verdict{"services": pass}, map[string]string{"services": "old"}, true},
		{"nothing taken from the pool", func(f *check.Facts) { f.Collectors[0].Work = &check.Work{} },
			map[string]check.Verdict{"pool": fail, "overhead": none}, map[string]string{"pool": "north: 2 open, 0 taken"}, false},
		{"a connection for each use", func(f *check.Facts) { f.Collectors[0].Work.Connects = 100 }, map[string]check.Verdict{"pool": fail}, nil, false},
		{"no open connection", func(f *check.Facts) { f.Collectors[1].PoolOpen = new(0.0) }, map[string]check.Verdict{"pool": fail}, map[string]string{"pool": "south: 0 open"}, false},
		{"an error in a log", func(f *check.Facts) {
			f.Logs = []check.Log{{Name: "collector.log", Lines: 9, Errors: 2, First: "ERROR: x"}}
		}, map[string]check.Verdict{"starts": fail}, map[string]string{"starts": `2 lines with "error" of 9, first: ERROR: x`}, false},
		{"a clean log", func(f *check.Facts) { f.Logs = []check.Log{{Name: "l", Lines: 9}} }, map[string]check.Verdict{"starts": pass}, nil, true},
		{"an empty log tells nothing", func(f *check.Facts) { f.Logs = []check.Log{{Name: "l"}} }, map[string]check.Verdict{"starts": none}, map[string]string{"starts": "log l"}, false},
		{"a step of the start failed", func(f *check.Facts) { f.Startup = []string{"store: no disk"} }, map[string]check.Verdict{"starts": fail}, map[string]string{"starts": "store: no disk"}, false},
		{"batches refused", func(f *check.Facts) { f.Backend.Refused = 3 }, map[string]check.Verdict{"starts": fail}, map[string]string{"starts": "3 refused"}, false},
		{"little coverage", func(f *check.Facts) { f.Collectors[1].Calls.Stored = 4000 },
			map[string]check.Verdict{"coverage": fail, "coverage_time": check.None}, map[string]string{"coverage": "4.00 % (south)"}, true},
		{"nothing was called", func(f *check.Facts) { f.Collectors[1].Calls = &check.Calls{Seconds: 900} }, map[string]check.Verdict{"coverage": none}, nil, true},
		{"statements of an instance never came", func(f *check.Facts) { f.Instances[1].Statements = check.Counts{Planned: 9, Failed: 9} },
			map[string]check.Verdict{"coverage": none}, map[string]string{"coverage": "no data of instance db2"}, true},
		{"slow answers", func(f *check.Facts) { f.Requests[3], f.Requests[4] = time.Second, time.Second }, map[string]check.Verdict{"api": fail}, map[string]string{"api": "1000.00 ms"}, true},
		{"one slow answer of a hundred", func(f *check.Facts) { f.Requests[3] = time.Second }, map[string]check.Verdict{"api": pass}, nil, true},
		{"an answer that failed", func(f *check.Facts) { f.Refused = []string{"status 500"} }, map[string]check.Verdict{"api": none}, map[string]string{"api": "status 500"}, true},
		{"a column gone", func(f *check.Facts) { f.Instances[0].Families[0].Columns = []string{"wal_bytes"} },
			map[string]check.Verdict{"regressions": fail}, map[string]string{"regressions": "wal of db1: without wal_records"}, false},
		{"a family gone", func(f *check.Facts) { f.Instances[0].Families = f.Instances[0].Families[:1] },
			map[string]check.Verdict{"regressions": fail}, map[string]string{"regressions": "tables of db1 (shop): not read any more"}, false},
		{"an instance gone", func(f *check.Facts) { f.Instances = f.Instances[1:] },
			map[string]check.Verdict{"regressions": fail}, map[string]string{"regressions": "db1: the instance is not watched any more"}, false},
		{"a family added", func(f *check.Facts) {
			f.Instances[0].Families = append(f.Instances[0].Families, check.Family{Instance: "db1", Family: "new"})
		}, map[string]check.Verdict{"regressions": pass}, nil, true},
		{"read less often", func(f *check.Facts) { f.Instances[0].Families[0].Every = 120 },
			map[string]check.Verdict{"regressions": fail}, map[string]string{"regressions": "every 120 s, was 60 s"}, false},
		{"the swap's own tick", func(f *check.Facts) {
			f.Instances[0].Families[0].Counts = check.Counts{Planned: 15, Stored: 14, Skipped: 1}
		},
			map[string]check.Verdict{"regressions": pass}, nil, true},
		{"fewer ticks", func(f *check.Facts) {
			f.Instances[0].Families[0].Counts = check.Counts{Planned: 15, Stored: 13, Missing: 2}
		},
			map[string]check.Verdict{"regressions": fail}, map[string]string{"regressions": "2 of 15 ticks not stored, before 0 of 15"}, false},
		{"no tick was due yet", func(f *check.Facts) { f.Instances[0].Families[0].Counts = check.Counts{Planned: 1, Pending: 1} },
			map[string]check.Verdict{"regressions": none}, map[string]string{"regressions": "wal of db1"}, false},
		{"a family slower than the window", func(f *check.Facts) {
			f.From = now.Add(-time.Minute)
			f.Instances[0].Families[0].Counts = check.Counts{}
		}, map[string]check.Verdict{"regressions": pass}, nil, true},
		{"what is read could not be asked", func(f *check.Facts) { f.Instances[0].Families = nil }, map[string]check.Verdict{"regressions": none}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := healthy()
			c.change(f)
			r := check.Evaluate(f, saved())
			for id, want := range c.rows {
				if got := row(t, r, id); got.Verdict != want {
					t.Errorf("%s: %s (%s; %s), want %s", id, got.Verdict, got.Measured, got.Note, want)
				}
			}
			for id, want := range c.says {
				if got := row(t, r, id); !strings.Contains(got.Measured+" "+got.Note, want) {
					t.Errorf("%s says %q [%q], want %q", id, got.Measured, got.Note, want)
				}
			}
			if r.Passed != c.passed {
				t.Errorf("passed %v, failed rows %v", r.Passed, r.Failed)
			}
			for _, id := range r.Failed {
				if !row(t, r, id).Must {
					t.Errorf("%s failed the check and is no must-pass row", id)
				}
			}
		})
	}
}

// TestBefore: allowances that the time before has.
func TestBefore(t *testing.T) {
	lossy := healthy()
	lossy.Instances[0].Families[0].Counts = check.Counts{Planned: 20, Stored: 15, Failed: 5}
	f := healthy()
	f.Instances[0].Families[0].Counts = check.Counts{Planned: 15, Stored: 10, Failed: 5} // a quarter, and one
	if got := row(t, check.Evaluate(f, check.Evaluate(lossy, nil)), "regressions"); got.Verdict != check.Pass {
		t.Errorf("no more is lost than before, but: %s", got.Measured)
	}
	if r := check.Evaluate(healthy(), nil); row(t, r, "regressions").Verdict != check.Elsewhere || !r.Passed || !slices.Equal(r.Unjudged, []string{"regressions"}) {
		t.Errorf("without a report before: %s, passed %v, unjudged %v", row(t, r, "regressions").Verdict, r.Passed, r.Unjudged)
	}
}

// TestRequests: a backend counts since its start; a report before of the same
// process narrows that, one of another process does not.
func TestRequests(t *testing.T) {
	before := saved()
	before.Backend = &check.Backend{Start: unix(now.Add(-time.Hour)), At: unix(now.Add(-10 * time.Minute)), CPU: 30, Requests: 9000, Failed: 90}
	for _, c := range []struct {
		name    string
		before  *check.Report
		backend check.Backend
		value   float64
		verdict check.Verdict
		cpu     float64 // NaN-free: -1 is no data
		note    string
	}{
		{"since the start", nil, check.Backend{Start: unix(now.Add(-time.Hour)), At: unix(now), CPU: 36, Requests: 10000, Failed: 90}, 0.9, check.Fail, 1, ""},
		{"since the report before", before, check.Backend{Start: unix(now.Add(-time.Hour)), At: unix(now), CPU: 36, Requests: 10000, Failed: 90}, 0, check.Pass, 1, "only since the report before"},
		{"restarted since", before, check.Backend{Start: unix(now.Add(-5 * time.Minute)), At: unix(now), CPU: 6, Requests: 200, Failed: 1}, 0.5, check.Fail, 2, "started in the window"},
		{"just started", nil, check.Backend{Start: unix(now.Add(-5 * time.Second)), At: unix(now), CPU: 2, Requests: 10}, 0, check.Pass, -1, "started in the window"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := healthy()
			f.Backend = &c.backend
			r := check.Evaluate(f, c.before)
			got := row(t, r, "failed_requests")
			if got.Verdict != c.verdict || got.Value == nil || !near(*got.Value, c.value) || !strings.Contains(got.Note, c.note) {
				t.Errorf("%s: %v [%s], want %v %s [%s]", got.Verdict, deref(got.Value), got.Note, c.value, c.verdict, c.note)
			}
			cpu := row(t, r, "backend_cpu")
			if c.cpu < 0 && (cpu.Value != nil || cpu.OursVerdict != check.NoData) || c.cpu >= 0 && (cpu.Value == nil || !near(*cpu.Value, c.cpu)) {
				t.Errorf("CPU %v %s, want %v", deref(cpu.Value), cpu.OursVerdict, c.cpu)
			}
		})
	}
}

// TestPrinted: every row is printed in each form, and what a name holds does not
// break it.
func TestPrinted(t *testing.T) {
	f := healthy()
	f.Collectors[1].Name = "so|uth\t<b>\n"
	f.Collectors[1].LastPush = now.Add(-time.Hour)
	r := check.Evaluate(f, saved())
	var table, markdown, plain bytes.Buffer
	if err := r.Table(&table, true); err != nil {
		t.Fatal(err)
	}
	if err := r.Markdown(&markdown, true); err != nil {
		t.Fatal(err)
	}
	if err := r.Table(&plain, false); err != nil {
		t.Fatal(err)
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		if !strings.Contains(plain.String(), row.Measure) || !strings.Contains(markdown.String(), row.Measure) {
			t.Errorf("%s is not printed", row.ID)
		}
		if row.Verdict == check.Elsewhere {
			continue
		}
		if row.NumeratorIs == "" || row.Source == "" || row.Window == "" || !strings.Contains(table.String(), row.Measure+" ("+row.ID+")") {
			t.Errorf("%s is not explained: %+v", row.ID, row)
		}
	}
	if !strings.Contains(table.String(), "2.00 % = 18000 / 900000") {
		t.Errorf("no numerator and denominator of the CPU:\n%s", table.String())
	}
	for line := range strings.Lines(markdown.String()) {
		if strings.HasPrefix(line, "|") && strings.Count(line, "|")-strings.Count(line, `\|`) != 8 {
			t.Errorf("not a row of 7 cells: %s", line)
		}
		if strings.Contains(line, "<b>") {
			t.Errorf("a name is read as a tag: %s", line)
		}
	}
	for _, out := range []string{table.String(), markdown.String()} {
		if !strings.Contains(out, "failed: all services healthy: FAIL, collector so|uth") {
			t.Errorf("the end does not name what failed:\n%s", out)
		}
	}
}
