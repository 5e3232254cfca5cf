package counter

import (
	"fmt"
	"math"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// Baseline is the reading that the next one is compared with. It is compact, since
// a collector keeps one for each (instance, database, family): the columns lie one
// after another in two slabs, those that are all NULL take nothing.
type Baseline struct {
	lay      *layout
	at       int64
	whole    int64 // when rows were last sent whole
	start    int64
	systemID uint64
	proof    Proof
	n        int
	cols     []stored // by column of the family; nil when it keeps no rows
	ints     []int64  // numbers; floats as their bits; 0 where NULL
	texts    []string // "" where NULL
	null     []bool
	shared   bool // another one has the same memory

	// The one before, for AppendPatch, until Settle. match gives its row for each of
	// ours, -1 for a new one; nil: they are the same rows in the same order.
	prev  *Baseline
	match []int32
}

// stored is where a column lies: at is an offset in ints or texts, null one in
// Baseline.null or one of:
type stored struct{ at, null int32 }

const (
	noNull  = -1
	allNull = -2
)

// At is the watched server's clock at that reading, microseconds since the Unix epoch.
func (b *Baseline) At() int64 { return b.at }

// Rows is the number of rows that the baseline holds.
func (b *Baseline) Rows() int { return b.n }

// SystemID is that of the server that was read, 0 unknown.
func (b *Baseline) SystemID() uint64 { return b.systemID }

// PostmasterStart is that of the server that was read, microseconds since the Unix
// epoch, 0 unknown.
func (b *Baseline) PostmasterStart() int64 { return b.start }

// Settle is called when the baseline is safe: it lets go of the one before it, and
// AppendPatch gives a full baseline from then on.
func (b *Baseline) Settle() { b.prev, b.match = nil, nil }

func (b *Baseline) allNull(c int) bool { return b.cols[c].null == allNull }

func (b *Baseline) intsOf(c int) []int64 {
	at := int(b.cols[c].at)
	return b.ints[at : at+b.n : at+b.n]
}

func (b *Baseline) textsOf(c int) []string {
	at := int(b.cols[c].at)
	return b.texts[at : at+b.n : at+b.n]
}

// nullsOf gives which rows of a column are NULL, nil for none; not for columns that
// are all NULL.
func (b *Baseline) nullsOf(c int) []bool {
	at := int(b.cols[c].null)
	if at < 0 {
		return nil
	}
	return b.null[at : at+b.n : at+b.n]
}

func (b *Baseline) isNull(c, i int) bool {
	switch at := b.cols[c].null; at {
	case noNull:
		return false
	case allNull:
		return true
	default:
		return b.null[int(at)+i]
	}
}

// isHidden: the row sums rows of others whose keys we may not see.
func (b *Baseline) isHidden(i int) bool {
	if b.lay.hides {
		for _, k := range b.lay.keys {
			if b.isNull(k, i) {
				return true
			}
		}
	}
	return false
}

// take copies a reading into a new baseline. Negative counters, which only a fault
// of the server can make, count as 0.
func take(lay *layout, fr *frame.Frame) *Baseline {
	b := lay.blank(fr.N)
	sources := make([]*frame.Column, len(lay.types))
	ints, texts, nulls := 0, 0, 0
	for c := range b.cols {
		src := sourceOf(lay, fr, c)
		state := int32(noNull)
		switch nullCount := countNulls(src, fr.N); {
		case nullCount == fr.N:
			b.cols[c] = stored{null: allNull}
			continue
		case nullCount > 0:
			state = int32(nulls)
			nulls += fr.N
		}
		sources[c] = src
		if lay.text(c) {
			b.cols[c] = stored{int32(texts), state}
			texts += fr.N
		} else {
			b.cols[c] = stored{int32(ints), state}
			ints += fr.N
		}
	}
	b.ints, b.texts, b.null = fit(b.ints, ints), fit(b.texts, texts), fit(b.null, nulls)
	for c, src := range sources {
		if src == nil {
			continue
		}
		to := b.nullsOf(c)
		copy(to, src.Null)
		switch {
		case lay.text(c):
			copy(b.textsOf(c), src.Texts)
		case lay.types[c] == catalog.Float:
			out := b.intsOf(c)
			for i, v := range src.Floats[:fr.N] {
				out[i] = int64(math.Float64bits(v))
			}
		case lay.family.Columns[c].Kind == catalog.Counter:
			out := b.intsOf(c)
			for i, v := range src.Ints[:fr.N] {
				out[i] = max(v, 0)
			}
		default:
			copy(b.intsOf(c), src.Ints)
		}
		for i, null := range to { // one form for NULL, so that columns compare as slices
			switch {
			case !null:
			case lay.text(c):
				b.textsOf(c)[i] = ""
			default:
				b.intsOf(c)[i] = 0
			}
		}
	}
	return b
}

func sourceOf(lay *layout, fr *frame.Frame, c int) *frame.Column {
	name := lay.name(c)
	var src *frame.Column
	if c < len(fr.Columns) && fr.Columns[c].Name == name {
		src = &fr.Columns[c]
	} else if src = fr.Column(name); src == nil {
		return nil
	}
	if src.Type != lay.types[c] {
		panic(fmt.Sprintf("BUG: family %q column %q: read as %s, declared as %s", lay.family.Name, name, src.Type, lay.types[c]))
	}
	return src
}

func countNulls(c *frame.Column, n int) int {
	if c == nil {
		return n
	}
	return countTrue(c.Null)
}

func countTrue(list []bool) int {
	n := 0
	for _, x := range list {
		if x {
			n++
		}
	}
	return n
}
