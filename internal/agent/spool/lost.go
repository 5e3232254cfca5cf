package spool

import "fmt"

// voidBaselines forgets those that cannot be trusted: a patch is missing, or a
// record was lost that may have held a newer one and whose batch may have been
// delivered. What was counted since would count twice.
func (r *recovery) voidBaselines() {
	s := r.s
	for key, c := range s.chains {
		for _, h := range r.holes {
			if h.reason == ReasonCorrupt && c.broken == "" && c.asOf < h.last {
				c.broken = "a record was lost"
			}
		}
		if c.broken == "" {
			r.out.Keys = append(r.out.Keys, key)
			continue
		}
		r.out.Void = append(r.out.Void, Void{key, c.broken})
		s.stats.BaselinesLost++
		s.setChain(key, nil)
		s.control = append(s.control, s.carryEntry(&carryLead{key: key}, nil))
	}
}

// reportLost names the batches lost in holes, as far as the ids around them tell,
// and puts gaps without sums in their place.
func (r *recovery) reportLost() {
	type pair struct{ after, last ID }
	at := map[pair]int{}
	var first []hole
	for _, h := range r.holes {
		lost := Lost{Records: h.last - h.first + 1, Reason: h.reason}
		known := false // what follows the hole names the id before it
		for _, f := range r.list {
			id, ok := f.chainEnd(f.h.lsn > h.last)
			if !ok {
				continue
			}
			if f.h.lsn > h.last {
				lost.Last, known = id, true
				break
			}
			lost.After = id
		}
		if known && lost.After == lost.Last {
			continue // no batch was among the records
		}
		if h.reason == ReasonTorn && !known {
			continue // nobody was told of them, nothing refers to them
		}
		// Holes with no batch between them share what was lost.
		if i, ok := at[pair{lost.After, lost.Last}]; ok {
			first[i].last = h.last
			r.out.Lost[i].Records += lost.Records
			continue
		}
		at[pair{lost.After, lost.Last}] = len(first)
		first = append(first, h)
		r.out.Lost = append(r.out.Lost, lost)
	}
	for i, h := range first {
		r.fillGap(h, r.out.Lost[i])
	}
}

// chainEnd is the newest id of the chain at this record, or before it.
func (f *found) chainEnd(before bool) (ID, bool) {
	switch {
	case f.mark != nil:
		return f.mark.last, !f.h.redo // what is written again comes after its mark
	case f.unit == nil || f.unit.order != 0:
		return ID{}, false
	case before:
		return f.unit.prev, true
	}
	return f.unit.last, true
}

// fillGap queues gaps for the lost ids of the last epoch of a hole; those that are
// pending or were acknowledged are not lost.
func (r *recovery) fillGap(h hole, lost Lost) {
	epoch, from := lost.Last.Epoch, uint64(1)
	prev := lost.After
	if lost.After.Epoch == epoch {
		from = lost.After.Seq + 1
	}
	if lost.Last.IsZero() || from > lost.Last.Seq || lost.Last.Seq-from >= lost.Records {
		return // a hole has no more batches than records: these ids are not its
	}
	missing := make([]bool, lost.Last.Seq-from+1)
	for i := range missing {
		missing[i] = true
	}
	have := func(first, last uint64) {
		for seq := max(first, from); seq <= min(last, lost.Last.Seq); seq++ {
			missing[seq-from] = false
		}
	}
	for _, f := range r.list {
		if f.unit != nil && f.unit.last.Epoch == epoch {
			have(f.unit.first, f.unit.last.Seq)
		}
		for _, id := range f.ids {
			if id.Epoch == epoch && f.h.typ == typeAck {
				have(id.Seq, id.Seq)
			}
		}
	}
	for i := 0; i < len(missing); i++ {
		if !missing[i] {
			continue
		}
		first := from + uint64(i)
		for i+1 < len(missing) && missing[i+1] {
			i++
		}
		l := &unitLead{kind: Gap, sent: true, last: ID{epoch, from + uint64(i)}, first: first, prev: prev, order: h.first, reason: h.reason}
		if first > 1 {
			l.prev = ID{epoch, first - 1}
		}
		s := r.s
		s.control = append(s.control, &entry{typ: typeUnit, size: headerSize + 100, lead: l.append, apply: func(p place) {
			s.applyUnit(p, l)
			s.stats.DroppedCorrupt += l.last.Seq - l.first + 1
			s.signal()
		}})
	}
}

// quarantine copies a region of a segment for people to look at. The original goes
// with its segment. Failures do not matter.
func (s *Spool) quarantine(g region) {
	name := s.path(quarantineDir) + fmt.Sprintf("/%s-%d.bin", g.seg.name[:len(g.seg.name)-len(segmentExt)], g.from)
	err := func() error {
		files, err := s.fs.ReadDir(s.path(quarantineDir))
		if err != nil {
			return err
		}
		size := min(g.to-g.from, 8<<20)
		total := size
		for _, f := range files {
			total += f.Size
			if s.path(quarantineDir)+"/"+f.Name == name {
				return nil // copied by an earlier Open
			}
		}
		if total > s.opt.QuarantineSize {
			return fmt.Errorf("%s holds %d bytes already", quarantineDir, total-size)
		}
		in, err := s.fs.Open(s.path(g.seg.name))
		if err != nil {
			return err
		}
		defer in.Close()
		sc := &scanner{file: in, size: g.to}
		out, err := s.fs.Create(name)
		if err != nil {
			return err
		}
		for off := g.from; off < g.from+size && err == nil; off += window {
			n := min(window, g.from+size-off)
			_, err = out.WriteAt(sc.view(off, n), off-g.from)
		}
		if err == nil {
			err = out.Sync()
		}
		if cerr := out.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			_ = s.fs.Remove(name) // of no use
		}
		return err
	}()
	if err != nil {
		s.log.Warn("spool cannot quarantine damaged bytes", "file", g.seg.name, "err", err)
	}
}
