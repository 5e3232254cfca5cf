package demo_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/procfs"
	"go.uber.org/goleak"

	"github.com/pganalytics/pganalytics/internal/app/demo"
	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func server(t *testing.T, major int) *pgtest.Cluster {
	t.Helper()
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(demo.Settings())) {
		settings = append(settings, name+"="+demo.Settings()[name])
	}
	return pgtest.Private(t, major, settings...)
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *buffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *buffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// cpu is the processor time of the server's processes, ended ones included through their parent.
func cpu(t *testing.T, c *pgtest.Cluster) time.Duration {
	t.Helper()
	var ticks float64
	for _, pid := range pgserver.Below(c.Dir) {
		p, err := procfs.NewProc(pid)
		if err != nil {
			continue // ended meanwhile
		}
		stat, err := p.Stat()
		if err != nil {
			continue
		}
		ticks += float64(stat.UTime + stat.STime)
		if pid == c.PID() {
			ticks += float64(stat.CUTime + stat.CSTime)
		}
	}
	return time.Duration(ticks * float64(10*time.Millisecond)) // USER_HZ is 100 on Linux
}

func own(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Every screen shows something true within 30 seconds, the load stays small, the server may go
// away and come back, and the end is prompt.
func TestShop(t *testing.T) {
	// The demo runs on the store's programs: the oldest and the newest of them.
	majors := slices.DeleteFunc(pgtest.Majors(t), func(m int) bool { return m < pgserver.StoreMinimum })
	if len(majors) > 2 {
		majors = []int{majors[0], majors[len(majors)-1]}
	}
	for _, major := range majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			testShop(t, server(t, major))
		})
	}
}

func testShop(t *testing.T, c *pgtest.Cluster) {
	var log buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	began := time.Now()
	shop, err := demo.Prepare(t.Context(), c.URL("postgres"), logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("prepared in %v", time.Since(began))

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- shop.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })

	monitor, err := pgx.Connect(t.Context(), c.URLAs("pganalytics", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = monitor.Close(context.Background()) })
	in := func(database string) *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), c.URLAs("pganalytics", database))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	shopDB, billing := in("shop"), in("billing")

	// What is to be seen, each asked again until it was seen once.
	type sight struct {
		name string
		conn *pgx.Conn
		sql  string
	}
	waiting := []sight{
		{"statements of five roles in three databases", monitor, `SELECT count(DISTINCT userid) >= 5 AND count(DISTINCT dbid) >= 3 FROM pg_stat_statements
WHERE dbid IN (SELECT oid FROM pg_database WHERE datname IN ('shop', 'billing', 'analytics'))`},
		{"a statement with temporary files", monitor, "SELECT bool_or(temp_blks_written > 0) FROM pg_stat_statements"},
		{"temporary files", monitor, "SELECT bool_or(temp_files > 0) FROM pg_stat_database WHERE datname = 'shop'"},
		{"commits and rollbacks", monitor, "SELECT bool_and(xact_commit > 50) AND sum(xact_rollback) > 2 FROM pg_stat_database WHERE datname IN ('shop', 'billing')"},
		{"waits for a lock", monitor, "SELECT bool_or(wait_event_type = 'Lock') FROM pg_stat_activity WHERE application_name = 'checkout-api'"},
		{"idle in transaction for seconds", monitor, "SELECT bool_or(state = 'idle in transaction' AND state_change < now() - interval '2 seconds') FROM pg_stat_activity WHERE application_name = 'psql'"},
		{"all programs", monitor, "SELECT count(DISTINCT application_name) >= 11 FROM pg_stat_activity WHERE datname IN ('shop', 'billing', 'analytics')"},
		{"a sequential scan of reviews", shopDB, "SELECT seq_scan > 0 AND seq_tup_read > 10000 FROM pg_stat_user_tables WHERE relname = 'reviews'"},
		{"index scans", shopDB, "SELECT idx_scan > 100 FROM pg_stat_user_tables WHERE relname = 'products'"},
		{"inserts, updates, deletes", shopDB, "SELECT sum(n_tup_ins) > 50 AND sum(n_tup_upd) > 50 AND sum(n_tup_del) > 10 FROM pg_stat_user_tables WHERE relname IN ('orders', 'stock', 'jobs')"},
		{"dead rows", shopDB, "SELECT bool_or(n_dead_tup > 0) FROM pg_stat_user_tables"},
		{"an autovacuum", shopDB, "SELECT sum(autovacuum_count) > 0 FROM pg_stat_user_tables"},
		{"hot updates", billing, "SELECT sum(n_tup_hot_upd) > 10 FROM pg_stat_user_tables"},
		{"a refreshed view", monitor, "SELECT bool_or(query LIKE 'REFRESH MATERIALIZED VIEW%') FROM pg_stat_statements"},
		{"WAL", monitor, "SELECT pg_current_wal_lsn() > '0/0'"},
	}
	busy, self, from := cpu(t, c), own(t), time.Now()
	for deadline := time.Now().Add(30 * time.Second); len(waiting) > 0; time.Sleep(100 * time.Millisecond) {
		waiting = slices.DeleteFunc(waiting, func(s sight) bool {
			var seen *bool
			if err := s.conn.QueryRow(t.Context(), s.sql).Scan(&seen); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			return seen != nil && *seen
		})
		if time.Now().After(deadline) {
			break
		}
	}
	for _, s := range waiting {
		t.Errorf("not seen within 30 s: %s", s.name)
	}
	took := time.Since(from)
	busy, self = cpu(t, c)-busy, own(t)-self
	t.Logf("all seen after %v; server %.1f %% of a core, all shops and this test %.1f %%", took.Round(time.Second),
		100*busy.Seconds()/took.Seconds(), 100*self.Seconds()/took.Seconds())
	if share := busy.Seconds() / took.Seconds(); took > 5*time.Second && share > 0.20 {
		t.Errorf("the server needs %.0f %% of a core", 100*share)
	}
	if text := log.String(); strings.Contains(text, "step failed") {
		t.Errorf("steps failed:\n%s", text)
	}

	// The server goes away under the shop and comes back.
	var before int64
	if err := shopDB.QueryRow(t.Context(), "SELECT max(id) FROM orders").Scan(&before); err == nil {
		t.Error("the monitoring role reads the shop's data")
	}
	c.Kill(t)
	time.Sleep(time.Second)
	c.Start(t)
	admin := pgtest.Connect(t, c.URL("shop"))
	if err := admin.QueryRow(t.Context(), "SELECT max(id) FROM orders").Scan(&before); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var now int64
		if err := admin.QueryRow(t.Context(), "SELECT max(id) FROM orders").Scan(&now); err != nil {
			t.Fatal(err)
		}
		if now > before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no order within 15 s of the server's return\n%s", log.String())
		}
	}
	if text := log.String(); !strings.Contains(text, "demo shop waits for its server") || !strings.Contains(text, "demo shop is back at work") {
		t.Errorf("the log does not tell of it:\n%s", text)
	}

	ended := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(ended); took > 2*time.Second {
		t.Errorf("Run took %v to end", took)
	}
	var left int
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := admin.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
WHERE usename IN ('admin', 'web', 'checkout', 'worker', 'billing', 'reporting')`).Scan(&left)
		if err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are left", left)
		}
	}
}

func TestPrepare(t *testing.T) {
	c := server(t, pgtest.StoreMajor(t))
	logger := slog.New(slog.DiscardHandler)
	began := time.Now()
	if _, err := demo.Prepare(t.Context(), c.URL("postgres"), logger); err != nil {
		t.Fatal(err)
	}
	t.Logf("first: %v", time.Since(began))
	pgtest.Exec(t, c.URL("shop"), "DELETE FROM reviews WHERE id = 1")
	// A crash half-way: this database was not finished.
	pgtest.Exec(t, c.URL("billing"), "COMMENT ON DATABASE billing IS NULL", "DROP TABLE entries")
	began = time.Now()
	shop, err := demo.Prepare(t.Context(), c.URL("postgres"), logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("again: %v", time.Since(began))
	var n int
	if err := pgtest.Connect(t, c.URL("shop")).QueryRow(t.Context(), "SELECT count(*) FROM reviews WHERE id = 1").Scan(&n); err != nil || n != 0 {
		t.Errorf("a finished database was made anew (%d, %v)", n, err)
	}
	if err := pgtest.Connect(t, c.URL("billing")).QueryRow(t.Context(), "SELECT count(*) FROM entries").Scan(&n); err != nil || n != 40000 {
		t.Errorf("the unfinished database has %d entries, %v, want 40000", n, err)
	}

	monitor := pgtest.Connect(t, shop.URL())
	var super, reads bool
	var limit int
	if err := monitor.QueryRow(t.Context(), `SELECT rolsuper, rolconnlimit, pg_has_role('pg_monitor', 'member')
FROM pg_roles WHERE rolname = current_user`).Scan(&super, &limit, &reads); err != nil {
		t.Fatal(err)
	}
	if super || limit != 10 || !reads {
		t.Errorf("monitoring role: superuser %v, connection limit %d, pg_monitor %v", super, limit, reads)
	}
	var secrets int
	if err := monitor.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_statements WHERE query ILIKE '%PASSWORD ''%'").Scan(&secrets); err != nil || secrets != 0 {
		t.Errorf("%d statements with passwords in pg_stat_statements, %v", secrets, err)
	}
	if text, err := os.ReadFile(c.Log); err != nil || bytes.Contains(text, []byte("PASSWORD")) {
		t.Errorf("a password may be in the server's log, %v", err)
	}
}

// With the real thing: a private server with passwords, as `up --demo` runs it.
func TestOnAPrivateServer(t *testing.T) {
	cfg := pgserver.Config{
		Binaries: pgtest.Binaries(t, pgtest.StoreMajor(t)), DataDir: filepath.Join(pgtest.Dir(t), "demo"), Listen: "127.0.0.1",
		Superuser: demo.Superuser, Settings: demo.Settings(),
	}
	s, err := pgserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	select {
	case <-s.Ready():
	case <-time.After(time.Minute):
		t.Fatal("not ready")
	}
	var log buffer
	shop, err := demo.Prepare(ctx, s.URL("postgres"), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	work, enough := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { _ = shop.Run(work) })
	defer done.Wait()
	defer enough()
	monitor := pgtest.Connect(t, shop.URL())
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var programs int
		if err := monitor.QueryRow(ctx, "SELECT count(DISTINCT application_name) FROM pg_stat_activity WHERE usename NOT IN ('postgres', 'pganalytics')").Scan(&programs); err != nil {
			t.Fatal(err)
		}
		if programs >= 11 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d programs at work\n%s", programs, log.String())
		}
	}
	if strings.Contains(strings.ToLower(log.String()), "error") {
		t.Errorf("a healthy run logs the word error:\n%s", log.String())
	}
}
