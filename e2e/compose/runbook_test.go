package compose

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestRunbook runs the commands of docs/deployment.md in their order, as one script.
func TestRunbook(t *testing.T) {
	c := newCheckout(t)
	commands := c.blocks(t, "sh")
	grafana := 0
	results := c.script(t, commands, func(command string) bool {
		if strings.Contains(command, "localhost:3000") {
			grafana++
			return true
		}
		return false
	})
	t.Logf("plain PostgreSQL 16 stood in for TimescaleDB's image; %d line for Grafana was not run", grafana)
	look := func(part string) result {
		t.Helper()
		for command, r := range results {
			if strings.Contains(command, part) {
				return r
			}
		}
		t.Fatalf("no command with %q was run", part)
		return result{}
	}
	lines := func(part string) int { return len(strings.Split(strings.TrimSpace(look(part).out), "\n")) }

	if r := look("git log"); lines("git log") < 3 || !strings.Contains(r.out, "Thread Pool") || !strings.Contains(r.out, "Query Configuration") || !strings.Contains(r.out, "Connection Pooling") {
		t.Errorf("git log: %s", r.out)
	}
	if r := look("down --remove-orphans"); r.took > 10*time.Second {
		t.Errorf("down took %s, want at most 10 s", r.took)
	}
	if n := lines("grep -E \"thread_pool_size"); n != 5 {
		t.Errorf("the settings are %d lines, want 5", n)
	}
	if r := look("docker-compose ps"); strings.Count(r.out, "(healthy)") != len(all) || strings.Contains(r.out, "unhealthy") {
		t.Errorf("30 s after up -d:\n%s", r.out)
	}
	for _, part := range []string{"head -20", "tail -50", `grep "cycle\|duration"`, `grep "pool\|connection"`, `grep "sampling\|queries collected"`} {
		if look(part).out == "" {
			t.Errorf("%s prints nothing", part)
		}
	}
	if r := look("grep -i error"); r.out != "" {
		t.Errorf("a healthy collector logs %s", r.out)
	}
	var health struct{ Status string }
	if r := look("api/v1/health"); json.Unmarshal([]byte(r.out), &health) != nil || health.Status != "ok" {
		t.Errorf("health: %s", r.out)
	}
	if r := look("pg_isready"); !strings.Contains(r.out, "accepting connections") {
		t.Errorf("pg_isready: %s", r.out)
	}
	if r := look("SELECT count(*) FROM metrics"); strings.Contains(r.out, "\n     0\n") || !strings.Contains(r.out, "(1 row)") {
		t.Errorf("metrics: %s", r.out)
	}
	if r := look("docker inspect"); !strings.Contains(r.out, `"Memory": 157286400`) {
		t.Errorf("the collector's limit: %s", r.out)
	}
	if r := look("docker stats --no-stream pganalytics"); !strings.Contains(r.out, "150MiB") {
		t.Errorf("docker stats: %s", r.out)
	}

	// Built images: all healthy within 30 s, from nothing and on what is there.
	c.must(t, "docker-compose", "down", "-v")
	for _, what := range []string{"new volumes", "volumes that were there"} {
		begun := time.Now()
		c.must(t, "docker-compose", "up", "-d")
		c.becomesHealthy(t, 2*time.Minute)
		t.Logf("%s: healthy after %.1f s", what, time.Since(begun).Seconds())
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("%s: healthy after %s, want at most 30 s", what, took)
		}
		if what == "new volumes" {
			before := c.sql(t, "SELECT count(*) FROM metrics")
			c.must(t, "docker-compose", "down")
			defer func() {
				if after := c.sql(t, "SELECT count(*) FROM metrics"); after < before || before == 0 {
					t.Errorf("metrics: %d, before down %d", after, before)
				}
			}()
		}
	}
	for _, secret := range []string{"api-token", "grafana-admin-password"} {
		if out := c.must(t, "bash", "-c", "docker-compose run --rm -T secrets show "+secret+" 2>/dev/null"); len(out) < 32 {
			t.Errorf("secret %s: %q", secret, out)
		}
	}
}

// TestComposeV2: the same file with the newer tool.
func TestComposeV2(t *testing.T) {
	c := newCheckout(t)
	if out, err := c.run(t.Context(), "docker", "compose", "version", "--short"); err != nil {
		t.Skipf("docker compose v2 is not there: %s", out)
	}
	c.must(t, "docker-compose", "build")
	begun := time.Now()
	c.must(t, "docker", "compose", "up", "-d", "--no-build", "--wait")
	t.Logf("docker compose up --wait: %.1f s", time.Since(begun).Seconds())
	if bad := c.unhealthy(t.Context(), all...); len(bad) > 0 {
		t.Errorf("not healthy: %v", bad)
	}
	c.must(t, "docker", "compose", "down", "-v")
}
