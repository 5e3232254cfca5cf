package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/pganalytics/pganalytics/internal/agent"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// childEnv makes the test binary a collector, to be killed.
const childEnv = "PGA_TEST_COLLECTOR"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(collector(text))
	}
	goleak.VerifyTestMain(m)
}

func collector(text string) int {
	var cfg agent.Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := agent.Run(ctx, cfg, agent.Deps{Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Client: &http.Client{}, Version: "test"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func config(t *testing.T, r *receiver, interval int, instances ...agent.InstanceConfig) agent.Config {
	t.Helper()
	dir := t.TempDir()
	token := filepath.Join(dir, "registration")
	if err := os.WriteFile(token, []byte("registration\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := agent.Defaults()
	c.Collector = agent.CollectorConfig{Name: "test", Interval: interval, DataDir: filepath.Join(dir, "data")}
	c.Backend = agent.BackendConfig{URL: r.URL, TokenFile: token}
	c.Spool.MaxSize = 64 << 20
	c.Instances = instances
	return c
}

// process is a collector in a process of its own.
type process struct {
	cmd *exec.Cmd
	log *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func spawn(t *testing.T, cfg agent.Config) *process {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0]), log: &lockedBuffer{}}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("collector %d:\n%s", p.cmd.Process.Pid, p.log)
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// end ends it in order, and checks that a healthy run logs no error.
func (p *process) end(t *testing.T) {
	t.Helper()
	begun := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("collector ended with %v", err)
	}
	if d := time.Since(begun); d > 8*time.Second {
		t.Errorf("the end took %s", d)
	}
}

// inProcess runs a collector in this process until stop is called.
func inProcess(t *testing.T, cfg agent.Config, log io.Writer) (a *agent.Agent, stop func()) {
	t.Helper()
	if log == nil {
		log = io.Discard
	}
	transport := &http.Transport{}
	a, err := agent.New(cfg, agent.Deps{Log: slog.New(slog.NewTextHandler(log, nil)), Client: &http.Client{Transport: transport}, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			stacks := make([]byte, 1<<20)
			t.Errorf("Run goes on 10 s after its context:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
		transport.CloseIdleConnections()
	})
	t.Cleanup(stop)
	return a, stop
}

// watched gives a database with pg_stat_statements on a server of its own, and a
// monitoring role's URL.
func watched(t *testing.T, settings ...string) (*pgtest.Cluster, agent.InstanceConfig) {
	t.Helper()
	server := pgtest.Private(t, pgtest.StoreMajor(t), settings...)
	pgtest.Exec(t, server.URL("postgres"), "CREATE EXTENSION pg_stat_statements", "CREATE ROLE monitor LOGIN", "GRANT pg_monitor TO monitor",
		"CREATE ROLE worker LOGIN", "CREATE DATABASE work OWNER worker")
	return server, agent.InstanceConfig{Name: "db1", URL: server.URLAs("monitor", "postgres"), Databases: []string{"*"}}
}

// driver calls statements of known ids, a known number of times each.
type driver struct {
	conn  *pgx.Conn
	calls map[int]int64 // by number of columns
}

func (d *driver) call(t *testing.T, columns int) {
	t.Helper()
	sql := "SELECT 1" + strings.Repeat(", 1", columns-1)
	if _, err := d.conn.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
		t.Error(err)
	}
	d.calls[columns]++
}

func (d *driver) total() (n int64) {
	for _, c := range d.calls {
		n += c
	}
	return n
}

// Over kills and outages: planned = outcomes, and the deltas are exactly what was
// called, statement by statement or, with a low limit, in total.
func TestConservationOverKills(t *testing.T) {
	for _, limit := range []int{1000, 10} {
		t.Run(fmt.Sprintf("limit %d", limit), func(t *testing.T) {
			t.Parallel()
			server, instance := watched(t)
			r := newReceiver(t)
			cfg := config(t, r, 1, instance)
			cfg.PostgreSQL.QueryStatsLimit = limit
			p := spawn(t, cfg)
			r.waitStored(t, "db1", "statements", time.Now())

			d := &driver{conn: pgtest.Connect(t, server.URLAs("worker", "work")), calls: map[int]int64{}}
			begun := time.Now()
			for round, killed := 0, 0; time.Since(begun) < 12*time.Second; round++ {
				for k := 1; k <= 30; k++ {
					if (round+k)%3 != 0 {
						d.call(t, k)
					}
				}
				time.Sleep(5 * time.Millisecond)
				switch at := time.Since(begun); {
				case killed == 0 && at > 2300*time.Millisecond, killed == 1 && at > 5100*time.Millisecond, killed == 2 && at > 7700*time.Millisecond:
					p.kill()
					killed++
					r.setDown(killed == 2) // the second one comes up without a backend
					if killed == 3 {
						time.Sleep(2500 * time.Millisecond)
					}
					p = spawn(t, cfg)
				}
			}
			r.setDown(false)
			r.waitStored(t, "db1", "statements", time.Now().Add(100*time.Millisecond))
			p.end(t)

			var dbid, userid int64
			conn := pgtest.Connect(t, server.URL("postgres"))
			if err := conn.QueryRow(t.Context(), "SELECT (SELECT oid::bigint FROM pg_database WHERE datname = 'work'), 'worker'::regrole::oid::bigint").Scan(&dbid, &userid); err != nil {
				t.Fatal(err)
			}
			rows, cut := r.sums("db1", "statements", "calls", map[string]int64{"dbid": dbid, "userid": userid}, "queryid")
			var sent int64
			for _, n := range rows {
				sent += n
			}
			if sent+cut != d.total() {
				t.Errorf("%d calls in rows, %d in cut, %d in all; %d were made", sent, cut, sent+cut, d.total())
			}
			if limit == 10 && cut == 0 {
				t.Error("nothing was cut at limit 10")
			}
			if limit == 1000 {
				if cut != 0 {
					t.Errorf("%d calls cut at limit 1000", cut)
				}
				checkEach(t, conn, dbid, rows, d)
			}
			counts := r.account().balance(t)
			statements := counts[seriesKey{"db1", "", "statements"}]
			if statements["skipped(collector_down)"] == 0 || statements["stored"] < 5 {
				t.Errorf("outcomes of statements: %v", statements)
			}
			for k, words := range counts {
				for word := range words {
					if word != "stored" && word != "skipped(collector_down)" && word != "skipped(round_running)" {
						t.Errorf("%v: %v", k, words)
					}
				}
			}
			for _, b := range r.all() {
				for _, u := range b.Unobserved {
					t.Errorf("unobserved: %+v", u)
				}
			}
			checkTexts(t, r, rows)
		})
	}
}

// checkEach compares each statement's sum with what was called.
func checkEach(t *testing.T, conn *pgx.Conn, dbid int64, rows map[string]int64, d *driver) {
	t.Helper()
	list, err := conn.Query(t.Context(), "SELECT queryid::text, query FROM pg_stat_statements WHERE dbid = $1 AND query LIKE 'SELECT $1%'", dbid)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for list.Next() {
		var id, query string
		if err := list.Scan(&id, &query); err != nil {
			t.Fatal(err)
		}
		columns := strings.Count(query, "$")
		if want := d.calls[columns]; want != 0 {
			seen++
			if rows[id] != want {
				t.Errorf("%s: %d calls stored, %d made", query, rows[id], want)
			}
		}
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	if seen != 30 {
		t.Errorf("%d statements seen, want 30", seen)
	}
}

func checkTexts(t *testing.T, r *receiver, rows map[string]int64) {
	t.Helper()
	texts := map[string]string{}
	for _, b := range r.all() {
		for i := range b.Frames {
			if f := &b.Frames[i]; f.Family == "statement_texts" {
				for n := range f.N {
					texts[fmt.Sprint(f.Column("queryid").Ints[n])] = f.Column("query").Texts[n]
				}
			}
		}
	}
	if len(texts) == 0 {
		t.Error("no text was sent")
	}
}

// Servers that swallow packets, or accept and say nothing, cost the others no tick.
func TestBlackHolesDelayNobody(t *testing.T) {
	_, good := watched(t, "max_connections=400", "autovacuum=off")
	r := newReceiver(t)
	var instances []agent.InstanceConfig
	for i := range 70 {
		in := good
		in.Name = fmt.Sprintf("good%02d", i)
		in.Databases = []string{"postgres"}
		instances = append(instances, in)
	}
	silent, full := pgtest.SilentListener(t), pgtest.FullListener(t)
	for i := range 30 {
		addr := silent
		if i%2 == 1 {
			addr = full
		}
		instances = append(instances, agent.InstanceConfig{Name: fmt.Sprintf("hole%02d", i), URL: "postgres://monitor@" + addr + "/postgres?sslmode=disable"})
	}
	cfg := config(t, r, 10, instances...)
	cfg.Postgres.MaxSize, cfg.Postgres.MinSize = 3, 1
	begun := time.Now()
	a, stop := inProcess(t, cfg, nil)
	time.Sleep(36 * time.Second)
	st := a.Status()
	stop()
	if st.Overflow > 64 || st.Cycle.Instances < 60 {
		t.Errorf("%d rounds in the overflow set, %d instances answered in a cycle", st.Overflow, st.Cycle.Instances)
	}
	account := r.account()
	counts := account.balance(t)
	for i := range 70 {
		for _, family := range []string{"activity", "database", "statements", "wal", "collector"} {
			k := seriesKey{fmt.Sprintf("good%02d", i), "", family}
			if counts[k]["stored"] < 3 {
				t.Errorf("%v: %v", k, counts[k])
			}
			for tick, list := range account.outcomes[k] {
				// A busy machine may take long for the start, holes or not.
				if list[0].Code != frame.Stored && tick > begun.Add(15*time.Second).UnixMicro() {
					t.Errorf("%v: tick %s: %s(%s) %s", k, stamp(tick), list[0].Code, list[0].Reason, list[0].Detail)
				}
			}
		}
	}
	for i := range 30 {
		k := seriesKey{fmt.Sprintf("hole%02d", i), "", "activity"}
		failed := 0
		for word, n := range counts[k] {
			switch word {
			case "failed(connect)", "failed(timeout)":
				failed += n
			case "skipped(round_running)":
			default:
				t.Errorf("%v: %v", k, counts[k])
			}
		}
		if failed < 2 {
			t.Errorf("%v: %v", k, counts[k])
		}
	}
}

// startAndStop runs a collector until some tick after its start is stored.
func startAndStop(t *testing.T, r *receiver, cfg agent.Config, instance string) {
	t.Helper()
	_, stop := inProcess(t, cfg, nil)
	r.waitStored(t, instance, "statements", time.Now().Add(1500*time.Millisecond))
	stop()
}

// copyDir copies a folder: a snapshot of a disk.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// A disk restored from an older copy: the collector takes a new identity, counts
// nothing twice, and says what it can't know.
func TestRestoredDiskTakesANewIdentity(t *testing.T) {
	t.Parallel()
	server, instance := watched(t)
	r := newReceiver(t)
	cfg := config(t, r, 1, instance)
	d := &driver{conn: pgtest.Connect(t, server.URLAs("worker", "work")), calls: map[int]int64{}}
	startAndStop(t, r, cfg, "db1")
	copied := filepath.Join(t.TempDir(), "copy")
	copyDir(t, cfg.Collector.DataDir, copied)
	for range 100 {
		d.call(t, 7)
	}
	startAndStop(t, r, cfg, "db1")
	cfg.Collector.DataDir = copied
	startAndStop(t, r, cfg, "db1")

	collectors := map[frame.CollectorID]bool{}
	restored := 0
	for _, b := range r.all() {
		collectors[b.ID.Collector] = true
		for _, u := range b.Unobserved {
			if u.Reason == "restored" && u.Family == "statements" {
				restored++
			} else if u.Reason != "restored" {
				t.Errorf("unobserved: %+v", u)
			}
		}
	}
	if len(collectors) != 2 || restored != 1 {
		t.Errorf("%d identities, %d notes that statements were restored, want 2 and 1", len(collectors), restored)
	}
	var dbid, userid int64
	if err := pgtest.Connect(t, server.URL("postgres")).QueryRow(t.Context(), "SELECT (SELECT oid::bigint FROM pg_database WHERE datname = 'work'), 'worker'::regrole::oid::bigint").Scan(&dbid, &userid); err != nil {
		t.Fatal(err)
	}
	rows, cut := r.sums("db1", "statements", "calls", map[string]int64{"dbid": dbid, "userid": userid})
	if got := rows[""] + cut; got != 100 {
		t.Errorf("%d calls stored, 100 were made", got)
	}
}

// An instance that another collector holds is left alone until it is ours.
func TestHeldInstanceIsLeftAlone(t *testing.T) {
	t.Parallel()
	server, instance := watched(t)
	other := instance
	other.Name = "db2"
	r := newReceiver(t)
	r.holder["db2"] = "another"
	cfg := config(t, r, 1, instance, other)
	a, stop := inProcess(t, cfg, nil)
	waitFor(t, 20*time.Second, "the conflict", func() bool { return a.Status().Instances[1].Held == "another" })
	time.Sleep(time.Second)
	before := a.Status().Instances[1].Rounds
	r.waitStored(t, "db1", "statements", time.Now().Add(2*time.Second))
	if after := a.Status().Instances[1].Rounds; after != before {
		t.Errorf("%d rounds on an instance that is another's", after-before)
	}
	r.mu.Lock()
	delete(r.holder, "db2")
	r.mu.Unlock()
	r.waitStored(t, "db2", "statements", time.Now())
	stop()
	_ = server
}

// A restart of the watched server fails a round at most, and loses no account.
func TestServerDownAndUp(t *testing.T) {
	t.Parallel()
	server, instance := watched(t)
	r := newReceiver(t)
	cfg := config(t, r, 1, instance)
	log := &lockedBuffer{}
	_, stop := inProcess(t, cfg, log)
	r.waitStored(t, "db1", "statements", time.Now().Add(time.Second))
	server.Stop(t)
	waitFor(t, 20*time.Second, "a failed tick", func() bool {
		for _, list := range r.account().outcomes[seriesKey{"db1", "", "wal"}] {
			if list[0].Code == frame.Failed && list[0].Reason == "connect" {
				return true
			}
		}
		return false
	})
	server.Start(t)
	r.waitStored(t, "db1", "statements", time.Now().Add(time.Second))
	stop()
	r.account().balance(t)
	for _, want := range []string{"instance not reached", "instance reached again", "msg=cycle", "connection pool", "queries collected", "sampling="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
}

// A healthy run logs nothing that looks like an error, and no secret.
func TestHealthyLog(t *testing.T) {
	t.Parallel()
	server, instance := watched(t)
	instance.URL = strings.Replace(server.URLAs("monitor", "postgres"), "monitor@", "monitor:planted-secret@", 1)
	r := newReceiver(t)
	cfg := config(t, r, 1, instance)
	log := &lockedBuffer{}
	_, stop := inProcess(t, cfg, log)
	r.waitStored(t, "db1", "statements", time.Now().Add(3*time.Second))
	stop()
	if s := log.String(); strings.Contains(strings.ToLower(s), "error") || strings.Contains(s, "planted-secret") || strings.Contains(s, "level=WARN") {
		t.Errorf("log of a healthy run:\n%s", s)
	}
}

// One folder, one collector.
func TestDataDirectoryInUse(t *testing.T) {
	t.Parallel()
	_, instance := watched(t)
	r := newReceiver(t)
	cfg := config(t, r, 1, instance)
	inProcess(t, cfg, nil)
	r.waitStored(t, "db1", "activity", time.Now())
	err := agent.Run(t.Context(), cfg, agent.Deps{})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second collector on the same folder: %v", err)
	}
}

// A spool too small for an outage loses detail, no totals and no tick.
func TestFullSpoolKeepsTotals(t *testing.T) {
	t.Parallel()
	server, instance := watched(t, "max_connections=200")
	r := newReceiver(t)
	var names []agent.InstanceConfig
	for i := range 12 {
		in := instance
		in.Name = fmt.Sprintf("name%02d", i)
		names = append(names, in)
	}
	cfg := config(t, r, 1, names...)
	cfg.Spool.MaxSize, cfg.PostgreSQL.QueryStatsLimit = 1<<20, 1000
	cfg.Postgres.MaxSize, cfg.Postgres.MinSize = 3, 1
	a, stop := inProcess(t, cfg, nil)
	for _, in := range names {
		r.waitStored(t, in.Name, "statements", time.Now().Add(-time.Minute))
	}
	r.setDown(true)
	d := &driver{conn: pgtest.Connect(t, server.URLAs("worker", "work")), calls: map[int]int64{}}
	for begun := time.Now(); a.Status().Spool.DroppedFull < 100; {
		if time.Since(begun) > 60*time.Second {
			t.Fatalf("the spool is not full after a minute: %+v", a.Status().Spool)
		}
		for k := 1; k <= 120; k++ {
			d.call(t, k)
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.setDown(false)
	end := time.Now().Add(100 * time.Millisecond)
	for _, in := range names {
		r.waitStored(t, in.Name, "statements", end)
	}
	waitFor(t, 30*time.Second, "the backlog", func() bool { return a.Status().Spool.Pending < 5 })
	stop()
	if st := a.Status().Spool; st.Bytes > 2<<20 {
		t.Errorf("the spool has %d bytes, limit %d", st.Bytes, st.MaxBytes)
	}
	var dbid, userid int64
	if err := pgtest.Connect(t, server.URL("postgres")).QueryRow(t.Context(), "SELECT (SELECT oid::bigint FROM pg_database WHERE datname = 'work'), 'worker'::regrole::oid::bigint").Scan(&dbid, &userid); err != nil {
		t.Fatal(err)
	}
	account := r.account()
	dropped := 0
	for _, words := range account.balance(t) {
		dropped += words["dropped(spool_full)"]
	}
	if dropped < 100 {
		t.Errorf("%d ticks dropped", dropped)
	}
	for _, in := range names {
		rows, sums := r.sums(in.Name, "statements", "calls", map[string]int64{"dbid": dbid, "userid": userid})
		if rows[""]+sums != d.total() || sums == 0 {
			t.Errorf("%s: %d calls in rows, %d in sums, %d were made", in.Name, rows[""], sums, d.total())
		}
	}
}
