package agent

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/agent/spool"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// damage is what can still be said of batches that were lost with their records on
// disk: which ticks they accounted for, and from when to when they counted. The
// spool asks while it opens; nobody else is there yet.
type damage struct {
	collector func() frame.CollectorID
	// Of keys that nothing sound follows: the last that is known.
	lines map[string][]*line
	since map[string]int64 // microseconds, of families
	state map[string][]byte
	// told are the segments that batches before the loss announced, by lane key. Others
	// may have been announced by the lost ones alone.
	told map[string][]*line

	last spool.ID // the batch that was read last
	read *frame.Batch
}

func newDamage(collector func() frame.CollectorID) *damage {
	return &damage{collector: collector, lines: map[string][]*line{}, since: map[string]int64{}, state: map[string][]byte{}, told: map[string][]*line{}}
}

const lostDetail = "a batch was damaged on the collector's disk"

// lost is spool.Options.Lost: ticks that are neither accounted for before the loss nor
// behind it are dropped(corrupt), and what was counted from the last read before it to
// where the next frame begins is unobserved(corrupt).
func (d *damage) lost(seams iter.Seq[spool.Seam]) []byte {
	type place struct {
		instance string
		lane     catalog.Lane
	}
	parts := map[place]*frame.Batch{}
	for m := range seams {
		key := strings.Split(m.Key, "\x00")
		after := d.batch(m.After)
		if len(key) != 3 || after == nil {
			continue
		}
		var outcomes []frame.Outcome
		var unobserved []frame.Unobserved
		p := place{instance: key[0]}
		switch name := key[2]; name {
		case laneKey(catalog.Fast), laneKey(catalog.Slow):
			p.lane = catalog.Lane(name[1:])
			before, err := decodeLines(m.Full)
			if err != nil {
				before = nil // there were none, or they are lost too
			}
			if _, hit := d.told[m.Key]; !hit { // lines of after a first loss may come from lost batches
				d.told[m.Key] = before
			}
			outcomes = lostTicks(before, p.lane, after)
		default:
			f := catalog.Lookup(name)
			if f == nil || !f.HasCounters() {
				continue
			}
			p.lane = f.Lane
			unobserved = d.lostCounts(m, f, key[1], after)
		}
		if len(outcomes)+len(unobserved) == 0 {
			continue
		}
		b := parts[p]
		if b == nil {
			b = &frame.Batch{Instance: p.instance, Database: after.Database, Lane: p.lane, Tick: after.Tick}
			parts[p] = b
		}
		b.Outcomes, b.Unobserved = append(b.Outcomes, outcomes...), append(b.Unobserved, unobserved...)
	}
	if len(parts) == 0 {
		return nil
	}
	g := &frame.Gap{}
	for _, b := range parts {
		if n := len(b.Outcomes); n > 0 { // where the totals would have been
			b.Tick = slices.MaxFunc(b.Outcomes, func(x, y frame.Outcome) int { return cmp.Compare(x.Last, y.Last) }).Last
		}
		g.Batches = append(g.Batches, b)
	}
	slices.SortFunc(g.Batches, func(x, y *frame.Batch) int {
		return cmp.Or(strings.Compare(x.Instance, y.Instance), strings.Compare(string(x.Lane), string(y.Lane)))
	})
	return frame.AppendGap(nil, g)
}

// lostTicks are the ticks of lines after those accounted for and before what the next
// batch accounts for.
func lostTicks(before []*line, lane catalog.Lane, after *frame.Batch) (out []frame.Outcome) {
	for _, l := range before {
		end := after.Tick
		for _, o := range after.Outcomes {
			if o.Family == l.Family && o.Database == l.Database && o.First > l.Done {
				end = min(end, o.First)
			}
		}
		c := line{Segments: slices.Clone(l.Segments), Last: l.Done}
		for _, r := range c.rest(end - 1) {
			out = append(out, frame.Outcome{
				Family: l.Family, Database: l.Database, Lane: lane, First: r.First, Last: r.Last, N: r.N,
				Code: frame.OutcomeDropped, Reason: spool.ReasonCorrupt, Detail: lostDetail,
			})
		}
	}
	return out
}

// lostCounts is what was counted between the baseline before and the next frame.
func (d *damage) lostCounts(m spool.Seam, f *catalog.Family, database string, after *frame.Batch) []frame.Unobserved {
	since, at, ok := readOf(after, f.Name, database)
	if !ok {
		return nil
	}
	from, known := d.before(m, f, database)
	detail := lostDetail
	if !known && since < at { // it goes on from something that is lost
		from, detail = since, lostDetail+"; since when is not known"
	} else if !known || from >= since {
		return nil
	}
	return []frame.Unobserved{{Family: f.Name, Database: database, Reason: spool.ReasonCorrupt, Detail: detail, Since: from, At: since}}
}

// before is when a family was read last before the loss.
func (d *damage) before(m spool.Seam, f *catalog.Family, database string) (at int64, known bool) {
	if m.Full != nil {
		if b, err := counter.Decode(f, m.Full, m.Patches...); err == nil {
			return b.At(), true
		}
	}
	if b := d.batch(m.Before); b != nil {
		_, at, known = readOf(b, f.Name, database)
	}
	return at, known
}

// readOf is from when to when a batch counted a family.
func readOf(b *frame.Batch, family, database string) (since, at int64, ok bool) {
	for _, o := range b.Outcomes {
		if o.Family == family && o.Database == database && o.At != 0 {
			return o.Since, o.At, true
		}
	}
	for i := range b.Frames { // a gap form keeps it with the sums alone
		if f := &b.Frames[i]; f.Family == family && f.Database == database {
			return f.Since, f.At, true
		}
	}
	return 0, 0, false
}

// batch decodes what the spool found; nil: it can't be.
func (d *damage) batch(it spool.Item) *frame.Batch {
	if it.Kind == 0 {
		return nil
	}
	if d.read != nil && it.ID == d.last {
		return d.read
	}
	d.last, d.read = it.ID, nil
	if it.Kind == spool.Batch {
		id := d.collector()
		e := frame.Envelope{Kind: frame.KindBatch, ID: frame.ID{Collector: id, Epoch: it.ID.Epoch, Seq: it.ID.Seq}, FirstSeq: it.FirstSeq, Tick: it.Tick, CRC: it.CRC, RawLen: it.RawLen, Data: it.Data}
		if !it.Prev.IsZero() {
			e.Prev = frame.ID{Collector: id, Epoch: it.Prev.Epoch, Seq: it.Prev.Seq}
		}
		if b, err := e.Batch(); err == nil {
			d.read = b
		}
	} else if g, err := frame.DecodeGap(it.Gap); err == nil && len(g.Batches) == 1 {
		d.read = g.Batches[0]
	}
	return d.read
}

// voided is spool.Options.Voided.
func (d *damage) voided(m spool.Seam) {
	key := strings.Split(m.Key, "\x00")
	if len(key) != 3 {
		return
	}
	switch name := key[2]; name {
	case laneKey(catalog.Fast), laneKey(catalog.Slow):
		// How far ticks are accounted for may only be more: those that are told of
		// twice count once.
		if lines, err := decodeLines(m.Full); err == nil {
			d.lines[m.Key] = lines
		}
	case identityKey:
		d.state[m.Key] = m.Full
	default:
		if f := catalog.Lookup(name); f != nil {
			if at, ok := d.before(m, f, key[1]); ok {
				d.since[m.Key] = at
			}
		}
	}
}

// announceAgain marks the segments that lost batches may have announced as not told.
func (d *damage) announceAgain(key string, lines []*line) {
	before, hit := d.told[key]
	if !hit {
		return
	}
	for _, l := range lines {
		for i := range l.Segments {
			s := &l.Segments[i]
			s.told = slices.ContainsFunc(before, func(b *line) bool {
				return b.Family == l.Family && b.Database == l.Database &&
					slices.ContainsFunc(b.Segments, func(x segment) bool { return x.From == s.From && x.Until == s.Until })
			})
		}
	}
}
