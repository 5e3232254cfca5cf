package compose

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// checkout is a clone of this repository, on its main, where the stack runs.
type checkout struct {
	dir string
	env []string
}

// newCheckout clones what is committed. The test ends without containers or volumes.
func newCheckout(t *testing.T) *checkout {
	t.Helper()
	if os.Getenv("PGA_TEST_COMPOSE") == "" {
		t.Skip("needs Docker Engine and root: make e2e-compose runs it")
	}
	dir := filepath.Join(t.TempDir(), "pganalytics")
	c := &checkout{dir: dir, env: append(os.Environ(), "COMPOSE_FILE=docker-compose.yml:e2e/compose/override.yml", "DOCKER_BUILDKIT=0", "COMPOSE_PROJECT_NAME=pganalytics-e2e")}
	if out, err := exec.CommandContext(t.Context(), "git", "clone", "-q", "../..", dir).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	c.must(t, "git", "checkout", "-q", "-B", "main")
	c.must(t, "git", "config", "user.email", "e2e@example.invalid")
	c.must(t, "git", "config", "user.name", "e2e")
	clean := func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "docker-compose", "down", "-v", "--remove-orphans")
		cmd.Dir, cmd.Env = dir, c.env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("docker-compose down: %v\n%s", err, out)
		}
	}
	clean() // what an earlier run left
	t.Cleanup(clean)
	return c
}

func (c *checkout) set(name, value string) { c.env = append(c.env, name+"="+value) }

// run gives output and error; output is stdout and stderr together.
func (c *checkout) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *checkout) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.run(t.Context(), args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// block is a fenced block of docs/deployment.md: its commands, one a line.
func (c *checkout) blocks(t *testing.T, info string) (commands []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "docs/deployment.md"))
	if err != nil {
		t.Fatal(err)
	}
	in := false
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		line := s.Text()
		switch {
		case line == "```"+info:
			in = true
		case strings.HasPrefix(line, "```"):
			in = false
		case in && strings.TrimSpace(line) != "":
			commands = append(commands, line)
		}
	}
	if len(commands) == 0 {
		t.Fatalf("docs/deployment.md has no commands in blocks %q", info)
	}
	return commands
}

// result is what a command of a script printed and how long it took.
type result struct {
	out  string
	took time.Duration
	ran  bool
}

const mark = "@@command "

// script runs commands as one script under set -e, exactly as they are written;
// those that need what can't be had here are left out and said to be.
func (c *checkout) script(t *testing.T, commands []string, leaveOut func(string) bool) map[string]result {
	t.Helper()
	var b strings.Builder
	b.WriteString("set -e\n")
	stamp := func(n int) { fmt.Fprintf(&b, "echo \"%s%d $(date +%%s%%N)\"\n", mark, n) }
	for n, command := range commands {
		if leaveOut != nil && leaveOut(command) {
			fmt.Printf("NOT RUN: %s\n", command)
			continue
		}
		stamp(n)
		b.WriteString(command + "\n")
	}
	stamp(len(commands))
	cmd := exec.CommandContext(t.Context(), "bash", "-c", b.String())
	cmd.Dir, cmd.Env = c.dir, c.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	results := map[string]result{}
	last, at, text := -1, int64(0), ""
	for line := range strings.Lines(out.String()) {
		rest, ok := strings.CutPrefix(line, mark)
		if !ok {
			text += line
			continue
		}
		number, nanos, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, _ := strconv.Atoi(number)
		now, _ := strconv.ParseInt(nanos, 10, 64)
		if last >= 0 {
			results[commands[last]] = result{text, time.Duration(now - at), true}
		}
		last, at, text = n, now, ""
	}
	if err != nil {
		t.Fatalf("the script ended with %v at %q:\n%s", err, commands[max(last, 0)], text)
	}
	return results
}

// unhealthy gives the containers of the stack that are not healthy.
func (c *checkout) unhealthy(ctx context.Context, names ...string) (list []string) {
	for _, name := range names {
		out, err := c.run(ctx, "docker", "inspect", "-f", "{{.State.Health.Status}}", name)
		if err != nil || strings.TrimSpace(out) != "healthy" {
			list = append(list, name+" "+strings.TrimSpace(out))
		}
	}
	return list
}

var all = []string{"pganalytics-postgres", "pganalytics-timescale", "pganalytics-backend", "pganalytics-collector-demo"}

// becomesHealthy gives how long it took.
func (c *checkout) becomesHealthy(t *testing.T, limit time.Duration) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		bad := c.unhealthy(t.Context(), all...)
		if len(bad) == 0 {
			return time.Since(begun)
		}
		if time.Since(begun) > limit {
			out, _ := c.run(t.Context(), "docker-compose", "logs", "--tail=20")
			t.Fatalf("not healthy after %s: %v\n%s", limit, bad, out)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// sql asks the metrics database for one number.
func (c *checkout) sql(t *testing.T, query string) int64 {
	t.Helper()
	out := c.must(t, "docker", "exec", "pganalytics-timescale", "psql", "-U", "postgres", "-d", "metrics", "-XAtc", query)
	n, err := strconv.ParseInt(out, 10, 64)
	if err != nil {
		t.Fatalf("%s: %q is no number", query, out)
	}
	return n
}
