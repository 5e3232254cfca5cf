package target_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// openSystem is a server whose system views can be tampered with.
const openSystem = "allow_system_table_mods=on"

func tampered(t *testing.T, test func(t *testing.T, s *pgtest.Cluster, url string)) {
	t.Helper()
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			s := pgtest.Server(t, major, openSystem)
			url := pgtest.Database(t, s)
			pgtest.Exec(t, url, "CREATE EXTENSION pg_stat_statements", "CREATE TABLE t (n int)")
			test(t, s, url)
		})
	}
}

// slowView makes a system view of one database take that long.
func slowView(t testing.TB, url, view string, seconds float64) {
	t.Helper()
	var def string
	conn := pgtest.Connect(t, url)
	if err := conn.QueryRow(context.Background(), "SELECT rtrim(pg_get_viewdef('pg_catalog."+view+"'::regclass), ';')").Scan(&def); err != nil {
		t.Fatal(err)
	}
	execAll(t, conn, fmt.Sprintf("CREATE OR REPLACE VIEW pg_catalog.%s AS SELECT v.* FROM (%s) v, (SELECT pg_catalog.pg_sleep(%v) OFFSET 0) s", view, def, seconds))
}

// The view of pg_stat_statements and a user table under ACCESS EXCLUSIVE, with DDL
// behind: nothing that we read waits for either.
func TestLocksOnTheExtensionsViewAndATable(t *testing.T) {
	forMajors(t, func(t *testing.T, s *pgtest.Cluster) {
		url := pgtest.Database(t, s)
		home := databaseOf(url)
		pgtest.Exec(t, url, "CREATE EXTENSION pg_stat_statements", "CREATE TABLE t (n int)")
		tg := newTarget(t, url)
		facts := contact(t, tg)
		holder, ddl := pgtest.Connect(t, url), pgtest.Connect(t, url)
		execAll(t, holder, "BEGIN", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE", "LOCK TABLE pg_stat_statements IN ACCESS EXCLUSIVE MODE")
		waited := queueDDL(t, s, ddl, "ALTER TABLE t ADD COLUMN m int")
		for range 3 {
			start := time.Now()
			slow, stats := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
			arrived(t, slow)
			fast, _ := read(t, tg, home, catalog.Fast, planned(facts, home, catalog.Fast))
			arrived(t, fast)
			if took := time.Since(start); stats.RoundTrips != 1 || took > 2*time.Second {
				t.Errorf("%d round trips, %v", stats.RoundTrips, took)
			}
		}
		execAll(t, holder, "COMMIT")
		released := time.Now()
		<-waited
		if d := time.Since(released); d > 300*time.Millisecond {
			t.Errorf("DDL went on %v after the lock was gone", d)
		}
	})
}

// queueDDL runs DDL that has to wait, and returns when it does; the channel is
// closed when it has ended.
func queueDDL(t testing.TB, s *pgtest.Cluster, conn *pgx.Conn, sql string) <-chan struct{} {
	t.Helper()
	ended := make(chan struct{})
	pid := conn.PgConn().PID()
	go func() {
		_, err := conn.Exec(context.Background(), sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
		}
		close(ended)
	}()
	watcher := pgtest.Connect(t, s.URL("postgres"))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var waits bool
		if err := watcher.QueryRow(context.Background(), "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)", pid).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		if waits {
			return ended
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s doesn't wait", sql)
		}
	}
}

// A relation that we do read, locked, with DDL queued while we read on and on: its
// family fails with lock_timeout, the others arrive, the DDL is not kept waiting
// beyond lock_timeout by us, and the family comes back.
func TestLockedViewIsItsOwnProblem(t *testing.T) {
	tampered(t, func(t *testing.T, s *pgtest.Cluster, url string) {
		home := databaseOf(url)
		const lock = 100 * time.Millisecond
		tg := newTarget(t, url, func(c *target.Config) { c.Limits.Lock = lock })
		facts := contact(t, tg)
		plans := planned(facts, home, catalog.Slow)
		read(t, tg, home, catalog.Slow, plans)
		holder, ddl := pgtest.Connect(t, url), pgtest.Connect(t, url)
		// Not LOCK TABLE: it locks what is below the view as well, and nobody gets
		// into the server without pg_database.
		execAll(t, holder, "BEGIN", "ALTER VIEW pg_catalog.pg_stat_database OWNER TO CURRENT_USER")
		waited := queueDDL(t, s, ddl, "ALTER VIEW pg_catalog.pg_stat_database OWNER TO CURRENT_USER")
		for n := range 3 {
			start := time.Now()
			got, stats := read(t, tg, home, catalog.Slow, plans)
			took := time.Since(start)
			arrived(t, got, "database")
			if r := reading(t, got, "database"); r.Reason != "lock_timeout" || target.ReasonOf(r.Err) != "lock_timeout" {
				t.Errorf("database: %s, %v", r.Reason, r.Err)
			}
			// Found out once, it is read apart: no second exchange, one wait.
			if want := map[bool]int{true: 2, false: 1}[n == 0]; stats.RoundTrips != want || took < lock || took > lock+time.Second {
				t.Errorf("round %d: %d round trips, %v", n, stats.RoundTrips, took)
			}
		}
		// We are in the queue at any moment from here on.
		stop := make(chan struct{})
		var reading sync.WaitGroup
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					got, _, _ := tg.Read(context.Background(), home, catalog.Slow, plans, nil)
					target.Release(got)
				}
			}
		})
		time.Sleep(lock / 2)
		execAll(t, holder, "COMMIT")
		released := time.Now()
		<-waited
		if d := time.Since(released); d > lock+250*time.Millisecond {
			t.Errorf("DDL went on %v after the lock was gone", d)
		}
		close(stop)
		reading.Wait()
		got, _ := read(t, tg, home, catalog.Slow, plans)
		arrived(t, got)
		got, stats := read(t, tg, home, catalog.Slow, plans)
		arrived(t, got)
		if stats.RoundTrips != 1 {
			t.Errorf("%d round trips after it recovered", stats.RoundTrips)
		}
	})
}

func TestSlowFamilyIsItsOwnProblem(t *testing.T) {
	tampered(t, func(t *testing.T, s *pgtest.Cluster, url string) {
		home := databaseOf(url)
		slowView(t, url, "pg_stat_database", 30)
		tg := newTarget(t, url, func(c *target.Config) { c.Limits.Statement = 300 * time.Millisecond })
		facts := contact(t, tg)
		for n := range 3 {
			start := time.Now()
			got, stats := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
			arrived(t, got, "database")
			if r := reading(t, got, "database"); r.Reason != "statement_timeout" {
				t.Errorf("database: %s, %v", r.Reason, r.Err)
			}
			if took := time.Since(start); took > 2*time.Second || (n > 0 && stats.RoundTrips != 1) || stats.RoundTrips > 2 {
				t.Errorf("round %d: %v, %d round trips", n, took, stats.RoundTrips)
			}
		}
	})
}

// A column that the server's view lacks is NULL; the other columns, and families,
// are as ever.
func TestColumnDroppedFromAView(t *testing.T) {
	tampered(t, func(t *testing.T, s *pgtest.Cluster, url string) {
		home := databaseOf(url)
		tg := newTarget(t, url)
		before := contact(t, tg)
		read(t, tg, home, catalog.Slow, planned(before, home, catalog.Slow))
		conn := pgtest.Connect(t, url)
		var def string
		if err := conn.QueryRow(t.Context(), "SELECT rtrim(pg_get_viewdef('pg_catalog.pg_stat_database'::regclass), ';')").Scan(&def); err != nil {
			t.Fatal(err)
		}
		var columns []string
		rows, err := conn.Query(t.Context(), "SELECT attname FROM pg_attribute WHERE attrelid = 'pg_catalog.pg_stat_database'::regclass AND attnum > 0 AND attname NOT IN ('deadlocks', 'temp_bytes') ORDER BY attnum")
		if err != nil {
			t.Fatal(err)
		}
		if columns, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			t.Fatal(err)
		}
		execAll(t, conn, "DROP VIEW pg_catalog.pg_stat_database", "CREATE VIEW pg_catalog.pg_stat_database AS SELECT "+strings.Join(columns, ", ")+" FROM ("+def+") v",
			"GRANT SELECT ON pg_catalog.pg_stat_database TO PUBLIC")
		check := func(got []target.Reading, when string) {
			t.Helper()
			arrived(t, got)
			r := reading(t, got, "database")
			if r.Err != nil {
				return
			}
			for _, c := range r.Frame.Columns {
				gone := c.Name == "deadlocks" || c.Name == "temp_bytes"
				if gone != slices.Contains(r.Plan.Absent, c.Name) && !(s.Major < 18 && strings.HasPrefix(c.Name, "parallel")) && !(s.Major < 14 && (strings.Contains(c.Name, "session") || strings.HasSuffix(c.Name, "_time"))) {
					t.Errorf("%s: %s, absent are %v", when, c.Name, r.Plan.Absent)
				}
				if gone && (c.Null == nil || slices.Contains(c.Null, false)) {
					t.Errorf("%s: %s has values", when, c.Name)
				}
				if c.Name == "xact_commit" && slices.Max(c.Ints) == 0 {
					t.Errorf("%s: %s has none", when, c.Name)
				}
			}
			if r.Plan.Limit != "columns_missing" || !strings.Contains(r.Plan.Detail, "temp_bytes") {
				t.Errorf("%s: limit %q, detail %q", when, r.Plan.Limit, r.Plan.Detail)
			}
		}
		got, stats := read(t, tg, home, catalog.Slow, planned(before, home, catalog.Slow))
		check(got, "found in a round")
		if !stats.Changed {
			t.Error("a plan was changed, the round doesn't tell")
		}
		got, stats = read(t, tg, home, catalog.Slow, planned(before, home, catalog.Slow))
		check(got, "with old plans")
		if stats.RoundTrips != 1 {
			t.Errorf("%d round trips", stats.RoundTrips)
		}
		after := contact(t, tg)
		if p := plan(t, after, "database", ""); p.Limit != "columns_missing" || !slices.Contains(p.Absent, "deadlocks") {
			t.Errorf("contact: limit %q, absent %v", p.Limit, p.Absent)
		}
		got, stats = read(t, tg, home, catalog.Slow, planned(after, home, catalog.Slow))
		check(got, "after contact")
		if stats.RoundTrips != 1 || stats.Changed {
			t.Errorf("stats %+v", stats)
		}
		// A new collector finds it at contact.
		other := newTarget(t, url)
		fresh := contact(t, other)
		if p := plan(t, fresh, "database", ""); p.Limit != "columns_missing" || !slices.Contains(p.Absent, "deadlocks") {
			t.Errorf("new: limit %q, absent %v", p.Limit, p.Absent)
		}
		got, stats = read(t, other, home, catalog.Slow, planned(fresh, home, catalog.Slow))
		check(got, "new")
		if stats.RoundTrips != 1 {
			t.Errorf("new: %d round trips", stats.RoundTrips)
		}
	})
}

// A view that is gone as a whole takes its family along and nothing else.
func TestViewDropped(t *testing.T) {
	tampered(t, func(t *testing.T, s *pgtest.Cluster, url string) {
		home := databaseOf(url)
		tg := newTarget(t, url)
		facts := contact(t, tg)
		pgtest.Exec(t, url, "DROP VIEW pg_catalog.pg_stat_database")
		for range 2 {
			got, stats := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
			arrived(t, got, "database")
			if r := reading(t, got, "database"); r.Reason != "missing" || !stats.Changed {
				t.Errorf("database: %s, changed %t, %v", r.Reason, stats.Changed, r.Err)
			}
			facts = contact(t, tg)
		}
	})
}
