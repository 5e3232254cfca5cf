package spool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

const (
	deadDir       = "dead"
	quarantineDir = "quarantine"
	maxReads      = 3 // of a unit, until it counts as damaged
)

// Next gives what is to be shipped: the newest first, then the oldest ones in the
// order of the chain; at most limit of them, of together about bytes, but at least
// one. skip leaves ids out, such as those on their way; nil: none. It must not call
// the spool.
//
// Nothing is consumed: Next gives the same again until it is acknowledged or
// refused. Before it gives a batch for the first time, it notes durably that the
// batch may reach the backend, since then no other may be merged with it. A full
// disk does not stop shipping; one on which nothing at all can be changed does.
//
// An error concerns reading; what could be read is given too.
func (s *Spool) Next(ctx context.Context, limit, bytes int, skip func(ID) bool) ([]Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		picked, note := s.pick(limit, bytes, skip)
		if len(picked) == 0 {
			return nil, nil
		}
		if note {
			select {
			case s.token <- struct{}{}:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			err := s.noteSent()
			<-s.token
			if err != nil {
				return nil, err
			}
		}
		items, again, err := s.readItems(picked)
		if len(items) > 0 || err != nil || !again {
			return items, err
		}
	}
}

func (s *Spool) pick(limit, bytes int, skip func(ID) bool) (picked []*unit, note bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	take := func(u *unit) bool {
		if u.hold || skip != nil && skip(u.last) {
			return true
		}
		size := int(u.data)
		if u.kind == Gap {
			size = int(u.gap)
		}
		if len(picked) > 0 && (len(picked) >= limit || size > bytes) {
			return false
		}
		bytes -= size
		picked = append(picked, u)
		if !u.sent {
			u.sent = true
			s.sent = append(s.sent, u.last)
		}
		return true
	}
	for u := s.tail; u != nil && len(picked) == 0; u = u.before {
		take(u)
	}
	if len(picked) == 0 {
		return nil, false
	}
	newest := picked[0]
	for u := s.head; u != nil && u != newest && take(u); u = u.after {
	}
	return picked, len(s.sent) > 0 && s.notes
}

// noteSent makes durable what was picked. When the disk takes no more, the file that
// says that notes are complete goes instead, which needs no room: without it, the
// next Open takes everything for sent. The token is held.
func (s *Spool) noteSent() error {
	err := s.flush()
	if err == nil {
		return nil
	}
	rerr := s.fs.Remove(s.path(notesFile))
	if rerr == nil || isNotExist(rerr) {
		rerr = s.fs.SyncDir(s.dir)
	}
	if rerr != nil {
		return fmt.Errorf("note what is shipped: %w; and %w", err, rerr)
	}
	s.mu.Lock()
	s.notes = false
	s.mu.Unlock()
	s.log.Info("spool ships without noting it", "err", err)
	return nil
}

// notesFile exists while every batch that was given to the shipper is noted in the
// log.
const notesFile = "notes"

// resumeNotes makes notes complete again. The token is held.
func (s *Spool) resumeNotes() {
	s.mu.Lock()
	done := s.notes || len(s.sent) > 0 || len(s.redo) > 0 || s.closed
	if !done {
		s.notes = true // before the file is there: what is picked from now on is noted
	}
	s.mu.Unlock()
	if done {
		return
	}
	if err := WriteFileAtomic(s.fs, s.path(notesFile), nil); err != nil {
		s.log.Debug("spool cannot write", "err", err)
		s.mu.Lock()
		s.notes = false
		s.mu.Unlock()
	}
}

// readItems reads what was picked, as it is now. again: some turned out to be
// damaged, and will be there as gaps.
func (s *Spool) readItems(picked []*unit) (items []Item, again bool, err error) {
	s.reading.RLock()
	defer s.reading.RUnlock()
	r := &reader{s: s}
	defer r.close()
	var errs []error
	for _, u := range picked {
		s.mu.Lock()
		if u.gone { // replaced meanwhile: what took its place has the same last id
			if u = s.byID[u.last]; u == nil {
				s.mu.Unlock()
				continue
			}
		}
		at, kind := u.place(), u.kind
		s.mu.Unlock()
		l, data, rerr := s.readUnit(r, at, kind == Batch)
		if rerr != nil {
			again = true
			if s.unreadable(u, l, rerr) {
				errs = append(errs, fmt.Errorf("read %s: %w", u.last, rerr))
			}
			continue
		}
		s.mu.Lock()
		u.offers++
		offers := int(u.offers)
		s.mu.Unlock()
		it := Item{
			Kind: l.kind, ID: l.last, Prev: l.prev, FirstSeq: l.first, Tick: l.tick, CRC: l.crc, RawLen: int(l.rawLen),
			Data: data, Reason: l.reason, Offers: offers,
		}
		if kind == Gap {
			it.Gap = l.gap
		}
		items = append(items, it)
	}
	return items, again && len(errs) == 0, errors.Join(errs...)
}

// unreadable counts a failed read; after some of them, or at once when the bytes
// are wrong, a gap takes the unit's place. l is its lead if that could be read.
// transient: not yet.
func (s *Spool) unreadable(u *unit, l *unitLead, err error) (transient bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.gone || u.hold {
		return false
	}
	if passing(err, &u.failed) {
		return true
	}
	s.log.Warn("spool found a damaged batch", "id", u.last.String(), "err", err)
	if l == nil {
		l = s.bareLead(u)
	}
	s.replaceLater(u, l, ReasonCorrupt)
	return false
}

// replaceLater puts a gap in a unit's place with the next group; until then the unit
// is not offered. mu is held.
func (s *Spool) replaceLater(u *unit, l *unitLead, reason string) {
	u.hold = true
	e := s.replaceEntry([]*unit{u}, l, reason)
	e.holds = u
	s.control = append(s.control, e)
}

// Ack says that the backend has these: they need not be shipped again. That becomes
// durable with the next write; after a crash some may be given again, which does no
// harm. Ids that are not pending are ignored.
func (s *Spool) Ack(ids ...ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if u := s.byID[id]; u != nil {
			s.ack(u)
			s.stats.Acked++
		}
	}
}

func (s *Spool) ack(u *unit) {
	s.remove(u)
	s.acked = append(s.acked, u)
	s.changes++
}

// Refuse says that the backend will never take this batch: it is kept as
// dead/EPOCH-SEQ.batch for people to look at, and its gap form with that reason
// takes its place, under the same id. A gap that is refused is kept as .gap, and
// gives way to one without sums; that one, refused, is dropped. ErrUnknown: no such
// batch is pending; other errors are failures to read it: refuse it again.
func (s *Spool) Refuse(id ID, reason string) error {
	s.mu.Lock()
	u := s.byID[id]
	s.mu.Unlock()
	if u == nil {
		return fmt.Errorf("refuse %s: %w", id, ErrUnknown)
	}
	s.token <- struct{}{}
	defer func() { <-s.token }()
	s.mu.Lock()
	u = s.byID[id] // it may have become a gap
	if u == nil || u.hold {
		s.mu.Unlock()
		return nil // acknowledged, or already on its way out
	}
	at, kind, empty := u.place(), u.kind, u.kind == Gap && u.gap == 0
	s.mu.Unlock()

	r := &reader{s: s}
	defer r.close()
	l, data, err := s.readUnit(r, at, kind == Batch)
	if err != nil {
		s.mu.Lock()
		again := passing(err, &u.failed)
		s.mu.Unlock()
		if again {
			return fmt.Errorf("refuse %s: %w", id, err)
		}
		s.log.Warn("spool cannot read a refused batch", "id", id.String(), "err", err)
		if l == nil {
			l = s.bareLead(u)
		}
	}
	if kind == Gap {
		data = l.gap
	}
	if len(data) > 0 {
		s.keepDead(id, kind, data)
	}
	s.mu.Lock()
	s.changes++
	switch {
	case u.gone:
	case empty:
		s.ack(u)
	default:
		if kind == Gap {
			s.stats.Abandoned++
			l.gap = nil
		}
		s.replaceLater(u, l, reason)
	}
	s.mu.Unlock()
	if err := s.flush(); err != nil {
		// The gap waits for the next write. After a crash the batch is refused again.
		s.log.Warn("spool cannot write a gap yet", "id", id.String(), "err", err)
	}
	return nil
}

// keepDead writes a refused batch to dead/, and keeps that folder small. It is for
// people: a failure is counted, nothing else.
func (s *Spool) keepDead(id ID, kind Kind, data []byte) {
	name := fmt.Sprintf("%016x-%d.%s", id.Epoch, id.Seq, kind)
	dir := s.path(deadDir)
	var removed uint64
	err := func() error {
		n, err := s.bound(dir, s.opt.DeadSize-int64(len(data)))
		removed = n
		if err != nil {
			return err
		}
		return WriteFileAtomic(s.fs, filepath.Join(dir, name), data)
	}()
	s.mu.Lock()
	s.stats.DeadRemoved += removed
	if err == nil {
		s.stats.DeadFiles++
	} else {
		s.stats.DeadFailed++
	}
	s.mu.Unlock()
	if err != nil {
		s.log.Warn("spool cannot keep a refused batch", "id", id.String(), "err", err)
	}
}

// bound removes the oldest files of a folder until those left have at most size
// bytes.
func (s *Spool) bound(dir string, size int64) (removed uint64, err error) {
	files, err := s.fs.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	slices.SortFunc(files, func(a, b FileInfo) int {
		if c := a.Modified.Compare(b.Modified); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	var total int64
	for _, f := range files {
		total += f.Size
	}
	for _, f := range files {
		if total <= size {
			break
		}
		if err := s.fs.Remove(filepath.Join(dir, f.Name)); err != nil {
			return removed, err
		}
		total -= f.Size
		removed++
	}
	return removed, nil
}
