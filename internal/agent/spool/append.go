package spool

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// place is where a durable record stands.
type place struct {
	seg *segment
	off int64
	h   header
}

// blob is the offset of the body.
func (p place) blob() int64 { return p.off + headerSize + int64(p.h.lead) }

// entry is a record to be written.
type entry struct {
	typ   uint8
	lead  func(b []byte) []byte // nil: empty
	body  [][]byte
	size  int64       // of the record, about
	apply func(place) // called with mu held once it is durable; may be nil
	done  chan error  // of an Append
	holds *unit       // not offered before this is durable
	keys  []baselineKey
}

type baselineKey struct {
	key  string
	full bool // needs no baseline before it
	drop bool
}

const (
	groupBytes = 4 << 20 // a group grows no further
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// errWaiting says that a write failed a moment ago and the next one has to wait. It
// wraps the failure.
var errWaiting = errors.New("waiting before the next write")

// Append makes a batch and its baselines durable, and returns then. Concurrent calls
// share a write and an fdatasync.
//
// build is called with the batch's id and the id before it, one call at a time, and
// again when ids had to be taken back meanwhile. It must not call Append. An error
// from it is returned as it is, and the id stays free. What its record points to
// must not change before Append returns.
//
// ctx ends the wait for other builds; once build was called, Append waits for the
// disk. On an error the batch and the baselines do not count (see ErrFull,
// ErrNoSpace, ErrTooLarge, ErrNoBaseline, ErrClosed; others are failures of the
// disk): the next batch has to be counted from the baselines before.
func (s *Spool) Append(ctx context.Context, build func(id, prev ID) (Record, error)) (ID, error) {
	p, err := s.Begin(ctx, build)
	if err != nil {
		return ID{}, err
	}
	return p.Wait()
}

// Pending is a batch that waits to be written.
type Pending struct {
	s  *Spool
	id ID
	e  *entry
}

// Begin is Append without the wait: the batch is on disk only when Wait says so. Who
// begins many before the first Wait has them written together.
func (s *Spool) Begin(ctx context.Context, build func(id, prev ID) (Record, error)) (*Pending, error) {
	id, e, err := s.enqueue(ctx, build)
	if err != nil {
		return nil, err
	}
	return &Pending{s, id, e}, nil
}

// Wait makes the batch durable, and gives its id then. It is called once.
func (p *Pending) Wait() (ID, error) {
	if err := p.s.await(p.e); err != nil {
		return ID{}, fmt.Errorf("append to the spool: %w", err)
	}
	return p.id, nil
}

// await waits until e was written, or writes it: whoever gets the token writes for
// all who wait.
func (s *Spool) await(e *entry) error {
	for {
		select {
		case err := <-e.done:
			return err
		case s.token <- struct{}{}:
			select {
			case err := <-e.done:
				<-s.token
				return err
			default:
			}
			_ = s.flush() // told to everyone concerned
			<-s.token
		}
	}
}

func (s *Spool) enqueue(ctx context.Context, build func(id, prev ID) (Record, error)) (ID, *entry, error) {
	select {
	case s.building <- struct{}{}:
	case <-ctx.Done():
		return ID{}, nil, ctx.Err()
	}
	defer func() { <-s.building }()
	for {
		s.mu.Lock()
		if err := s.refusing(); err != nil {
			s.mu.Unlock()
			return ID{}, nil, fmt.Errorf("append to the spool: %w", err)
		}
		id, prev, gen := ID{s.epoch, s.seq + 1}, s.queued, s.gen
		s.mu.Unlock()

		r, err := build(id, prev)
		if err != nil {
			return ID{}, nil, err
		}
		e, err := s.appendEntry(id, prev, &r)
		if err != nil {
			return ID{}, nil, err
		}
		s.mu.Lock()
		if s.gen != gen {
			s.mu.Unlock()
			continue
		}
		if err := s.checkBaselines(e.keys); err != nil {
			s.mu.Unlock()
			return ID{}, nil, err
		}
		s.seq, s.queued = id.Seq, id
		s.queue = append(s.queue, e)
		s.mu.Unlock()
		return id, e, nil
	}
}

// refusing says why nothing can be written now. mu is held.
func (s *Spool) refusing() error {
	switch {
	case s.closed:
		return ErrClosed
	case s.lastErr != nil && s.opt.Now().Before(s.retryAt):
		return fmt.Errorf("%w: %w", errWaiting, s.lastErr)
	}
	return nil
}

// checkBaselines: a patch needs something to be applied to. mu is held.
func (s *Spool) checkBaselines(keys []baselineKey) error {
	for i, k := range keys {
		if k.full {
			continue
		}
		c := s.chains[k.key]
		have := c != nil && c.broken == ""
		for _, e := range s.queue {
			for _, q := range e.keys {
				if q.key == k.key {
					have = !q.drop
				}
			}
		}
		for _, q := range keys[:i] {
			if q.key == k.key {
				return fmt.Errorf("baseline %q: twice in one record", k.key)
			}
		}
		if !have {
			return fmt.Errorf("baseline %q: %w", k.key, ErrNoBaseline)
		}
	}
	return nil
}

// appendEntry is a record of Append as an entry.
func (s *Spool) appendEntry(id, prev ID, r *Record) (*entry, error) {
	if r.Kind == 0 {
		r.Kind = Batch
	}
	u := &unitLead{
		kind: r.Kind, last: id, first: id.Seq, prev: prev, tick: r.Tick, crc: r.CRC, rawLen: uint64(r.RawLen),
		gap: r.Gap, data: uint32(len(r.Data)), dataCRC: checksum(r.Data),
	}
	if r.Kind == Gap {
		if len(r.Data) != 0 {
			return nil, fmt.Errorf("append %s: a gap with data", id)
		}
		u.reason = r.Reason
	}
	e := &entry{typ: typeUnit, done: make(chan error, 1)}
	e.size = headerSize + 100 + int64(len(r.Gap)) + int64(len(r.Data))
	for _, b := range r.Baselines {
		k := baselineKey{key: b.Key, full: b.Full, drop: b.Full && b.Data == nil}
		e.keys = append(e.keys, k)
		u.baselines = append(u.baselines, linkLead{key: b.Key, full: k.full, drop: k.drop, size: uint32(len(b.Data)), crc: checksum(b.Data)})
		e.body = append(e.body, b.Data)
		e.size += int64(len(b.Key)+len(b.Data)) + 32
	}
	if e.size > maxRecord-1024 {
		return nil, fmt.Errorf("append %s: %d bytes: %w", id, e.size, ErrTooLarge)
	}
	e.body = append(e.body, r.Data)
	e.lead = func(b []byte) []byte {
		for i := range u.baselines {
			if l := &u.baselines[i]; !l.full {
				l.prev = 0
				if c := s.chains[l.key]; c != nil {
					l.prev = c.head
				}
			}
		}
		return u.append(b)
	}
	e.apply = func(p place) {
		s.applyUnit(p, u)
		s.last = id
		s.know(id)
		s.stats.Appends++
		s.stats.AppendedBytes += uint64(p.h.size())
		s.signal()
	}
	return e, nil
}

// applyUnit brings a durable batch or gap that took no other's place into the index.
// mu is held.
func (s *Spool) applyUnit(p place, l *unitLead) {
	s.add(newUnit(p, l))
	s.applyBaselines(p, l.baselines)
}

func newUnit(p place, l *unitLead) *unit {
	u := &unit{
		last: l.last, first: l.first, tick: l.tick, order: l.order, seg: p.seg, off: p.off, lead: p.h.lead, body: p.h.body,
		data: l.data, gap: uint32(len(l.gap)), kind: l.kind, sent: l.sent, reason: l.reason,
	}
	if u.order == 0 {
		u.order = p.h.lsn
	}
	return u
}

// flush writes one group: what Open left, what waits, and as many appends as go
// together. The token is held.
func (s *Spool) flush() error { return s.flushWith() }

// flushWith does, and with more of the caller's, which are not tried again.
func (s *Spool) flushWith(more ...*entry) error {
	s.mu.Lock()
	err := s.refusing()
	s.mu.Unlock()
	if err == nil {
		err = s.writeRedo()
	}
	if err != nil {
		s.fail(nil, err)
		return err
	}
	users, size := s.takeAppends()
	if len(users) > 0 {
		if err := s.makeRoom(size); err != nil {
			s.fail(users, err)
			users = nil
			if !errors.Is(err, ErrFull) {
				return err
			}
		}
	}
	if err := s.writeControl(append(more, users...)...); err != nil {
		s.fail(users, err)
		return err
	}
	if err := s.trim(); err != nil {
		s.log.Debug("spool cannot free segments yet", "err", err)
	}
	return nil
}

// writeRedo writes again what Open found without proof that it is on disk.
func (s *Spool) writeRedo() error {
	if len(s.redo) == 0 {
		return nil
	}
	if err := s.write(s.redo); err != nil {
		return err
	}
	s.mu.Lock()
	s.redo = nil
	s.mu.Unlock()
	return nil
}

// takeAppends takes appends from the queue that may be written as one group: a
// baseline whose record is cut off by a crash must not be needed by another record
// of the group.
func (s *Spool) takeAppends() (users []*entry, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := map[string]struct{}{}
	n := 0
take:
	for ; n < len(s.queue) && n < maxGroup/2; n++ {
		e := s.queue[n]
		if n > 0 && size+e.size > groupBytes {
			break
		}
		for _, k := range e.keys {
			if _, twice := keys[k.key]; twice {
				break take
			}
		}
		for _, k := range e.keys {
			keys[k.key] = struct{}{}
		}
		size += e.size
	}
	users = s.queue[:n:n]
	s.queue = s.queue[n:]
	return users, size
}

// fail takes back all ids that are not durable: users, and what is queued behind
// them.
func (s *Spool) fail(users []*entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	users = append(users, s.queue...)
	s.queue = nil
	if len(users) == 0 {
		return
	}
	s.gen++
	s.seq, s.queued = 0, s.last
	if s.last.Epoch == s.epoch {
		s.seq = s.last.Seq
	}
	for _, e := range users {
		e.done <- err
	}
}

// writeControl writes what waits besides appends, and more, as one group (or several
// when much waits; more is in the last). What waits is kept when that fails.
func (s *Spool) writeControl(more ...*entry) error {
	for {
		s.mu.Lock()
		acked, sent := s.acked, s.sent
		n := min(len(s.control), maxGroup/4)
		control := s.control[:n:n]
		rest := len(s.control) > n
		if rest {
			acked = nil // an acknowledgement comes after the gap that took its batch's place
		} else {
			s.acked = nil
		}
		s.sent, s.control = nil, s.control[n:]
		s.mu.Unlock()

		var group []*entry
		if len(sent) > 0 {
			group = append(group, idsEntry(typeSent, sent))
		}
		group = append(group, control...)
		if len(acked) > 0 {
			group = append(group, s.ackEntry(acked))
		}
		if !rest {
			group = append(group, more...)
		}
		if len(group) == 0 {
			return nil
		}
		if err := s.write(group); err != nil {
			s.mu.Lock()
			s.acked = append(acked, s.acked...)
			s.sent = append(sent, s.sent...)
			s.control = append(control, s.control...)
			s.mu.Unlock()
			return err
		}
		for _, e := range group {
			if e.done != nil {
				e.done <- nil
			}
		}
		if !rest {
			return nil
		}
	}
}

func idsEntry(typ uint8, ids []ID) *entry {
	return &entry{typ: typ, size: headerSize + 20*int64(len(ids)), lead: func(b []byte) []byte { return appendIDs(b, ids) }}
}

func (s *Spool) ackEntry(units []*unit) *entry {
	ids := make([]ID, len(units))
	for i, u := range units {
		ids[i] = u.last
	}
	e := idsEntry(typeAck, ids)
	e.apply = func(place) {
		for _, u := range units {
			u.seg.live--
		}
	}
	return e
}
