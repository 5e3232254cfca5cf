package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a process that a Place started: collector, backend.
type Child struct {
	Name string
	Log  string // file with its output
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended
	err  error
}

// Spawn starts a process whose output goes to <name>.log in the folder. It ends with
// the Place, whatever ends that.
func (p *Place) Spawn(name string, env []string, program string, args ...string) (*Child, error) {
	c := &Child{Name: name, cmd: exec.Command(program, args...), Log: p.Path(name + ".log"), done: make(chan struct{})}
	out, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = out, out
	// A session of its own: Ctrl-C reaches us alone, and we end the parts in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { c.err = c.cmd.Wait(); close(c.done) }()
	p.mu.Lock()
	p.children = append(p.children, c)
	p.mu.Unlock()
	return c, nil
}

// PID is its process id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

var errEnded = errors.New("unexpectedly")

// Alive is an error with the end of its log when the process has ended.
func (c *Child) Alive() error {
	select {
	case <-c.done:
		text, _ := os.ReadFile(c.Log)
		return fmt.Errorf("%s ended (%w); its log ends with:\n%s", c.Name, errors.Join(c.err, errEnded), text[max(0, len(text)-3000):])
	default:
		return nil
	}
}

// stop ends the process, with SIGKILL after 12 s.
func (c *Child) stop() {
	select {
	case <-c.done:
		return
	default:
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(12 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// Stop ends a process and forgets it.
func (p *Place) Stop(c *Child) {
	c.stop()
	p.mu.Lock()
	p.children = slices.DeleteFunc(p.children, func(x *Child) bool { return x == c })
	p.mu.Unlock()
}

// StopChildren ends all processes, the newest first.
func (p *Place) StopChildren() {
	for {
		p.mu.Lock()
		n := len(p.children)
		if n == 0 {
			p.mu.Unlock()
			return
		}
		c := p.children[n-1]
		p.mu.Unlock()
		p.Stop(c)
	}
}

// Watch waits for d, and ends early when a process ended.
func (p *Place) Watch(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); ; {
		p.mu.Lock()
		children := slices.Clone(p.children)
		p.mu.Unlock()
		for _, c := range children {
			if err := c.Alive(); err != nil {
				return err
			}
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if err := Sleep(ctx, min(left, time.Second)); err != nil {
			return err
		}
	}
}

// CPU is the CPU time, user and system, that a process has used, all its threads. The
// process's CPU clock is what utime + stime of /proc/PID/stat are rounded from, in
// 10-ms units.
func CPU(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &t); err != nil {
		return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// OwnCPU is that of this process.
func OwnCPU() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}

// Memory gives VmHWM or VmRSS of a process, in bytes.
func Memory(pid int, key string) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	n, err := kilobytes(string(text), key)
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", pid, err)
	}
	return n, nil
}

// kilobytes finds "key: N kB", as files of /proc have it, in bytes.
func kilobytes(text, key string) (int64, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no %s", key)
}
