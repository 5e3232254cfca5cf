package spool

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"
)

// Spool is a collector's queue on disk. Its methods may be called at any time from
// any goroutine.
//
// Locks, in the order in which they are taken: building (who holds it gives out an
// id), token (who holds it writes), reading (keeps segments from being unlinked), mu
// (all fields). What is marked "token" is written by the holder of the token with mu
// held, so that either of them is enough to read it.
type Spool struct {
	fs   FS
	dir  string
	opt  Options
	log  *slog.Logger
	lock io.Closer

	building chan struct{}
	token    chan struct{}
	reading  sync.RWMutex
	appended chan struct{}

	buf     []byte // of the group being written; token
	file    File   // of cur; token
	nextOrd uint64 // of the next segment; token

	mu     sync.Mutex
	closed bool

	// The log.
	segs    []*segment // oldest first; token
	cur     *segment   // the one written to, nil: a new one is made; token
	nextLSN uint64     // token
	written int64      // bytes ever written; token
	redo    []*entry   // found by Open without proof that they are on disk; token
	chains  map[string]*chain
	last    ID   // newest durable id; token
	epochs  []ID // newest durable id of each epoch; token

	// What waits to be written.
	epoch    uint64
	seq      uint64 // last one given out
	queued   ID     // last id given out: prev of the next one
	gen      uint64 // grows when ids were taken back
	queue    []*entry
	control  []*entry // must be written sooner or later
	acked    []*unit
	sent     []ID      // may have reached the backend, not noted
	notes    bool      // what is not noted has not been sent
	retryAt  time.Time // no write before
	failures int       // in a row
	lastErr  error
	fullAt   uint64 // number of changes when the spool was found full
	fullTill time.Time

	// What is to be shipped, by its place in the chain.
	head, tail *unit
	byID       map[ID]*unit
	gapBytes   int64 // what all of it would take as gaps
	chainBytes int64
	changes    uint64 // acknowledgements and refusals: there may be room again

	stats Stats
}

// segment is a file. base is the first LSN it may hold.
type segment struct {
	name       string
	ord, nonce uint64
	base       uint64
	size       int64
	began      int64 // Spool.written when it began
	live       int   // units that stand here and are not durably acknowledged
	chains     int   // chains whose oldest link stands here
	doomed     bool  // needless; unlinked as soon as that is durable
}

// unit is a batch or gap to ship.
type unit struct {
	before, after *unit
	last          ID
	first         uint64
	tick          int64
	order         uint64 // LSN of the batch, also when a gap took its place
	seg           *segment
	off           int64
	lead, body    uint32
	data, gap     uint32 // lengths
	offers        int32
	kind          Kind
	failed        uint8 // reads
	sent          bool  // it may have reached the backend
	hold          bool  // about to be replaced, not to be offered
	gone          bool
	reason        string
}

// footprint is what the unit takes as a gap, in bytes.
func (u *unit) footprint() int64 { return headerSize + 100 + int64(u.gap) }

// Stats are counters since Open, and gauges.
type Stats struct {
	Bytes, MaxBytes   int64 // of all segments
	Segments          int
	Pending           int   // batches and gaps to ship
	PendingBytes      int64 // of them
	PendingGaps       int
	OldestTick        int64 // of what is pending, microseconds; 0: nothing pending
	Baselines         int   // keys
	BaselineBytes     int64
	Appends           uint64 // batches
	AppendedBytes     uint64
	Groups            uint64 // writes
	Syncs             uint64 // fdatasync and fsync of segments
	WriteFailures     uint64
	Acked             uint64
	DroppedFull       uint64 // batches turned into gaps, spool_full
	DroppedRefused    uint64 // batches turned into gaps, refused for good
	DroppedCorrupt    uint64 // batches turned into gaps, damaged; Open's included
	Merged            uint64 // gaps that became part of another
	Abandoned         uint64 // gaps refused for good: totals lost
	Carried           uint64 // baselines written anew to free a segment
	DeadFiles         uint64 // written to dead/
	DeadRemoved       uint64 // removed from dead/, too many
	DeadFailed        uint64 // not written to dead/
	Full              uint64 // Appends refused with ErrFull
	NoSpace           uint64 // writes that found the disk full
	LastFailure       string // of a write; empty since one succeeded
	BaselinesLost     uint64 // keys whose baseline could not be read
	UnlinksFailed     uint64
	QuarantinedBytes  int64
	RecoveredBaseline int
}

// Open opens or makes the spool in dir, and takes the lock. It recovers what is
// there, whatever the files hold: content is never an error. ctx bounds nothing but
// the start of it. The caller closes the spool, after Run has ended.
func Open(ctx context.Context, fsys FS, dir string, opt Options) (*Spool, *Recovered, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	opt.defaults()
	s := &Spool{
		fs: fsys, dir: dir, opt: opt, log: opt.Log,
		building: make(chan struct{}, 1), token: make(chan struct{}, 1), appended: make(chan struct{}, 1),
		chains: map[string]*chain{}, byID: map[ID]*unit{},
		nextLSN: 1, nextOrd: 1,
	}
	for _, d := range []string{dir, s.path(deadDir), s.path(quarantineDir)} {
		if err := fsys.MkdirAll(d); err != nil {
			return nil, nil, fmt.Errorf("make %s: %w", d, err)
		}
	}
	lock, err := fsys.Lock(s.path("lock"))
	if err != nil {
		return nil, nil, fmt.Errorf("open spool: %w", err)
	}
	s.lock = lock
	rec, err := s.recover()
	if err != nil {
		_ = lock.Close() // nothing was written
		return nil, nil, fmt.Errorf("open spool: %w", err)
	}
	s.newEpoch()
	s.token <- struct{}{}
	// What was found without proof is proved by writing it again, and what was
	// damaged gets its gap. A full disk may refuse; then every flush tries again.
	err = s.flush()
	if err == nil {
		s.resumeNotes()
	}
	<-s.token
	if err != nil {
		s.log.Warn("spool cannot write", "err", err)
	}
	return s, rec, nil
}

func (s *Spool) path(name string) string { return filepath.Join(s.dir, name) }

// newEpoch begins an epoch of ids. mu is held, or nobody else knows s.
func (s *Spool) newEpoch() {
	for s.epoch = 0; s.epoch == 0; {
		var b [8]byte
		rand.Read(b[:])
		s.epoch = binary.LittleEndian.Uint64(b[:])
	}
	s.seq, s.queued = 0, s.last
	s.gen++
}

// Run makes acknowledgements durable and frees segments while no Append does, until
// ctx ends. It returns nil.
func (s *Spool) Run(ctx context.Context) error {
	tick := time.NewTicker(s.opt.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.Flush()
			return nil
		case <-tick.C:
			s.Flush()
		}
	}
}

// Flush writes acknowledgements and other notes that wait for company, and frees
// what they made needless. A failure is counted, logged and tried again by the next
// flush.
func (s *Spool) Flush() {
	s.token <- struct{}{}
	defer func() { <-s.token }()
	err := s.flush()
	if err == nil {
		err = s.writeFloor()
	}
	if err == nil {
		s.resumeNotes()
	}
	if err != nil && !errors.Is(err, errWaiting) {
		s.log.Warn("spool cannot write", "err", err)
	}
}

// Close writes what waits, as far as the disk allows, and gives the lock back. The
// spool refuses appends from then on.
func (s *Spool) Close() error {
	s.building <- struct{}{}
	defer func() { <-s.building }()
	s.token <- struct{}{}
	defer func() { <-s.token }()
	s.mu.Lock()
	was := s.closed
	s.mu.Unlock()
	if was {
		return nil
	}
	err := s.flush()
	for err == nil && s.waiting() {
		err = s.flush()
	}
	s.fail(nil, ErrClosed)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.seal()
	if errors.Is(err, errWaiting) {
		err = nil
	}
	if lerr := s.lock.Close(); err == nil {
		err = lerr
	}
	if err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}

// NewEpoch begins a new epoch and makes all baselines void, durably: the backend has
// seen other batches under our ids, so this disk is a copy of, or older than,
// another. What drop names (nil: nothing) is dropped without a trace, in the same
// write. On an error nothing has changed, but that may be gone.
func (s *Spool) NewEpoch(ctx context.Context, drop func(ID) bool) error {
	select {
	case s.building <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.building }()
	s.token <- struct{}{}
	defer func() { <-s.token }()
	for s.waiting() {
		if err := s.flush(); err != nil {
			return fmt.Errorf("begin a new epoch: %w", err)
		}
	}
	s.mu.Lock()
	for u := s.head; u != nil; {
		next := u.after
		if drop != nil && drop(u.last) {
			s.ack(u)
		}
		u = next
	}
	s.mu.Unlock()
	forget := &entry{typ: typeForget, size: headerSize, apply: func(place) {
		for key := range s.chains {
			s.setChain(key, nil)
		}
		s.newEpoch()
	}}
	if err := s.flushWith(forget); err != nil {
		return fmt.Errorf("begin a new epoch: %w", err)
	}
	return nil
}

// Epoch is the one that ids are given out of now.
func (s *Spool) Epoch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// waiting says whether appends are queued.
func (s *Spool) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0
}

// Made says whether this spool has made that id, as far as it remembers: the last
// epochs, also those of former processes. false for an id that the backend has: the
// spool was deleted, rolled back or cloned.
func (s *Spool) Made(id ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.epochs {
		if e.Epoch == id.Epoch {
			return id.Seq >= 1 && id.Seq <= e.Seq
		}
	}
	return false
}

// know notes an id as made. mu is held.
func (s *Spool) know(id ID) {
	if id.IsZero() {
		return
	}
	for i := len(s.epochs) - 1; i >= 0; i-- {
		if e := &s.epochs[i]; e.Epoch == id.Epoch {
			e.Seq = max(e.Seq, id.Seq)
			return
		}
	}
	s.epochs = append(s.epochs, id)
	if n := len(s.epochs) - maxEpochs; n > 0 {
		s.epochs = append(s.epochs[:0], s.epochs[n:]...)
	}
}

// Last is the newest durable id; zero: none was ever made.
func (s *Spool) Last() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Oldest is the oldest id still to be shipped, and its tick; ok is false when there
// is none.
func (s *Spool) Oldest() (id ID, tick int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil {
		return ID{}, 0, false
	}
	return ID{s.head.last.Epoch, s.head.first}, s.head.tick, true
}

// Appended is signalled, without blocking, after something to ship has come.
func (s *Spool) Appended() <-chan struct{} { return s.appended }

func (s *Spool) signal() {
	select {
	case s.appended <- struct{}{}:
	default:
	}
}

// Stats gives counters and gauges.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.MaxBytes = s.opt.MaxSize
	st.Segments = len(s.segs)
	for _, g := range s.segs {
		st.Bytes += g.size
	}
	st.Pending = len(s.byID)
	st.Baselines, st.BaselineBytes = len(s.chains), s.chainBytes
	if s.head != nil {
		st.OldestTick = s.head.tick
	}
	if s.lastErr != nil {
		st.LastFailure = s.lastErr.Error()
	}
	return st
}

// add puts a unit into the chain, by its order, and counts it in its segment. mu is
// held.
func (s *Spool) add(u *unit) {
	at := s.tail // goes after it
	if at != nil && at.order > u.order {
		for at = s.head; at != nil && at.order <= u.order; at = at.after {
		}
		if at != nil {
			at = at.before
		} else {
			at = s.tail
		}
	}
	s.addAfter(at, u)
}

func (s *Spool) addAfter(at, u *unit) {
	u.before = at
	if at == nil {
		u.after, s.head = s.head, u
	} else {
		u.after, at.after = at.after, u
	}
	if u.after == nil {
		s.tail = u
	} else {
		u.after.before = u
	}
	s.byID[u.last] = u
	u.seg.live++
	s.gapBytes += u.footprint()
	s.stats.PendingBytes += int64(u.lead) + int64(u.data)
	if u.kind == Gap {
		s.stats.PendingGaps++
	}
}

// remove takes a unit out of the chain. It still counts in its segment. mu is held.
func (s *Spool) remove(u *unit) {
	if u.before == nil {
		s.head = u.after
	} else {
		u.before.after = u.after
	}
	if u.after == nil {
		s.tail = u.before
	} else {
		u.after.before = u.before
	}
	u.before, u.after, u.gone = nil, nil, true
	delete(s.byID, u.last)
	s.gapBytes -= u.footprint()
	s.stats.PendingBytes -= int64(u.lead) + int64(u.data)
	if u.kind == Gap {
		s.stats.PendingGaps--
	}
}
