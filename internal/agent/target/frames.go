package target

import (
	"sync"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// buffer is a frame whose memory is used again: columns of a family have the same
// types every time, and 100 instances read at once need as many as there are
// workers, not 100.
type buffer struct {
	frame frame.Frame
	nulls [][]bool // memory for Column.Null, which is nil while there is none
	// was holds the strings of the reading before, in the very memory of Texts:
	// most are the same again in the same place, also of another instance.
	was [][]string
}

// maxKept bounds the rows of a buffer that is kept: one huge reading must not hold
// memory for ever.
const maxKept = 20_000

var buffers sync.Map // *catalog.Family -> *sync.Pool of *buffer

func poolOf(f *catalog.Family) *sync.Pool {
	if p, ok := buffers.Load(f); ok {
		return p.(*sync.Pool)
	}
	p, _ := buffers.LoadOrStore(f, &sync.Pool{New: func() any {
		b := &buffer{nulls: make([][]bool, len(f.Columns)), was: make([][]string, len(f.Columns))}
		b.frame = frame.Frame{Family: f.Name, Part: frame.Rows, Columns: make([]frame.Column, len(f.Columns))}
		for i := range f.Columns {
			c := &f.Columns[i]
			b.frame.Columns[i] = frame.Column{Name: c.Name, Kind: c.Kind, Type: c.Wire()}
		}
		return b
	}})
	return p.(*sync.Pool)
}

// newBuffer gives an empty frame of a family.
func newBuffer(f *catalog.Family) *buffer {
	b := poolOf(f).Get().(*buffer)
	for i := range b.frame.Columns {
		c := &b.frame.Columns[i]
		b.was[i] = c.Texts
		c.Ints, c.Floats, c.Texts = c.Ints[:0], c.Floats[:0], c.Texts[:0]
		if c.Null != nil {
			b.nulls[i], c.Null = c.Null[:0], nil
		}
	}
	b.frame.N, b.frame.Since, b.frame.At, b.frame.Database = 0, 0, 0, ""
	return b
}

func (b *buffer) free(f *catalog.Family) {
	if b.frame.N > maxKept || len(b.frame.Columns) != len(f.Columns) {
		return
	}
	for i := range b.frame.Columns {
		texts := b.frame.Columns[i].Texts
		clear(texts[len(texts):cap(texts)])
		for j, s := range texts {
			if len(s) > maxInterned {
				texts[j] = "" // not worth keeping
			}
		}
	}
	poolOf(f).Put(b)
}

// Release gives the memory of the readings' frames back, to be used by later
// rounds of any target. Nothing may refer to the columns of the frames then
// (strings stay valid). Not calling it costs garbage collection, nothing else.
func Release(readings []Reading) {
	for i := range readings {
		r := &readings[i]
		if r.buffer != nil {
			r.buffer.free(r.Plan.Family)
			r.buffer, r.Frame = nil, nil
		}
	}
}

// interner keeps one copy of short strings that come again and again: names of
// tables, settings and states. Reading is without a lock; new strings wait in
// fresh until there are enough of them to make a new map.
type interner struct {
	mu    sync.Mutex
	known map[string]string // never changed once it is published
	fresh map[string]string
}

const (
	maxInterned       = 64 // bytes of one string
	maxInternedCount  = 50_000
	minInternedGrowth = 256
)

var names = &interner{known: map[string]string{}, fresh: map[string]string{}}

// published gives the map to look into: taken once per result.
func (n *interner) published() map[string]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.known
}

// add gives the one copy of a string that published has not.
func (n *interner) add(b []byte) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s, ok := n.known[string(b)]; ok {
		return s
	}
	if s, ok := n.fresh[string(b)]; ok {
		return s
	}
	s := string(b)
	n.fresh[s] = s
	if len(n.fresh) >= minInternedGrowth+len(n.known)/4 {
		if len(n.known)+len(n.fresh) > maxInternedCount {
			n.known = map[string]string{} // what is still in use comes back
		}
		merged := make(map[string]string, len(n.known)+len(n.fresh))
		for _, m := range []map[string]string{n.known, n.fresh} {
			for k := range m {
				merged[k] = k
			}
		}
		n.known, n.fresh = merged, map[string]string{}
	}
	return s
}
