// Package host reads what this process uses of its host: CPU time and memory.
package host

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// Process is what the own process uses.
type Process struct {
	CPU    time.Duration // user and system, since its start
	Memory int64         // resident, bytes (VmRSS)
	Peak   int64         // peak resident, bytes (VmHWM)
}

// Sampler reads what the own process uses, once a second at most: a collector of a
// hundred instances asks a hundred times.
type Sampler struct {
	mu   sync.Mutex
	at   time.Time
	last Process
	err  error
}

// Self gives what was read within the last second.
func (s *Sampler) Self() (Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.at.IsZero() || now.Sub(s.at) >= time.Second {
		s.last, s.err = Self()
		s.at = now
	}
	return s.last, s.err
}

// Self reads it. CPU time comes from getrusage, which is finer than the clock ticks
// of /proc; memory from /proc/self/status and is 0 where there is no such file,
// with the error.
func Self() (Process, error) {
	var p Process
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return p, fmt.Errorf("read own CPU time: %w", err)
	}
	p.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	self, err := procfs.Self()
	if err != nil {
		return p, fmt.Errorf("read own memory: %w", err)
	}
	status, err := self.NewStatus()
	if err != nil {
		return p, fmt.Errorf("read own memory: %w", err)
	}
	p.Memory, p.Peak = int64(status.VmRSS), int64(status.VmHWM)
	return p, nil
}
