package pgserver

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	takeoverGrace = 10 * time.Second // from SIGINT to SIGQUIT for a postmaster that is not our child
	quitGrace     = 2 * time.Second  // from SIGQUIT to SIGKILL
	poll          = 10 * time.Millisecond
)

// takeOver stops what a killed owner left running in the data directory. The caller holds the
// lock, so no living owner is robbed.
func (s *Server) takeOver(ctx context.Context) error {
	dir := s.cfg.DataDir
	if pid := Postmaster(dir); pid != 0 {
		s.cfg.Log.Info("stopping the postgres a killed process left", "pid", pid, "dir", dir)
		gone := func() bool { return !serves(pid, dir) }
		if err := stop(ctx.Done(), dir, pid, takeoverGrace, gone); err != nil {
			return err
		}
	}
	if err := endOrphans(ctx, dir); err != nil {
		return err
	}
	return dropRecycledPID(dir)
}

// stop asks the postmaster of a data directory for a fast shutdown, after grace for an immediate
// one, and then kills it. hurry only ends the grace: a half-stopped server helps nobody.
func stop(hurry <-chan struct{}, dir string, pid int, grace time.Duration, gone func() bool) error {
	signal := func(sig syscall.Signal) error {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		// Were it stopped, it would never see the signal, nor its children the one that it sends.
		for _, p := range append(processesOf(dir), pid) {
			_ = syscall.Kill(p, syscall.SIGCONT)
		}
		return nil
	}
	for _, step := range []struct {
		sig   syscall.Signal
		limit time.Duration
		soon  bool
	}{{syscall.SIGINT, grace, true}, {syscall.SIGQUIT, quitGrace, false}, {syscall.SIGKILL, quitGrace, false}} {
		if gone() {
			return nil
		}
		if err := signal(step.sig); err != nil {
			return err
		}
		for deadline := time.Now().Add(step.limit); time.Now().Before(deadline) && (!step.soon || !closed(hurry)); time.Sleep(poll) {
			if gone() {
				return nil
			}
		}
	}
	if gone() {
		return nil
	}
	return errors.New("process " + strconv.Itoa(pid) + " survives SIGKILL") // stuck in the kernel
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// endOrphans ends server processes whose postmaster was killed. Most notice by themselves; one
// in the middle of a long query does not, and as long as it lives no postmaster can start here.
// Killing it loses nothing: the crash recovery that follows anyway is what makes it safe.
func endOrphans(ctx context.Context, dir string) error {
	if Postmaster(dir) != 0 {
		return nil
	}
	for began := time.Now(); ; time.Sleep(poll) {
		pids := processesOf(dir)
		if len(pids) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		waited := time.Since(began)
		for _, pid := range pids {
			switch {
			case waited > 5*time.Second:
				return errors.New("processes of a killed PostgreSQL survive SIGKILL")
			case waited > time.Second:
				_ = syscall.Kill(pid, syscall.SIGKILL)
			case waited > 300*time.Millisecond:
				_ = syscall.Kill(pid, syscall.SIGQUIT)
			}
		}
	}
}

// processesOf lists the live postgres processes working in dir.
func processesOf(dir string) []int {
	var pids []int
	for _, pid := range processes() {
		if serves(pid, dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// dropRecycledPID removes postmaster.pid when the process it names is alive but no server of
// this directory. PostgreSQL itself refuses to start then if that process has our uid, which in
// a container, where ids are few, happens at every restart. No server runs here, so the file is
// no interlock any more.
func dropRecycledPID(dir string) error {
	path := filepath.Join(dir, "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return nil // dead: PostgreSQL's own checks do
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// owner is the uid a file belongs to, -1 when that cannot be told.
func owner(path string) int {
	info, err := os.Lstat(path)
	if err != nil {
		return -1
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(stat.Uid)
}
