package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// lines writes a series answer as "label: v v - v", with "-" for null.
func lines(t testing.TB, v map[string]any) []string {
	t.Helper()
	out := []string{}
	for _, l := range v["series"].([]any) {
		var b strings.Builder
		for _, name := range dig(t, l, "labels").(map[string]any) {
			b.WriteString(name.(string))
		}
		b.WriteByte(':')
		for _, p := range dig(t, l, "points").([]any) {
			if n, is := p.([]any)[1].(json.Number); is {
				b.WriteString(" " + n.String())
			} else {
				b.WriteString(" -")
			}
		}
		out = append(out, b.String())
	}
	return out
}

type seriesCase struct {
	name, query string
	want        []string
	unit        string
}

func checkSeries(t *testing.T, b *bed, id string, cases []seriesCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			v := b.get("/api/v1/instances/"+id+"/series?"+c.query, 200)
			if got := lines(t, v); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("lines\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if c.unit != "" && v["unit"] != c.unit {
				t.Errorf("unit %v, want %s", v["unit"], c.unit)
			}
		})
	}
	b.t = t
}

// Ten minutes of counters: a frame each minute, but none at 4 and 5, whose counts
// the frame of 6 spans; nothing behind 8.
func TestSeriesOfCounters(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	tk := minutes(11)
	slow := func(i int) *frame.Batch { return batch(db1, "postgres", catalog.Slow, tk[i]) }
	database := func(id, commits, time int) row {
		return row{"datid": id, "xact_commit": commits, "active_time": time}
	}
	first := plan(slow(0), time.Minute, "", "database", "wal")
	first.Schedules[1].Reason, first.Schedules[1].Every, first.Schedules[1].Detail = "version", 0, "PostgreSQL 12 has no pg_stat_wal"
	first.Schedules[0].Absent = []string{"parallel_workers_launched"}
	crash := slow(8)
	crash.Unobserved = []frame.Unobserved{
		{Family: "database", Reason: "restart", Since: tk[7], At: tk[8], Detail: "crash"},
		{Family: "database", Reason: "evicted", Since: tk[7], At: tk[8]}, // of rows: no gap
	}
	a.push(
		add(first, "database", "", 0, 0, row{"datid": 5, "datname": "shop", "numbackends": 1}, row{"datid": 6, "datname": "mail", "numbackends": 1}),
		add(slow(1), "database", "", 60_000, 0, database(5, 60, 1_500), database(6, 120, 0)),
		add(slow(2), "database", "", 60_000, 0, database(5, 6, 0)),
		add(slow(3), "database", "", 60_000, 0),
		fail(slow(4), frame.Failed, "statement_timeout", "canceled", "database"),
		fail(slow(5), frame.Failed, "statement_timeout", "canceled again", "database"),
		add(slow(6), "database", "", 180_000, 0, database(5, 360, 0)),
		add(crash, "database", "", 60_000, 0, database(5, 60, 1)),
		fail(slow(7), frame.Skipped, "overrun", "", "database"),
	)
	full := fmt.Sprintf("family=database&from=%d&to=%d&step=60", tk[0]/1_000_000, tk[10]/1_000_000)
	short := fmt.Sprintf("family=database&from=%d&to=%d&", tk[0]/1_000_000, tk[2]/1_000_000)
	id := a.ids[db1]
	checkSeries(t, b, id, []seriesCase{
		{"rate", full + "&column=xact_commit", []string{": 3 0.1 0 2 2 2 - 1 - -"}, "/s"},
		{"delta", full + "&column=xact_commit&fn=delta", []string{": 180 6 0 - - 360 - 60 - -"}, "count"},
		{"delta of time is exact", full + "&column=active_time&fn=delta", []string{": 1.500 0.000 0.000 - - 0.000 - 0.001 - -"}, "ms"},
		{"by key, named", full + "&column=xact_commit&by=datid", []string{"shop: 1 0.1 0 2 2 2 - 1 - -", "mail: 2 0 0 0 0 0 - 0 - -"}, ""},
		{"by label", full + "&column=xact_commit&by=datname", []string{"shop: 1 0.1 0 2 2 2 - 1 - -", "mail: 2 0 0 0 0 0 - 0 - -"}, ""},
		{"filter by name", full + "&column=xact_commit&datname=mail", []string{": 2 0 0 0 0 0 - 0 - -"}, ""},
		{"filter by id", full + "&column=xact_commit&datid=6", []string{": 2 0 0 0 0 0 - 0 - -"}, ""},
		{"filter by the name of the id", full + "&column=xact_commit&datid=mail", []string{": 2 0 0 0 0 0 - 0 - -"}, ""},
		{"filter by what is not there", full + "&column=xact_commit&datname=nothere", []string{": 0 0 0 0 0 0 - 0 - -"}, ""},
		{"finer than the interval", short + "column=xact_commit&step=20", []string{": 3 3 3 0.1 0.1 0.1"}, ""},
		{"finer, delta", short + "column=xact_commit&step=20&fn=delta", []string{": - - 180 - - 6"}, ""},
		{"a column that the server lacks", full + "&column=parallel_workers_launched", []string{}, ""},
		{"a family that is not planned", strings.Replace(full, "database", "wal", 1) + "&column=wal_bytes", []string{": - - - - - - - - - -"}, "bytes/s"},
	})
	v := b.get("/api/v1/instances/"+id+"/series?"+full+"&column=xact_commit", 200)
	var gaps []string
	for _, g := range v["gaps"].([]any) {
		gaps = append(gaps, fmt.Sprint(dig(t, g, "outcome"), " ", dig(t, g, "reason"), " ", dig(t, g, "ticks"), " ", dig(t, g, "spanned"), " ", dig(t, g, "detail")))
	}
	// The collector is alive: what has no outcome yet is pending, and no gap.
	if got := strings.Join(gaps, "; "); got != "failed statement_timeout 2 true canceled again; skipped overrun 1 true <nil>; unobserved restart 1 true crash" {
		t.Errorf("gaps: %s", got)
	}
	if from, to := dig(t, v, "gaps", 0, "from"), dig(t, v, "gaps", 0, "to"); fmt.Sprint(from) != fmt.Sprint(tk[3]/1_000_000) || fmt.Sprint(to) != fmt.Sprint(tk[5]/1_000_000) {
		t.Errorf("the gap is from %v to %v", from, to)
	}
	// Sums of deltas do not depend on the step.
	for _, step := range []string{"7", "60", "97", "600"} {
		v := b.get("/api/v1/instances/"+id+"/series?family=database&column=xact_commit&fn=delta&"+window(tk, 0, 10)+"&step="+step, 200)
		sum := int64(0)
		for _, p := range dig(t, v, "series", 0, "points").([]any) {
			if n, is := p.([]any)[1].(json.Number); is {
				i, err := n.Int64()
				if err != nil {
					t.Fatal(err)
				}
				sum += i
			}
		}
		if sum != 606 {
			t.Errorf("step %s: deltas sum up to %d, want 606", step, sum)
		}
	}
}

// Rates of statements hold what was cut and dropped wherever it can be told apart.
func TestSeriesOfStatements(t *testing.T) {
	b := newBed(t)
	id, tk := shop(b)
	q := fmt.Sprintf("family=statements&from=%d&to=%d&step=60", tk[0]/1_000_000, tk[4]/1_000_000)
	checkSeries(t, b, id, []seriesCase{
		{"all", q + "&column=calls&fn=delta", []string{": 123 5 55 0"}, "calls"},
		{"by database", q + "&column=calls&fn=delta&by=dbid", []string{"shop: 119 5 55 0", "mail: 4 0 0 0"}, ""},
		{"by user", q + "&column=calls&fn=delta&by=userid", []string{"admin: 101 0 50 0", "app: 22 1 5 0", "oid:99: 0 4 0 0"}, ""},
		{"of a database", q + "&column=calls&fn=delta&dbid=mail", []string{": 4 0 0 0"}, ""},
		// One statement's share of what has only sums is not known: no frame at 3 min.
		{"of a statement", q + "&column=calls&fn=delta&queryid=1", []string{": 15 1 - 0"}, ""},
		{"of a statement and a database", q + "&column=calls&fn=delta&queryid=1&dbid=shop", []string{": 12 1 - 0"}, ""},
		{"toplevel", q + "&column=calls&fn=delta&queryid=1&toplevel=false", []string{": 2 0 - 0"}, ""},
		{"time", q + "&column=total_exec_time&fn=delta", []string{": 1305.576 4000.001 0.507 0.000"}, "ms"},
		{"by statement", q + "&column=calls&fn=delta&by=queryid", []string{"-2: 100 0 - 0", "1: 15 1 - 0", "3: 0 4 - 0"}, ""},
	})
}

// Gauges: the mean over stored ticks; a family that is stored whole has 0 where it
// has no row, a changed-rows family the value as before, for an hour at most.
func TestSeriesOfGauges(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	tk := minutes(80)
	fast := func(i int) *frame.Batch { return batch(db1, "postgres", catalog.Fast, tk[i]) }
	session := func(state, wait string, n int, age any) row {
		return row{"datname": "shop", "usename": "app", "application_name": "", "backend_type": "client backend", "state": state, "wait_event_type": wait, "wait_event": "", "sessions": n, "max_xact_age": age}
	}
	a.push(
		add(plan(fast(0), time.Minute, "", "activity"), "activity", "", 0, 0),
		add(fast(1), "activity", "", 0, 0, session("active", "", 2, 1.5), session("active", "IO", 1, 7.5), session("idle", "", 5, nil)),
		add(fast(2), "activity", "", 0, 0, session("active", "", 4, 2.0)),
		add(fast(3), "activity", "", 0, 0),
		fail(fast(4), frame.Failed, "connect", "refused", "activity"),
		add(fast(6), "activity", "", 0, 0, session("active", "IO", 3, 9.0)),
	)
	q := fmt.Sprintf("family=activity&column=sessions&from=%d&to=%d", tk[0]/1_000_000, tk[6]/1_000_000)
	id := a.ids[db1]
	checkSeries(t, b, id, []seriesCase{
		{"sum", q + "&step=60", []string{": 8 4 0 - - 3"}, "count"},
		{"filtered", q + "&step=60&state=active", []string{": 3 4 0 - - 3"}, ""},
		{"by wait", q + "&step=60&state=active&by=wait_event_type", []string{": 2 4 0 - - 0", "IO: 1 0 0 - - 3"}, ""},
		{"empty value filters", q + "&step=60&wait_event_type=", []string{": 7 4 0 - - 0"}, ""},
		{"max", q + "&step=60&fn=max&state=active", []string{": 3 4 0 - - 3"}, ""},
		{"ages do not add up", strings.Replace(q, "sessions", "max_xact_age", 1) + "&step=60", []string{": 7.5 2 0 - - 9"}, "s"},
		{"finer than it was sampled", q + "&step=30", []string{": 8 8 4 4 0 0 - - - - 3 3"}, ""},
	})
	// One bucket over all: 3 + 4 + 0 + 3 active in 4 stored ticks; the one of minute 0 is outside.
	v := b.get("/api/v1/instances/"+id+"/series?"+q+"&state=active&step=100000000", 200)
	if got := lines(t, v); fmt.Sprint(got) != "[: 2.5]" {
		t.Errorf("mean: %v", got)
	}
	v = b.get("/api/v1/instances/"+id+"/series?"+q+"&state=active&step=100000000&fn=last", 200)
	if got := lines(t, v); fmt.Sprint(got) != "[: 3]" {
		t.Errorf("last: %v", got)
	}

	table := func(i int) *frame.Batch { return batch(db1, "shop", catalog.Slow, tk[i]) }
	gauge := func(rel int, dead any) row {
		return row{"datid": 5, "relid": rel, "schemaname": "public", "relname": fmt.Sprintf("t%d", rel), "n_dead_tup": dead, "n_live_tup": dead}
	}
	names := plan(batch(db1, "postgres", catalog.Slow, tk[0]), time.Minute, "", "database")
	a.push(add(names, "database", "", 0, 0, row{"datid": 5, "datname": "shop", "numbackends": 1}))
	begin := plan(table(0), time.Minute, "shop", "tables")
	a.push(add(begin, "tables", "shop", 0, 0, gauge(1, 10), gauge(2, 1)))
	for i := 1; i < 80; i++ {
		switch i {
		case 2:
			a.push(add(table(i), "tables", "shop", 60_000, 0, gauge(1, 20)))
		case 4: // table 2 vanished
			a.push(add(table(i), "tables", "shop", 60_000, 0, row{"datid": 5, "relid": 2}))
		case 5:
			a.push(fail2(table(i), "tables", "shop"))
		default:
			a.push(add(table(i), "tables", "shop", 60_000, 0))
		}
	}
	q = fmt.Sprintf("family=tables&column=n_dead_tup&step=60&from=%d&to=%d", tk[0]/1_000_000, tk[6]/1_000_000)
	checkSeries(t, b, id, []seriesCase{
		{"as before", q, []string{": 11 21 21 20 - 20"}, "rows"},
		{"by relation", q + "&by=relid", []string{"public.t1: 10 20 20 20 - 20", "public.t2: 1 1 1 0 - 0"}, ""},
		{"of a relation by name", q + "&relname=t2", []string{": 1 1 1 0 - 0"}, ""},
		{"begins within", fmt.Sprintf("family=tables&column=n_dead_tup&step=60&from=%d&to=%d", tk[2]/1_000_000, tk[4]/1_000_000), []string{": 21 20"}, ""},
		// The row of minute 2 counts to minute 62, and one interval more.
		{"not for ever", fmt.Sprintf("family=tables&column=n_dead_tup&step=60&from=%d&to=%d", tk[60]/1_000_000, tk[66]/1_000_000), []string{": 20 20 20 0 0 0"}, ""},
	})
}

func fail2(b *frame.Batch, family, database string) *frame.Batch {
	b.Outcomes = append(b.Outcomes, frame.Outcome{Family: family, Database: database, Lane: b.Lane, First: b.Tick, Last: b.Tick, N: 1, Code: frame.Failed, Reason: "lock_timeout"})
	return b
}

// Two databases are read one after another: each has its own frames, and a rate is
// the sum of both.
func TestSeriesOverDatabases(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	tk := minutes(5)
	a.push(add(plan(batch(db1, "postgres", catalog.Slow, tk[0]), time.Minute, "", "database"), "database", "", 0, 0,
		row{"datid": 5, "datname": "shop", "numbackends": 1}, row{"datid": 6, "datname": "mail", "numbackends": 1}))
	scans := func(i int, name string, id, n int, since int64) *frame.Batch {
		return add(batch(db1, name, catalog.Slow, tk[i]), "tables", name, since, 0, row{"datid": id, "relid": id * 10, "seq_scan": n})
	}
	a.push(
		add(plan(batch(db1, "shop", catalog.Slow, tk[0]), time.Minute, "shop", "tables"), "tables", "shop", 0, 0),
		add(plan(batch(db1, "mail", catalog.Slow, tk[0]), time.Minute, "mail", "tables"), "tables", "mail", 0, 0),
		scans(1, "shop", 5, 60, 60_000), scans(1, "mail", 6, 120, 60_000),
		scans(2, "shop", 5, 60, 60_000), // mail's tick failed
		scans(3, "shop", 5, 60, 60_000), scans(3, "mail", 6, 240, 120_000),
	)
	a.drop("spool_full", scans(4, "mail", 6, 30, 60_000))
	id := a.ids[db1]
	q := fmt.Sprintf("family=tables&column=seq_scan&step=60&from=%d&to=%d", tk[0]/1_000_000, tk[4]/1_000_000)
	checkSeries(t, b, id, []seriesCase{
		{"rate", q, []string{": 3 3 3 0.5"}, ""},
		{"delta", q + "&fn=delta", []string{": 180 60 300 30"}, ""},
		{"of one database", q + "&datid=mail", []string{": 2 2 2 0.5"}, ""},
		{"of the other", q + "&datid=shop", []string{": 1 1 1 -"}, ""},
		{"by database", q + "&by=datid", []string{"mail: 2 2 2 0.5", "shop: 1 1 1 0"}, ""},
	})
}
