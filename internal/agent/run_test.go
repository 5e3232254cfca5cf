package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/pganalytics/pganalytics/internal/agent"
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
			t.Error("Run goes on 10 s after its context")
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
	silent, full := silentListener(t), fullListener(t)
	for i := range 30 {
		addr := silent
		if i%2 == 1 {
			addr = full
		}
		instances = append(instances, agent.InstanceConfig{Name: fmt.Sprintf("hole%02d", i), URL: "postgres://monitor@" + addr + "/postgres?sslmode=disable"})
	}
	cfg := config(t, r, 5, instances...)
	cfg.Postgres.MaxSize, cfg.Postgres.MinSize = 3, 1
	a, stop := inProcess(t, cfg, nil)
	time.Sleep(31 * time.Second)
	st := a.Status()
	stop()
	if st.Overflow > 64 || st.Cycle.Instances != 70 {
		t.Errorf("status %+v", st)
	}
	counts := r.account().balance(t)
	for i := range 70 {
		for _, family := range []string{"activity", "database", "statements", "wal", "collector"} {
			k := seriesKey{fmt.Sprintf("good%02d", i), "", family}
			if len(counts[k]) != 1 || counts[k]["stored"] < 6 {
				t.Errorf("%v: %v", k, counts[k])
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

// silentListener accepts and never says a word.
func silentListener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	})
	t.Cleanup(func() {
		l.Close()
		done.Wait()
		for _, c := range conns {
			c.Close()
		}
	})
	return l.Addr().String()
}

// fullListener's backlog is full, so that the kernel drops what would connect, as a
// route into nowhere does.
func fullListener(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 5 {
		c, err := net.DialTimeout("tcp4", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the backlog does not fill")
	return ""
}
