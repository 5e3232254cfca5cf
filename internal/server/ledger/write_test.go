package ledger_test

import (
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

func openStore(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := store.Open(pgtest.Database(t, pgtest.Store(t, pgtest.StoreMajor(t))), store.Options{MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := store.Migrate(t.Context(), pool, store.MetricsTable, ledger.Migrations); err != nil {
		t.Fatal(err)
	}
	return pool
}

func ensure(t *testing.T, pool *pgxpool.Pool, ticks ...int64) {
	t.Helper()
	p, err := store.NewPartitions(t.Context(), pool, ledger.PartitionedTables)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Ensure(t.Context(), ticks...); err != nil {
		t.Fatal(err)
	}
}

// TestFamilyIDs: backends that start at once agree on ids, and keep them.
func TestFamilyIDs(t *testing.T) {
	pool := openStore(t)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if _, err := ledger.Prepare(t.Context(), pool, [][]string{{"wal", "tables"}, {"tables", "wal", "newer"}}[i%2]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var n, most int
	if err := pool.QueryRow(t.Context(), "SELECT count(*), max(id) FROM ledger_family").Scan(&n, &most); err != nil || n != 3 || most != 3 {
		t.Error(n, most, err)
	}
}

func TestWrite(t *testing.T) {
	pool := openStore(t)
	l, err := ledger.Prepare(t.Context(), pool, []string{"a", "b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	const s = int64(1e6)
	tick := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMicro()
	ensure(t, pool, tick)
	stored := func(family, database string, at, since int64) frame.Outcome {
		return frame.Outcome{Family: family, Database: database, Lane: catalog.Slow, First: tick, Last: tick, N: 1, Code: frame.Stored, At: at, Since: since}
	}
	b := &frame.Batch{Tick: tick, Outcomes: []frame.Outcome{
		stored("a", "", tick+100_400, tick-9*s), stored("b", "", tick+200_600, tick-math.MaxInt32*10_000), stored("c", "shop", tick-3*s, tick-3*s),
		stored("moon", "", tick, tick),
		{Family: "a", Lane: catalog.Slow, First: tick - 60*s, Last: tick - 10*s, N: 6, Code: frame.Skipped, Reason: "collector_down", Detail: "killed"},
		{Family: "b", Lane: catalog.Fast, First: tick, Last: tick, N: 1, Code: frame.Failed, Reason: "connect"},
	}}
	sched := func(reason string, from, until int64) frame.Schedule {
		return frame.Schedule{Family: "a", Lane: catalog.Slow, From: from, Until: until, Every: 10 * s, Reason: reason, Absent: []string{"x", "y"}}
	}
	put := func(announced int64, b *frame.Batch) {
		t.Helper()
		c := &ledger.Content{}
		b.Tick = announced
		l.Add(c, 1, b, func(f string) bool { return f != "moon" }, []string{"moon"})
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			if err := store.CopyAll(t.Context(), tx.Conn().PgConn(), c.Copies); err != nil {
				return err
			}
			committed, err := l.Write(t.Context(), tx, [][16]byte{{1}}, []*ledger.Content{c})
			if err == nil {
				committed()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	b.Schedules = []frame.Schedule{sched("", tick, 0)}
	put(tick, b)
	// The same beginning announced later wins, in whatever order they come.
	put(tick+20*s, &frame.Batch{Schedules: []frame.Schedule{sched("disabled", tick, tick+s)}})
	put(tick+10*s, &frame.Batch{Schedules: []frame.Schedule{sched("gone", tick, 0)}})
	for sql, want := range map[string]string{
		"SELECT time, database, families, at_ms, since_ms FROM ledger ORDER BY database": "2026-03-01 12:00:00+00||{1,2}|{100,201}|{9100,2147483647}\n2026-03-01 12:00:00+00|shop|{3}|{-3000}|{0}",
		"SELECT first, last - first, n, every_us, lane, family, outcome, reason, detail FROM ledger_exception ORDER BY n DESC, family": "2026-03-01 11:59:00+00|00:00:50|6|10000000|slow|a|skipped|collector_down|killed\n" +
			"2026-03-01 12:00:00+00|00:00:00|1|0|fast|b|failed|connect|\n2026-03-01 12:00:00+00|00:00:00|1|0|slow|moon|dropped|unknown_family|",
		"SELECT reason, valid_to, absent, announced FROM ledger_schedule": "disabled|2026-03-01 12:00:01+00|{x,y}|2026-03-01 12:00:20+00",
		"SELECT name, first FROM ledger_unknown":                          "moon|2026-03-01 12:00:00+00",
		"SELECT count(*) FROM metrics":                                    "2",
	} {
		if got := text(t, pool, sql); got != want {
			t.Errorf("%s gives\n%s\nwant\n%s", sql, got, want)
		}
	}

	// Retention: an exception goes with its last tick, a schedule when another holds.
	put(tick+100*s, &frame.Batch{Schedules: []frame.Schedule{sched("", tick+30*s, 0), sched("", tick+200*s, 0)}})
	if err := l.Retain(t.Context(), pool, tick+50*s); err != nil {
		t.Fatal(err)
	}
	if got := text(t, pool, "SELECT valid_from FROM ledger_schedule ORDER BY 1"); got != "2026-03-01 12:00:30+00\n2026-03-01 12:03:20+00" {
		t.Errorf("schedules after retention: %s", got)
	}
	if got := text(t, pool, "SELECT count(*) FROM ledger_exception"); got != "0" {
		t.Errorf("%s exceptions after retention", got)
	}
}

func text(t *testing.T, pool *pgxpool.Pool, sql string) string {
	t.Helper()
	results, err := pool.Query(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := pgx.CollectRows(results, func(r pgx.CollectableRow) (string, error) {
		var out []string
		for _, v := range r.RawValues() {
			out = append(out, string(v))
		}
		return strings.Join(out, "|"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(rows, "\n")
}
