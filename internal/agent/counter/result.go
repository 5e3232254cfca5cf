package counter

import (
	"math"
	"slices"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// ranked is a row and what it is ranked by.
type ranked struct {
	value int64
	row   int32
}

// result makes the frames.
func (c *counting) result(opt Options) Result {
	items := c.buf.rows[:0]
	var rest []int32
	for i := range c.n {
		switch {
		case c.flags[i]&hidden != 0:
			if c.any[i] != 0 {
				rest = append(rest, int32(i))
			}
		case c.sends(i):
			items = append(items, int32(i))
		}
	}
	c.buf.rows = items
	gone := c.gone()
	res := Result{Baseline: c.next, Read: c.n, Changed: len(items) + len(rest)}
	if len(c.lay.gauges) == 0 {
		gone = nil // nothing goes on when nobody says that it ended
	} else {
		res.Changed += len(gone)
	}
	res.Unobserved = c.unobserved()
	for _, k := range c.lay.by {
		total := int64(0)
		for _, v := range c.deltas(k) {
			total += v
		}
		res.Coverage = append(res.Coverage, Coverage{Column: c.lay.name(c.lay.counters[k]), Total: total})
	}
	if len(c.lay.by) > 0 && opt.Limit > 0 && len(items) > opt.Limit {
		var cut []int32
		items, cut = c.top(items, opt.Limit)
		rest = append(rest, cut...)
	}
	for b, k := range c.lay.by {
		d := c.deltas(k)
		for _, i := range items {
			res.Coverage[b].Sent += d[i]
		}
	}
	res.Items = len(items) + len(gone)
	out := frame.Frame{Family: c.lay.family.Name, Database: c.r.Frame.Database, Part: frame.Rows, Since: since(c.base, c.r), At: c.next.at, N: res.Items}
	if out.N > 0 {
		w := writer{from: c.next, rows: items, base: c.base, gone: gone, counting: c,
			labels: func(i int) bool { return c.whole || c.flags[i]&relabeled != 0 }}
		out.Columns, res.Memory = w.columns()
	}
	res.Frames = append(res.Frames, out)
	if len(rest) > 0 {
		res.Frames = append(res.Frames, c.cut(rest, &out))
	}
	return res
}

// top ranks rows by the counters of Family.Cut.By in turn and gives the first limit
// of them, and the rest.
func (c *counting) top(items []int32, limit int) (sent, cut []int32) {
	lists := make([][]ranked, len(c.lay.by))
	for b, k := range c.lay.by {
		d, list := c.deltas(k), grow(&c.buf.rank[b%len(c.buf.rank)], len(items))
		if b >= len(c.buf.rank) {
			list = make([]ranked, len(items))
		}
		for n, i := range items {
			list[n] = ranked{d[i], i}
		}
		lists[b] = list[:first(list, limit)]
	}
	picked := make([]bool, c.n)
	at := make([]int, len(lists))
	for left := limit; left > 0; {
		for b := range lists {
			for at[b] < len(lists[b]) && picked[lists[b][at[b]].row] {
				at[b]++
			}
			if left > 0 && at[b] < len(lists[b]) {
				picked[lists[b][at[b]].row] = true
				left--
			}
		}
	}
	cut = make([]int32, 0, len(items)-limit)
	sent = items[:0]
	for _, i := range items {
		if picked[i] {
			sent = append(sent, i)
		} else {
			cut = append(cut, i)
		}
	}
	return sent, cut
}

func less(a, b ranked) bool { return a.value > b.value || a.value == b.value && a.row < b.row }

// first moves the n greatest to the front, sorted, and gives their number.
func first(list []ranked, n int) int {
	n = min(n, len(list))
	lo, hi := 0, len(list)
	for hi-lo > 32 { // quickselect: sorting thousands to take a hundred costs more
		mid := lo + (hi-lo)/2
		if less(list[mid], list[lo]) {
			list[lo], list[mid] = list[mid], list[lo]
		}
		if less(list[hi-1], list[lo]) {
			list[lo], list[hi-1] = list[hi-1], list[lo]
		}
		if less(list[hi-1], list[mid]) {
			list[mid], list[hi-1] = list[hi-1], list[mid]
		}
		pivot := list[mid]
		i, j := lo, hi-1
		for i <= j {
			for less(list[i], pivot) {
				i++
			}
			for less(pivot, list[j]) {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i++
				j--
			}
		}
		switch {
		case n <= j+1:
			hi = j + 1
		case n >= i:
			lo = i
		default:
			lo, hi = n, n
		}
	}
	compare := func(a, b ranked) int {
		if less(a, b) {
			return -1
		}
		return 1
	}
	if lo < n && n < hi {
		slices.SortFunc(list[lo:hi], compare)
	}
	slices.SortFunc(list[:n], compare)
	return n
}

// cut sums the counters of rows by Family.Sums.
func (c *counting) cut(rows []int32, like *frame.Frame) frame.Frame {
	out := frame.Frame{Family: like.Family, Database: like.Database, Part: frame.Cut, Since: like.Since, At: like.At}
	index := map[string]int32{}
	at := make([]int32, len(rows)) // by row of the cut: its sum
	var heads []int32              // by sum: a row of next that has its keys
	var key, last []byte
	for n, i := range rows {
		key = appendSumKey(key[:0], c.next, int(i))
		if n > 0 && string(key) == string(last) {
			at[n] = at[n-1]
			continue
		}
		sum, seen := index[string(key)]
		if !seen {
			sum = int32(len(heads))
			index[string(key)] = sum
			heads = append(heads, i)
		}
		at[n] = sum
		key, last = last, key
	}
	out.N = len(heads)
	w := writer{from: c.next, rows: heads}
	for _, k := range c.lay.sums {
		out.Columns = append(out.Columns, w.column(k))
	}
	for k, col := range c.lay.counters {
		decl := &c.lay.family.Columns[col]
		to := frame.Column{Name: decl.Name, Kind: decl.Kind, Type: c.lay.types[col], Ints: make([]int64, out.N)}
		d := c.deltas(k)
		if c.next.cols[col].null != noNull {
			to.Null = make([]bool, out.N)
			for s := range to.Null {
				to.Null[s] = true
			}
		}
		for n, i := range rows {
			to.Ints[at[n]] += d[i]
			if to.Null != nil && !c.next.isNull(col, int(i)) {
				to.Null[at[n]] = false
			}
		}
		out.Columns = append(out.Columns, to)
	}
	return out
}

// writer makes columns of a frame: of rows of from, then of rows of base that are
// gone. Without counting the values are as they are.
type writer struct {
	from     *Baseline
	rows     []int32
	base     *Baseline
	gone     []int32
	counting *counting
	labels   func(i int) bool

	zeros []int64 // shared by the columns that are all NULL
	nulls []bool
	slab  []int64
}

func (w *writer) n() int { return len(w.rows) + len(w.gone) }

func (w *writer) columns() ([]frame.Column, *Memory) {
	ordinal, numbers := 0, 0
	for c := range w.from.cols {
		if !w.from.lay.text(c) && !w.from.allNull(c) {
			numbers++
		}
	}
	m := w.from.lay.memory(numbers * w.n())
	w.slab = m.ints
	out := m.columns[:0]
	if cap(out) < len(w.from.cols) {
		out = make([]frame.Column, 0, len(w.from.cols))
	}
	for c := range w.from.cols {
		switch kind := w.from.lay.family.Columns[c].Kind; {
		case kind == catalog.Reset:
		case kind == catalog.Counter && w.counting != nil:
			out = append(out, w.counter(c, w.counting.deltas(ordinal)))
			ordinal++
		default:
			out = append(out, w.column(c))
		}
	}
	m.columns = out
	return out, m
}

// ints gives the next part of the slab.
func (w *writer) ints() []int64 {
	n := w.n()
	if len(w.slab) < n {
		return make([]int64, n)
	}
	out := w.slab[:n:n]
	w.slab = w.slab[n:]
	return out
}

func (w *writer) head(c int) frame.Column {
	decl := &w.from.lay.family.Columns[c]
	return frame.Column{Name: decl.Name, Kind: decl.Kind, Type: w.from.lay.types[c]}
}

// absent is a column that is all NULL.
func (w *writer) absent(c int) frame.Column {
	out, n := w.head(c), w.n()
	if w.nulls == nil {
		w.nulls = make([]bool, n)
		for i := range w.nulls {
			w.nulls[i] = true
		}
	}
	out.Null = w.nulls
	switch out.Type {
	case catalog.Text:
		out.Texts = make([]string, n)
	case catalog.Float:
		out.Floats = make([]float64, n)
	default:
		if w.zeros == nil {
			w.zeros = make([]int64, n)
		}
		out.Ints = w.zeros
	}
	return out
}

func (w *writer) counter(c int, delta []int64) frame.Column {
	if w.from.allNull(c) {
		return w.absent(c)
	}
	out := w.head(c)
	out.Ints = w.ints()
	for n, i := range w.rows {
		out.Ints[n] = delta[i]
	}
	nulls := w.from.nullsOf(c)
	for n, i := range w.rows {
		if nulls != nil && nulls[i] {
			w.null(&out, n)
		}
	}
	for n, j := range w.gone {
		if w.base.isNull(c, int(j)) {
			w.null(&out, len(w.rows)+n)
		}
	}
	return out
}

// column gives keys, labels and gauges.
func (w *writer) column(c int) frame.Column {
	kind := w.from.lay.family.Columns[c].Kind
	if w.from.allNull(c) && (kind != catalog.Key || len(w.gone) == 0) {
		return w.absent(c)
	}
	out := w.head(c)
	cell := func(n int, b *Baseline, i int32) {
		if b.isNull(c, int(i)) {
			w.null(&out, n)
			return
		}
		switch out.Type {
		case catalog.Text:
			out.Texts[n] = b.textsOf(c)[i]
		case catalog.Float:
			out.Floats[n] = math.Float64frombits(uint64(b.intsOf(c)[i]))
		default:
			out.Ints[n] = b.intsOf(c)[i]
		}
	}
	switch out.Type {
	case catalog.Text:
		out.Texts = make([]string, w.n())
	case catalog.Float:
		out.Floats = make([]float64, w.n())
	default:
		out.Ints = w.ints()
	}
	for n, i := range w.rows {
		if kind == catalog.Label && !w.labels(int(i)) {
			w.null(&out, n)
			continue
		}
		cell(n, w.from, i)
	}
	for n, j := range w.gone {
		if kind == catalog.Key {
			cell(len(w.rows)+n, w.base, j)
		} else {
			w.null(&out, len(w.rows)+n)
		}
	}
	return out
}

func (w *writer) null(c *frame.Column, n int) {
	if c.Null == nil {
		c.Null = make([]bool, w.n())
	}
	c.Null[n] = true
}
