package counter

import (
	"fmt"
	"slices"
)

// Dump tells all that a baseline means, for comparison: not how it lies in memory.
func (b *Baseline) Dump() []string {
	out := []string{fmt.Sprint(b.at, b.whole, b.start, b.systemID, b.proof, b.n)}
	for i := range b.n {
		line := ""
		for c := range b.cols {
			switch {
			case b.isNull(c, i):
				line += " NULL"
			case b.lay.text(c):
				line += fmt.Sprintf(" %q", b.textsOf(c)[i])
			default:
				line += fmt.Sprint(" ", b.intsOf(c)[i])
			}
		}
		out = append(out, line)
	}
	return out
}

// First exposes the partial sort: the n greatest of values, by value and position.
func First(values []int64, n int) []int {
	list := make([]ranked, len(values))
	for i, v := range values {
		list[i] = ranked{v, int32(i)}
	}
	n = first(list, n)
	out := make([]int, n)
	for i := range out {
		out[i] = int(list[i].row)
	}
	if !slices.IsSortedFunc(list[:n], func(a, b ranked) int {
		if less(a, b) {
			return -1
		}
		return 1
	}) {
		panic("not sorted")
	}
	return out
}
