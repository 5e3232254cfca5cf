package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// workload runs one known statement on the watched server without end.
type workload struct {
	done chan struct{}
	end  context.CancelFunc
	mu   sync.Mutex
	ran  int64
	err  error
}

// drive starts the workload; its statement is told apart by its text.
func drive(t *testing.T, c *checkout) *workload {
	t.Helper()
	password := c.must(t, "docker", "exec", "pganalytics-postgres", "cat", "/run/secrets/pganalytics/postgres-password")
	ctx, end := context.WithCancel(t.Context())
	conn, err := pgx.Connect(ctx, "postgres://postgres:"+password+"@127.0.0.1:5432/postgres?default_query_exec_mode=simple_protocol")
	if err != nil {
		t.Fatal(err)
	}
	w := &workload{done: make(chan struct{}), end: end}
	go func() {
		defer close(w.done)
		defer conn.Close(context.WithoutCancel(ctx))
		for ctx.Err() == nil {
			// What has begun is counted by the server: it isn't cut off by the end.
			_, err := conn.Exec(context.WithoutCancel(ctx), "SELECT 1 AS known_workload")
			w.mu.Lock()
			if err != nil {
				w.err = err
				w.mu.Unlock()
				return
			}
			w.ran++
			w.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return w
}

// stop gives how often the statement ran.
func (w *workload) stop(t *testing.T) int64 {
	t.Helper()
	w.end()
	<-w.done
	if w.err != nil {
		t.Fatalf("the workload: %v", w.err)
	}
	return w.ran
}

// known is how many of the workload's calls are stored.
func (c *checkout) known(t *testing.T) int64 {
	t.Helper()
	ids := c.must(t, "docker", "exec", "pganalytics-postgres", "psql", "-U", "postgres", "-d", "postgres", "-XAtc",
		"SELECT string_agg(DISTINCT queryid::text, ',') FROM pg_stat_statements WHERE query LIKE '%AS known_workload'")
	return c.sql(t, "SELECT coalesce(sum(calls), 0)::bigint FROM statements_raw WHERE queryid IN ("+ids+")")
}

// newVersion commits a version with another schema: a column more.
func (c *checkout) newVersion(t *testing.T) (commit string) {
	t.Helper()
	path := filepath.Join(c.dir, "internal/catalog/wal.go")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(text), "\t},\n\tPanels:")
	if !ok {
		t.Fatal("no place for a column in wal.go")
	}
	changed := before + "\t\t{Name: \"e2e_buffers\", Doc: \"of the next version\", Kind: Counter, Type: Int, Unit: Count, Agg: Sum, Expr: By{14: \"wal_buffers_full\"}},\n\t},\n\tPanels:" + after
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "VERSION"), []byte("99.0.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must(t, "git", "commit", "-qam", "wal: add a column")
	return c.must(t, "git", "rev-parse", "--short=12", "HEAD")
}

// program builds the command that deploys.
func (c *checkout) program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pganalytics")
	c.must(t, "go", "build", "-o", path, "./cmd/pganalytics")
	return path
}

type ledger struct{ Planned, Stored, Failed, Skipped, Dropped, Pending, Missing int64 }

// ledger asks the API for the account since a moment.
func (c *checkout) ledger(t *testing.T, since time.Time) (l ledger) {
	t.Helper()
	token := c.must(t, "bash", "-c", "docker-compose run --rm -T secrets show api-token 2>/dev/null")
	out := c.must(t, "curl", "-sf", "-H", "Authorization: Bearer "+token, "http://127.0.0.1:8080/api/v1/ledger?from="+strconv.FormatInt(since.Unix(), 10))
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return l
}

// TestRollingUpdate: first deployment, an update to another schema under load, the
// rollback, the rollback by hand. Nothing is lost, nothing doubled, no tick fails.
func TestRollingUpdate(t *testing.T) {
	c := newCheckout(t)
	c.set("PGA_TEST_INTERVAL", "2")
	c.set("PGA_TEST_LIMIT", "1000")
	program := c.program(t)
	deploy := func(args ...string) string {
		t.Helper()
		out, err := c.run(t.Context(), append([]string{program, "deploy"}, args...)...)
		t.Logf("deploy %s:\n%s", strings.Join(args, " "), out)
		if err != nil {
			t.Fatalf("deploy %v: %v", args, err)
		}
		return out
	}
	old := c.must(t, "git", "rev-parse", "--short=12", "HEAD")
	if out := deploy("up", "--accept", "loadtest"); !strings.Contains(out, "deployed "+old) {
		t.Fatal("not deployed")
	}
	c.becomesHealthy(t, time.Minute)
	// The workload counts from the first reading that knows its statement.
	first := drive(t, c)
	time.Sleep(5 * time.Second)
	ran := first.stop(t)
	begun := time.Now()

	load := drive(t, c)
	updated := c.newVersion(t)
	out := deploy("up", "--accept", "loadtest")
	if !strings.Contains(out, "deployed "+updated) {
		t.Fatal("not updated")
	}
	if n := c.sql(t, "SELECT count(*) FROM information_schema.columns WHERE table_name = 'wal_raw' AND column_name = 'e2e_buffers'"); n != 1 {
		t.Error("the update brought no column")
	}
	deploy("validate")
	metrics := c.sql(t, "SELECT count(*) FROM metrics")
	at := time.Now()
	out = deploy("rollback")
	if took := time.Since(at); took > time.Minute || !strings.Contains(out, "rolled back to "+old) {
		t.Errorf("rollback took %s", took)
	}
	time.Sleep(10 * time.Second) // the older version goes on with the newer one's schema
	ran += load.stop(t)
	time.Sleep(8 * time.Second) // the last ticks are read, shipped and stored
	l := c.ledger(t, begun)
	t.Logf("ledger: %+v", l)
	if l.Failed != 0 || l.Dropped != 0 || l.Missing != 0 || l.Planned != l.Stored+l.Skipped+l.Pending {
		t.Errorf("an update loses nothing and no tick fails: %+v", l)
	}
	if got := c.known(t); got != ran {
		t.Errorf("%d calls are stored, %d were made", got, ran)
	}
	if n := c.sql(t, "SELECT count(*) FROM (SELECT FROM statements_raw GROUP BY instance_id, time, dbid, userid, queryid, toplevel HAVING count(*) > 1) x"); n != 0 {
		t.Errorf("%d rows are doubled", n)
	}
	if now := c.sql(t, "SELECT count(*) FROM metrics"); now <= metrics {
		t.Errorf("metrics: %d, before the rollback %d", now, metrics)
	}

	// By hand: the newer version again, then the older commit as the runbook has it.
	c.must(t, "git", "checkout", "-q", "main")
	deploy("up", "--accept", "loadtest")
	before := c.sql(t, "SELECT count(*) FROM metrics")
	at = time.Now()
	c.script(t, append([]string{"COMMIT=" + old}, c.blocks(t, "sh rollback")...), nil)
	c.becomesHealthy(t, time.Minute)
	t.Logf("rollback by hand: %.0f s", time.Since(at).Seconds())
	if after := c.sql(t, "SELECT count(*) FROM metrics"); after < before {
		t.Errorf("metrics: %d, before %d", after, before)
	}
	if took := time.Since(at); took > 5*time.Minute {
		t.Errorf("rollback by hand took %s", took)
	}
}

// TestDeployFailures: each ends in a clear message, the old version still serving.
func TestDeployFailures(t *testing.T) {
	c := newCheckout(t)
	program := c.program(t)
	fails := func(want string, args ...string) string {
		t.Helper()
		out, err := c.run(t.Context(), append([]string{program, "deploy"}, args...)...)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("deploy %v: %v, want %q:\n%s", args, err, want, out)
		}
		return out
	}
	// A taken port, before anything runs.
	c.must(t, "docker", "run", "-d", "--name", "pganalytics-e2e-port", "-p", "127.0.0.1:8080:8080", "pganalytics-e2e/debian:bookworm", "sleep", "600")
	t.Cleanup(func() { _, _ = c.run(context.Background(), "docker", "rm", "-f", "pganalytics-e2e-port") })
	fails("127.0.0.1:8080 is taken", "up", "--accept", "loadtest")
	c.must(t, "docker", "rm", "-f", "pganalytics-e2e-port")

	c.must(t, program, "deploy", "up", "--accept", "loadtest")
	serving := func(what string) {
		t.Helper()
		if bad := c.unhealthy(t.Context(), all...); len(bad) > 0 {
			t.Errorf("%s: not healthy: %v", what, bad)
		}
		c.must(t, "curl", "-sf", "http://127.0.0.1:8080/api/v1/health")
	}
	// A broken configuration.
	path := filepath.Join(c.dir, "collector/config.toml")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string, message string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.must(t, "git", "commit", "-qam", message)
	}
	write(strings.Replace(string(good), "query_stats_limit = 100", "query_stats_limit = 5", 1), "config: break it")
	fails("query_stats_limit = 5", "up", "--accept", "loadtest")
	serving("a broken configuration")
	write(string(good), "config: mend it")

	// An image that does not become healthy.
	docker := filepath.Join(c.dir, "Dockerfile")
	text, err := os.ReadFile(docker)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(docker, []byte(strings.Replace(string(text), `CMD ["backend"]`, `CMD ["version"]`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must(t, "git", "commit", "-qam", "deploy: break the image")
	fails("the old version is still serving", "up", "--accept", "loadtest")
	serving("an image that fails its health check")
	c.must(t, "git", "revert", "--no-edit", "HEAD")

	// A database that is down.
	c.must(t, "docker", "stop", "pganalytics-timescale")
	fails("FAILED    timescale", "up", "--accept", "loadtest")
	c.must(t, "docker", "start", "pganalytics-timescale")
	c.becomesHealthy(t, time.Minute)
	serving("a database that was down")

	// A deployment that was cut off.
	state := filepath.Join(c.dir, ".deploy/state.json")
	recorded, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	cut := strings.Replace(string(recorded), `"status": "failed"`, `"status": "running"`, 1)
	if i := strings.LastIndex(string(recorded), `"status"`); i >= 0 {
		cut = string(recorded[:i]) + strings.Replace(string(recorded[i:]), `"status": "failed"`, `"status": "running"`, 1)
	}
	if err := os.WriteFile(state, []byte(cut), 0o600); err != nil {
		t.Fatal(err)
	}
	out := c.must(t, program, "deploy", "up", "--accept", "loadtest")
	if !strings.Contains(out, "was cut off") || !strings.Contains(out, "deployed ") {
		t.Errorf("after one that was cut off:\n%s", out)
	}
	serving("after one that was cut off")

	// A dry run prints commands and changes nothing.
	before := c.must(t, "docker", "ps", "-q", "--no-trunc")
	if out := c.must(t, program, "deploy", "up", "--dry-run", "--accept", "loadtest"); strings.Count(out, "$ ") < 8 {
		t.Errorf("dry run:\n%s", out)
	}
	if after := c.must(t, "docker", "ps", "-q", "--no-trunc"); after != before {
		t.Error("a dry run changed the containers")
	}
	fmt.Println("NOT RUN: a full disk; preflight's check of free space is tested in internal/tool/deploy")
}
