package counter

import "github.com/pganalytics/pganalytics/internal/frame"

// The readings of a family take the same memory every time, about 100 kB for each
// cycle of an instance. Giving it back spares the garbage collector: most of what it
// had to do was made here.

// Memory is that of a Result's frames.
type Memory struct {
	lay     *layout
	ints    []int64
	columns []frame.Column
}

// Free lets later results use the memory; nothing may refer to the frames then. Not
// calling it costs garbage collection, nothing else.
func (m *Memory) Free() {
	if m == nil || m.lay == nil {
		return
	}
	lay := m.lay
	clear(m.columns)
	m.lay, m.columns = nil, m.columns[:0]
	lay.memories.Put(m)
}

// memory gives cleared memory for n numbers and no columns yet.
func (l *layout) memory(n int) *Memory {
	m, _ := l.memories.Get().(*Memory)
	if m == nil {
		m = &Memory{}
	}
	m.lay = l
	m.ints = fit(m.ints, n)
	clear(m.ints)
	return m
}

// Free lets later readings use the memory of a baseline: nobody may use it any more,
// nor one that was counted from it and is not settled. Not calling it costs garbage
// collection, nothing else.
func (b *Baseline) Free() {
	if b.lay != nil && !b.shared && b.n > 0 {
		// In a shell of its own: who uses b all the same finds nothing, rather than
		// another's reading.
		b.lay.baselines.Put(&Baseline{cols: b.cols, ints: b.ints, texts: b.texts, null: b.null})
	}
	*b = Baseline{}
}

// blank gives a baseline for n rows, with memory for its columns.
func (l *layout) blank(n int) *Baseline {
	b, _ := l.baselines.Get().(*Baseline)
	if b == nil {
		b = &Baseline{}
	}
	b.lay, b.n, b.cols = l, n, fit(b.cols, len(l.types))
	return b
}

// fit gives a slice of n, that one if it is neither too short nor far too long; its
// content is undefined.
func fit[T any](old []T, n int) []T {
	switch {
	case n == 0:
		return nil
	case cap(old) < n || cap(old) > 2*n+64:
		return make([]T, n)
	}
	return old[:n]
}

// again gives a baseline that shares base's memory when a reading says the same,
// which settings do for weeks; else nil.
func again(lay *layout, fr *frame.Frame, base *Baseline) *Baseline {
	if base == nil || !lay.state || base.n != fr.N || fr.N == 0 {
		return nil
	}
	for c := range base.cols {
		if !sameSource(lay, sourceOf(lay, fr, c), base, c) {
			return nil
		}
	}
	base.shared = true
	return &Baseline{lay: lay, n: base.n, cols: base.cols, ints: base.ints, texts: base.texts, null: base.null, shared: true}
}

// sameSource compares a column as it was read with that of a baseline. It may say
// false of equal ones.
func sameSource(lay *layout, src *frame.Column, b *Baseline, c int) bool {
	nulls := countNulls(src, b.n)
	switch {
	case b.allNull(c) || nulls == b.n:
		return b.allNull(c) && nulls == b.n
	case (nulls > 0) != (b.cols[c].null != noNull):
		return false
	case nulls > 0 && !equal(src.Null, b.nullsOf(c)):
		return false
	case lay.text(c):
		return equal(src.Texts, b.textsOf(c))
	case src.Floats != nil:
		return false // State families have none
	}
	return equal(src.Ints, b.intsOf(c))
}

// equal is slices.Equal that sees when both are the same memory.
func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 || &a[0] == &b[0] {
		return true
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
