package spool

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
)

// found is a record that Open read.
type found struct {
	place
	unit  *unitLead // of typeUnit; the gap form is kept only when it is needed
	gap   uint32    // its length
	carry *carryLead
	mark  *markLead
	ids   []ID
	bad   bool // the data is damaged
	torn  bool // a baseline is damaged
}

// hole is a range of LSNs without a record.
type hole struct {
	first, last uint64
	reason      string // ReasonTorn: it was the last group, nobody was told that it is durable
}

// region is bytes of a segment that are no sound record.
type region struct {
	seg           *segment
	from, to      int64
	before, after uint64 // LSNs of the records around it
}

// recovery is the state of Open.
type recovery struct {
	s       *Spool
	out     *Recovered
	list    []*found // ascending LSN
	regions []region
	holes   []hole
	units   map[ID]*unit
	nothing bool     // there are bytes, but no sound record
	seams   *seams   // nil: nothing is damaged
	proof   *segment // what stands at its end proves that the group before it was durable
}

// recover reads the segments and builds the index. Nobody else knows s yet.
func (s *Spool) recover() (*Recovered, error) {
	files, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		s.notes = s.notes || f.Name == notesFile
		if ord, nonce, ok := parseSegmentName(f.Name); ok {
			s.segs = append(s.segs, &segment{name: f.Name, ord: ord, nonce: nonce, size: f.Size})
			s.nextOrd = max(s.nextOrd, ord+1)
		}
	}
	slices.SortFunc(s.segs, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.ord, b.ord), cmp.Compare(a.nonce, b.nonce))
	})
	r := &recovery{s: s, out: &Recovered{}, units: map[ID]*unit{}}
	for _, seg := range s.segs {
		if err := r.read(seg); err != nil {
			return nil, err
		}
	}
	start, floor := r.settle()
	for i := len(s.segs) - 2; i >= 0; i-- {
		s.segs[i].base = min(s.segs[i].base, s.segs[i+1].base)
	}
	r.dropBelow(floor)
	r.cleanUp()
	if len(r.regions) > 0 || len(r.holes) > 0 {
		r.seams = &seams{keys: map[string]*trace{}, at: map[int][]seam{}}
	}
	r.replay(start)
	r.voidBaselines()
	r.reportLost()
	r.finish(start)
	return r.out, nil
}

// read scans one segment. What older ones hold from its base on is void.
func (r *recovery) read(seg *segment) error {
	file, err := r.s.fs.Open(r.s.path(seg.name))
	if err != nil {
		return fmt.Errorf("open %s: %w", seg.name, err)
	}
	defer file.Close()
	var list []*found
	var regions []region
	sc := &scanner{file: file, size: seg.size, nonce: seg.nonce}
	sc.scan(func(off int64, h header, lead, body []byte) bool {
		if len(list) > 0 && (h.base != seg.base || h.lsn <= list[len(list)-1].h.lsn) {
			return false
		}
		f := &found{place: place{seg: seg, off: off, h: h}}
		if !f.decode(lead, body) {
			return false
		}
		seg.base = h.base
		if n := len(regions); n > 0 && regions[n-1].after == 0 {
			regions[n-1].after = h.lsn
		}
		if f.bad || f.torn {
			regions = append(regions, region{seg: seg, from: off, to: off + h.size(), before: h.lsn - 1, after: h.lsn + 1})
		}
		list = append(list, f)
		return true
	}, func(from, to int64) {
		g := region{seg: seg, from: from, to: to}
		if len(list) > 0 {
			g.before = list[len(list)-1].h.lsn
		}
		regions = append(regions, g)
	})
	if n := len(regions); n > 0 && regions[n-1].after == 0 {
		regions[n-1].after = math.MaxUint64
	}
	r.regions = append(r.regions, regions...)
	if len(list) == 0 || copyCut(list) {
		// Nothing here counts; a base is needed all the same to know when it may go.
		seg.base = 1
		if n := len(r.list); n > 0 {
			seg.base = r.list[n-1].h.lsn + 1
		}
		return nil
	}
	n := len(r.list)
	for n > 0 && r.list[n-1].h.lsn >= seg.base {
		n--
	}
	r.list = append(r.list[:n], list...)
	return nil
}

// copyCut says that a segment holds nothing but a part of a group that was being
// copied: the older segment has it whole.
func copyCut(list []*found) bool {
	h := list[0].h
	if !h.redo || list[len(list)-1].h.groupStart() != h.groupStart() {
		return false // what comes after it proves that it was whole
	}
	if len(list) != int(h.count) {
		return true
	}
	return slices.ContainsFunc(list, func(f *found) bool { return f.bad || f.torn })
}

// decode reads the lead and checks the body. false: the lead makes no sense.
func (f *found) decode(lead, body []byte) bool {
	var err error
	check := func(links []linkLead) (rest []byte) {
		rest = body
		for i := range links {
			l := &links[i]
			l.bad = checksum(rest[:l.size]) != l.crc
			f.torn = f.torn || l.bad
			rest = rest[l.size:]
		}
		return rest
	}
	switch f.h.typ {
	case typeUnit:
		if f.unit, err = decodeUnit(lead, f.h.body); err != nil {
			return false
		}
		u := f.unit
		f.bad = checksum(check(u.baselines)) != u.dataCRC
		f.gap = uint32(len(u.gap))
		if f.bad {
			u.gap = bytes.Clone(u.gap)
		} else {
			u.gap = nil
		}
	case typeCarry:
		if f.carry, err = decodeCarry(lead, f.h.body); err == nil {
			check(f.carry.links)
		}
	case typeAck, typeSent:
		f.ids, err = decodeIDs(lead)
	case typeMark:
		f.mark, err = decodeMark(lead)
	}
	return err == nil
}

// settle decides on the last group and finds the holes. start is the LSN of the last
// group: a crash may have cut it, so only its sound records count, and they are to
// be written again, since what can be read need not be on disk. All groups before it
// were durable.
func (r *recovery) settle() (start, floor uint64) {
	if len(r.list) == 0 {
		if len(r.regions) > 0 {
			// The first write was cut, or everything is destroyed: only the backend
			// can tell (Made).
			r.nothing = true
			r.out.Lost = append(r.out.Lost, Lost{Reason: ReasonTorn})
		}
		return 1, 1
	}
	newest := r.list[len(r.list)-1].h
	start = newest.groupStart()
	end := start + uint64(newest.count) - 1
	if r.proven(start) {
		r.proof = r.list[len(r.list)-1].seg
		start = end + 1
	}
	r.list = slices.DeleteFunc(r.list, func(f *found) bool { return f.h.lsn >= start && (f.bad || f.torn) })
	for _, f := range r.list {
		floor = max(floor, f.h.floor)
	}
	floor = max(floor, newest.floor)
	next := floor
	add := func(last uint64) {
		if next < start && last >= next {
			r.holes = append(r.holes, hole{next, min(last, start-1), ReasonCorrupt})
		}
		if last >= start && last >= next {
			r.holes = append(r.holes, hole{max(next, start), last, ReasonTorn})
		}
	}
	for _, f := range r.list {
		if f.h.lsn < next {
			continue
		}
		add(f.h.lsn - 1)
		next = f.h.lsn + 1
	}
	add(end)
	return start, floor
}

// proven says that the last group, of which something is missing, was durable: its
// file is longer, and a file is written on only when all before is. Whatever made the
// rest unreadable, this group was not cut by a crash: it was damaged, and what it lost
// may have been delivered.
func (r *recovery) proven(start uint64) bool {
	last := r.list[len(r.list)-1]
	sound := 0
	for _, f := range r.list {
		if f.h.lsn >= start && !f.bad && !f.torn {
			sound++
		}
	}
	end, ok := last.h.groupEnd(last.off)
	return ok && sound < int(last.h.count) && last.seg.size > end
}

// dropBelow removes segments below the floor: their removal was under way.
func (r *recovery) dropBelow(floor uint64) {
	s := r.s
	r.list = slices.DeleteFunc(r.list, func(f *found) bool { return f.h.lsn < floor })
	for len(s.segs) > 1 && s.segs[1].base <= floor && s.segs[0].base < floor {
		seg := s.segs[0]
		if err := s.fs.Remove(s.path(seg.name)); err != nil {
			s.log.Warn("spool cannot remove a segment", "file", seg.name, "err", err)
			return // it holds nothing that counts; trim tries again
		}
		r.regions = slices.DeleteFunc(r.regions, func(g region) bool { return g.seg == seg })
		s.segs = s.segs[1:]
	}
}

// cleanUp copies damaged bytes to quarantine/ and cuts the ends that a crash left.
func (r *recovery) cleanUp() {
	for _, g := range r.regions {
		damaged := r.nothing || slices.ContainsFunc(r.list, func(f *found) bool {
			return f.seg == g.seg && f.off == g.from && (f.bad || f.torn)
		}) || slices.ContainsFunc(r.holes, func(h hole) bool {
			return h.reason == ReasonCorrupt && h.last > g.before && h.first < g.after
		})
		if damaged {
			r.out.QuarantinedBytes += g.to - g.from
			r.s.quarantine(g)
			continue
		}
		if g.to != g.seg.size || g.seg == r.proof { // a proof is needed until what it proves is written down
			continue
		}
		r.out.TornBytes += g.to - g.from
		if err := r.s.fs.Truncate(r.s.path(g.seg.name), g.from); err != nil {
			r.s.log.Debug("spool cannot cut a segment", "file", g.seg.name, "err", err)
			continue
		}
		g.seg.size = g.from
	}
}

// replay applies the records in order. Units of the last group are held.
func (r *recovery) replay(start uint64) {
	s := r.s
	for _, f := range r.list {
		r.follow(f)
		switch f.h.typ {
		case typeUnit:
			l := f.unit
			u := newUnit(f.place, l)
			u.gap, u.hold = f.gap, f.h.lsn >= start
			if l.order != 0 {
				r.cover(l)
			}
			r.units[l.last] = u
			s.know(l.prev)
			s.know(l.last)
			if l.order == 0 {
				s.last = l.last
			}
			s.applyBaselines(f.place, l.baselines)
		case typeAck:
			for _, id := range f.ids {
				s.know(id)
				delete(r.units, id)
			}
		case typeSent:
			for _, id := range f.ids {
				if u := r.units[id]; u != nil {
					u.sent = true
				}
			}
		case typeCarry:
			s.applyCarry(f.place, f.carry)
		case typeMark:
			for _, id := range f.mark.epochs {
				s.know(id)
			}
			s.last = f.mark.last
		case typeForget:
			for key := range s.chains {
				s.setChain(key, nil)
			}
		}
	}
}

// cover takes out what a gap stands for.
func (r *recovery) cover(l *unitLead) {
	if n := l.last.Seq - l.first; n < uint64(len(r.units)) {
		for seq := l.first; seq <= l.last.Seq; seq++ {
			delete(r.units, ID{l.last.Epoch, seq})
		}
		return
	}
	for id := range r.units {
		if id.Epoch == l.last.Epoch && id.Seq >= l.first && id.Seq <= l.last.Seq {
			delete(r.units, id)
		}
	}
}

// finish builds the chain, and the entries that write the last group again.
func (r *recovery) finish(start uint64) {
	s := r.s
	units := make([]*unit, 0, len(r.units))
	for _, u := range r.units {
		units = append(units, u)
	}
	slices.SortFunc(units, func(a, b *unit) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.last.Seq, b.last.Seq))
	})
	for _, u := range units {
		s.addAfter(s.tail, u)
		if !u.sent && !s.notes {
			u.sent = true
			s.sent = append(s.sent, u.last)
		}
	}
	s.queued = s.last
	for _, seg := range s.segs {
		seg.began = s.written
		s.written += seg.size
	}
	s.nextLSN = start
	var tail []*found
	for _, f := range r.list {
		if f.h.lsn >= start {
			tail = append(tail, f)
			continue
		}
		if u := r.units[f.id()]; f.bad && u != nil && u.kind == Batch && u.seg == f.seg && u.off == f.off {
			r.out.Damaged++
			s.replaceLater(u, f.unit, ReasonCorrupt)
		}
	}
	if err := r.redo(tail); err != nil {
		// The disk gives no second time what it gave just now. Go on behind it.
		s.log.Warn("spool cannot read its newest records again", "err", err)
		s.redo = nil
		for _, f := range tail {
			s.nextLSN = f.h.lsn + 1
			if u := r.units[f.id()]; u != nil {
				u.hold = false
			}
		}
	}
	// Files without a sound record got a base that is too high where a group was
	// tried again.
	base := s.nextLSN
	for _, seg := range slices.Backward(s.segs) {
		base = min(base, seg.base)
		seg.base = base
	}
	r.out.Last = s.last
	r.out.Pending = len(units)
	s.stats.RecoveredBaseline = len(r.out.Keys)
	s.stats.QuarantinedBytes = r.out.QuarantinedBytes
	if len(units) > 0 {
		s.signal()
	}
}

func (f *found) id() ID {
	if f.unit == nil {
		return ID{}
	}
	return f.unit.last
}
