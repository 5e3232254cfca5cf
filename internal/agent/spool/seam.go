package spool

import (
	"iter"
	"maps"
	"slices"
)

// Seam is a key around lost records, of which some may have been the key's: what is
// known of it before and behind them. Whether anything of the key was lost shows in
// whether the one goes on where the other ends.
type Seam struct {
	Key string
	// Full and Patches are the key's baseline before. Full nil: there was none, or it
	// cannot be read.
	Full    []byte
	Patches [][]byte
	// Before is the last batch with the key before, After the first one behind. Kind
	// 0: there is none, or it cannot be read; Gap: only its gap form can be read.
	Before, After Item
}

// seams follows what happened to each key, while records are replayed.
type seams struct {
	keys map[string]*trace
	at   map[int][]seam // by the hole, an index into recovery.holes
}

// trace is the newest that is known of a key.
type trace struct {
	lsn   uint64 // of the record
	unit  *found // nil: only a copy of the baseline
	saved []link // the baseline at lsn, when a copy tells of a newer one
}

type seam struct {
	key           string
	links         []link
	before, after *found
}

// follow notes a record that is about to be applied.
func (r *recovery) follow(f *found) {
	t := r.seams
	switch {
	case t == nil:
	case f.carry != nil && len(f.carry.links) > 0:
		old := t.keys[f.carry.key]
		switch {
		case old == nil && r.inHole(f.carry.head): // what it was before that is not known
			t.keys[f.carry.key] = &trace{saved: []link{}}
		case old == nil:
			t.keys[f.carry.key] = &trace{lsn: f.carry.head}
		case f.carry.head > old.lsn && old.saved == nil:
			old.saved = r.linksOf(f.carry.key)
		}
	case f.carry != nil:
		delete(t.keys, f.carry.key)
	case f.h.typ == typeForget:
		clear(t.keys)
	case f.unit != nil && f.unit.order == 0:
		for i := range f.unit.baselines {
			l := &f.unit.baselines[i]
			old := t.keys[l.key]
			if old == nil {
				old = &trace{} // it begins here, or its beginning was lost
			}
			r.join(l.key, old, f)
			if l.drop {
				delete(t.keys, l.key)
				continue
			}
			t.keys[l.key] = &trace{lsn: f.h.lsn, unit: f}
		}
	}
}

func (r *recovery) inHole(lsn uint64) bool {
	return slices.ContainsFunc(r.holes, func(h hole) bool { return h.first <= lsn && lsn <= h.last })
}

// join notes a seam when records were lost between two of a key; of several holes
// between them at the last one.
func (r *recovery) join(key string, old *trace, f *found) {
	for i, h := range slices.Backward(r.holes) {
		if h.reason != ReasonCorrupt || h.last >= f.h.lsn || h.first <= old.lsn {
			continue
		}
		links := old.saved
		if links == nil {
			links = r.linksOf(key)
		}
		r.seams.at[i] = append(r.seams.at[i], seam{key, links, old.unit, f})
		return
	}
}

func (r *recovery) linksOf(key string) []link {
	if c := r.s.chains[key]; c != nil && (c.broken == "" || c.broken == lostRecord) {
		return slices.Clone(c.links)
	}
	return nil
}

// lostRecord is why a baseline is void that is sound itself.
const lostRecord = "a record was lost"

// voided tells of a key whose baseline is about to be forgotten.
func (r *recovery) voided(key string) {
	if r.s.opt.Voided == nil || r.seams == nil {
		return
	}
	m := seam{key: key, links: r.linksOf(key)}
	if t := r.seams.keys[key]; t != nil {
		m.before = t.unit
	}
	r.s.opt.Voided(r.readSeam(m))
}

// gapOf is the gap form of what was lost in the holes from first to last.
func (r *recovery) gapOf(first, last uint64) []byte {
	if r.s.opt.Lost == nil || r.seams == nil {
		return nil
	}
	return r.s.opt.Lost(func(yield func(Seam) bool) {
		for _, i := range slices.Sorted(maps.Keys(r.seams.at)) {
			if h := r.holes[i]; h.first < first || h.last > last {
				continue
			}
			for _, m := range r.seams.at[i] {
				if !yield(r.readSeam(m)) {
					return
				}
			}
		}
	})
}

// readSeam reads what a seam tells, one at a time: it may be much.
func (r *recovery) readSeam(m seam) Seam {
	rd := &reader{s: r.s}
	defer rd.close()
	out := Seam{Key: m.key, Before: r.readFound(rd, m.before), After: r.readFound(rd, m.after)}
	if blobs, err := rd.links(m.links); err == nil && len(blobs) > 0 {
		out.Full, out.Patches = blobs[0], blobs[1:]
	}
	return out
}

func (r *recovery) readFound(rd *reader, f *found) Item {
	if f == nil {
		return Item{}
	}
	l, data, err := r.s.readUnit(rd, unitPlace{f.seg, f.off, f.h.lead, f.unit.last}, true)
	if l == nil {
		return Item{}
	}
	it := Item{Kind: l.kind, ID: l.last, Prev: l.prev, FirstSeq: l.first, Tick: l.tick, CRC: l.crc, RawLen: int(l.rawLen), Data: data, Reason: l.reason}
	if err != nil || l.kind == Gap {
		it.Kind, it.Data, it.Gap = Gap, nil, l.gap
	}
	return it
}

// SeamFunc makes the gap form of lost batches from the seams of the keys that go on
// behind them; nil: nothing is known.
type SeamFunc func(seams iter.Seq[Seam]) []byte
