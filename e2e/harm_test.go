package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// TestLocks: the view pg_stat_statements, a user table and a system view that we do
// read are under ACCESS EXCLUSIVE, each with DDL queued behind, while the collector
// reads on every second (I3). What is behind a lock fails with lock_timeout, all
// else arrives on time, and no DDL waits for us.
func TestLocks(t *testing.T) {
	t.Parallel()
	const slack = time.Second // of a busy machine; a statement that we forgot would run for 5 s
	p := newParts(t, 17, "allow_system_table_mods=on")
	pgtest.Exec(t, p.watched.URL("postgres"), "CREATE TABLE orders (id int)", "INSERT INTO orders SELECT generate_series(1, 100)")
	p.startBackend()
	p.token = p.secret("api-token")
	p.configure(p.base, 1, "", instance{"watched", p.watched.URLAs("pganalytics", "postgres")})
	p.startCollector()
	id := p.instance("watched")
	eventually(t, 30*time.Second, func() string {
		if n := p.sql(`SELECT count(*) FROM ledger`); n < 15 {
			return fmt.Sprintf("only %d rounds are stored", n)
		}
		return ""
	})

	locks := []struct{ lock, ddl string }{
		{"LOCK TABLE public.pg_stat_statements IN ACCESS EXCLUSIVE MODE", "ALTER VIEW public.pg_stat_statements OWNER TO CURRENT_USER"},
		{"LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", "ALTER TABLE orders ADD COLUMN n int"},
		// Not LOCK TABLE, which takes what is below the view as well: nobody gets into
		// the server without pg_database.
		{"ALTER VIEW pg_catalog.pg_stat_database OWNER TO CURRENT_USER", "ALTER VIEW pg_catalog.pg_stat_database OWNER TO CURRENT_USER"},
	}
	from := time.Now()
	holder := pgtest.Connect(t, p.watched.URL("postgres"))
	must(t, holder, "BEGIN")
	type wait struct {
		ddl   string
		ended time.Time
		err   error
	}
	waits := make(chan wait, len(locks))
	for _, l := range locks {
		must(t, holder, l.lock)
		conn := pgtest.Connect(t, p.watched.URL("postgres"))
		go func() {
			_, err := conn.Exec(context.Background(), l.ddl)
			waits <- wait{l.ddl, time.Now(), err}
		}()
	}
	eventually(t, 10*time.Second, func() string {
		var n int
		if err := holder.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n < len(locks) {
			return fmt.Sprintf("%d statements of DDL wait", n)
		}
		return ""
	})
	time.Sleep(7 * time.Second)
	must(t, holder, "COMMIT")
	released := time.Now()
	for range locks {
		w := <-waits
		if w.err != nil {
			t.Errorf("%s: %v", w.ddl, w.err)
		}
		if d := w.ended.Sub(released); d > 100*time.Millisecond+slack {
			t.Errorf("%s: went on %s after the lock was gone", w.ddl, d)
		}
	}
	// DDL at any moment of our reading: it waits for a statement of ours at most.
	var longest time.Duration
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		began := time.Now()
		must(t, holder, locks[2].ddl)
		longest = max(longest, time.Since(began))
	}
	if longest > 100*time.Millisecond+slack {
		t.Errorf("DDL waited %s for us", longest)
	}
	t.Logf("DDL waited %s at most", longest)

	// Recovered, and then the account.
	eventually(t, 20*time.Second, func() string {
		if p.sql(`SELECT count(*) FROM database_raw WHERE time > $1`, time.Now().Add(-3*time.Second)) == 0 {
			return "database is not read again"
		}
		return ""
	})
	to := time.Now().Add(-3 * time.Second)
	var l outcomes
	eventually(t, 10*time.Second, func() string {
		p.get(&l, "/api/v1/ledger", "instance", id, "from", strconv.FormatInt(from.Unix(), 10), "to", strconv.FormatInt(to.Unix(), 10), "limit", "10000")
		if l.Pending+l.Missing > 0 || l.sum() != l.Planned {
			return l.String()
		}
		return ""
	})
	behind := func(i exception) bool {
		return i.Family == "database" && i.Outcome == "failed" && i.Reason == "lock_timeout"
	}
	others := l
	others.Items = slices.DeleteFunc(slices.Clone(l.Items), behind)
	failed := len(l.Items) - len(others.Items)
	others.Failed -= int64(failed)
	others.Planned -= int64(failed)
	if lost := others.lost(); lost != "" {
		t.Errorf("beside what was locked: %s", lost)
	}
	if failed < 4 || failed > 20 {
		t.Errorf("database failed at %d ticks, it was locked at about 7: %s", failed, &l)
	}
	late := p.sql(`SELECT max(ms) FROM ledger, unnest(at_ms) ms WHERE instance_id = $1 AND time BETWEEN $2 AND $3`, id, from, to)
	if late > 2000 {
		t.Errorf("a family was read %d ms after its tick", late)
	}
	t.Logf("the latest reading was %d ms after its tick; %s", late, &l)
}

func must(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
