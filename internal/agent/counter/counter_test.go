package counter_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

const second = int64(1_000_000)

// TestCount goes through what can become of a counter, one thing at a time.
func TestCount(t *testing.T) {
	stmt := row{"dbid": 1, "userid": 10, "queryid": 77, "toplevel": 1, "stats_since": 5 * second, "calls": 10, "total_exec_time": 500, "rows": 3}
	old := row{"dbid": 1, "userid": 10, "queryid": 77, "toplevel": 1, "calls": 10, "total_exec_time": 500, "rows": 3}
	other := row{"dbid": 1, "userid": 10, "queryid": 78, "toplevel": 1, "calls": 1, "total_exec_time": 1, "rows": 1}
	table := row{"datid": 1, "relid": 100, "schemaname": "public", "relname": "orders", "seq_scan": 5, "idx_scan": 50, "idx_tup_fetch": 60, "n_tup_ins": 70, "n_live_tup": 9}
	wal := row{"stats_reset": second, "io_stats_reset": second, "wal_records": 100, "wal_bytes": 1000, "wal_write": 10, "wal_sync": 20}
	db := row{"datid": 5, "datname": "shop", "stats_reset": second, "numbackends": 1, "xact_commit": 1000, "blks_hit": 500}
	valid := func(reset, dealloc int64) counter.Proof {
		return counter.Proof{Valid: true, Reset: reset, Dealloc: dealloc}
	}
	type rows []row
	for _, tt := range []struct {
		name          string
		family        string
		before, after rows
		p0, p1        counter.Proof
		start         int64 // of the second read; the first has 1
		want          rows  // counters and keys of rows as named, others absent
		cut           rows
		reasons       []string
	}{
		{name: "known", family: "statements", before: rows{stmt}, after: rows{with(stmt, row{"calls": 12, "rows": 4})}, want: rows{{"calls": 2, "total_exec_time": 0, "rows": 1}}},
		{name: "nothing moved", family: "statements", before: rows{stmt}, after: rows{stmt}, want: rows{}},
		{name: "new", family: "statements", before: rows{}, after: rows{old}, want: rows{{"calls": 10, "total_exec_time": 500, "rows": 3}}},
		{
			// A statement that ran long was created before the last read, and is shown after it.
			name: "new, begun before the last read", family: "statements", before: rows{}, after: rows{stmt}, want: rows{{"calls": 10, "total_exec_time": 500, "rows": 3}},
		},
		{
			name: "created again, proved by stats_since", family: "statements", before: rows{stmt}, after: rows{with(stmt, row{"stats_since": 15 * second, "calls": 11})},
			p0: valid(1, 5), p1: valid(1, 6), want: rows{{"calls": 11, "total_exec_time": 500, "rows": 3}}, reasons: []string{"evicted"},
		},
		{
			name: "stats_since appears with a newer extension", family: "statements", before: rows{old}, after: rows{with(stmt, row{"calls": 11})},
			want: rows{{"calls": 1, "total_exec_time": 0, "rows": 0}},
		},
		{
			name: "fell, evicted", family: "statements", before: rows{old, other}, after: rows{with(old, row{"calls": 2, "total_exec_time": 9, "rows": 7}), other}, p0: valid(1, 5), p1: valid(1, 6),
			want: rows{{"calls": 2, "total_exec_time": 9, "rows": 7}}, reasons: []string{"evicted"},
		},
		{
			name: "fell, reset alone", family: "statements", before: rows{old, other}, after: rows{with(old, row{"calls": 2, "total_exec_time": 9, "rows": 7}), other}, p0: valid(1, 5), p1: valid(1, 5),
			want: rows{{"calls": 2, "total_exec_time": 9, "rows": 7}}, reasons: []string{"reset"},
		},
		{
			name: "reset as a whole, though nothing fell", family: "statements", before: rows{old}, after: rows{with(old, row{"calls": 11})}, p0: valid(second, 5), p1: valid(15*second, 0),
			want: rows{{"calls": 11, "total_exec_time": 500, "rows": 3}}, reasons: []string{"reset"},
		},
		{
			name: "crash", family: "statements", before: rows{old, other}, after: rows{with(old, row{"calls": 1})}, p0: valid(second, 5), p1: valid(15*second, 0), start: 14 * second,
			want: rows{{"calls": 1, "total_exec_time": 500, "rows": 3}}, reasons: []string{"restart"},
		},
		{
			name: "clean restart", family: "statements", before: rows{old}, after: rows{with(old, row{"calls": 11})}, p0: valid(second, 5), p1: valid(second, 5), start: 14 * second,
			want: rows{{"calls": 1, "total_exec_time": 0, "rows": 0}},
		},
		{name: "evicted, nothing else to see", family: "statements", before: rows{old}, after: rows{old}, p0: valid(1, 1204), p1: valid(1, 1242), want: rows{}, reasons: []string{"evicted"}},
		{name: "1.7: vanished rows prove an eviction", family: "statements", before: rows{old, other}, after: rows{old}, want: rows{}, reasons: []string{"evicted"}},
		{name: "1.7: all gone is a reset", family: "statements", before: rows{old, other}, after: rows{with(other, row{"queryid": 79})}, want: rows{{"calls": 1}}, reasons: []string{"reset"}},
		{
			name: "hidden ids go to the cut", family: "statements",
			before: rows{{"dbid": 1, "userid": 11, "toplevel": 1, "calls": 5}, {"dbid": 1, "userid": 11, "toplevel": 0, "calls": 6}, old},
			after:  rows{{"dbid": 1, "userid": 11, "toplevel": 1, "calls": 7}, {"dbid": 1, "userid": 11, "toplevel": 0, "calls": 9}, with(old, row{"calls": 11})},
			want:   rows{{"userid": 10, "calls": 1}}, cut: rows{{"dbid": 1, "userid": 11, "calls": 5}},
		},
		{
			name: "ids become visible", family: "statements", before: rows{{"dbid": 1, "userid": 10, "toplevel": 1, "calls": 1000}}, after: rows{old, other}, p0: valid(1, 1), p1: valid(1, 1),
			want: rows{}, reasons: []string{"privilege"},
		},
		{
			name: "ids become visible, one is younger", family: "statements", before: rows{{"dbid": 1, "userid": 10, "toplevel": 1, "calls": 1000}}, after: rows{stmt, with(stmt, row{"queryid": 99, "stats_since": 15 * second})}, p0: valid(1, 1), p1: valid(1, 1),
			want: rows{{"queryid": 99, "calls": 10}}, reasons: []string{"privilege"},
		},
		{
			name: "ids become hidden", family: "statements", before: rows{old, other}, after: rows{{"dbid": 1, "userid": 10, "toplevel": 1, "calls": 1000}}, p0: valid(1, 1), p1: valid(1, 1),
			want: rows{}, reasons: []string{"privilege"},
		},
		{
			name: "a new user whose ids are hidden", family: "statements", before: rows{old}, after: rows{old, {"dbid": 1, "userid": 11, "toplevel": 1, "calls": 3}}, p0: valid(1, 1), p1: valid(1, 1),
			want: rows{}, cut: rows{{"userid": 11, "calls": 3}},
		},
		{
			name: "a hidden sum falls", family: "statements", before: rows{{"dbid": 1, "userid": 11, "toplevel": 1, "calls": 1000, "rows": 5}}, after: rows{{"dbid": 1, "userid": 11, "toplevel": 1, "calls": 990, "rows": 7}}, p0: valid(1, 1), p1: valid(1, 2),
			want: rows{}, cut: rows{{"userid": 11, "calls": 0, "rows": 2}}, reasons: []string{"evicted"},
		},
		{name: "negative readings count as 0", family: "tables", before: rows{with(table, row{"heap_blks_read": -5})}, after: rows{with(table, row{"heap_blks_read": 3})}, want: rows{{"heap_blks_read": 3}}},
		{name: "two resets in one row", family: "wal", before: rows{wal}, after: rows{with(wal, row{"io_stats_reset": 15 * second, "wal_records": 150, "wal_write": 12, "wal_sync": 1})}, want: rows{{"wal_records": 50, "wal_bytes": 0, "wal_write": 12, "wal_sync": 1}}, reasons: []string{"reset"}},
		{
			name: "database: one table was reset, which touches stats_reset", family: "database", before: rows{db}, after: rows{with(db, row{"stats_reset": 15 * second, "xact_commit": 1001})},
			want: rows{{"xact_commit": 1, "blks_hit": 0}},
		},
		{
			name: "database: reset", family: "database", before: rows{db}, after: rows{with(db, row{"stats_reset": 15 * second, "xact_commit": 2, "blks_hit": 600})},
			want: rows{{"xact_commit": 2, "blks_hit": 600}}, reasons: []string{"reset"},
		},
		{name: "database: dropped", family: "database", before: rows{db, with(db, row{"datid": 6})}, after: rows{db}, want: rows{{"datid": 6, "xact_commit": 0}}, reasons: []string{"vanished"}},
		{
			name: "an index is dropped from a sum", family: "tables", before: rows{table}, after: rows{with(table, row{"idx_scan": 20, "idx_tup_fetch": 61, "n_tup_ins": 71})},
			want: rows{{"idx_scan": 0, "idx_tup_fetch": 1, "n_tup_ins": 1}}, reasons: []string{"vanished"},
		},
		{
			name: "a table's counters are reset", family: "tables", before: rows{table}, after: rows{with(table, row{"seq_scan": 1, "idx_scan": 2, "idx_tup_fetch": 90, "n_tup_ins": 0})},
			want: rows{{"seq_scan": 1, "idx_scan": 2, "idx_tup_fetch": 90, "n_tup_ins": 0}}, reasons: []string{"reset"},
		},
		{
			name: "after a crash those that did not fall began again too", family: "tables", before: rows{table, with(table, row{"relid": 101}), {"datid": 1, "relid": 102, "seq_scan": 1}}, start: 14 * second,
			after: rows{{"datid": 1, "relid": 100, "seq_scan": 1, "n_tup_ins": 1}, {"datid": 1, "relid": 101, "seq_scan": 0, "n_tup_ins": 0}, {"datid": 1, "relid": 102, "seq_scan": 3}},
			want:  rows{{"relid": 100, "seq_scan": 1, "n_tup_ins": 1}, {"relid": 101, "seq_scan": 0}, {"relid": 102, "seq_scan": 3}}, reasons: []string{"restart"},
		},
		{name: "NULL becomes a value", family: "tables", before: rows{{"datid": 1, "relid": 100, "seq_scan": 1}}, after: rows{{"datid": 1, "relid": 100, "seq_scan": 2, "idx_scan": 40}}, want: rows{{"seq_scan": 1, "idx_scan": 0}}},
		{name: "a value becomes NULL", family: "tables", before: rows{table}, after: rows{{"datid": 1, "relid": 100, "seq_scan": 6, "schemaname": "public", "relname": "orders", "n_live_tup": 9}}, want: rows{{"seq_scan": 1}}},
		{
			name: "one key twice", family: "tables", before: rows{table, with(table, row{"seq_scan": 7})}, after: rows{table, with(table, row{"seq_scan": 9})},
			want: rows{{"relid": 100, "seq_scan": 2}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := lookup(t, tt.family)
			r0, r1 := reading(f, 10*second, tt.before...), reading(f, 20*second, tt.after...)
			r0.Proof, r1.Proof = tt.p0, tt.p1
			if tt.start != 0 {
				r1.PostmasterStart = tt.start
			}
			base := counter.Count(f, nil, r0, counter.Options{}).Baseline
			res := counter.Count(f, base, r1, counter.Options{})
			check := func(what string, got, want []row) {
				if len(got) != len(want) {
					t.Errorf("%s: got %v, want %v", what, got, want)
					return
				}
				for i := range want {
					for name, v := range want[i] {
						if got[i][name] != int64(v.(int)) {
							t.Errorf("%s %d: %s = %v, want %v", what, i, name, got[i][name], v)
						}
					}
				}
			}
			check("row", rowsOf(&res.Frames[0]), tt.want)
			if tt.cut != nil && len(res.Frames) > 1 {
				check("cut", rowsOf(&res.Frames[1]), tt.cut)
			} else if len(res.Frames) > 1 || tt.cut != nil {
				t.Errorf("%d frames, want cut %v", len(res.Frames), tt.cut)
			}
			if want := append([]string{}, tt.reasons...); !slices.Equal(reasons(res), want) {
				t.Errorf("unobserved %+v, want %v", res.Unobserved, want)
			}
			for _, u := range res.Unobserved {
				if u.Since != 10*second || u.At != 20*second || u.Upper != nil || u.Detail == "" || u.Database != "shop" || u.Family != tt.family {
					t.Errorf("note %+v", u)
				}
			}
			// What was sent must not depend on where the baseline was kept.
			again := counter.Count(f, recode(t, f, base.AppendFull(nil)), r1, counter.Options{})
			if diff := cmp.Diff(res.Frames, again.Frames); diff != "" {
				t.Errorf("with the baseline from the disk: %s", diff)
			}
		})
	}
}

// TestSystem: the counters of another system say nothing about this one.
func TestSystem(t *testing.T) {
	f := lookup(t, "tables")
	base := counter.Count(f, nil, reading(f, second, row{"datid": 1, "relid": 1, "seq_scan": 5}), counter.Options{}).Baseline
	r := reading(f, 2*second, row{"datid": 1, "relid": 1, "seq_scan": 9})
	r.SystemID = 8
	res := counter.Count(f, base, r, counter.Options{})
	if got := rowsOf(&res.Frames[0]); len(got) != 1 || got[0]["seq_scan"] != int64(0) || res.Frames[0].Since != 2*second {
		t.Errorf("got %v since %d", got, res.Frames[0].Since)
	}
	// A clock that was set back leaves a span of nothing, not a negative one.
	r = reading(f, second, row{"datid": 1, "relid": 1, "seq_scan": 11})
	r.SystemID = 0 // not known is no other one
	res = counter.Count(f, res.Baseline, r, counter.Options{})
	if fr := res.Frames[0]; fr.Since != second || fr.At != second || rowsOf(&fr)[0]["seq_scan"] != int64(2) {
		t.Errorf("since %d, at %d, %v", fr.Since, fr.At, rowsOf(&fr))
	}
}

// TestLabels: labels are sent when they are new or changed, and once an hour.
func TestLabels(t *testing.T) {
	f := lookup(t, "tables")
	a := row{"datid": 1, "relid": 1, "schemaname": "public", "relname": "a", "seq_scan": 1, "n_live_tup": 5}
	b := row{"datid": 1, "relid": 2, "schemaname": "public", "relname": "b", "seq_scan": 1, "n_live_tup": 5}
	var base *counter.Baseline
	step := func(at time.Duration, rows ...row) []row {
		t.Helper()
		res := counter.Count(f, base, reading(f, at.Microseconds(), rows...), counter.Options{})
		base = res.Baseline
		return rowsOf(&res.Frames[0])
	}
	name := func(r row) any { return r["relname"] }
	if got := step(10*time.Second, a, b); len(got) != 2 || name(got[0]) != "a" || got[1]["schemaname"] != "public" || got[0]["seq_scan"] != int64(0) {
		t.Errorf("first: %v", got)
	}
	if got := step(20*time.Second, a, with(b, row{"seq_scan": 2})); len(got) != 1 || name(got[0]) != nil || got[0]["n_live_tup"] != int64(5) || got[0]["relid"] != int64(2) {
		t.Errorf("a counter moved: %v", got)
	}
	b = with(b, row{"seq_scan": 2, "relname": "renamed"})
	if got := step(30*time.Second, a, b); len(got) != 1 || name(got[0]) != "renamed" || got[0]["schemaname"] != "public" {
		t.Errorf("renamed: %v", got)
	}
	if got := step(40*time.Second, b, with(a, row{"n_live_tup": 6})); len(got) != 1 || name(got[0]) != nil || got[0]["n_live_tup"] != int64(6) {
		t.Errorf("a gauge changed: %v", got)
	}
	a = with(a, row{"n_live_tup": 6})
	if got := step(50*time.Second, a); len(got) != 1 || got[0]["relid"] != int64(2) || got[0]["seq_scan"] != int64(0) || len(got[0]) != 3 {
		t.Errorf("vanished: want key and counters of relid 2 only, got %v", got)
	}
	if got := step(time.Hour, a); len(got) != 0 {
		t.Errorf("before the hour: %v", got)
	}
	if got := step(time.Hour+11*time.Second, a); len(got) != 1 || name(got[0]) != "a" {
		t.Errorf("an hour later: %v", got)
	}
	if got := step(time.Hour+21*time.Second, a); len(got) != 0 {
		t.Errorf("again: %v", got)
	}
	if got := step(2*time.Hour+20*time.Second, a); len(got) != 1 {
		t.Errorf("two hours later: %v", got)
	}
	if got := step(time.Minute, a); len(got) != 1 {
		t.Errorf("the clock was set back: %v", got)
	}
}

// TestShapes: what is stored whole at every tick, on change, once.
func TestShapes(t *testing.T) {
	activity, settings, texts := lookup(t, "activity"), lookup(t, "settings"), lookup(t, "statement_texts")
	session := row{"datname": "shop", "state": "active", "sessions": 2, "max_xact_age": 1.5}
	var base *counter.Baseline
	for i, since := range []int64{10, 10, 20} {
		at := int64(i+1) * 10 * second
		res := counter.Count(activity, base, reading(activity, at, session), counter.Options{})
		if got := rowsOf(&res.Frames[0]); len(got) != 1 || got[0]["sessions"] != int64(2) || got[0]["max_xact_age"] != 1.5 || res.Frames[0].Since != since*second {
			t.Errorf("activity %d: %v since %d", i, got, res.Frames[0].Since)
		}
		base = recode(t, activity, res.Baseline.AppendPatch(nil))
		if base.Rows() != 0 {
			t.Errorf("activity keeps %d rows", base.Rows())
		}
	}
	set := func(name, value string) row { return row{"name": name, "setting": value, "pending_restart": 0} }
	res := counter.Count(settings, nil, reading(settings, second, set("a", "1"), set("b", "2")), counter.Options{})
	if res.Frames[0].N != 2 {
		t.Errorf("settings: %d rows at first", res.Frames[0].N)
	}
	res = counter.Count(settings, recode(t, settings, res.Baseline.AppendFull(nil)), reading(settings, 2*3600*second, set("a", "1"), set("b", "3"), set("c", "4")), counter.Options{})
	if diff := cmp.Diff([]row{{"name": "b", "setting": "3", "pending_restart": int64(0)}, {"name": "c", "setting": "4", "pending_restart": int64(0)}}, rowsOf(&res.Frames[0])); diff != "" {
		t.Errorf("settings changed: %s", diff)
	}
	res = counter.Count(settings, res.Baseline, reading(settings, 3*3600*second, set("a", "1"), set("b", "3")), counter.Options{})
	if diff := cmp.Diff([]row{{"name": "c"}}, rowsOf(&res.Frames[0])); diff != "" || len(res.Unobserved) > 0 {
		t.Errorf("a setting vanished: %s %v", diff, res.Unobserved)
	}
	res = counter.Count(texts, nil, reading(texts, second, row{"queryid": 1, "query": "SELECT $1"}), counter.Options{})
	if got := rowsOf(&res.Frames[0]); len(got) != 1 || got[0]["query"] != "SELECT $1" {
		t.Errorf("texts: %v", got)
	}
}

// TestAsIs: the readings that Count was given are not changed, and the frames that
// it gave do not change with them.
func TestAsIs(t *testing.T) {
	for _, name := range []string{"tables", "activity", "settings"} {
		f := lookup(t, name)
		rows := []row{{"datid": 1, "relid": 1, "relname": "a", "seq_scan": 1, "sessions": 2, "name": "x", "setting": "1", "state": "active"}}
		r := reading(f, second, rows...)
		res := counter.Count(f, nil, r, counter.Options{})
		want := rowsOf(&res.Frames[0])
		for i := range r.Frame.Columns {
			for k := range r.Frame.Columns[i].Ints {
				r.Frame.Columns[i].Ints[k] = 99
			}
			clear(r.Frame.Columns[i].Texts)
			clear(r.Frame.Columns[i].Floats)
		}
		if diff := cmp.Diff(want, rowsOf(&res.Frames[0])); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		next := counter.Count(f, res.Baseline, reading(f, 2*second, rows...), counter.Options{})
		if !f.Full && next.Frames[0].N != 0 {
			t.Errorf("%s: the baseline changed: %v", name, rowsOf(&next.Frames[0]))
		}
	}
}

// TestWire: every frame that Count makes goes over the wire as it is.
func TestWire(t *testing.T) {
	for _, f := range catalog.All() {
		r := row{}
		for i := range f.Columns {
			switch f.Columns[i].Wire() {
			case catalog.Text:
				r[f.Columns[i].Name] = "x"
			case catalog.Float:
				r[f.Columns[i].Name] = 0.5
			default:
				r[f.Columns[i].Name] = 1
			}
		}
		res := counter.Count(f, nil, reading(f, second, r), counter.Options{})
		got, rest, err := frame.DecodeFrame(frame.AppendFrame(nil, &res.Frames[0]))
		if err != nil || len(rest) > 0 {
			t.Errorf("%s: %v, %d bytes left", f.Name, err, len(rest))
			continue
		}
		if diff := cmp.Diff(rowsOf(&res.Frames[0]), rowsOf(got)); diff != "" {
			t.Errorf("%s: %s", f.Name, diff)
		}
	}
}
