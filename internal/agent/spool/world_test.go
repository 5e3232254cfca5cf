package spool_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/spool"
	"github.com/pganalytics/pganalytics/internal/agent/spool/simdisk"
)

// The model counts, because that is what the spool is for: a world has counters that
// only grow, a collector that reads them and keeps baselines, and a backend. Every
// batch says which spans of which counter it holds. Nothing is lost or doubled if
// and only if the spans that the backend has fill those that were read, once.

// span is a part of a counter, from < x <= to.
type span struct{ from, to int64 }

// spans are sorted and disjoint parts, by counter.
type spans map[string][]span

// add joins more to it; overlap is what was there already.
func (s spans) add(more spans) (overlap string) {
	for key, list := range more {
		for _, n := range list {
			all := append(slices.Clone(s[key]), n)
			slices.SortFunc(all, func(a, b span) int { return int(a.from - b.from) })
			joined := all[:1]
			for _, n := range all[1:] {
				last := &joined[len(joined)-1]
				switch {
				case n.from < last.to:
					overlap = fmt.Sprintf("%s %v is there twice", key, n)
					last.to = max(last.to, n.to)
				case n.from == last.to:
					last.to = n.to
				default:
					joined = append(joined, n)
				}
			}
			s[key] = joined
		}
	}
	return overlap
}

func (s spans) encode() []byte {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s)) {
		for _, n := range s[key] {
			fmt.Fprintf(&b, "%s %d %d\n", key, n.from, n.to)
		}
	}
	return []byte(b.String())
}

func decodeSpans(data []byte) (spans, error) {
	s := spans{}
	for line := range strings.Lines(string(data)) {
		var key string
		var n span
		if strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%s %d %d\n", &key, &n.from, &n.to); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		s[key] = append(s[key], n)
	}
	return s, nil
}

func mergeGaps(gaps [][]byte) ([]byte, error) {
	all := spans{}
	for _, g := range gaps {
		s, err := decodeSpans(g)
		if err != nil {
			return nil, err
		}
		if o := all.add(s); o != "" {
			return nil, errors.New(o)
		}
	}
	return all.encode(), nil
}

type claim struct {
	crc  uint32
	kind spool.Kind
}

// world is the collector, its disk and its backend.
type world struct {
	fail   func(format string, args ...any)
	disk   *simdisk.Disk
	opt    spool.Options
	now    time.Time
	s      *spool.Spool
	rec    *spool.Recovered
	counts map[string]int64 // the watched counters
	base   map[string]int64 // in the collector's memory

	read   spans // what confirmed batches hold
	stored spans // what the backend has
	claims map[spool.ID]claim
	newest spool.ID // at the backend
	order  map[uint64]int

	confirmed map[spool.ID]bool // Append returned nil
	acked     map[spool.ID]bool
	unsure    map[spool.ID]bool  // Append has not returned nil
	held      map[spool.ID]spans // of them, what Open found
	biggest   int64
	log       []string
	damage    bool // the disk did what it must not: losses are allowed, doubling is not

	unseen spans            // what the backend was told that nobody knows
	voided map[string]int64 // the last that is known of what has no baseline any more
	fresh  bool             // nobody can tell what is unknown: the spool was taken for foreign, or no id of what was lost is known
	asked  int              // calls of spool.Options.Lost
	razed  map[string]bool  // counters of which no record is left
}

const dir = "/spool"

func newWorld(fail func(string, ...any), chance func(int) int) *world {
	w := &world{
		fail: fail, disk: simdisk.New(chance), now: time.Unix(1_800_000_000, 0),
		counts: map[string]int64{}, base: map[string]int64{}, read: spans{}, stored: spans{},
		claims: map[spool.ID]claim{}, order: map[uint64]int{},
		confirmed: map[spool.ID]bool{}, acked: map[spool.ID]bool{}, unsure: map[spool.ID]bool{},
		unseen: spans{}, voided: map[string]int64{}, razed: map[string]bool{},
	}
	w.opt = spool.Options{MaxSize: 256 << 10, SegmentSize: 16 << 10, Merge: mergeGaps, Now: func() time.Time { return w.now }, Lost: w.lost, Voided: w.void}
	return w
}

// open opens the spool, and goes on from the baselines that are there. It gives up
// silently when the disk crashes.
func (w *world) open() {
	s, rec, err := spool.Open(w.fail0(), w.disk, dir, w.opt)
	w.s, w.rec = s, rec
	if err != nil {
		w.s = nil
		if !w.disk.Crashed() {
			w.fail("open: %v", err)
		}
		return
	}
	corrupt := 0
	for _, l := range rec.Lost {
		if l.Reason == spool.ReasonCorrupt {
			corrupt++
		}
	}
	w.fresh = w.fresh || w.asked < min(corrupt, 1)
	for key := range w.base {
		if _, was := w.voided[key]; !was && !slices.Contains(rec.Keys, key) && (len(rec.Lost) > 0 || rec.TornBytes+rec.QuarantinedBytes > 0) {
			w.razed[key] = true
		}
	}
	w.base = map[string]int64{}
	for _, key := range rec.Keys {
		full, patches, err := s.Baseline(key)
		if err != nil {
			if !w.disk.Crashed() && !w.damage {
				w.fail("baseline %s: %v", key, err)
			}
			continue
		}
		v, err := strconv.ParseInt(string(full), 10, 64)
		for _, p := range patches {
			n, perr := strconv.ParseInt(string(p), 10, 64)
			v += n
			err = errors.Join(err, perr)
		}
		if err != nil || full == nil {
			w.fail("baseline %s: %q %q: %v", key, full, patches, err)
		}
		w.base[key] = v
	}
	if w.disk.Crashed() {
		w.s = nil
		return
	}
	w.afterOpen()
}

// afterOpen compares what was found with what was confirmed.
func (w *world) afterOpen() {
	covered := map[spool.ID]bool{}
	w.note("open %+v", *w.rec)
	w.held = map[spool.ID]spans{}
	for _, p := range w.s.Pending() {
		for seq := p.FirstSeq; seq <= p.ID.Seq; seq++ {
			id := spool.ID{Epoch: p.ID.Epoch, Seq: seq}
			if covered[id] {
				w.fail("%s is pending twice\n%v\n%v", id, w.s.Pending(), w.log)
			}
			covered[id] = true
			if w.confirmed[id] || w.damage || p.Reason == spool.ReasonTorn {
				continue
			}
			if !w.unsure[id] {
				w.fail("%s was never appended", id)
			}
			// The id may have been given out again after a failure: what is it?
			data, err := w.s.Peek(p.ID)
			if err != nil && w.disk.Crashed() {
				w.s = nil
				return
			}
			got, derr := decodeSpans(data)
			if err != nil || derr != nil {
				w.fail("read %s: %v, %v", p.ID, err, derr)
			}
			// It was written after all, though nobody was told. It counts as soon as
			// it is proved to be on disk.
			w.held[id] = got
			if !p.Held {
				w.confirmHeld()
			}
		}
	}
	if w.damage {
		if !w.newest.IsZero() && !w.s.Made(w.newest) {
			if err := w.s.NewEpoch(w.fail0(), nil); err != nil {
				if w.disk.Crashed() {
					w.s = nil
					return
				}
				w.fail("new epoch: %v", err)
			}
			w.base, w.fresh = map[string]int64{}, true
		}
		return
	}
	for id := range w.confirmed {
		if !w.acked[id] && !covered[id] {
			w.fail("%s was confirmed and is gone\n%+v\n%v", id, w.rec, w.log)
		}
	}
	if len(w.rec.Void) > 0 || w.rec.Damaged > 0 {
		w.fail("found damage where there is none: %+v", w.rec)
	}
	for _, l := range w.rec.Lost {
		if l.Reason != spool.ReasonTorn {
			w.fail("found losses where there are none: %+v", l)
		}
	}
	// What was counted goes exactly up to the baselines.
	read := spans{}
	read.add(w.read)
	for _, got := range w.held {
		read.add(got)
	}
	for key, list := range read {
		if len(list) != 1 || list[0].to != w.base[key] {
			w.fail("%s was counted to %v, its baseline is %d\nheld %v\n%v", key, list, w.base[key], w.held, w.log)
		}
	}
}

// confirmHeld: what Open found was written again.
func (w *world) confirmHeld() {
	for id, got := range w.held {
		w.confirmed[id] = true
		delete(w.unsure, id)
		if o := w.read.add(got); o != "" && !w.damage {
			w.fail("%s came back though it is counted since: %s", id, o)
		}
	}
	clear(w.held)
}

// build makes a batch of the counters named; spec holds the collector's baselines as
// they will be once everything before it is durable.
func (w *world) build(keys []string, pad int, full bool, spec, after map[string]int64, got spans) func(id, prev spool.ID) (spool.Record, error) {
	return func(id, prev spool.ID) (spool.Record, error) {
		clear(got)
		var remarks []byte
		r := spool.Record{Tick: w.now.UnixMicro()}
		for _, key := range keys {
			v := w.counts[key]
			base, ok := spec[key]
			spec[key], after[key] = v, v
			if from, was := w.voided[key]; was && !ok {
				remarks = fmt.Appendf(remarks, "# unseen %s %d %d\n", key, from, v)
			}
			if !ok {
				base = v // it sets the baseline
				remarks = fmt.Appendf(remarks, "# fresh %s %d %d\n", key, v, v)
			}
			remarks = fmt.Appendf(remarks, "# frame %s %d %d\n", key, base, v)
			if !ok {
				r.Baselines = append(r.Baselines, spool.Baseline{Key: key, Full: true, Data: strconv.AppendInt(nil, v, 10)})
				continue
			}
			if v > base {
				got[key] = append(got[key], span{base, v})
			}
			if full || w.s.WantFull(key) {
				r.Baselines = append(r.Baselines, spool.Baseline{Key: key, Full: true, Data: strconv.AppendInt(nil, v, 10)})
			} else {
				r.Baselines = append(r.Baselines, spool.Baseline{Key: key, Data: strconv.AppendInt(nil, v-base, 10)})
			}
		}
		if !w.damage {
			remarks = nil // nobody asks
		}
		r.Data = fmt.Appendf(append(got.encode(), remarks...), "# %s %s %s\n", id, prev, strings.Repeat("x", pad))
		r.Gap = append(got.encode(), remarks...)
		r.CRC = crc32.ChecksumIEEE(r.Data)
		r.RawLen = len(r.Data)
		w.unsure[id] = true
		return r, nil
	}
}

// appendGroup appends batches, each of some counters.
func (w *world) appendGroup(batches [][]string, pads []int, full bool) []error {
	spec := maps.Clone(w.base)
	var builds []func(id, prev spool.ID) (spool.Record, error)
	got, after := make([]spans, len(batches)), make([]map[string]int64, len(batches))
	size := int64(0)
	for i, keys := range batches {
		got[i], after[i] = spans{}, map[string]int64{}
		builds = append(builds, w.build(keys, pads[i], full, spec, after[i], got[i]))
		size += int64(pads[i]) + 1024
	}
	w.biggest = max(w.biggest, size)
	ids, errs := w.s.AppendGroup(builds...)
	failed := false
	for i, err := range errs {
		if err != nil {
			failed = true
			continue
		}
		w.confirmHeld()
		if failed {
			w.fail("%s is durable though the one before it is not", ids[i])
		}
		if w.confirmed[ids[i]] {
			w.fail("%s was given out twice", ids[i])
		}
		if _, ok := w.order[ids[i].Epoch]; !ok {
			w.order[ids[i].Epoch] = len(w.order)
		}
		w.confirmed[ids[i]] = true
		w.note("confirm %v", ids[i])
		delete(w.unsure, ids[i])
		if o := w.read.add(got[i]); o != "" && !w.damage {
			w.fail("counted twice: %s", o)
		}
		maps.Copy(w.base, after[i])
	}
	return errs
}

// deliver is the backend.
func (w *world) note(f string, a ...any) { w.log = append(w.log, fmt.Sprintf(f, a...)+"\n") }

func (w *world) deliver(it spool.Item) {
	w.note("deliver %v %v %s %s", it.FirstSeq, it.ID, it.Kind, it.Reason)
	if _, ok := w.held[it.ID]; ok {
		w.confirmHeld()
	}
	var sums spans
	var err error
	if it.Kind == spool.Batch {
		sums, err = decodeSpans(it.Data)
	} else {
		sums, err = decodeSpans(it.Gap)
	}
	if err != nil {
		w.fail("%s %s holds nonsense: %v", it.Kind, it.ID, err)
	}
	n := 0
	for seq := it.FirstSeq; seq <= it.ID.Seq; seq++ {
		c, ok := w.claims[spool.ID{Epoch: it.ID.Epoch, Seq: seq}]
		if !ok {
			continue
		}
		n++
		if it.CRC != 0 && c.crc != 0 && c.crc != it.CRC {
			w.fail("%s came with two checksums", it.ID)
		}
	}
	if n > 0 && n < int(it.ID.Seq-it.FirstSeq+1) && len(sums) > 0 {
		w.fail("a gap of %d to %s was merged of what had been sent", it.FirstSeq, it.ID)
	}
	if n == 0 {
		w.see(append(it.Data, it.Gap...))
		if o := w.stored.add(sums); o != "" {
			w.fail("stored twice with %s %s (%s): %s\n%v", it.Kind, it.ID, it.Reason, o, w.log)
		}
	}
	for seq := it.FirstSeq; seq <= it.ID.Seq; seq++ {
		id := spool.ID{Epoch: it.ID.Epoch, Seq: seq}
		if _, ok := w.claims[id]; !ok {
			w.claims[id] = claim{it.CRC, it.Kind}
		}
	}
	if a, b := w.order[it.ID.Epoch], w.order[w.newest.Epoch]; w.newest.IsZero() || a > b || a == b && it.ID.Seq > w.newest.Seq {
		if it.Reason != spool.ReasonTorn && it.Reason != spool.ReasonCorrupt {
			w.newest = it.ID
		}
	}
}

func (w *world) ack(it spool.Item) {
	w.s.Ack(it.ID)
	w.noteAck(it)
}

func (w *world) noteAck(it spool.Item) {
	w.note("ack %v %v", it.FirstSeq, it.ID)
	for seq := it.FirstSeq; seq <= it.ID.Seq; seq++ {
		w.acked[spool.ID{Epoch: it.ID.Epoch, Seq: seq}] = true
	}
}

// drain ships everything on a healthy disk and compares.
func (w *world) drain() {
	w.disk.Limit(0)
	w.disk.Kill()
	for w.s = nil; w.s == nil; {
		w.open()
	}
	for {
		items, err := w.s.Next(w.fail0(), 50, 1<<20, nil)
		if err != nil {
			w.fail("next: %v", err)
		}
		if len(items) == 0 {
			break
		}
		for _, it := range items {
			w.deliver(it)
			w.ack(it)
		}
	}
	if p := w.s.Pending(); len(p) != 0 {
		w.fail("not offered: %v", p)
	}
	if w.damage {
		return
	}
	for key, list := range w.read {
		if len(list) > 0 && !slices.Equal(w.stored[key], list) {
			w.fail("%s was counted as %v, stored as %v\n%v", key, list, w.stored[key], w.log)
		}
	}
	for id := range w.confirmed {
		if _, ok := w.claims[id]; !ok {
			w.fail("%s never came", id)
		}
	}
	for i := 0; i < 20 && w.s.Stats().Segments > 2; i++ {
		w.s.Flush()
		w.now = w.now.Add(time.Minute)
	}
}
