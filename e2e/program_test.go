package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// binary is the program under test, built once.
var (
	binary     string
	buildFlags []string
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "pganalytics-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "pganalytics")
		build := exec.Command("go", append(append([]string{"build"}, buildFlags...), "-o", binary, "../cmd/pganalytics")...)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build the program:", err)
			return 1
		}
		return m.Run()
	}())
}

// process is a running command with its output.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  buffer
	done chan struct{}
}

// buffer is a bytes.Buffer that may be read while a process writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs the program; it is killed with the test.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("output of %s:\n%s", strings.Join(args, " "), last(p.out.String(), 6000))
		}
		// Also of processes that were killed or ended in time: no race, no crash.
		for _, sign := range []string{"WARNING: DATA RACE", "\npanic: ", "\ngoroutine ", "BUG: "} {
			if i := strings.Index(p.out.String(), sign); i >= 0 {
				t.Errorf("%s: %s", args[0], p.out.String()[i:min(i+3000, len(p.out.String()))])
			}
		}
	})
	return p
}

func last(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// stop ends the process as a user would, and says when it takes more than the 10 s
// that are promised.
func (p *process) stop() {
	p.t.Helper()
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(11 * time.Second):
		said := len(p.out.String())
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // tells where it hangs
		time.Sleep(time.Second)
		p.kill()
		p.t.Errorf("%s did not end within 10 s of SIGTERM\n%s", p.cmd.Args[1], p.out.String()[said:])
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// run runs the program to its end.
func run(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s did not end: %s%s", strings.Join(args, " "), out.String(), errs.String())
	}
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// freeAddress is 127.0.0.1 with a port that nobody had a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// up is a running `pganalytics up`.
type up struct {
	*process
	*client
	dir, address string
	args         []string
}

// startUp runs `up` in a fresh data directory at 1-s intervals and waits until it is
// healthy.
func startUp(t *testing.T, env []string, args ...string) *up {
	t.Helper()
	u := &up{dir: filepath.Join(pgtest.Dir(t), "data"), address: freeAddress(t), args: args}
	u.again(t, env)
	return u
}

// again starts it once more on the same data directory and address.
func (u *up) again(t *testing.T, env []string) {
	t.Helper()
	args := append([]string{"up", "--data-dir", u.dir, "--listen", u.address, "--interval", "1s",
		"--postgres-bin", pgtest.Binaries(t, pgtest.StoreMajor(t)).Dir}, u.args...)
	u.process = start(t, env, args...)
	u.client = &client{t: t, base: "http://" + u.address}
	u.waitHealthy(u.process, 60*time.Second)
	token, err := os.ReadFile(filepath.Join(u.dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	u.client.token = strings.TrimSpace(string(token))
}

// client speaks to a backend.
type client struct {
	t           *testing.T
	base, token string
}

func (c *client) waitHealthy(p *process, limit time.Duration) {
	c.t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		response, err := http.Get(c.base + "/api/v1/health")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-p.done:
			c.t.Fatalf("ended before it was healthy:\n%s", p.out.String())
		default:
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("not healthy after %s (%v):\n%s", limit, err, last(p.out.String(), 6000))
		}
	}
}

// try gets a path with parameters; the reply is decoded into v.
func (c *client) try(v any, path string, parameters ...string) (int, error) {
	status, body, err := c.raw(path, parameters...)
	switch {
	case err != nil:
		return status, err
	case status != http.StatusOK:
		return status, fmt.Errorf("%s: status %d: %s", path, status, body)
	}
	return status, json.Unmarshal(body, v)
}

// raw gets a path whatever the status.
func (c *client) raw(path string, parameters ...string) (int, []byte, error) {
	q := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		q.Set(parameters[i], parameters[i+1])
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+path, nil)
	if err != nil {
		return 0, nil, err
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// health asks without a token and gives the status.
func (c *client) health(t *testing.T) int {
	t.Helper()
	response, err := http.Get(c.base + "/api/v1/health")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// outcomes is the reply of /ledger.
type outcomes struct {
	Planned, Stored, Failed, Skipped, Dropped, Pending, Missing int64
	Truncated                                                   bool
	Items                                                       []exception
}

type exception struct {
	Time                                        float64
	Instance, Database, Family, Outcome, Reason string
}

func (o *outcomes) sum() int64 {
	return o.Stored + o.Failed + o.Skipped + o.Dropped + o.Pending + o.Missing
}

// lost says what became of ticks that should have been stored, "" when all were. At
// an interval of a second a busy machine may not be done with a round in time: a few
// such skips are no loss. The reply must have been asked for all its items.
func (o *outcomes) lost() string {
	late := int64(0)
	for _, i := range o.Items {
		if i.Outcome != "skipped" || i.Reason != "round_running" {
			return fmt.Sprintf("%s of %s: %s(%s); %s", time.UnixMilli(int64(i.Time*1000)), i.Family, i.Outcome, i.Reason, o)
		}
		late++
	}
	if o.sum() != o.Planned || o.Missing > 0 || o.Failed+o.Skipped+o.Dropped != late || late > max(1, o.Planned/20) {
		return o.String()
	}
	return ""
}

// String leaves the long list of exceptions to a count of each kind.
func (o *outcomes) String() string {
	kinds := map[string]int{}
	for _, i := range o.Items {
		kinds[i.Outcome+"("+i.Reason+") "+i.Family]++
	}
	return fmt.Sprintf("planned %d = stored %d + failed %d + skipped %d + dropped %d + pending %d + missing %d: %v",
		o.Planned, o.Stored, o.Failed, o.Skipped, o.Dropped, o.Pending, o.Missing, kinds)
}

func (c *client) get(v any, path string, parameters ...string) {
	c.t.Helper()
	if _, err := c.try(v, path, parameters...); err != nil {
		c.t.Fatal(err)
	}
}

// instance waits until an instance is up and gives its id.
func (c *client) instance(name string) string {
	c.t.Helper()
	var list struct {
		Items []struct{ ID, Name, Status, Reason string }
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		c.get(&list, "/api/v1/instances")
		for _, i := range list.Items {
			if i.Name == name && i.Status == "up" {
				return i.ID
			}
		}
	}
	c.t.Fatalf("instance %s did not come up: %+v", name, list.Items)
	return ""
}

// eventually repeats a check until it gives "" or the limit is over.
func eventually(t *testing.T, limit time.Duration, check func() string) {
	t.Helper()
	var problem string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if problem = check(); problem == "" {
			return
		}
	}
	t.Fatalf("after %s: %s", limit, problem)
}
