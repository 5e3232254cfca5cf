package spool

import (
	"fmt"
	"time"
)

const (
	evictBytes  = 1 << 20 // written at once when a segment is emptied
	mergeInputs = 256     // gaps merged at once
	fullPause   = time.Second
)

// trim dooms segments from the oldest one on that hold nothing needed. Baselines may
// keep some of them; what they would keep beyond that is written anew. (Keeping
// acknowledged segments for a time, in case the store is restored to an older moment,
// would be decided here: makeRoom empties them when their room is needed.) The token
// is held.
func (s *Spool) trim() error {
	for range len(s.segs) { // what is written anew makes more; those wait
		front := s.front()
		if front == nil || front == s.cur || front.live > 0 {
			return nil
		}
		if front.chains > 0 {
			if s.written-front.began <= s.pinned() {
				return nil
			}
			if err := s.carryAll(front); err != nil {
				return err
			}
			if front.live > 0 || front.chains > 0 {
				return nil
			}
		}
		s.doom(front)
	}
	return nil
}

// front is the oldest segment that is not doomed.
func (s *Spool) front() *segment {
	for _, g := range s.segs {
		if !g.doomed {
			return g
		}
	}
	return nil
}

func (s *Spool) doom(g *segment) {
	s.mu.Lock()
	g.doomed = true
	s.mu.Unlock()
}

// carryAll writes all baselines anew that start in g.
func (s *Spool) carryAll(g *segment) error {
	var keys []string
	for key, c := range s.chains {
		if len(c.links) > 0 && c.links[0].seg == g {
			keys = append(keys, key)
		}
	}
	w := &batcher{s: s}
	for _, key := range keys {
		e, err := s.carry(key)
		if err == nil {
			err = w.add(e)
		}
		if err != nil {
			return err
		}
	}
	return w.flush()
}

// batcher writes entries in groups of a bounded size.
type batcher struct {
	s     *Spool
	group []*entry
	size  int64
}

func (w *batcher) add(e *entry) error {
	w.group, w.size = append(w.group, e), w.size+e.size
	if w.size >= evictBytes || len(w.group) >= maxGroup/2 {
		return w.flush()
	}
	return nil
}

func (w *batcher) flush() error {
	if len(w.group) == 0 {
		return nil
	}
	err := w.s.write(w.group)
	w.group, w.size = nil, 0
	return err
}

// used is what segments take that are not doomed.
func (s *Spool) used() (n int64) {
	for _, g := range s.segs {
		if !g.doomed {
			n += g.size
		}
	}
	return n
}

// makeRoom frees segments until n bytes more fit: acknowledged batches go, then the
// oldest pending ones become gaps. ErrFull: that cannot help. The token is held.
func (s *Spool) makeRoom(n int64) error {
	n += 256 // a mark, when a new segment begins
	if s.used()+n <= s.opt.MaxSize {
		return nil
	}
	s.mu.Lock()
	if s.fullAt == s.changes && s.opt.Now().Before(s.fullTill) {
		s.stats.Full++
		s.mu.Unlock()
		return ErrFull
	}
	s.mu.Unlock()
	// Notes first: batches that are acknowledged already must not become gaps.
	if err := s.writeControl(); err != nil {
		return err
	}
	if err := s.trim(); err != nil {
		return err
	}
	for tries := 2*len(s.segs) + 2; s.used()+n > s.opt.MaxSize; tries-- {
		front := s.front()
		if front == nil || tries == 0 || !s.worthwhile(n) {
			s.mu.Lock()
			s.stats.Full++
			s.fullAt, s.fullTill = s.changes, s.opt.Now().Add(fullPause)
			s.mu.Unlock()
			return ErrFull
		}
		if err := s.evict(front); err != nil {
			return err
		}
	}
	return nil
}

// worthwhile says whether emptying segments would free n bytes without being done
// again for every append.
func (s *Spool) worthwhile(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := s.gapBytes + s.chainBytes
	if s.opt.Merge != nil {
		for u := s.head; u != nil && u.after != nil; u = u.after {
			if s.mergeable(u, u.after) {
				least -= u.footprint()
			}
		}
	}
	return least+n <= s.opt.MaxSize-s.opt.MaxSize/8
}

// mergeable says whether two neighbours may become one gap: neither may have reached
// the backend, else part of their sum would count twice. mu is held.
func (s *Spool) mergeable(a, b *unit) bool {
	return !a.sent && !b.sent && !a.hold && !b.hold && a.gap > 0 && b.gap > 0 &&
		a.last.Epoch == b.last.Epoch && a.last.Seq+1 == b.first &&
		full(a) && full(b)
}

// full says whether u is, or would become, a gap for want of room.
func full(u *unit) bool { return u.kind == Batch || u.reason == ReasonSpoolFull }

// evict empties a segment: its batches become gaps, its gaps and baselines are
// written anew, and then it goes. The token is held.
func (s *Spool) evict(front *segment) error {
	if front == s.cur {
		s.seal()
	}
	w := &batcher{s: s}
	err := s.evictRuns(w, front)
	if err == nil {
		err = w.flush()
	}
	s.release()
	if err != nil {
		return err
	}
	if err := s.carryAll(front); err != nil {
		return err
	}
	if err := s.writeControl(); err != nil { // acknowledged in between
		return err
	}
	if front.live > 0 || front.chains > 0 {
		return nil
	}
	s.doom(front)
	// The floor goes into a record of its own, so that the segment is gone before
	// more is written.
	return s.write([]*entry{s.markEntry()})
}

func (s *Spool) evictRuns(w *batcher, front *segment) error {
	for _, run := range s.runs(front) {
		if len(run) > 1 {
			e, err := s.gapEntry(run, ReasonSpoolFull)
			if err == nil {
				if err := w.add(e); err != nil {
					return err
				}
				continue
			}
			s.log.Warn("spool cannot merge gaps", "err", err)
		}
		for _, u := range run {
			if u.seg != front { // only its neighbour wanted it
				continue
			}
			e, err := s.gapEntry([]*unit{u}, ReasonSpoolFull)
			if err == nil {
				err = w.add(e)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// runs gives what of the chain stands in front, one by one, or in runs to be merged
// when gaps take much of the room. What is merged is held.
func (s *Spool) runs(front *segment) (runs [][]*unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	merge := s.opt.Merge != nil && s.gapBytes+s.chainBytes > s.opt.MaxSize/4
	var taken *unit // last of the run before
	for u := s.head; u != nil; {
		if u.seg != front || u.hold {
			u = u.after
			continue
		}
		run := []*unit{u}
		if merge {
			size := int64(u.gap)
			if b := u.before; b != nil && b != taken && b.kind == Gap && s.mergeable(b, u) {
				run, size = []*unit{b, u}, size+int64(b.gap)
			}
			for v := u.after; v != nil && len(run) < mergeInputs && size < evictBytes; v = v.after {
				if !s.mergeable(u, v) || v.kind == Batch && v.seg != front {
					break
				}
				run, size, u = append(run, v), size+int64(v.gap), v
			}
		}
		taken, u = u, u.after
		if len(run) > 1 {
			for _, v := range run {
				v.hold = true
			}
		}
		runs = append(runs, run)
	}
	return runs
}

// release ends the hold on what could not be merged.
func (s *Spool) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for u := s.head; u != nil; u = u.after {
		if u.hold && !s.held(u) {
			u.hold = false
		}
	}
}

// held says whether a unit is held for an entry that waits. mu is held.
func (s *Spool) held(u *unit) bool {
	for _, e := range s.control {
		if e.holds == u {
			return true
		}
	}
	for _, e := range s.redo {
		if e.holds == u {
			return true
		}
	}
	return false
}

// gapEntry is the gap that takes the place of a unit, or of a run of them. A gap
// keeps its own reason.
func (s *Spool) gapEntry(run []*unit, reason string) (*entry, error) {
	r := &reader{s: s}
	defer r.close()
	var gaps [][]byte
	var l *unitLead
	for _, u := range run {
		s.mu.Lock()
		at := u.place()
		s.mu.Unlock()
		one, _, err := s.readUnit(r, at, false)
		if err != nil {
			s.mu.Lock()
			again := passing(err, &u.failed)
			s.mu.Unlock()
			if len(run) > 1 || again {
				return nil, fmt.Errorf("read %s: %w", u.last, err)
			}
			s.log.Warn("spool cannot read a batch's sums", "id", u.last.String(), "err", err)
			one = s.bareLead(u)
			reason = ReasonCorrupt
		}
		gaps = append(gaps, one.gap)
		if l == nil {
			l = one
		}
		l.last, l.tick = one.last, min(l.tick, one.tick)
		if one.kind == Gap && one.reason != "" && reason == ReasonSpoolFull {
			reason = one.reason
		}
	}
	if len(run) > 1 {
		merged, err := s.opt.Merge(gaps)
		if err != nil {
			return nil, fmt.Errorf("merge gaps: %w", err)
		}
		l.gap, l.crc, l.rawLen = merged, 0, 0
	}
	return s.replaceEntry(run, l, reason), nil
}

// bareLead describes a unit that cannot be read.
func (s *Spool) bareLead(u *unit) *unitLead {
	return &unitLead{kind: u.kind, last: u.last, first: u.first, tick: u.tick}
}

// replaceEntry is the gap described by l, in the place of the run.
func (s *Spool) replaceEntry(run []*unit, l *unitLead, reason string) *entry {
	l.kind, l.reason, l.baselines, l.data, l.dataCRC = Gap, reason, nil, 0, 0
	l.order = run[0].order
	e := &entry{typ: typeUnit, size: headerSize + 100 + int64(len(l.gap))}
	e.lead = func(b []byte) []byte {
		s.mu.Lock()
		l.sent = run[0].sent
		s.mu.Unlock()
		return l.append(b)
	}
	e.apply = func(p place) { s.applyReplace(p, l, run) }
	return e
}

// applyReplace puts a durable gap in the place of a run. mu is held.
func (s *Spool) applyReplace(p place, l *unitLead, run []*unit) {
	if len(run) == 1 && run[0].gone {
		return // acknowledged meanwhile; that is written after the gap
	}
	u := newUnit(p, l)
	u.sent = run[0].sent
	u.offers = run[0].offers
	at := run[0].before
	for _, v := range run {
		if v.kind == Batch {
			switch l.reason {
			case ReasonSpoolFull:
				s.stats.DroppedFull++
			case ReasonCorrupt:
				s.stats.DroppedCorrupt++
			default:
				s.stats.DroppedRefused++
			}
		}
		s.remove(v)
		v.seg.live--
	}
	if n := len(run); n > 1 {
		s.stats.Merged += uint64(n)
	}
	s.addAfter(at, u)
	s.signal()
}
