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
				c.broken = lostRecord
			}
		}
		if c.broken == "" {
			r.out.Keys = append(r.out.Keys, key)
			continue
		}
		r.out.Void = append(r.out.Void, Void{key, c.broken})
		r.voided(key)
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

// fillGap queues gaps for the lost ids of a hole; those that are pending or were
// acknowledged are not lost.
func (r *recovery) fillGap(h hole, lost Lost) {
	if lost.Last.IsZero() {
		return
	}
	from := ID{lost.Last.Epoch, 1}
	if lost.After.Epoch == lost.Last.Epoch {
		from.Seq = lost.After.Seq + 1
	}
	runs := r.lostRuns(from, lost.Last, lost)
	if !lost.After.IsZero() && lost.After.Epoch != lost.Last.Epoch { // the end of one epoch and the beginning of another
		for _, e := range r.s.epochs {
			if e.Epoch == lost.After.Epoch {
				runs = append(r.lostRuns(ID{e.Epoch, lost.After.Seq + 1}, e, lost), runs...)
			}
		}
	}
	if len(runs) == 0 {
		return
	}
	gap := r.gapOf(h.first, h.last)
	tick := r.tickAt(h)
	for _, run := range tellOnce(runs) {
		l := &unitLead{
			kind: Gap, sent: true, last: run.last, first: run.first, prev: lost.After, order: h.first, reason: h.reason, tick: tick,
		}
		if run.first > 1 {
			l.prev = ID{run.last.Epoch, run.first - 1}
		}
		if run.told {
			l.gap = gap
		}
		s := r.s
		s.control = append(s.control, &entry{typ: typeUnit, size: headerSize + 100 + int64(len(l.gap)), lead: l.append, apply: func(p place) {
			s.applyUnit(p, l)
			s.stats.DroppedCorrupt += l.last.Seq - l.first + 1
			s.signal()
		}})
	}
}

// lostRuns are the lost ones among the ids of an epoch from first to last, which may
// have been in a hole.
func (r *recovery) lostRuns(first, last ID, lost Lost) (runs []lostRun) {
	epoch, from := last.Epoch, first.Seq
	if from > last.Seq || last.Seq-from >= lost.Records {
		return nil // a hole has no more batches than records: these ids are not its
	}
	missing := make([]bool, last.Seq-from+1)
	for i := range missing {
		missing[i] = true
	}
	have := func(first, end uint64) {
		for seq := max(first, from); seq <= min(end, last.Seq); seq++ {
			missing[seq-from] = false
		}
	}
	sent := map[uint64]bool{} // may have reached the backend
	for _, f := range r.list {
		if f.unit != nil && f.unit.last.Epoch == epoch {
			have(f.unit.first, f.unit.last.Seq)
		}
		for _, id := range f.ids {
			switch {
			case id.Epoch != epoch:
			case f.h.typ == typeAck:
				have(id.Seq, id.Seq)
			case f.h.typ == typeSent:
				sent[id.Seq] = true
			}
		}
	}
	others := lost.Records
	for _, m := range missing {
		if m {
			others--
		}
	}
	unsure := others > 0 // other records were lost too, and may have been notes of what was sent
	for i := 0; i < len(missing); i++ {
		if !missing[i] {
			continue
		}
		run := lostRun{first: from + uint64(i), sent: unsure || sent[from+uint64(i)]}
		alone := sent[run.first] || unsure && len(runs) < maxAlone
		for !alone && i+1 < len(missing) && missing[i+1] && !sent[from+uint64(i)+1] {
			i++
		}
		run.last = ID{epoch, from + uint64(i)}
		runs = append(runs, run)
	}
	return runs
}

// lostRun are ids that one gap stands for. Those that may have reached the backend are
// alone: it takes all ids of a gap, or none.
type lostRun struct {
	first      uint64
	last       ID
	sent, told bool
}

const maxAlone = 64 // lost ids of a hole that get gaps of their own

// tellOnce decides which gaps tell what is known of all that was lost. That is one whose
// ids the backend cannot have, or else each: whichever it does not have counts, and
// saying the same twice does no harm.
func tellOnce(runs []lostRun) []lostRun {
	for i := range runs {
		if !runs[i].sent {
			runs[i].told = true
			return runs
		}
	}
	for i := range runs[:min(maxAlone+1, len(runs))] {
		runs[i].told = true
	}
	return runs
}

// tickAt is about when lost batches were due: at the tick of a batch beside them.
func (r *recovery) tickAt(h hole) (tick int64) {
	for _, f := range r.list {
		if f.unit == nil || f.unit.order != 0 {
			continue
		}
		if f.h.lsn > h.last {
			if tick == 0 {
				tick = f.unit.tick
			}
			break
		}
		tick = f.unit.tick
	}
	return tick
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
