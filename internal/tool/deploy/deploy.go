package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a Deploy.
type Options struct {
	Dir    string // the repository
	Out    io.Writer
	In     io.Reader // answers to questions
	DryRun bool
	Accept []string // preflight checks that may fail
	// ValidateConfig checks a collector's configuration file.
	ValidateConfig func(path string) error
	Now            func() time.Time // nil: time.Now
}

// Deploy is a repository's deployment.
type Deploy struct {
	Options
	stack *stack
	state *State
	begun time.Time
}

// ErrFailed ends a command that has already said why.
var ErrFailed = errors.New("deployment failed")

// Open reads the record of deployments.
func Open(ctx context.Context, o Options) (*Deploy, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "docker-compose.yml")); err != nil {
		return nil, fmt.Errorf("--dir = %q: want the repository, where docker-compose.yml is: %w", o.Dir, err)
	}
	o.Dir = dir
	d := &Deploy{Options: o, begun: o.Now()}
	r := &runner{dir: dir, out: o.Out, dry: o.DryRun}
	d.stack = &stack{runner: r}
	if d.state, err = loadState(dir); err != nil {
		return nil, err
	}
	d.stack.tool, _, err = findCompose(ctx, r)
	if err != nil {
		d.stack.tool = []string{"docker-compose"} // preflight tells
	}
	return d, nil
}

// lock keeps two deployments apart. The lock goes with the process.
func (d *Deploy) lock() (release func(), err error) {
	if d.DryRun {
		return func() {}, nil
	}
	path := filepath.Join(d.Dir, stateDir, "lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lock deployments: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock deployments: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another deployment of %s is at work (%s is locked)", d.Dir, path)
	}
	return func() { _ = f.Close() }, nil
}

func (d *Deploy) save() error {
	if d.DryRun {
		return nil
	}
	return d.state.save(d.Dir)
}

// step tells what begins, and notes it, so that a deployment cut off here is known.
func (d *Deploy) step(r *Record, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(d.Out, "[%5.1f s] %s\n", d.Now().Sub(d.begun).Seconds(), text)
	if r == nil {
		return nil
	}
	r.Step = text
	return d.save()
}

func (d *Deploy) sayf(format string, args ...any) { fmt.Fprintf(d.Out, "  "+format+"\n", args...) }

// commit is what is checked out: its short hash; dirty when files differ from it.
func (d *Deploy) commit(ctx context.Context) (hash string, dirty bool, err error) {
	if hash, err = d.stack.ask(ctx, "git", "rev-parse", "--short=12", "HEAD"); err != nil {
		return "", false, fmt.Errorf("what is checked out: %w", err)
	}
	status, err := d.stack.ask(ctx, "git", "status", "--porcelain", "--untracked-files=no")
	return hash, status != "", err
}
