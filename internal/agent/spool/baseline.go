package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
func isEOF(err error) bool      { return errors.Is(err, io.EOF) }

// chain is the baseline of a key: a full one and patches.
type chain struct {
	links  []link
	head   uint64 // LSN of the newest link
	asOf   uint64 // up to this LSN it is certain that nothing newer was lost
	bytes  int64
	broken string // while recovering: why it is of no use
	failed uint8  // reads; token
}

type link struct {
	seg  *segment
	off  int64
	lsn  uint64
	size uint32
	crc  uint32
}

// maxLinks: every 16th record of a key holds its whole baseline.
const maxLinks = 16

// setChain replaces a key's chain, nil: forgets the key. mu is held.
func (s *Spool) setChain(key string, c *chain) {
	if old := s.chains[key]; old != nil {
		s.chainBytes -= old.footprint(key)
		if len(old.links) > 0 {
			old.links[0].seg.chains--
		}
		delete(s.chains, key)
	}
	if c != nil {
		s.chains[key] = c
		s.chainBytes += c.footprint(key)
		if len(c.links) > 0 {
			c.links[0].seg.chains++
		}
	}
}

// footprint is what the chain takes when it is written anew, in bytes.
func (c *chain) footprint(key string) int64 {
	return headerSize + int64(len(key)) + 16*int64(len(c.links)) + c.bytes
}

// applyBaselines brings the baselines of a durable record into the index. mu is held.
func (s *Spool) applyBaselines(p place, list []linkLead) {
	off := p.blob()
	for i := range list {
		l := &list[i]
		k := link{seg: p.seg, off: off, lsn: p.h.lsn, size: l.size, crc: l.crc}
		off += int64(l.size)
		old := s.chains[l.key]
		switch {
		case l.drop:
			s.setChain(l.key, nil)
			continue
		case l.full:
			s.setChain(l.key, &chain{links: []link{k}, bytes: int64(l.size)})
		case old == nil:
			s.setChain(l.key, &chain{broken: "patch without a baseline"})
		case old.head != l.prev && old.broken == "":
			s.setChain(l.key, &chain{broken: "a patch was lost"})
		case old.broken == "":
			s.chainBytes -= old.footprint(l.key)
			old.links = append(old.links, k)
			old.bytes += int64(l.size)
			s.chainBytes += old.footprint(l.key)
		}
		c := s.chains[l.key]
		c.head, c.asOf = p.h.lsn, p.h.lsn
		if l.bad {
			s.setChain(l.key, &chain{broken: "damaged", head: c.head, asOf: c.asOf})
		}
	}
}

// applyCarry brings a copied chain into the index. mu is held.
func (s *Spool) applyCarry(p place, l *carryLead) {
	if len(l.links) == 0 {
		s.setChain(l.key, nil)
		return
	}
	c := &chain{head: l.head, asOf: p.h.lsn, links: make([]link, len(l.links))}
	off := p.blob()
	for i, k := range l.links {
		c.links[i] = link{seg: p.seg, off: off, lsn: k.lsn, size: k.size, crc: k.crc}
		off += int64(k.size)
		c.bytes += int64(k.size)
		if k.bad {
			c.broken = "damaged"
		}
	}
	if c.broken != "" {
		c.links, c.bytes = nil, 0
	}
	s.setChain(l.key, c)
}

// WantFull says that the key's next baseline should be a full one: it has none, or
// many patches were put upon it, or it keeps old segments from being freed. It may
// be called from within build.
func (s *Spool) WantFull(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chains[key]
	if c == nil || len(c.links) == 0 {
		return true
	}
	return len(c.links) >= maxLinks ||
		c.bytes > 2*int64(c.links[0].size)+4096 ||
		s.written-c.links[0].seg.began > s.pinned()/2
}

// pinned is how many bytes of needless segments baselines may keep. Never less than
// they take themselves, written anew: else that would not end.
func (s *Spool) pinned() int64 {
	return max(s.opt.MaxSize/4, 2*s.opt.SegmentSize, 2*s.chainBytes)
}

// Baseline reads what was durably appended for a key: the last full baseline and the
// patches after it. none: (nil, nil, nil). An error means that it is lost; the
// spool forgets the key then.
func (s *Spool) Baseline(key string) (full []byte, patches [][]byte, err error) {
	s.reading.RLock()
	blobs, err := s.readChain(key)
	s.reading.RUnlock()
	if err != nil {
		s.mu.Lock()
		s.stats.BaselinesLost++
		s.control = append(s.control, s.carryEntry(&carryLead{key: key}, nil))
		s.mu.Unlock()
		return nil, nil, fmt.Errorf("read baseline %q: %w", key, err)
	}
	if len(blobs) == 0 {
		return nil, nil, nil
	}
	return blobs[0], blobs[1:], nil
}

// readChain reads a chain's blobs. reading is held, or the token.
func (s *Spool) readChain(key string) ([][]byte, error) {
	s.mu.Lock()
	c := s.chains[key]
	var links []link
	if c != nil {
		links = append(links, c.links...)
	}
	s.mu.Unlock()
	r := &reader{s: s}
	defer r.close()
	return r.links(links)
}

// links reads the blobs of a chain.
func (r *reader) links(links []link) ([][]byte, error) {
	blobs := make([][]byte, len(links))
	for i, k := range links {
		f, err := r.open(k.seg)
		if err != nil {
			return nil, err
		}
		b := make([]byte, k.size)
		if err := readAt(f, b, k.off); err != nil {
			return nil, err
		}
		if checksum(b) != k.crc {
			return nil, errDamaged
		}
		blobs[i] = b
	}
	return blobs, nil
}

// Forget forgets keys, durably: their instance is watched no more.
func (s *Spool) Forget(ctx context.Context, keys ...string) error {
	select {
	case s.token <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.token }()
	s.mu.Lock()
	for _, key := range keys {
		if s.chains[key] != nil {
			s.control = append(s.control, s.carryEntry(&carryLead{key: key}, nil))
		}
	}
	s.mu.Unlock()
	if err := s.flush(); err != nil {
		return fmt.Errorf("forget baselines: %w", err)
	}
	return nil
}

// carryEntry writes a chain anew; without links the key is forgotten.
func (s *Spool) carryEntry(l *carryLead, blobs [][]byte) *entry {
	e := &entry{typ: typeCarry, size: headerSize + 32 + int64(len(l.key)), lead: l.append, body: blobs}
	for _, b := range blobs {
		e.size += int64(len(b)) + 20
	}
	e.apply = func(p place) { s.applyCarry(p, l) }
	return e
}

// carry is the entry that writes a key's chain anew. A chain that cannot be read is
// forgotten: its owner gives a full baseline next. The token is held.
func (s *Spool) carry(key string) (*entry, error) {
	blobs, err := s.readChain(key)
	if err != nil && passing(err, &s.chains[key].failed) {
		return nil, fmt.Errorf("read baseline %q: %w", key, err)
	}
	if err != nil {
		s.log.Warn("spool lost a baseline", "key", key, "err", err)
		s.mu.Lock()
		s.stats.BaselinesLost++
		s.mu.Unlock()
		return s.carryEntry(&carryLead{key: key}, nil), nil
	}
	c := s.chains[key]
	l := &carryLead{key: key, head: c.head}
	for _, k := range c.links {
		l.links = append(l.links, linkLead{lsn: k.lsn, size: k.size, crc: k.crc})
	}
	s.mu.Lock()
	s.stats.Carried++
	s.mu.Unlock()
	return s.carryEntry(l, blobs), nil
}
