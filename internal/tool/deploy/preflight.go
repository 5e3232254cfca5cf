package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// finding is one preflight check's.
type finding struct {
	name   string // what --accept takes
	ok     bool
	advice bool // worth knowing, stops nothing
	detail string
}

// minDisk is what images and a backlog need at least.
const minDisk = 5 << 30

// LoadTest is the file that a load test leaves.
type LoadTest struct {
	Passed int       `json:"passed"`
	Of     int       `json:"of"`
	Commit string    `json:"commit"`
	Time   time.Time `json:"time"`
}

// LoadTestFile is where it lies in the repository.
const LoadTestFile = "reports/loadtest.json"

// Preflight says whether a deployment can begin, check by check.
func (d *Deploy) Preflight(ctx context.Context) error {
	list := d.preflight(ctx)
	bad := d.report(list)
	if len(bad) > 0 {
		fmt.Fprintf(d.Out, "not ready: %s (--accept NAME goes on all the same)\n", strings.Join(bad, ", "))
		return ErrFailed
	}
	fmt.Fprintln(d.Out, "ready to deploy")
	return nil
}

// report prints findings and gives the names of those that stop a deployment.
func (d *Deploy) report(list []finding) (bad []string) {
	for _, f := range list {
		word := "ok"
		switch {
		case f.ok:
		case f.advice:
			word = "note"
		case slices.Contains(d.Accept, f.name):
			word = "accepted"
		default:
			word = "FAILED"
			bad = append(bad, f.name)
		}
		fmt.Fprintf(d.Out, "  %-9s %-13s %s\n", word, f.name, f.detail)
	}
	return bad
}

// findings gathers checks.
type findings []finding

func (l *findings) add(name string, err error, format string, args ...any) bool {
	f := finding{name: name, ok: err == nil, detail: fmt.Sprintf(format, args...)}
	if err != nil {
		f.detail = err.Error()
	}
	*l = append(*l, f)
	return err == nil
}

func (l *findings) note(name, format string, args ...any) {
	*l = append(*l, finding{name: name, advice: true, detail: fmt.Sprintf(format, args...)})
}

func (d *Deploy) preflight(ctx context.Context) []finding {
	return append(d.preflightRepository(ctx), d.preflightDocker(ctx)...)
}

// preflightRepository looks at what is to be deployed.
func (d *Deploy) preflightRepository(ctx context.Context) (list findings) {
	hash, dirty, err := d.commit(ctx)
	if err == nil && dirty {
		err = errors.New("files differ from the commit (git status): what is deployed could not be named")
	}
	list.add("clean", err, "commit %s, nothing changed", hash)
	list.add("main", d.onMain(ctx), "the commit is on main")
	list.add("config", d.ValidateConfig(filepath.Join(d.Dir, configFile)), "%s is valid", configFile)
	if backups, _ := filepath.Glob(filepath.Join(d.Dir, configFile+".backup.*")); len(backups) > 1 {
		list.note("backups", "%d files collector/config.toml.backup.* lie there: `cp collector/config.toml.backup.* collector/config.toml` would fail; rollback takes the right one", len(backups))
	}
	list.add("loadtest", d.loadTest(hash), "the last load test passed all scenarios")
	free, err := d.disk()
	list.add("disk", err, "%.1f GB free", float64(free)/(1<<30))
	if good := d.state.current(); good != nil {
		list.add("known-good", nil, "last known good: %s of %s", good.Commit, good.Started.Format(time.DateTime))
	} else {
		list.note("known-good", "none is recorded: there will be nothing to roll back to but an older commit, by hand")
	}
	if last := d.state.last(); last != nil && last.Status == running {
		list.note("unfinished", "the deployment %s ended at %q: up cleans up after it", last.ID, last.Step)
	}
	return list
}

// preflightDocker looks at what is running.
func (d *Deploy) preflightDocker(ctx context.Context) (list findings) {
	version, err := d.stack.ask(ctx, "docker", "version", "-f", "{{.Server.Version}}")
	if missing(err) {
		err = errors.New("docker is not installed")
	}
	docker := list.add("docker", err, "Docker Engine %s", version)
	tool, version, err := findCompose(ctx, d.stack.runner)
	if !list.add("compose", err, "%s %s", strings.Join(tool, " "), version) || !docker {
		return list
	}
	services, err := d.stack.services(ctx)
	if !list.add("stack", err, "services: %s", strings.Join(services, ", ")) {
		return list
	}
	if d.stack.health(ctx, containers["backend"]) == "" {
		list.note("running", "nothing runs yet: this will be the first deployment")
		list.add("ports", d.ports(ctx), "the ports are free")
	} else {
		d.preflightRunning(ctx, &list)
	}
	hash, _, err := d.commit(ctx)
	if err == nil && d.stack.hasImage(ctx, image("collector", hash)) {
		list.note("built", "the images of %s are built", hash)
	} else {
		list.note("built", "the images of %s are not built yet: up builds them", hash)
	}
	return list
}

// preflightRunning looks at a stack that is there.
func (d *Deploy) preflightRunning(ctx context.Context, list *findings) {
	for _, service := range []string{"postgres", "timescale"} {
		container := containers[service]
		version, err := d.stack.ask(ctx, "docker", "exec", container, "psql", "-U", "postgres", "-XAtc", "SHOW server_version")
		if major, _, _ := strings.Cut(version, "."); err == nil && major != "16" {
			err = fmt.Errorf("%s runs PostgreSQL %s: want 16", container, version)
		}
		list.add(service, err, "PostgreSQL %s answers", version)
	}
	address, err := d.stack.address(ctx)
	if err == nil {
		err = d.answers(ctx, address)
	}
	list.add("backend", err, "%s is healthy", address)
}

func (d *Deploy) answers(ctx context.Context, address string) error {
	_, err := d.stack.ask(ctx, "docker", "exec", containers["backend"], "/pganalytics", "health")
	if err != nil {
		return fmt.Errorf("the backend on %s is not healthy: %w", address, err)
	}
	return nil
}

// onMain: what is deployed must be found again.
func (d *Deploy) onMain(ctx context.Context) error {
	for _, branch := range []string{"origin/main", "main"} {
		if _, err := d.stack.ask(ctx, "git", "rev-parse", "-q", "--verify", branch); err != nil {
			continue
		}
		if _, err := d.stack.ask(ctx, "git", "merge-base", "--is-ancestor", "HEAD", branch); err == nil {
			return nil
		}
	}
	return errors.New("the commit is not on main (git merge-base --is-ancestor HEAD main)")
}

func (d *Deploy) loadTest(hash string) error {
	text, err := os.ReadFile(filepath.Join(d.Dir, LoadTestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no load test was run here (make loadtest leaves %s)", LoadTestFile)
	}
	if err != nil {
		return err
	}
	var t LoadTest
	if err := json.Unmarshal(text, &t); err != nil {
		return fmt.Errorf("%s: %w", LoadTestFile, err)
	}
	if t.Of < 3 || t.Passed < t.Of {
		return fmt.Errorf("the load test of %s passed %d of %d scenarios", t.Time.Format(time.DateTime), t.Passed, max(3, t.Of))
	}
	if t.Commit != "" && !strings.HasPrefix(hash, t.Commit) && !strings.HasPrefix(t.Commit, hash) {
		return fmt.Errorf("the load test was of commit %s, not of %s", t.Commit, hash)
	}
	return nil
}

func (d *Deploy) disk() (free uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(d.Dir, &s); err != nil {
		return 0, fmt.Errorf("free disk: %w", err)
	}
	free = s.Bavail * uint64(s.Bsize)
	if free < minDisk {
		return free, fmt.Errorf("%.1f GB free, want %d", float64(free)/(1<<30), minDisk>>30)
	}
	return free, nil
}

// ports that the stack will publish must be free.
func (d *Deploy) ports(ctx context.Context) error {
	text, err := d.stack.ask(ctx, append(slices.Clone(d.stack.tool), "config")...)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range publishedPorts(text) {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s is taken (see .env.example for other ports): %w", p, err))
			continue
		}
		_ = l.Close()
	}
	return errors.Join(errs...)
}

// publishedPorts finds HOST:PORT in the output of compose config, whose short form
// is a line "127.0.0.1:8080:8080/tcp" and whose long form has host_ip and published.
func publishedPorts(config string) (list []string) {
	host := "0.0.0.0"
	for line := range strings.Lines(config) {
		line = strings.Trim(strings.TrimSpace(line), `-'" `)
		key, value, _ := strings.Cut(line, ": ")
		value = strings.Trim(value, `"' `)
		switch parts := strings.Split(line, ":"); {
		case key == "host_ip":
			host = value
		case key == "published":
			if _, err := strconv.ParseUint(value, 10, 16); err == nil {
				list = append(list, net.JoinHostPort(host, value))
			}
			host = "0.0.0.0"
		case len(parts) == 3 && net.ParseIP(parts[0]) != nil && strings.HasSuffix(parts[2], "/tcp"):
			list = append(list, net.JoinHostPort(parts[0], parts[1]))
		}
	}
	return list
}
