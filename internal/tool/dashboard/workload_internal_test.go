package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

const (
	interval = 10 * time.Second
	ticks    = 120 // of the workload: 20 minutes
	ahead    = 18  // of them lie ahead of now, so that a slow machine does not make alpha silent
	shown    = ticks - ahead - 3
	instance = "db-1.example:5432"
	second   = "it's odd:5432" // a name that has to be quoted
	silent   = "db-3.example:5432"
)

// What happens to the ticks of db-1:
func dropped(k int) bool    { return k >= 30 && k < 34 } // the spool was full: sums are left
func failed(k int) bool     { return k >= 50 && k < 58 } // no connection: the frame after it is long
func restarted(k int) bool  { return k >= 90 && k < 96 } // the collector was down
func baseline(k int) bool   { return k == 0 || k == 96 } // counts nothing
func tableMoves(k int) bool { return k%5 == 0 }          // rows of tables are stored when they change

// workload is what two collectors saw: of db-1 with all kinds of gaps, of a second
// one without statements, and of one whose collector fell silent long ago.
type workload struct {
	start time.Time // of tick 0
}

func (w *workload) tick(k int) int64 { return w.start.UnixMicro() + int64(k)*interval.Microseconds() }

func (w *workload) from() time.Time { return w.start.Add(-interval + 3*time.Second) }
func (w *workload) to() time.Time   { return w.start.Add((shown-1)*interval + 4*time.Second) }

// span gives since and at of tick k.
func (w *workload) span(k int) (since, at int64) {
	at = w.tick(k) + 120_000
	if baseline(k) {
		return at, at
	}
	before := k - 1
	for before > 0 && (failed(before) || restarted(before)) {
		before--
	}
	return w.tick(before) + 120_000, at
}

func fill(t testing.TB, b *bed) *workload {
	t.Helper()
	w := &workload{start: time.Now().Add(-(ticks - ahead) * interval).Truncate(time.Second)}
	alpha := b.agent("alpha", instance, second)
	w.earlier(alpha)
	for k := range ticks {
		w.first(alpha, k)
		w.second(alpha, k)
	}
	alpha.push()
	omega := b.agent("omega", silent)
	for k := range 3 {
		round := batch(silent, "postgres", catalog.Slow, w.tick(k))
		w.plan(round, k == 0, "", "collector", "wal")
		since, at := w.span(k)
		add(round, "collector", "", since, at, process(k))
		add(round, "wal", "", since, at, row{"wal_bytes": 1})
		if k == 2 { // its clock goes back: two schedules overlap
			round.Schedules = append(round.Schedules,
				frame.Schedule{Family: "wal", Lane: catalog.Slow, From: w.tick(0), Until: w.tick(40), Every: interval.Microseconds(), Reason: frame.Closed},
				frame.Schedule{Family: "wal", Lane: catalog.Slow, From: w.tick(20) + 1, Every: interval.Microseconds()})
		}
		omega.put(round)
	}
	omega.push()
	// As if both had been known for hours, and omega had not been heard of since then.
	pgtest.Exec(t, b.url, "UPDATE fleet_collector SET registered = now() - interval '3 hours'", "UPDATE fleet_instance SET registered = now() - interval '3 hours'",
		"UPDATE fleet_collector SET last_push = now() + CASE name WHEN 'omega' THEN interval '-16 minutes' ELSE interval '5 minutes' END")
	return w
}

func (w *workload) plan(b *frame.Batch, first bool, database string, families ...string) {
	if !first {
		return
	}
	for _, f := range families {
		s := frame.Schedule{Family: f, Database: database, Lane: catalog.Lookup(f).Lane, From: b.Tick, Every: interval.Microseconds()}
		if f == "wal" && b.Instance == second {
			s.Absent = []string{"wal_buffers_full", "wal_bytes"}
		}
		b.Schedules = append(b.Schedules, s)
	}
}

// process is what the collector says of itself: 5 % of a core, 50 MB, cycles of 2 s.
func process(k int) row {
	cpu := 500_000
	if k == 58 {
		cpu *= 9 // of nine intervals
	}
	if baseline(k) {
		cpu = 0
	}
	return row{"cpu_time": cpu, "busy_time": 2 * cpu, "memory": 50 * mebibyte, "memory_peak": 60 * mebibyte, "cycle_time": 2_000_000, "workers": 4, "overflow": k % 3,
		"instances": 2, "spool_bytes": 1000 * k, "spool_max_bytes": 1 << 30, "spool_batches": k % 7, "spool_oldest_age": float64(k % 5), "rounds": 1, "round_time": 30_000,
		"round_trips": 1, "server_time": 7_000 + k, "connects": 0, "acquires": 2, "acquire_time": 40, "pool_open": 2, "pool_busy": 1, "pool_max": 10}
}

var slow = []string{"statements", "database", "wal", "collector", "roles"}

// first is db-1: two databases, statements with a cut.
func (w *workload) first(a *agent, k int) {
	tick := w.tick(k)
	since, at := w.span(k)
	round := batch(instance, "postgres", catalog.Slow, tick)
	w.plan(round, k == 0, "", slow...)
	w.plan(round, k == 0, "", "statement_texts")
	sessions := batch(instance, "postgres", catalog.Fast, tick)
	w.plan(sessions, k == 0, "", "activity")
	tables := map[string]*frame.Batch{}
	for _, database := range []string{"shop", "billing"} {
		tables[database] = batch(instance, database, catalog.Slow, tick)
		w.plan(tables[database], k == 0, database, "tables")
	}
	if failed(k) || restarted(k) {
		code, reason := frame.Failed, "connect"
		if restarted(k) {
			code, reason = frame.Skipped, "collector_down"
		}
		fail(round, "", code, reason, slow...)
		fail(sessions, "", code, reason, "activity")
		for _, database := range []string{"shop", "billing"} {
			fail(tables[database], database, code, reason, "tables")
		}
		a.put(round)
		a.put(sessions)
		a.put(tables["shop"])
		a.put(tables["billing"])
		return
	}
	counts := func(n int) int {
		if baseline(k) {
			return 0
		}
		return n
	}
	statements := []row{}
	for q := range 5 {
		if k%(q+1) == 0 && !baseline(k) { // rows of what did not run are not sent
			statements = append(statements, row{"dbid": 5 + q%2, "userid": 10, "queryid": 1000 + q, "toplevel": true, "calls": 10 * (q + 1), "total_exec_time": 1_234_567 * (q + 1), "rows": 3,
				"shared_blks_hit": 17, "wal_bytes": 100})
		}
	}
	add(round, "statements", "", since, at, statements...)
	if !baseline(k) {
		round.Frames = append(round.Frames, frameOf("statements", "", frame.Cut, since, at, row{"dbid": 5, "userid": 10, "calls": 7, "total_exec_time": 999_999, "rows": 1}))
	}
	add(round, "database", "", since, at,
		row{"datid": 5, "datname": "shop", "numbackends": 4, "xact_commit": counts(100 + k), "xact_rollback": counts(k % 4), "blks_hit": counts(900), "blks_read": counts(k), "tup_inserted": counts(11)},
		row{"datid": 6, "datname": "billing", "numbackends": 1, "xact_commit": counts(3), "temp_bytes": counts(8192), "tup_updated": counts(k * k), "blks_hit": counts(10)})
	add(round, "wal", "", since, at, row{"wal_records": counts(5), "wal_bytes": counts(1000 * k)})
	add(round, "collector", "", since, at, process(k))
	add(round, "roles", "", since, at, map[bool][]row{true: {{"oid": 10, "rolname": "app"}}, false: {}}[k == 0]...)
	if k == 1 {
		var texts []row
		for q := range 5 {
			texts = append(texts, row{"queryid": 1000 + q, "query": fmt.Sprintf("SELECT %d FROM things WHERE id = $1", q)})
		}
		add(round, "statement_texts", "", since, at, texts...)
	}
	if k == 97 { // a tick that is claimed twice counts once: stored wins, then dropped
		round.Outcomes = append(round.Outcomes,
			frame.Outcome{Family: "wal", Lane: round.Lane, First: w.tick(87), Last: w.tick(92), N: 6, Code: frame.Skipped, Reason: "collector_down"},
			frame.Outcome{Family: "wal", Lane: round.Lane, First: w.tick(50), Last: w.tick(52), N: 2, Code: frame.OutcomeDropped, Reason: "clock"})
	}
	add(sessions, "activity", "", since, at,
		row{"datname": "shop", "usename": "app", "application_name": "web", "backend_type": "client backend", "state": "active", "wait_event_type": "", "wait_event": "", "sessions": 1 + k%3},
		row{"datname": "shop", "usename": "app", "application_name": "web", "backend_type": "client backend", "state": "idle", "wait_event_type": "Client", "wait_event": "ClientRead", "sessions": 5})
	if k%4 == 0 {
		f := &sessions.Frames[len(sessions.Frames)-1]
		*f = frameOf("activity", "", frame.Rows, since, at,
			row{"datname": "shop", "usename": "app", "application_name": "web", "backend_type": "client backend", "state": "active", "wait_event_type": "Lock", "wait_event": "tuple", "sessions": 2},
			row{"datname": "shop", "usename": "app", "application_name": "web", "backend_type": "client backend", "state": "idle in transaction", "wait_event_type": "Client", "wait_event": "ClientRead", "sessions": 1})
	}
	shop, billing := []row{}, []row{}
	if tableMoves(k) || baseline(k) {
		shop = append(shop, row{"datid": 5, "relid": 500, "schemaname": "public", "relname": "orders", "seq_tup_read": counts(40), "idx_tup_fetch": counts(400), "n_dead_tup": 100 + k})
		billing = append(billing, row{"datid": 6, "relid": 600, "schemaname": "public", "relname": "bills", "seq_tup_read": counts(4), "n_dead_tup": 10})
	}
	if k == 0 {
		billing = append(billing, row{"datid": 6, "relid": 601, "schemaname": "public", "relname": "gone", "n_dead_tup": 7})
	}
	if k == 70 { // vanished: stored once more without gauges
		billing = append(billing, row{"datid": 6, "relid": 601, "schemaname": "public", "relname": "gone", "n_dead_tup": nil})
	}
	add(tables["shop"], "tables", "shop", since, at, shop...)
	add(tables["billing"], "tables", "billing", since, at+50_000, billing...)
	for _, b := range []*frame.Batch{round, sessions, tables["shop"], tables["billing"]} {
		if dropped(k) {
			a.drop(b)
		} else {
			a.put(b)
		}
	}
}

// second has no pg_stat_statements and lacks columns; nothing happens to its ticks.
func (w *workload) second(a *agent, k int) {
	round := batch(second, "postgres", catalog.Slow, w.tick(k))
	w.plan(round, k == 0, "", "wal", "collector")
	if k == 0 {
		round.Schedules = append(round.Schedules, frame.Schedule{Family: "statements", Lane: catalog.Slow, From: round.Tick, Every: interval.Microseconds(), Reason: "no_extension"})
	}
	since, at := w.tick(k)-interval.Microseconds()+120_000, w.tick(k)+120_000
	add(round, "wal", "", since, at, row{"wal_records": 9})
	c := process(1)
	add(round, "collector", "", since, at, c)
	a.put(round)
	sessions := batch(second, "postgres", catalog.Fast, w.tick(k))
	w.plan(sessions, k == 0, "", "activity")
	add(sessions, "activity", "", since, at)
	a.put(sessions)
}

const (
	slowly = 10 * time.Minute
	slowN  = 12 // ticks of it, before the others begin
)

// earlier is a database of the second instance that was read every ten minutes, and
// whose one table was stored once: its gauges hold for an hour and no longer.
func (w *workload) earlier(a *agent) {
	for j := range slowN {
		tick := w.start.Add(time.Duration(j-slowN-1) * slowly).UnixMicro()
		round, tables := batch(second, "old", catalog.Slow, tick), batch(second, "old", catalog.Slow, tick)
		rows := []row{}
		if j == 0 {
			until := w.start.Add(-2 * slowly).UnixMicro()
			round.Schedules = []frame.Schedule{{Family: "database", Lane: catalog.Slow, From: tick, Until: tick, Every: slowly.Microseconds()}}
			tables.Schedules = []frame.Schedule{{Family: "tables", Database: "old", Lane: catalog.Slow, From: tick, Until: until, Every: slowly.Microseconds()}}
			add(round, "database", "", tick, tick, row{"datid": 5, "datname": "old", "numbackends": 1})
			a.put(round)
			rows = append(rows, row{"datid": 5, "relid": 1, "schemaname": "public", "relname": "still", "n_dead_tup": 5})
		}
		add(tables, "tables", "old", tick-slowly.Microseconds(), tick, rows...)
		a.put(tables)
	}
}
