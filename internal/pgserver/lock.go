package pgserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Lock is an exclusive claim on a folder. The system releases it when the process ends, however
// it ends.
type Lock struct{ file *os.File }

// LockedError reports that another process holds the lock.
type LockedError struct {
	Path string // what is locked
	PID  int    // the holder by its own word, 0 when unknown
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another process", e.Path)
	}
	return fmt.Sprintf("%s is in use by process %d", e.Path, e.PID)
}

// AcquireLock claims dir through a file "lock" in it, without waiting. The error is a
// *LockedError when another process has it.
func AcquireLock(dir string) (*Lock, error) { return lockFile(filepath.Join(dir, "lock"), dir) }

// Release gives the claim up. The file stays: removing it would let two processes hold two files
// of one name.
func (l *Lock) Release() error { return l.file.Close() }

func lockFile(path, what string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", what, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", what, err)
		}
		text, _ := io.ReadAll(io.LimitReader(f, 32)) // only to name the holder
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return nil, &LockedError{Path: what, PID: pid}
	}
	if err := f.Truncate(0); err == nil { // a full disk must not keep us from starting
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{file: f}, nil
}
