package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Status is the verdict on one envelope.
type Status string

const (
	Stored      Status = "stored"      // by this push; COMMIT returned
	Duplicate   Status = "duplicate"   // it, or a gap in its place, was stored before
	Refused     Status = "refused"     // for good, see Reason
	Unavailable Status = "unavailable" // not stored, or unknown: push it again
	Cloned      Status = "cloned"      // another batch has this id
)

// Reasons of a refusal, which the collector's gap record repeats.
const (
	ReasonClock     = "clock"     // its tick is too far in the future
	ReasonPoison    = "poison"    // it cannot be decoded, or contradicts the catalog
	ReasonRetention = "retention" // its tick is older than what is kept
	ReasonHolder    = "collector_change"
)

// Verdict is what became of one envelope.
type Verdict struct {
	Status Status
	Reason string // of a refusal
	Detail string // for people
}

// maxRange bounds the ids that one gap may claim.
const maxRange = 10_000_000

// unit is an envelope on its way into the store.
type unit struct {
	kind     frame.EnvelopeKind
	id, prev frame.ID
	firstSeq uint64
	crc      uint32
	tick     int64
	oldest   int64      // that its collector may still bring, 0 unknown
	contents []*content // one for a batch, any number for a gap
	rows     int
	bytes    int
	verdict  Verdict
}

// content is what a unit brings for one instance.
type content struct {
	instance int64
	name     string
	tick     int64
	times    []int64 // of rows in partitioned tables
	server   frame.Server
	series   series.Content
	ledger   ledger.Content
}

// copies are the rows to copy.
func (c *content) copies() []store.CopyRows { return slices.Concat(c.series.Copies, c.ledger.Copies) }

// refusal is an error that is a verdict for good.
type refusal struct{ reason, detail string }

func (r *refusal) Error() string { return r.reason + ": " + r.detail }

func poison(format string, args ...any) error {
	return &refusal{ReasonPoison, fmt.Sprintf(format, args...)}
}

// prepare decodes and encodes an envelope of a collector. An error that is no *refusal is the
// store's, and passes. unknown are names that were ignored.
func (in *Ingest) prepare(ctx context.Context, collector frame.CollectorID, e *frame.Envelope) (u *unit, unknown []string, err error) {
	u = &unit{kind: e.Kind, id: e.ID, prev: e.Prev, firstSeq: e.FirstSeq, crc: e.CRC, tick: e.Tick}
	now := in.now()
	switch {
	case e.ID.Collector != collector:
		return u, nil, poison("its collector is %s, the token belongs to %s", e.ID.Collector, collector)
	case e.ID.Seq > math.MaxInt64 || e.ID.Seq-e.FirstSeq > maxRange || e.Prev.Seq > math.MaxInt64:
		return u, nil, poison("sequence numbers %d to %d", e.FirstSeq, e.ID.Seq)
	case !sane(e.Tick):
		return u, nil, poison("its tick is %d µs", e.Tick)
	}
	var batches []*frame.Batch
	if e.Kind == frame.KindBatch {
		if e.Tick > now.Add(MaxFuture).UnixMicro() {
			return u, nil, &refusal{ReasonClock, fmt.Sprintf("its tick is %s, here it is %s", stamp(e.Tick), stamp(now.UnixMicro()))}
		}
		if e.Tick < in.cutoff(now) {
			return u, nil, &refusal{ReasonRetention, fmt.Sprintf("its tick is %s, kept is from %s", stamp(e.Tick), stamp(in.cutoff(now)))}
		}
		b, err := e.Batch()
		if err != nil {
			return u, nil, poison("%v", err)
		}
		batches = []*frame.Batch{b}
	} else {
		g, err := e.Gap()
		if err != nil {
			return u, nil, poison("%v", err)
		}
		batches = g.Batches
	}
	named := make([]fleet.Named, len(batches))
	for i, b := range batches {
		if err := check(b, e.Kind); err != nil {
			return u, nil, err
		}
		named[i] = fleet.Named{Name: b.Instance, Labels: b.Server.Labels}
	}
	ids, err := in.fleet.IDs(ctx, collector, named)
	if err != nil {
		return u, nil, err
	}
	for _, b := range batches {
		c, err := in.content(u, ids[b.Instance], b, now)
		if errors.Is(err, series.ErrSchema) {
			return u, nil, poison("%v", err)
		} else if err != nil {
			return u, nil, err
		}
		if c == nil {
			continue
		}
		u.contents = append(u.contents, c)
		for _, r := range c.copies() {
			u.rows += r.N
			u.bytes += len(r.Data)
		}
		unknown = append(unknown, c.series.Unknown...)
	}
	return u, unknown, nil
}

// content encodes one batch, or one part of a gap. A part older than what is kept brings nothing.
func (in *Ingest) content(u *unit, instance int64, b *frame.Batch, now time.Time) (*content, error) {
	c := &content{instance: instance, name: b.Instance, tick: b.Tick, server: b.Server}
	for i := range b.Frames {
		f := &b.Frames[i]
		tick := b.Tick
		if u.kind == frame.KindGap {
			// Several ticks may be summed: the sums count at the last of them, which may
			// lie in the future when a clock was why they were refused.
			tick = min(lastDropped(b, f), now.UnixMicro())
			if tick < in.cutoff(now) {
				continue
			}
		}
		if err := in.series.Add(&c.series, instance, tick, f); err != nil {
			return nil, err
		}
		c.times = append(c.times, tick)
	}
	if u.kind == frame.KindBatch {
		c.times = append(c.times, b.Tick)
	}
	series.AddUnobserved(&c.series, instance, b.Tick, b.Unobserved)
	slices.Sort(c.series.Unknown)
	c.series.Unknown = slices.Compact(c.series.Unknown)
	if len(c.series.Unknown) > 100 {
		c.series.Unknown = c.series.Unknown[:100]
	}
	in.ledger.Add(&c.ledger, instance, b, in.series.Knows, c.series.Unknown)
	return c, nil
}

func lastDropped(b *frame.Batch, f *frame.Frame) int64 {
	last := b.Tick
	for i := range b.Outcomes {
		if o := &b.Outcomes[i]; o.Code == frame.OutcomeDropped && o.Family == f.Family && o.Database == f.Database {
			last = max(last, o.Last)
		}
	}
	return last
}

// Limits of texts and times in a batch.
const (
	maxName = 1000
	maxTime = 9_000_000_000_000_000 // µs: the year 2255
)

func sane(us int64) bool { return us >= 0 && us <= maxTime }

// check refuses what could be decoded but cannot be true.
func check(b *frame.Batch, kind frame.EnvelopeKind) error {
	if b.Instance == "" || len(b.Instance) > 255 || len(b.Database) > maxName {
		return poison("its instance is %q", b.Instance[:min(len(b.Instance), 50)])
	}
	if !sane(b.Tick) || !sane(b.Server.PostmasterStart) || len(b.Server.VersionText) > maxName || len(b.Server.Role) > maxName {
		return poison("what it says of its server")
	}
	for i := range b.Schedules {
		s := &b.Schedules[i]
		if !name(s.Family) || len(s.Database) > maxName || !sane(s.From) || !sane(s.Until) || s.Until != 0 && s.Until < s.From ||
			s.Reason == "" && s.Every < 1000 || s.Every < 0 || s.Every > maxTime || len(s.Reason)+len(s.Limit) > maxName {
			return poison("schedule of %q", s.Family)
		}
	}
	for i := range b.Outcomes {
		o := &b.Outcomes[i]
		if !name(o.Family) || len(o.Database) > maxName || !sane(o.First) || !sane(o.Last) || o.N < 1 || o.Last < o.First || len(o.Reason) > maxName ||
			o.N == 1 && o.Last != o.First || o.N > 1 && (o.Last == o.First || (o.Last-o.First)%(o.N-1) != 0) {
			return poison("outcome of %q: %d ticks from %d to %d", o.Family, o.N, o.First, o.Last)
		}
		if o.Code == frame.Stored && (kind == frame.KindGap || o.First != b.Tick || o.N != 1 || !sane(o.At) || !sane(o.Since) || o.Since > o.At) {
			return poison("outcome of %q: stored at %d in a batch of %d", o.Family, o.First, b.Tick)
		}
	}
	for i := range b.Unobserved {
		u := &b.Unobserved[i]
		if !name(u.Family) && u.Family != "" || !sane(u.Since) || !sane(u.At) || len(u.Reason)+len(u.Database) > maxName {
			return poison("unobserved of %q", u.Family)
		}
	}
	for i := range b.Frames {
		f := &b.Frames[i]
		if !name(f.Family) || !sane(f.Since) || !sane(f.At) || f.Since > f.At {
			return poison("frame of %q: since %d, at %d", f.Family, f.Since, f.At)
		}
		if (f.Part == frame.Dropped) != (kind == frame.KindGap) {
			return poison("frame of %q: a part %s does not belong here", f.Family, f.Part)
		}
	}
	return nil
}

// name says whether a family of any catalog could be called so.
func name(s string) bool { return s != "" && len(s) <= 63 && (catalog.Lookup(s) != nil || isName(s)) }

func isName(s string) bool {
	for i, r := range s {
		if (r < 'a' || r > 'z') && r != '_' && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return true
}

func stamp(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339) }
