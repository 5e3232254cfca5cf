package pgserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("PGA_TEST_OWNER_DIR"); dir != "" {
		os.Exit(beOwner(dir))
	}
	goleak.VerifyTestMain(m)
}

// running is a Server with its Run in the background.
type running struct {
	*pgserver.Server
	stop func() error // ends the context, waits for Run
	log  *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// run starts a server and waits until it is ready.
func run(t *testing.T, cfg pgserver.Config) running {
	t.Helper()
	r, err := tryRun(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryRun(t *testing.T, cfg pgserver.Config) (running, error) {
	t.Helper()
	r := running{log: &safeBuffer{}}
	cfg.Log = slog.New(slog.NewTextHandler(r.log, nil))
	if cfg.Binaries.Dir == "" {
		cfg.Binaries = pgtest.Binaries(t, pgtest.StoreMajor(t))
	}
	server, err := pgserver.New(cfg)
	if err != nil {
		return r, err
	}
	r.Server = server
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", r.log)
		}
	})
	select {
	case <-server.Ready():
		return r, nil
	case err := <-done:
		r.stop = sync.OnceValue(func() error { cancel(); return nil })
		return r, err
	case <-time.After(60 * time.Second):
		return r, errors.New("not ready after 60 s")
	}
}

func query[T any](t *testing.T, url, sql string) T {
	t.Helper()
	var v T
	if err := pgtest.Connect(t, url).QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func eventually(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func TestFirstAndSecondStart(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			cfg := pgserver.Config{
				Binaries: pgtest.Binaries(t, major), DataDir: filepath.Join(pgtest.Dir(t), "data"),
				Settings: map[string]string{"shared_buffers": "16MB", "cluster_name": "it's mine"},
			}
			first := run(t, cfg)
			if err := first.CreateDatabase(t.Context(), "metrics"); err != nil {
				t.Fatal(err)
			}
			if err := first.CreateDatabase(t.Context(), "metrics"); err != nil {
				t.Errorf("a second time: %v", err)
			}
			pgtest.Exec(t, first.URL("metrics"), "CREATE TABLE kept AS SELECT 42 AS n")
			for name, want := range map[string]string{
				"fsync": "on", "data_checksums": "on", "listen_addresses": "", "shared_buffers": "16MB", "cluster_name": "it's mine",
				"password_encryption": "scram-sha-256",
			} {
				if name == "password_encryption" && major < 14 {
					continue // initdb stores a scram verifier all the same
				}
				if got := query[string](t, first.URL("metrics"), "SHOW "+name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			pid := pgserver.Postmaster(cfg.DataDir)
			began := time.Now()
			if err := first.stop(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("stopping took %v", took)
			}
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("postmaster %d after Run: %v", pid, err)
			}
			if first.Healthy() {
				t.Error("healthy after Run")
			}
			second := run(t, cfg)
			if n := query[int](t, second.URL("metrics"), "SELECT n FROM kept"); n != 42 {
				t.Errorf("%d after the second start, want 42", n)
			}
			if strings.Contains(strings.ToLower(second.log.String()), "error") {
				t.Error("a healthy run logs the word error")
			}
		})
	}
}

func TestKilledPostmasterIsStartedAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), "data")
	server := run(t, pgserver.Config{DataDir: dir})
	url := server.URL("postgres")
	pgtest.Exec(t, url, "CREATE TABLE kept (n int)")
	for round := 1; round <= 2; round++ {
		pgtest.Exec(t, url, "INSERT INTO kept VALUES (1)")
		if err := syscall.Kill(pgserver.Postmaster(dir), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "unhealthy", 10*time.Second, func() bool { return !server.Healthy() })
		eventually(t, "healthy again", 20*time.Second, server.Healthy)
		if n := query[int](t, url, "SELECT count(*) FROM kept"); n != round {
			t.Errorf("%d rows, want %d", n, round)
		}
	}
	if n := server.Starts(); n != 3 {
		t.Errorf("%d starts, want 3", n)
	}
}

// A backend deep in a query does not notice that its postmaster was killed, and keeps any other
// from starting for as long as it lives.
func TestBusyOrphanDoesNotBlockTheRestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), "data")
	server := run(t, pgserver.Config{DataDir: dir, Settings: map[string]string{"max_parallel_workers_per_gather": "0", "jit": "off"}})
	conn := pgtest.Connect(t, server.URL("postgres"))
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = conn.Exec(context.Background(), "DO $$ DECLARE i bigint := 0; BEGIN LOOP i := i + 1; END LOOP; END $$")
	})
	t.Cleanup(wg.Wait)
	eventually(t, "the query runs", 5*time.Second, func() bool {
		return query[int](t, server.URL("postgres"), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'") == 1
	})
	if err := syscall.Kill(pgserver.Postmaster(dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "restarted", 20*time.Second, func() bool { return server.Starts() == 2 && server.Healthy() })
}

// beOwner is a process that runs a server until it is killed.
func beOwner(dir string) int {
	binaries := pgserver.Installed(os.Getenv("PGA_TEST_OWNER_BIN"))
	if len(binaries) == 0 {
		fmt.Println("no programs")
		return 1
	}
	server, err := pgserver.New(pgserver.Config{Binaries: binaries[0], DataDir: dir})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	go func() {
		<-server.Ready()
		fmt.Printf("ready %s\n", server.URL("postgres"))
	}()
	ctx := context.Background()
	if os.Getenv("PGA_TEST_OWNER_BRIEF") != "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	}
	if err := server.Run(ctx); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// ownerProcess starts this binary as an owner and gives the server's URL once it is ready.
func ownerProcess(t *testing.T, cmd *exec.Cmd, dir string, env ...string) (url string) {
	t.Helper()
	cmd.Env = append(os.Environ(), append(env, "PGA_TEST_OWNER_DIR="+dir,
		"PGA_TEST_OWNER_BIN="+pgtest.Binaries(t, pgtest.StoreMajor(t)).Dir)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanf(out, "ready %s\n", &url); err != nil {
		rest, _ := io.ReadAll(out)
		t.Fatalf("owner: %v: %s", err, rest)
	}
	return url
}

func TestTakesOverFromAKilledOwner(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), "data")
	owner := exec.Command(os.Args[0])
	url := ownerProcess(t, owner, dir)
	pgtest.Exec(t, url, "CREATE TABLE kept AS SELECT 7 AS n")

	// As long as the owner lives its server is left alone.
	var locked *pgserver.LockedError
	if _, err := tryRun(t, pgserver.Config{DataDir: dir}); !errors.As(err, &locked) || locked.PID != owner.Process.Pid {
		t.Errorf("second owner: %v, want a LockedError of process %d", err, owner.Process.Pid)
	}
	// The log of a server that goes on writing into the void must not stop it.
	old := pgserver.Postmaster(dir)
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait()
	if conn, err := pgx.Connect(t.Context(), url); err != nil {
		t.Errorf("the server did not outlive its owner: %v", err)
	} else {
		_, _ = conn.Exec(t.Context(), "SELECT 1/0")
		conn.Close(t.Context())
	}

	server := run(t, pgserver.Config{DataDir: dir})
	if pid := pgserver.Postmaster(dir); pid == old || pid == 0 {
		t.Errorf("postmaster %d, was %d", pid, old)
	}
	if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", old)); err == nil { // a zombie has none
		t.Errorf("old postmaster %d lives", old)
	}
	if n := query[int](t, server.URL("postgres"), "SELECT n FROM kept"); n != 7 {
		t.Errorf("%d, want 7", n)
	}
}

// A stopped (SIGSTOP) leftover sees no signal until it is continued.
func TestTakesOverAFrozenServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), "data")
	owner := exec.Command(os.Args[0])
	ownerProcess(t, owner, dir)
	if err := syscall.Kill(pgserver.Postmaster(dir), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_ = owner.Process.Kill()
	_ = owner.Wait()
	run(t, pgserver.Config{DataDir: dir})
}

func TestRecycledProcessIDIsNoServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), "data")
	first := run(t, pgserver.Config{DataDir: dir})
	pidFile := filepath.Join(dir, "postmaster.pid")
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	// A process of the server's own account, as PostgreSQL itself ignores others'.
	account, err := pgserver.RunAs()
	if err != nil {
		t.Fatal(err)
	}
	sleep := exec.Command("sleep", "600")
	sleep.SysProcAttr = account.SysProcAttr()
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sleep.Process.Kill(); _ = sleep.Wait() }()
	_, rest, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(pidFile, fmt.Appendf(nil, "%d\n%s", sleep.Process.Pid, rest), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := account.Own(pidFile); err != nil {
		t.Fatal(err)
	}
	if pid := pgserver.Postmaster(dir); pid != 0 {
		t.Errorf("sleep taken for postmaster %d", pid)
	}
	run(t, pgserver.Config{DataDir: dir})
	if err := sleep.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the innocent process: %v", err)
	}
}

func TestHalfMadeDataDirectoryIsMadeAnew(t *testing.T) {
	t.Parallel()
	base := pgtest.Dir(t)
	half := filepath.Join(base, ".initdb-data-123", "data")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "PG_VERSION"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, pgserver.Config{DataDir: filepath.Join(base, "data")})
	left, err := filepath.Glob(filepath.Join(base, ".initdb*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestNobodyGetsInWithoutThePassword(t *testing.T) {
	base := pgtest.Dir(t)
	for _, listen := range []string{"", "127.0.0.1"} {
		dir := filepath.Join(base, "data"+listen)
		server := run(t, pgserver.Config{DataDir: dir, Listen: listen, NoSync: true})
		with, err := url.Parse(server.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range []*url.Userinfo{url.User("pganalytics"), url.UserPassword("pganalytics", "guess"), url.User("postgres")} {
			without := *with
			without.User = user
			if conn, err := pgx.Connect(t.Context(), without.String()); err == nil {
				conn.Close(t.Context())
				t.Errorf("listen %q: %v came in", listen, user.Username())
			}
		}
		modes := map[string]os.FileMode{dir + ".password": 0o600, dir: 0o700, dir + ".log": 0o600}
		if listen == "" {
			modes[dir+".socket"] = 0o700
		}
		for path, want := range modes {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v, want mode %04o", path, info, err, want)
			}
		}
		password, _ := with.User.Password()
		for _, pid := range pgserver.Below(dir) {
			args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if bytes.Contains(args, []byte(password)) {
				t.Errorf("the password is in the command line of process %d", pid)
			}
		}
		if strings.Contains(server.log.String(), password) {
			t.Error("the password is in the log")
		}
	}
}

func TestPortIsKeptUnlessTaken(t *testing.T) {
	t.Parallel()
	cfg := pgserver.Config{DataDir: filepath.Join(pgtest.Dir(t), "data"), Listen: "127.0.0.1", NoSync: true}
	first := run(t, cfg)
	addr := first.Addr()
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	second := run(t, cfg)
	if second.Addr() != addr {
		t.Errorf("address %s, was %s", second.Addr(), addr)
	}
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	thief, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	third := run(t, cfg)
	if third.Addr() == addr {
		t.Errorf("address %s is another's", addr)
	}
	query[int](t, third.URL("postgres"), "SELECT 1")
}

func TestFirstStartThatCannotWorkFailsAtOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), "data")
	began := time.Now()
	_, err := tryRun(t, pgserver.Config{DataDir: dir, NoSync: true, Settings: map[string]string{"shared_buffers": "much"}})
	if _, ok := errors.AsType[*pgserver.StartError](err); !ok {
		t.Fatalf("error %v, want a StartError", err)
	}
	if !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers": "much"`) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %q does not say why", err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	other := pgtest.Majors(t)
	for _, major := range other {
		if major == pgtest.StoreMajor(t) {
			continue
		}
		_, err = tryRun(t, pgserver.Config{DataDir: dir, Binaries: pgtest.Binaries(t, major)})
		if want := fmt.Sprintf("belongs to PostgreSQL %d", pgtest.StoreMajor(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("PostgreSQL %d on it: %v, want %q", major, err, want)
		}
		break
	}
}

// A folder's name may hold anything that means something in a URL, a list or a shell.
func TestPathsOfAnyCharacters(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"with space", `a+b %20 é "q" 'q'`, "a,b", "$HOME;x&y?z#=@:"} {
		dir := filepath.Join(pgtest.Dir(t), name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		server := run(t, pgserver.Config{DataDir: filepath.Join(dir, "data"), NoSync: true})
		if got := query[string](t, server.URL("postgres"), "SELECT current_setting('data_directory')"); got != filepath.Join(dir, "data") {
			t.Errorf("%s: the server runs in %s", name, got)
		}
		if err := server.stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLongPathsGetAShortSocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), strings.Repeat("long", 20))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	server := run(t, pgserver.Config{DataDir: filepath.Join(dir, "data"), NoSync: true})
	u, err := url.Parse(server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	socket := u.Query().Get("host")
	if !strings.HasPrefix(socket, "/tmp/") {
		t.Errorf("socket in %s", socket)
	}
	query[int](t, server.URL("postgres"), "SELECT 1")
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("socket folder after the end: %v", err)
	}
}

// freeze stops a process; whoever wakes it finds it stopped again.
func freeze(pid int) (release func()) {
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	stopped := make(chan struct{})
	var again sync.WaitGroup
	again.Go(func() {
		for {
			select {
			case <-stopped:
				return
			case <-time.After(100 * time.Microsecond):
				_ = syscall.Kill(pid, syscall.SIGSTOP) // fails when it is gone
			}
		}
	})
	return func() { close(stopped); again.Wait() }
}

// A session that ignores the fast shutdown (its process is stopped, again and again) costs the grace, no more.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), "data")
	server := run(t, pgserver.Config{DataDir: dir, NoSync: true, Grace: 500 * time.Millisecond})
	conn := pgtest.Connect(t, server.URL("postgres"))
	pid := int(conn.PgConn().PID())
	release := freeze(pid)
	began := time.Now()
	err := server.stop()
	release()
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("stopping took %v", took)
	}
	eventually(t, "no process is left", 2*time.Second, func() bool { return len(pgserver.Below(dir)) == 0 })
}

// Who is in a hurry does not get the grace, but an end all the same.
func TestStopInAHurry(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), "data")
	hurry := make(chan struct{})
	server := run(t, pgserver.Config{DataDir: dir, NoSync: true, Grace: time.Hour, Hurry: hurry})
	pid := int(pgtest.Connect(t, server.URL("postgres")).PgConn().PID())
	release := freeze(pid)
	time.AfterFunc(300*time.Millisecond, func() { close(hurry) })
	began := time.Now()
	err := server.stop()
	release()
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
	eventually(t, "no process is left", 2*time.Second, func() bool { return len(pgserver.Below(dir)) == 0 })
}

// A frozen server (every process is stopped) is woken, and ends in order like any other.
func TestStopWakesAFrozenServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Dir(t), "data")
	server := run(t, pgserver.Config{DataDir: dir, NoSync: true, Grace: 20 * time.Second})
	pgtest.Connect(t, server.URL("postgres"))
	for _, pid := range pgserver.Below(dir) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("stopping took %v: the grace was waited for", took)
	}
	text, err := os.ReadFile(dir + ".log")
	if err != nil || !strings.Contains(string(text), "database system is shut down") || strings.Contains(string(text), "immediate shutdown") {
		t.Errorf("no orderly shutdown in the server's log: %v\n%s", err, text)
	}
}

func TestServerLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	lines := make([]string, 0, 3*pgserver.LogLimit/1000)
	for i := range cap(lines) {
		lines = append(lines, fmt.Sprintf("%0999d", i))
	}
	kept, err := pgserver.CopyLog(path, lines)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := kept[len(kept)-1], lines[len(lines)-1]; got != want {
		t.Errorf("last line %.20s…%s, want …%s", got, got[990:], want[990:])
	}
	var total int64
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
		if info.Size() > pgserver.LogLimit+64<<10 {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
	}
	if total > 2*(pgserver.LogLimit+64<<10) {
		t.Errorf("%d bytes in all", total)
	}
}
