package counter

import (
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// counting is one Count at work.
type counting struct {
	lay        *layout
	base, next *Baseline
	r          *Reading
	n          int     // rows of next
	match      []int32 // by row of next: its row of base or -1; nil: they are the same rows
	taken      []bool  // by row of base: it has a match; nil: all have
	news       int
	delta      []int64 // by counter, row of next
	any        []int64 // by row: the bits of all its deltas; negative when one is
	flags      []uint8 // by row
	whole      bool    // every row is sent
	notes      notes

	buf struct {
		match []int32
		taken []bool
		delta []int64
		any   []int64
		flags []uint8
		index index
		rows  []int32
		rank  [2][]ranked
	}
}

// What is known of a row of next.
const (
	quiet     = 1 << iota // new, but it existed: counts from now on
	suspect               // something says that its counters began again
	changed               // a gauge changed, or it is new
	relabeled             // a label changed, or it is new
	hidden                // a sum of rows of others
)

var countings = sync.Pool{New: func() any { return new(counting) }}

// Count compares a reading with the baseline. base is nil for the first reading of
// an (instance, incarnation, database, family), which only sets the baseline; so
// does one of another system than base's.
//
// A row whose counters began again counts from 0: its Reset column changed (or
// Proof.Reset, for the whole family), or its first counter or most of its counters
// that were above 0 fell. A counter that falls while the row goes on (an index was
// dropped from a sum over indexes) counts nothing. A row that is not in base counts
// from 0 too, unless it was there and we could not see it.
//
// A row is sent when a counter moved or a gauge or label changed, all rows with
// gauges or labels when Options.Hourly has passed. Labels are NULL in a row whose
// labels did not change. A row with gauges that vanished is sent once more, with
// its key, counters 0 and gauges NULL; of shape State with its key alone.
func Count(f *catalog.Family, base *Baseline, r Reading, opt Options) Result {
	lay := layoutOf(f)
	if base != nil && (base.lay != lay || base.systemID != 0 && r.SystemID != 0 && base.systemID != r.SystemID) {
		base = nil
	}
	if !lay.keeps {
		return pass(lay, base, &r)
	}
	c := countings.Get().(*counting)
	defer func() {
		c.base, c.next, c.r, c.match = nil, nil, nil, nil
		countings.Put(c)
	}()
	c.lay, c.base, c.r, c.notes = lay, base, &r, notes{}
	fr := r.Frame
	if hasHidden(lay, fr) {
		fr = collapse(lay, fr)
	}
	if c.next = again(lay, fr, base); c.next == nil {
		c.next = take(lay, fr)
	}
	c.n = c.next.n
	if !c.pair() {
		c.next = take(lay, collapse(lay, fr))
		c.n = c.next.n
		c.pair()
	}
	c.next.stamp(&r)
	if c.match != nil {
		c.next.match = append([]int32(nil), c.match...)
	}
	c.next.prev = base
	if base != nil {
		base.Settle() // a chain would keep every reading
	}

	c.flags = grow(&c.buf.flags, c.n)
	clear(c.flags)
	c.any = grow(&c.buf.any, c.n)
	clear(c.any)
	c.visibility()
	c.count()
	c.restarts()
	c.compare()
	c.schedule(opt)
	return c.result(opt)
}

func (b *Baseline) stamp(r *Reading) {
	b.at, b.start, b.systemID, b.proof = r.Frame.At, r.PostmasterStart, r.SystemID, r.Proof
}

// pass sends a reading as it is: gauges that are stored whole at every tick, texts
// and events. The baseline holds nothing but the time.
func pass(lay *layout, base *Baseline, r *Reading) Result {
	next := &Baseline{lay: lay}
	next.stamp(r)
	rows := make([]int32, r.Frame.N)
	for i := range rows {
		rows[i] = int32(i)
	}
	out := frame.Frame{Family: lay.family.Name, Database: r.Frame.Database, Since: since(base, r), At: r.Frame.At, N: r.Frame.N}
	res := Result{Baseline: next, Read: out.N, Changed: out.N, Items: out.N}
	if out.N > 0 {
		full := take(lay, r.Frame)
		out.Columns, res.Memory = (&writer{from: full, rows: rows, labels: func(int) bool { return true }}).columns()
		full.Free() // the columns are copies
	}
	res.Frames = []frame.Frame{out}
	return res
}

// since is the beginning of the frame's span; a server's clock that was set back
// leaves a span of nothing rather than a negative one.
func since(base *Baseline, r *Reading) int64 {
	if base == nil {
		return r.Frame.At
	}
	return min(base.at, r.Frame.At)
}

// baseRow gives the row of base for a row of next, -1 for none.
func (c *counting) baseRow(i int) int {
	if c.match != nil {
		return int(c.match[i])
	}
	if c.base == nil {
		return -1
	}
	return i
}

// count fills delta and any, as if no counter had begun again.
func (c *counting) count() {
	c.delta = grow(&c.buf.delta, c.n*len(c.lay.counters))
	for k, col := range c.lay.counters {
		d := c.deltas(k)
		switch {
		case c.base == nil || c.next.allNull(col):
			clear(d)
		case c.match == nil && !c.base.allNull(col) && c.base.cols[col].null == noNull && c.next.cols[col].null == noNull:
			cur, old, any := c.next.intsOf(col)[:len(d)], c.base.intsOf(col)[:len(d)], c.any[:len(d)]
			for i := range d {
				v := cur[i] - old[i]
				d[i] = v
				any[i] |= v
			}
		default:
			c.countSlow(col, d)
		}
	}
}

func (c *counting) deltas(k int) []int64 { return c.delta[k*c.n : (k+1)*c.n : (k+1)*c.n] }

// countSlow handles new rows and NULLs: a counter that was NULL counts from now on.
func (c *counting) countSlow(col int, d []int64) {
	cur, nulls := c.next.intsOf(col), c.next.nullsOf(col)
	var old []int64
	var oldNulls []bool
	if !c.base.allNull(col) {
		old, oldNulls = c.base.intsOf(col), c.base.nullsOf(col)
	}
	for i := range d {
		var v int64
		j := c.baseRow(i)
		switch {
		case nulls != nil && nulls[i]:
		case j < 0:
			if c.flags[i]&quiet == 0 {
				v = cur[i]
			}
		case old == nil || oldNulls != nil && oldNulls[j]:
		default:
			v = cur[i] - old[j]
		}
		d[i] = v
		c.any[i] |= v
	}
}

// compare marks the rows with changed gauges and labels, and new ones.
func (c *counting) compare() {
	if c.base == nil || c.news > 0 {
		for i := range c.n {
			if c.baseRow(i) < 0 {
				c.flags[i] |= changed | relabeled
			}
		}
		if c.base == nil {
			return
		}
	}
	mark := func(columns []int, flag uint8) {
		for _, col := range columns {
			if c.match == nil && sameColumn(c.next, c.base, col) {
				continue
			}
			for i := range c.n {
				if j := c.baseRow(i); j >= 0 && !sameCell(c.next, i, c.base, j, col) {
					c.flags[i] |= flag
				}
			}
		}
	}
	mark(c.lay.gauges, changed)
	mark(c.lay.labels, relabeled)
}

// schedule decides whether this is a reading to be sent whole.
func (c *counting) schedule(opt Options) {
	hourly := opt.Hourly
	if hourly <= 0 {
		hourly = time.Hour
	}
	if c.base != nil {
		c.next.whole = c.base.whole
		// A clock that was set back must not put it off for long.
		age := c.next.at - c.base.whole
		if c.lay.state || age >= 0 && age < hourly.Microseconds() {
			c.whole = false
			return
		}
	}
	c.next.whole = c.next.at
	c.whole = true
}

// sends reports whether a row has anything to say.
func (c *counting) sends(i int) bool {
	return c.any[i] != 0 || c.lay.showsUnchanged() && (c.whole || c.flags[i]&(changed|relabeled) != 0)
}
