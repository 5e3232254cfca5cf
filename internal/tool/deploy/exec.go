package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// command is one program call. Changing ones are only printed in a dry run.
type command struct {
	env     []string // besides the process's
	args    []string
	changes bool
	limit   time.Duration // 0: a minute
	show    bool          // its output goes to the user as it comes
}

func (c command) String() string {
	return strings.Join(append(append([]string(nil), c.env...), c.args...), " ")
}

// runner runs commands in the repository.
type runner struct {
	dir string
	out io.Writer
	dry bool
}

// run gives what a command printed. An error holds the end of it.
func (r *runner) run(ctx context.Context, c command) (string, error) {
	if c.changes {
		fmt.Fprintf(r.out, "    $ %s\n", c)
		if r.dry {
			return "", nil
		}
	}
	if c.limit == 0 {
		c.limit = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), c.env...)
	cmd.WaitDelay = 5 * time.Second
	// A terminal's Ctrl-C is ours to handle: compose would leave things half done.
	detach(cmd)
	// Both streams are copied at the same time, and both end in these two.
	var stdout, both bytes.Buffer
	all, out := &shared{to: &both}, &shared{to: indent{r.out}}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, all), all
	if c.show {
		cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, all, out), io.MultiWriter(all, out)
	}
	err := cmd.Run()
	if err == nil {
		return strings.TrimSpace(stdout.String()), nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (limit %s)", context.Cause(ctx), c.limit)
	}
	if tail := tail(both.String(), 8); tail != "" && !c.show {
		err = fmt.Errorf("%w:\n%s", err, tail)
	}
	return strings.TrimSpace(stdout.String()), fmt.Errorf("%s: %w", c, err)
}

// ask runs a command that changes nothing.
func (r *runner) ask(ctx context.Context, args ...string) (string, error) {
	return r.run(ctx, command{args: args})
}

// do runs a command that changes something.
func (r *runner) do(ctx context.Context, args ...string) error {
	_, err := r.run(ctx, command{args: args, changes: true})
	return err
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func missing(err error) bool { return errors.Is(err, exec.ErrNotFound) }

// shared is a writer of several goroutines.
type shared struct {
	mu sync.Mutex
	to io.Writer
}

// Write implements io.Writer.
func (w *shared) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

// indent sets a command's output apart.
type indent struct{ to io.Writer }

// Write implements io.Writer.
func (w indent) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if _, err := fmt.Fprintf(w.to, "      %s", strings.TrimRight(line, "\r\n")+"\n"); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
