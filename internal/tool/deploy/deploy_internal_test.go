package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/check"
)

// repository is a git repository with one commit on main and what Open wants.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "collector"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"docker-compose.yml": "services: {}\n", configFile: "[collector]\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "init", "-q", "-b", "main")
	git(t, dir, "add", ".")
	git(t, dir, "-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", "first")
	return dir
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func open(t *testing.T, dir string) (*Deploy, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	d, err := Open(t.Context(), Options{Dir: dir, Out: &out, In: strings.NewReader(""), ValidateConfig: func(string) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return d, &out
}

func find(t *testing.T, list []finding, name string) finding {
	t.Helper()
	for _, f := range list {
		if f.name == name {
			return f
		}
	}
	t.Fatalf("no check %q in %+v", name, list)
	return finding{}
}

func TestPreflight(t *testing.T) {
	dir := repository(t)
	d, out := open(t, dir)
	if f := find(t, d.preflightRepository(t.Context()), "loadtest"); f.ok || !strings.Contains(f.detail, "make loadtest") {
		t.Errorf("no load test: %+v", f)
	}
	report := func(l LoadTest) finding {
		text, _ := json.Marshal(l)
		if err := writeFile(filepath.Join(dir, LoadTestFile), text); err != nil {
			t.Fatal(err)
		}
		return find(t, d.preflightRepository(t.Context()), "loadtest")
	}
	if f := report(LoadTest{Passed: 2, Of: 3}); f.ok || !strings.Contains(f.detail, "2 of 3") {
		t.Errorf("2 of 3: %+v", f)
	}
	if f := report(LoadTest{Passed: 3, Of: 3, Commit: "0000000"}); f.ok || !strings.Contains(f.detail, "of commit 0000000") {
		t.Errorf("another commit: %+v", f)
	}
	if f := report(LoadTest{Passed: 3, Of: 3}); !f.ok {
		t.Errorf("3 of 3: %+v", f)
	}
	list := d.preflightRepository(t.Context())
	if f := find(t, list, "clean"); !f.ok {
		t.Errorf("clean: %+v", f)
	}
	if f := find(t, list, "main"); !f.ok {
		t.Errorf("on main: %+v", f)
	}
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, configFile+".backup."+name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if f := find(t, d.preflightRepository(t.Context()), "backups"); !f.advice || !strings.Contains(f.detail, "2 files") {
		t.Errorf("two backups: %+v", f)
	}
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "checkout", "-q", "-b", "feature")
	git(t, dir, "-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-q", "--allow-empty", "-m", "second")
	d.ValidateConfig = func(string) error { return errors.New("postgresql.query_stats_limit = 5: want 10 to 10000") }
	list = d.preflightRepository(t.Context())
	for name, want := range map[string]string{"clean": "differ", "main": "not on main", "config": "query_stats_limit = 5"} {
		if f := find(t, list, name); f.ok || !strings.Contains(f.detail, want) {
			t.Errorf("%s: %+v, want %q", name, f, want)
		}
	}
	// What is accepted stops nothing, and is said.
	d.Accept = []string{"clean", "main"}
	bad := d.report(list)
	if slices.Contains(bad, "clean") || slices.Contains(bad, "main") || !slices.Contains(bad, "config") {
		t.Errorf("stops: %v", bad)
	}
	if !strings.Contains(out.String(), "accepted") {
		t.Errorf("%s", out)
	}
}

func TestOpenElsewhere(t *testing.T) {
	if _, err := Open(t.Context(), Options{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("%v", err)
	}
}

func TestLock(t *testing.T) {
	dir := repository(t)
	d, _ := open(t, dir)
	release, err := d.lock()
	if err != nil {
		t.Fatal(err)
	}
	other, _ := open(t, dir)
	if err := other.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "another deployment") {
		t.Errorf("two at once: %v", err)
	}
	release()
	if again, err := other.lock(); err != nil {
		t.Errorf("after the first: %v", err)
	} else {
		again()
	}
}

// TestState: what is serving and what a rollback goes back to.
func TestState(t *testing.T) {
	rec := func(commit, status string) *Record { return &Record{Commit: commit, Status: status} }
	for _, c := range []struct {
		name          string
		list          []*Record
		current, back string
	}{
		{"none", nil, "", ""},
		{"first", []*Record{rec("a", good)}, "a", ""},
		{"second", []*Record{rec("a", good), rec("b", good)}, "b", "a"},
		{"failed", []*Record{rec("a", good), rec("b", failed)}, "a", "a"},
		{"same again failed", []*Record{rec("a", good), rec("b", good), rec("b", failed)}, "b", "b"},
		{"rolled back", []*Record{rec("a", good), rec("b", rolledBack), rec("a", good)}, "a", ""},
		{"cut off", []*Record{rec("a", good), rec("b", running)}, "a", "a"},
	} {
		s := &State{Deployments: c.list}
		commit := func(r *Record) string {
			if r == nil {
				return ""
			}
			return r.Commit
		}
		if got := commit(s.current()); got != c.current {
			t.Errorf("%s: current %q, want %q", c.name, got, c.current)
		}
		if got := commit(s.lastKnownGood()); got != c.back {
			t.Errorf("%s: last known good %q, want %q", c.name, got, c.back)
		}
	}
}

// TestCutOff: a deployment that was cut off is noted as failed, and its step told.
func TestCutOff(t *testing.T) {
	dir := repository(t)
	d, out := open(t, dir)
	d.state.Deployments = []*Record{{ID: "x", Commit: "a", Status: running, Step: "swapping backend"}}
	if err := d.save(); err != nil {
		t.Fatal(err)
	}
	d, out = open(t, dir)
	if err := d.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, _ := open(t, dir); again.state.last().Status != failed || !strings.Contains(again.state.last().Why, "swapping backend") {
		t.Errorf("%+v", again.state.last())
	}
	if !strings.Contains(out.String(), "cut off") {
		t.Errorf("%s", out)
	}
	if err := os.WriteFile(filepath.Join(dir, stateDir, stateFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir, Out: out}); err == nil || !strings.Contains(err.Error(), stateFile) {
		t.Errorf("a damaged record: %v", err)
	}
}

func TestRollbackNeedsAnEarlierOne(t *testing.T) {
	d, _ := open(t, repository(t))
	if err := d.Rollback(t.Context(), false); err == nil || !strings.Contains(err.Error(), "git checkout COMMIT") {
		t.Errorf("%v", err)
	}
}

// TestFullAsks: nothing but yes removes volumes.
func TestFullAsks(t *testing.T) {
	d, _ := open(t, repository(t))
	for answer, ok := range map[string]bool{"": false, "no\n": false, "y\n": false, "yes\n": true, "yes": true} {
		d.In = strings.NewReader(answer)
		if err := d.confirm("all is lost"); (err == nil) != ok {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

func TestPublishedPorts(t *testing.T) {
	short := "services:\n  backend:\n    ports:\n    - 127.0.0.1:8080:8080/tcp\n"
	long := "services:\n  backend:\n    ports:\n      - mode: ingress\n        host_ip: 127.0.0.1\n        target: 8080\n        published: \"8080\"\n        protocol: tcp\n      - target: 1\n        published: \"99\"\n"
	if got := publishedPorts(short); !slices.Equal(got, []string{"127.0.0.1:8080"}) {
		t.Errorf("docker-compose: %v", got)
	}
	if got := publishedPorts(long); !slices.Equal(got, []string{"127.0.0.1:8080", "0.0.0.0:99"}) {
		t.Errorf("docker compose: %v", got)
	}
}

func TestEnabledServices(t *testing.T) {
	config := "services:\n  backend: {image: a}\n  grafana:\n    profiles: [grafana]\n  secrets: {image: b}\n"
	if got, err := enabledServices(config, nil); err != nil || !slices.Equal(got, []string{"backend"}) {
		t.Errorf("%v %v", got, err)
	}
	if got, err := enabledServices(config, []string{"grafana"}); err != nil || !slices.Equal(got, []string{"backend", "grafana"}) {
		t.Errorf("%v %v", got, err)
	}
}

func TestGap(t *testing.T) {
	at := time.Unix(1000, 0)
	g := &gap{ok: at}
	for _, s := range []struct {
		after int
		ok    bool
	}{{100, true}, {200, false}, {900, false}, {1100, true}, {1200, true}, {1300, false}, {1500, true}} {
		g.look(s.ok, at.Add(time.Duration(s.after)*time.Millisecond))
	}
	if want := 1300 * time.Millisecond; g.total != want { // 100 to 1100, 1200 to 1500
		t.Errorf("%s, want %s", g.total, want)
	}
}

// TestCommands: failures tell the command and the end of what it said; a dry run
// runs nothing that changes something.
func TestCommands(t *testing.T) {
	var out bytes.Buffer
	r := &runner{dir: t.TempDir(), out: &out}
	_, err := r.run(t.Context(), command{args: []string{"sh", "-c", "echo no space left >&2; exit 3"}, changes: true})
	if err == nil || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
	if _, err := r.run(t.Context(), command{args: []string{"sleep", "20"}, limit: 50 * time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	r.dry = true
	if err := r.do(t.Context(), "touch", "x"); err != nil || exists(filepath.Join(r.dir, "x")) || !strings.Contains(out.String(), "$ touch x") {
		t.Errorf("%v %s", err, &out)
	}
}

// TestReport: windows that have not begun are said to be, what only a person can
// tell stays open.
func TestReport(t *testing.T) {
	d, _ := open(t, repository(t))
	now := d.begun
	v := &validation{d: d, record: &Record{Commit: "abc", Finished: now.Add(-time.Hour), Gaps: map[string]time.Duration{"backend": 1500 * time.Millisecond}}}
	row := check.Row{ID: "cycle", Measure: "longest cycle", Must: true, Target: "< 10 s", Ours: "<= 1 s", Measured: "0.05 s", Verdict: check.Pass}
	v.results = []windowResult{{windows[0], v.record.Finished, v.record.Finished.Add(15 * time.Minute), []check.Row{row}}, {windows[1], v.record.Finished.Add(15 * time.Minute), now, []check.Row{row}}}
	text := v.report()
	for _, want := range []string{"backend was away 1.5 s", "| longest cycle | yes | < 10 s | <= 1 s | – | 0.05 s | pass |", "(15m0s, complete)", "(45m0s, not over yet)",
		"Not begun yet", "- [ ] code reviewed", "- [ ] load tests passing 3/3", "- [x] all metrics within targets", "- [ ] 24-hour monitoring complete (1h0m0s"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	row.Verdict = check.NoData
	v.results[1].rows = []check.Row{row}
	if text := v.report(); !strings.Contains(text, "- [ ] all metrics within targets (short: cycle)") {
		t.Errorf("no data is no pass:\n%s", text)
	}
}
