// Package simdisk is a file system in memory that crashes as a disk may, for tests
// of what claims to be durable.
//
// Writes reach the disk only by Sync or Datasync of their file, entries of folders
// only by SyncDir. A power cut keeps any subset of the writes that were not synced,
// each whole, in part or as zeros, and any prefix of the operations on entries. A
// failed sync forgets the writes it was asked for: they can still be read, and later
// syncs succeed, but after a power cut they are gone.
package simdisk

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/spool"
)

// Disk is the file system. It is safe for concurrent use; what happens depends on
// nothing but the calls and on Chance.
type Disk struct {
	mu      sync.Mutex
	chance  func(n int) int
	names   map[string]*inode // as seen
	durable map[string]*inode // as on disk
	journal []dirOp           // on the way from one to the other
	locks   map[string]bool
	life    int // handles of former lives are dead
	clock   int64

	calls   int
	crashAt int
	limit   int64

	failWrites, failSyncs, failReads, failDirs int
}

type inode struct {
	mem     []byte // as seen
	disk    []byte // as on disk
	pending []op
	changed int64
}

type op struct {
	off  int64
	data []byte
	cut  bool // to off bytes
}

type dirOp struct {
	dir  string
	name string
	node *inode // nil: removed
	from string // renamed from
}

var _ spool.FS = (*Disk)(nil)

// ErrCrashed is the result of every call after the crash, until the next life.
var ErrCrashed = fmt.Errorf("crashed: %w", syscall.EIO)

// New makes an empty disk. chance(n) gives a number from 0 to n-1 and decides what a
// power cut leaves.
func New(chance func(n int) int) *Disk {
	return &Disk{chance: chance, names: map[string]*inode{}, durable: map[string]*inode{}, locks: map[string]bool{}}
}

// CrashAt lets the process die at the n-th call from now; 0: never. That call, and
// all later ones, do nothing.
func (d *Disk) CrashAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.crashed() { // the dead stay dead until Kill or PowerCut
		d.calls, d.crashAt = 0, n
	}
}

// Crashed says whether that has happened.
func (d *Disk) Crashed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.crashed()
}

func (d *Disk) crashed() bool { return d.crashAt > 0 && d.calls >= d.crashAt }

// Limit bounds the bytes of all files; 0: no bound.
func (d *Disk) Limit(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = n
}

// Fail lets the next calls of a kind fail with EIO: "write" (a part is written),
// "sync", "read", "dir" (create, rename, remove and sync of folders).
func (d *Disk) Fail(kind string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch kind {
	case "write":
		d.failWrites = n
	case "sync":
		d.failSyncs = n
	case "read":
		d.failReads = n
	case "dir":
		d.failDirs = n
	default:
		panic("simdisk: no such kind: " + kind)
	}
}

// Kill ends the process: handles are dead, locks are free, faults are over. What was
// written stays readable.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kill()
}

func (d *Disk) kill() {
	d.life++
	d.locks = map[string]bool{}
	d.calls, d.crashAt = 0, 0
	d.failWrites, d.failSyncs, d.failReads, d.failDirs = 0, 0, 0, 0
}

// PowerCut ends the process and forgets what was not durable, or a part of it.
func (d *Disk) PowerCut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kill()
	n := 0
	if len(d.journal) > 0 {
		n = d.chance(len(d.journal) + 1)
	}
	for _, o := range d.journal[:n] {
		d.commit(o)
	}
	d.journal = nil
	d.names = map[string]*inode{}
	names := make([]string, 0, len(d.durable))
	for name := range d.durable {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		node := d.durable[name]
		d.names[name] = node
		d.settle(node)
	}
}

// settle decides what of a file's writes reached the disk.
func (d *Disk) settle(node *inode) {
	for _, o := range node.pending {
		switch how := d.chance(4); {
		case how == 0: // lost
		case o.cut || how == 1:
			node.disk = o.apply(node.disk)
		case how == 2: // torn
			o.data = o.data[:d.chance(len(o.data)+1)]
			node.disk = o.apply(node.disk)
		default: // the size arrived, and a part of the pages
			zero := op{off: o.off, data: slices.Clone(o.data)}
			from := d.chance(len(o.data) + 1)
			to := from + d.chance(len(o.data)-from+1)
			clear(zero.data[from:to])
			node.disk = zero.apply(node.disk)
		}
	}
	node.pending = nil
	node.mem = slices.Clone(node.disk)
}

func (o op) apply(b []byte) []byte {
	if o.cut {
		if int64(len(b)) > o.off {
			return b[:o.off:o.off]
		}
		return append(b, make([]byte, o.off-int64(len(b)))...)
	}
	if end := o.off + int64(len(o.data)); int64(len(b)) < end && len(o.data) > 0 {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[min(o.off, int64(len(b))):], o.data)
	return b
}

// Flip flips a bit of a file, as seen and on disk.
func (d *Disk) Flip(name string, off int64, bit int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	node := d.names[name]
	if node == nil {
		return
	}
	for _, b := range [][]byte{node.mem, node.disk} {
		if off < int64(len(b)) {
			b[off] ^= 1 << bit
		}
	}
}

// Put makes a durable file, or replaces it.
func (d *Disk) Put(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	node := &inode{mem: slices.Clone(data), disk: slices.Clone(data)}
	d.names[name], d.durable[name] = node, node
}

// Drop removes a file, durably.
func (d *Disk) Drop(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.names, name)
	delete(d.durable, name)
}

// Files lists names and sizes, sorted, of those with the prefix.
func (d *Disk) Files(prefix string) (list []spool.FileInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, node := range d.names {
		if strings.HasPrefix(name, prefix) {
			list = append(list, spool.FileInfo{Name: name, Size: int64(len(node.mem))})
		}
	}
	slices.SortFunc(list, func(a, b spool.FileInfo) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Clone copies the disk as it is seen, everything durable, for another life.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New(d.chance)
	for name, node := range d.names {
		n := &inode{mem: slices.Clone(node.mem), disk: slices.Clone(node.mem)}
		c.names[name], c.durable[name] = n, n
	}
	return c
}

// call counts a call of a process of that life (0: the present one).
func (d *Disk) call(life int) error {
	d.calls++
	if d.crashed() || life != d.life {
		return ErrCrashed
	}
	return nil
}

func fail(n *int) bool {
	if *n > 0 {
		*n--
		return true
	}
	return false
}

func pathError(o, name string, err error) error {
	return &fs.PathError{Op: o, Path: name, Err: err}
}

// MkdirAll implements spool.FS; folders need no making.
func (d *Disk) MkdirAll(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.call(d.life)
}

// ReadDir implements spool.FS.
func (d *Disk) ReadDir(dir string) ([]spool.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(d.life); err != nil {
		return nil, err
	}
	var list []spool.FileInfo
	for name, node := range d.names {
		if filepath.Dir(name) == dir {
			list = append(list, spool.FileInfo{Name: filepath.Base(name), Size: int64(len(node.mem)), Modified: time.Unix(0, node.changed)})
		}
	}
	slices.SortFunc(list, func(a, b spool.FileInfo) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Create implements spool.FS.
func (d *Disk) Create(name string) (spool.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(d.life); err != nil {
		return nil, err
	}
	if fail(&d.failDirs) {
		return nil, pathError("create", name, syscall.EIO)
	}
	if d.names[name] != nil {
		return nil, pathError("create", name, syscall.EEXIST)
	}
	if d.limit > 0 && d.used() >= d.limit {
		return nil, pathError("create", name, syscall.ENOSPC)
	}
	d.clock++
	node := &inode{changed: d.clock}
	d.names[name] = node
	d.journal = append(d.journal, dirOp{dir: filepath.Dir(name), name: name, node: node})
	return &file{d: d, name: name, node: node, life: d.life}, nil
}

func (d *Disk) used() (n int64) {
	for _, node := range d.names {
		n += int64(len(node.mem))
	}
	return n
}

// Open implements spool.FS.
func (d *Disk) Open(name string) (spool.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(d.life); err != nil {
		return nil, err
	}
	node := d.names[name]
	if node == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return &file{d: d, name: name, node: node, life: d.life, readOnly: true}, nil
}

// Rename implements spool.FS.
func (d *Disk) Rename(old, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(d.life); err != nil {
		return err
	}
	if fail(&d.failDirs) {
		return pathError("rename", old, syscall.EIO)
	}
	node := d.names[old]
	if node == nil {
		return pathError("rename", old, fs.ErrNotExist)
	}
	delete(d.names, old)
	d.names[name] = node
	d.journal = append(d.journal, dirOp{dir: filepath.Dir(name), name: name, node: node, from: old})
	return nil
}

// Remove implements spool.FS.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(d.life); err != nil {
		return err
	}
	if fail(&d.failDirs) {
		return pathError("remove", name, syscall.EIO)
	}
	if d.names[name] == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	delete(d.names, name)
	d.journal = append(d.journal, dirOp{dir: filepath.Dir(name), name: name})
	return nil
}

// Truncate implements spool.FS.
func (d *Disk) Truncate(name string, size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(d.life); err != nil {
		return err
	}
	if fail(&d.failWrites) {
		return pathError("truncate", name, syscall.EIO)
	}
	node := d.names[name]
	if node == nil {
		return pathError("truncate", name, fs.ErrNotExist)
	}
	o := op{off: size, cut: true}
	node.mem = o.apply(node.mem)
	node.pending = append(node.pending, o)
	return nil
}

// SyncDir implements spool.FS.
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(d.life); err != nil {
		return err
	}
	if fail(&d.failDirs) {
		return pathError("sync", dir, syscall.EIO)
	}
	var rest []dirOp
	for _, o := range d.journal {
		if o.dir == dir {
			d.commit(o)
		} else {
			rest = append(rest, o)
		}
	}
	d.journal = rest
	return nil
}

func (d *Disk) commit(o dirOp) {
	if o.node == nil {
		delete(d.durable, o.name)
		return
	}
	if o.from != "" {
		delete(d.durable, o.from)
	}
	d.durable[o.name] = o.node
}

// Lock implements spool.FS.
func (d *Disk) Lock(name string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call(d.life); err != nil {
		return nil, err
	}
	if d.locks[name] {
		return nil, fmt.Errorf("lock %s: %w", name, spool.ErrLocked)
	}
	d.locks[name] = true
	return &lock{d: d, name: name, life: d.life}, nil
}

type lock struct {
	d    *Disk
	name string
	life int
}

func (l *lock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.life == l.d.life {
		delete(l.d.locks, l.name)
	}
	return nil
}
