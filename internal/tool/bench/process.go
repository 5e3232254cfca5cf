package main

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

// child is a process of the benchmark's own: collector, floor, backend.
type child struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it ended
	err  error
}

// spawn starts a process whose output goes to <name>.log. It ends with the
// benchmark, whatever ends that.
func (b *bench) spawn(name string, env []string, program string, args ...string) (*child, error) {
	c := &child{name: name, cmd: exec.Command(program, args...), log: b.path(name + ".log"), done: make(chan struct{})}
	out, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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
	b.children = append(b.children, c)
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// alive is an error with the end of its log when the process has ended.
func (c *child) alive() error {
	select {
	case <-c.done:
		text, _ := os.ReadFile(c.log)
		return fmt.Errorf("%s ended (%w); its log ends with:\n%s", c.name, errors.Join(c.err, errEnded), text[max(0, len(text)-3000):])
	default:
		return nil
	}
}

var errEnded = errors.New("unexpectedly")

// stop ends the process, with SIGKILL after 12 s.
func (c *child) stop() {
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

func (b *bench) stopChildren() {
	for _, c := range slices.Backward(b.children) {
		c.stop()
	}
	b.children = nil
}

// watch waits for d, and ends early when a child ended.
func (b *bench) watch(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); ; {
		for _, c := range b.children {
			if err := c.alive(); err != nil {
				return err
			}
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if err := sleep(ctx, min(left, time.Second)); err != nil {
			return err
		}
	}
}

// cpu is the CPU time, user and system, that a process has used, all its threads.
// The process's CPU clock is what utime + stime of /proc/PID/stat are rounded from,
// in 10-ms units.
func cpu(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &t); err != nil {
		return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// memory gives VmHWM or VmRSS of a process, in bytes.
func memory(pid int, key string) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, key)
}
