package simdisk

import (
	"errors"
	"io"
	"slices"
	"syscall"
)

type file struct {
	d        *Disk
	name     string
	node     *inode
	life     int
	readOnly bool
	closed   bool
}

var errUse = errors.New("simdisk: closed or read-only file used")

func (f *file) enter(write bool) error {
	if err := f.d.call(f.life); err != nil {
		return err
	}
	if f.closed || write && f.readOnly {
		return errUse
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.enter(false); err != nil {
		return 0, err
	}
	if fail(&f.d.failReads) {
		return 0, pathError("read", f.name, syscall.EIO)
	}
	n := 0
	if off < int64(len(f.node.mem)) {
		n = copy(b, f.node.mem[off:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt. On a full disk, as much as fits is written.
func (f *file) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.enter(true); err != nil {
		return 0, err
	}
	var err error
	if fail(&f.d.failWrites) {
		b, err = b[:f.d.chance(len(b)+1)], pathError("write", f.name, syscall.EIO)
	} else if f.d.limit > 0 {
		grow := off + int64(len(b)) - int64(len(f.node.mem))
		if room := f.d.limit - f.d.used(); grow > max(room, 0) {
			b = b[:max(int64(len(b))-(grow-max(room, 0)), 0)]
			err = pathError("write", f.name, syscall.ENOSPC)
		}
	}
	if len(b) > 0 {
		o := op{off: off, data: slices.Clone(b)}
		f.node.mem = o.apply(f.node.mem)
		f.node.pending = append(f.node.pending, o)
	}
	f.d.clock++
	f.node.changed = f.d.clock
	return len(b), err
}

// Size is the length in bytes.
func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.enter(false); err != nil {
		return 0, err
	}
	return int64(len(f.node.mem)), nil
}

// Sync makes the content durable; a failed one forgets what was not.
func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.enter(false); err != nil {
		return err
	}
	if fail(&f.d.failSyncs) {
		for _, o := range f.node.pending {
			if f.d.chance(2) == 0 {
				f.node.disk = o.apply(f.node.disk)
			}
		}
		f.node.pending = nil
		return pathError("fsync", f.name, syscall.EIO)
	}
	for _, o := range f.node.pending {
		f.node.disk = o.apply(f.node.disk)
	}
	f.node.pending = nil
	return nil
}

// Datasync is Sync.
func (f *file) Datasync() error { return f.Sync() }

// Close ends the handle; it makes nothing durable.
func (f *file) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.closed = true
	return nil
}
