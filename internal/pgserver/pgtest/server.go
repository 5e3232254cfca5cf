package pgtest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/pgserver"
)

// startLimit bounds a start; crash recovery of a killed test server included.
const startLimit = 60 * time.Second

// Cluster is one running PostgreSQL server for tests. It listens on 127.0.0.1, trusts everyone
// there (superuser postgres), preloads pg_stat_statements and has fsync off.
type Cluster struct {
	Major   int
	Version string // "16.14"
	Port    int
	Dir     string // the data directory
	Log     string // the server's log file

	bin      pgserver.Binaries
	settings []string
	external *url.URL // not ours: PGA_TEST_TIMESCALE_URL
	// timescale: databases get the extension; templates hold what the extension's own workers
	// would be in the way of.
	timescale bool
	run       string
	owner     *os.File
	account   pgserver.Account

	mu    sync.Mutex // guards shell and pipe
	shell *exec.Cmd
	pipe  *os.File

	templates templates
}

var shared = struct {
	sync.Mutex
	clusters map[string]*Cluster
	failed   map[string]error
}{clusters: map[string]*Cluster{}, failed: map[string]error{}}

// Server gives a running server of a major, shared by all tests of this binary that ask for the
// same settings ("name=value", winning over pgtest's own).
func Server(t testing.TB, major int, settings ...string) *Cluster {
	t.Helper()
	key := strconv.Itoa(major) + "\x00" + strings.Join(settings, "\x00")
	shared.Lock()
	defer shared.Unlock()
	if c, ok := shared.clusters[key]; ok {
		return c
	}
	if err := shared.failed[key]; err != nil {
		t.Fatal(err)
	}
	c, err := launch(major, settings)
	if err != nil {
		shared.failed[key] = err
		t.Fatal(err)
	}
	shared.clusters[key] = c
	return c
}

// Private gives a server of the test's own, to stop, kill and start as it likes; it goes with
// the test.
func Private(t testing.TB, major int, settings ...string) *Cluster {
	t.Helper()
	c, err := launch(major, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.remove)
	return c
}

// URL addresses a database of the server as its superuser.
func (c *Cluster) URL(database string) string { return c.URLAs("postgres", database) }

// URLAs addresses a database as any role; no password is asked for.
func (c *Cluster) URLAs(role, database string) string {
	if c.external != nil {
		u := *c.external
		u.Path = "/" + database
		if role != "postgres" {
			u.User = url.User(role)
		}
		return u.String()
	}
	u := url.URL{
		Scheme: "postgres", User: url.User(role), Host: c.Name(),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Name is host:port, as instances are named.
func (c *Cluster) Name() string {
	if c.external != nil {
		return c.external.Host
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port))
}

// PID is the process id of the postmaster, 0 when it does not run.
func (c *Cluster) PID() int { return pgserver.Postmaster(c.Dir) }

// Kill kills the postmaster with SIGKILL; its children notice and end. Private servers only.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	pid := c.PID()
	if pid == 0 {
		t.Fatal("kill a PostgreSQL that does not run")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(startLimit); c.PID() == pid; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("postmaster %d survives SIGKILL", pid)
		}
	}
	c.tell("keep")
}

// Stop stops the server in order and keeps its data. Private servers only.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	c.tell("stop")
}

// Start starts the server again after Kill or Stop, on the same port and data; settings given
// here are added to those it had.
func (c *Cluster) Start(t testing.TB, settings ...string) {
	t.Helper()
	c.settings = append(c.settings, settings...)
	// Children of a killed postmaster may hold its memory a little longer.
	deadline := time.Now().Add(startLimit)
	for {
		err := c.start()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func launch(major int, settings []string) (*Cluster, error) {
	b, err := binaries(major)
	if err != nil {
		return nil, err
	}
	return launchOn(b, false, settings)
}

func launchOn(b pgserver.Binaries, timescale bool, settings []string) (*Cluster, error) {
	w, err := place()
	if err != nil {
		return nil, err
	}
	template, err := w.template(b)
	if err != nil {
		return nil, err
	}
	run, owner, err := w.newRun()
	if err != nil {
		return nil, fmt.Errorf("make the folder of a test server: %w", err)
	}
	c := &Cluster{
		Major: b.Major, Version: b.Version, Dir: filepath.Join(run, "data"), Log: filepath.Join(run, "server.log"),
		bin: b, settings: settings, timescale: timescale, run: run, owner: owner, account: w.account,
	}
	if out, err := exec.Command("cp", "-a", template, c.Dir).CombinedOutput(); err != nil {
		c.remove()
		return nil, fmt.Errorf("copy %s: %w: %s", template, err, out)
	}
	for range 5 { // the free port may be taken by the time the server binds it
		if c.Port, err = freePort(); err == nil {
			if err = c.start(); err == nil {
				return c, nil
			}
		}
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	c.remove()
	return nil, err
}

// watch runs the server until standard input says what to do, or ends with the test process.
// $1 is the server's folder, the rest its command.
const watch = `
dir=$1; shift
"$@" </dev/null >>"$dir/server.log" 2>&1 &
pid=$!
echo $pid >"$dir/pid"
read -r how || how=gone
case $how in
keep) exit ;;
stop) kill -INT $pid; wait $pid; exit ;;
esac
kill -QUIT $pid; kill -CONT $pid
wait $pid
cd /
for try in 1 2 3; do rm -rf "$dir" && break; sleep 0.2; done
`

var errPortTaken = errors.New("the port was taken")

func (c *Cluster) start() error {
	args := []string{"-c", watch, "sh", c.run, filepath.Join(c.bin.Dir, "postgres"), "-D", c.Dir}
	for _, s := range append([]string{
		"port=" + strconv.Itoa(c.Port), "listen_addresses=127.0.0.1", "unix_socket_directories=",
		"shared_preload_libraries=pg_stat_statements", "shared_buffers=32MB",
		"fsync=off", "full_page_writes=off",
	}, c.settings...) {
		args = append(args, "-c", s)
	}
	_ = os.Remove(filepath.Join(c.run, "pid"))
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	shell := exec.Command("/bin/sh", args...)
	shell.Dir = c.run
	shell.Stdin = read
	shell.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	shell.SysProcAttr = c.account.SysProcAttr()
	if err := shell.Start(); err != nil {
		write.Close()
		return fmt.Errorf("start PostgreSQL %s: %w", c.Version, err)
	}
	c.mu.Lock()
	c.shell, c.pipe = shell, write
	c.mu.Unlock()

	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		child := c.child()
		if child == 0 {
			continue
		}
		if pgserver.Postmaster(c.Dir) == child && pgserver.Accepts(c.Dir) {
			return nil
		}
		if ended(child) {
			break
		}
	}
	text, _ := os.ReadFile(c.Log)
	c.tell("keep")
	if strings.Contains(string(text[max(0, len(text)-2000):]), "could not create any TCP/IP sockets") {
		return errPortTaken
	}
	return fmt.Errorf("PostgreSQL %s did not start; its log ends with:\n%s", c.Version, text[max(0, len(text)-2000):])
}

// child is the process that the shell started, 0 when it is not yet known.
func (c *Cluster) child() int {
	text, err := os.ReadFile(filepath.Join(c.run, "pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text))) // half written: 0
	return pid
}

// ended says whether a child of the shell is a zombie or gone.
func ended(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z")
}

// tell ends the watching shell: "stop" stops the server and keeps the data, "keep" leaves both
// alone, "" stops the server at once and removes the data.
func (c *Cluster) tell(how string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shell == nil {
		return
	}
	if how != "" {
		_, _ = c.pipe.WriteString(how + "\n")
	}
	c.pipe.Close()
	_ = c.shell.Wait()
	c.shell, c.pipe = nil, nil
}

func (c *Cluster) remove() {
	c.tell("")
	if pid := c.PID(); pid != 0 { // its shell was told to keep it
		_ = syscall.Kill(pid, syscall.SIGQUIT)
	}
	_ = os.RemoveAll(c.run)
	c.owner.Close()
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
