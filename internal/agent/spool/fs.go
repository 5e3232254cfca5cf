package spool

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"time"
)

// FS is the file system as the spool sees it. OS is the real one; tests swap in a
// disk that crashes. Errors wrap those of the system, so that errors.Is finds
// fs.ErrNotExist, syscall.ENOSPC and the like. Names are paths.
type FS interface {
	// MkdirAll makes a folder and its parents, for the owner alone (0700). The
	// entry in the parent is durable when it returns.
	MkdirAll(dir string) error
	// ReadDir lists the files (no folders) of a folder, in any order.
	ReadDir(dir string) ([]FileInfo, error)
	// Create makes a new file for reading and writing, 0600; it must not exist.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Rename replaces new by old.
	Rename(old, new string) error
	// Remove unlinks a file.
	Remove(name string) error
	// Truncate cuts a file.
	Truncate(name string, size int64) error
	// SyncDir makes the entries of a folder durable.
	SyncDir(dir string) error
	// Lock takes an exclusive lock, without waiting, that ends with the process or
	// with Close. ErrLocked: another process has it.
	Lock(name string) (io.Closer, error)
}

// File is an open file. After Sync or Datasync has failed the content on disk is
// unknown, and later calls that succeed prove nothing.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is the length in bytes.
	Size() (int64, error)
	// Sync makes content and metadata durable.
	Sync() error
	// Datasync makes content durable, and of the metadata what is needed to read it.
	Datasync() error
}

// FileInfo is one file of a folder.
type FileInfo struct {
	Name     string // last element
	Size     int64
	Modified time.Time
}

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("in use by another process")

// WriteFileAtomic replaces a file, 0600, or leaves the old one: temporary file
// beside it, write, fsync, rename, fsync of the folder. When it returns nil the new
// content survives a power cut. One writer per name.
func WriteFileAtomic(fsys FS, name string, data []byte) error {
	err := writeFileAtomic(fsys, name, data)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func writeFileAtomic(fsys FS, name string, data []byte) error {
	tmp := name + ".tmp"
	f, err := fsys.Create(tmp)
	if errors.Is(err, syscall.EEXIST) { // left by a crash
		if err = fsys.Remove(tmp); err == nil {
			f, err = fsys.Create(tmp)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		_ = fsys.Remove(tmp) // best effort; the next writer removes it too
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// ReadFile reads a small file; longer than limit bytes is an error.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if size > limit {
		return nil, fmt.Errorf("read %s: %d bytes, at most %d", name, size, limit)
	}
	data := make([]byte, size)
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// noSpace says that the disk is full, by space, quota or inodes.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
