package frame

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// Gap is what stays of batches that were dropped or refused for good: for each
// the batch without rows, its counters summed by Family.Sums (conservation, I2),
// its stored outcomes turned into dropped ones (no silent gap, I4). It holds
// several batches when neighbours were merged, at most one for each (instance,
// database, lane).
type Gap struct {
	Batches []*Batch
}

// NewGap makes the gap form of a batch. It looks up Family.Sums in the catalog,
// since it is made where the batch is made; a family unknown there can't occur.
func NewGap(b *Batch) *Gap {
	g := *b
	g.Frames = nil
	g.Outcomes = slices.Clone(b.Outcomes)
	for i := range g.Outcomes {
		if o := &g.Outcomes[i]; o.Code == Stored {
			o.Code, o.At, o.Since = OutcomeDropped, 0, 0
		}
	}
	for i := range b.Frames {
		f := &b.Frames[i]
		fam := catalog.Lookup(f.Family)
		if fam == nil || f.N == 0 || fam.Shape != catalog.Sample || !fam.HasCounters() {
			continue
		}
		g.Frames = mergeSums(g.Frames, sumFrame(f, fam.Sums))
	}
	return &Gap{Batches: []*Batch{&g}}
}

// sumFrame sums the counters of f by the keys in sums. It is made for each batch and
// hardly ever used, so it must cost little: one piece of memory for all numbers.
func sumFrame(f *Frame, sums []string) Frame {
	out := Frame{Family: f.Family, Database: f.Database, Part: Dropped, Since: f.Since, At: f.At}
	from := make([]*Column, 0, len(f.Columns)) // keys, then counters
	for i := range f.Columns {
		if c := &f.Columns[i]; c.Kind == catalog.Key && slices.Contains(sums, c.Name) {
			from = append(from, c)
		}
	}
	keys := len(from)
	for i := range f.Columns {
		if c := &f.Columns[i]; c.Kind == catalog.Counter {
			from = append(from, c)
		}
	}
	at, heads := groupRows(f.N, from[:keys])
	out.N = len(heads)
	out.Columns = make([]Column, 0, len(from))
	slab := make([]int64, len(from)*out.N)
	for k, c := range from {
		to := Column{Name: c.Name, Kind: c.Kind, Type: c.Type}
		switch {
		case k < keys && c.Type == catalog.Text:
			to.Texts = make([]string, out.N)
		case k < keys && c.Type == catalog.Float:
			to.Floats = make([]float64, out.N)
		default:
			to.Ints = slab[k*out.N : (k+1)*out.N : (k+1)*out.N]
		}
		if k < keys {
			for sum, row := range heads {
				to.copyCell(sum, c, int(row))
			}
		} else {
			to.sumRows(c, at)
		}
		out.Columns = append(out.Columns, to)
	}
	return out
}

// groupRows gives for each row the number of its group, those with the same cells in
// keys, and for each group its first row.
func groupRows(n int, keys []*Column) (at, heads []int32) {
	const few = 8 // groups that are looked through
	at, heads = make([]int32, n), make([]int32, 0, few)
	var index map[string]int32
	var key []byte
rows:
	for i := range n {
		if i > 0 && sameCells(keys, i, i-1) {
			at[i] = at[i-1]
			continue
		}
		if len(heads) <= few {
			for g, row := range heads {
				if sameCells(keys, i, int(row)) {
					at[i] = int32(g)
					continue rows
				}
			}
		} else {
			if index == nil {
				index = map[string]int32{}
				for g, row := range heads {
					index[string(appendCells(nil, keys, int(row)))] = int32(g)
				}
			}
			key = appendCells(key[:0], keys, i)
			g, seen := index[string(key)]
			if seen {
				at[i] = g
				continue
			}
			index[string(key)] = int32(len(heads))
		}
		at[i] = int32(len(heads))
		heads = append(heads, int32(i))
	}
	return at, heads
}

func sameCells(columns []*Column, i, j int) bool {
	for _, c := range columns {
		if null := c.IsNull(i); null || c.IsNull(j) {
			if null != c.IsNull(j) {
				return false
			}
			continue
		}
		switch c.Type {
		case catalog.Float:
			if math.Float64bits(c.Floats[i]) != math.Float64bits(c.Floats[j]) {
				return false
			}
		case catalog.Text:
			if c.Texts[i] != c.Texts[j] {
				return false
			}
		default:
			if c.Ints[i] != c.Ints[j] {
				return false
			}
		}
	}
	return true
}

func appendCells(dst []byte, columns []*Column, i int) []byte {
	for _, c := range columns {
		dst = appendCell(dst, c, i)
	}
	return dst
}

// sumRows adds each row of from to the sum that at names. A sum of NULLs is NULL.
func (c *Column) sumRows(from *Column, at []int32) {
	if from.Null == nil {
		for i, v := range from.Ints {
			c.Ints[at[i]] += v
		}
		return
	}
	nulls := len(c.Ints)
	c.Null = make([]bool, nulls)
	for g := range c.Null {
		c.Null[g] = true
	}
	for i, v := range from.Ints {
		if from.Null[i] {
			continue
		}
		if g := at[i]; c.Null[g] {
			c.Null[g] = false
			nulls--
			c.Ints[g] = v
		} else {
			c.Ints[g] += v
		}
	}
	if nulls == 0 {
		c.Null = nil
	}
}

// mergeSums adds a frame of sums to those of the same family and database.
func mergeSums(frames []Frame, f Frame) []Frame {
	for i := range frames {
		g := &frames[i]
		if g.Family != f.Family || g.Database != f.Database {
			continue
		}
		all := Frame{Family: f.Family, Database: f.Database, Part: Dropped, Since: min(g.Since, f.Since), At: max(g.At, f.At)}
		all.appendRows(g)
		all.appendRows(&f)
		var keys []string
		for _, c := range all.Columns {
			if c.Kind == catalog.Key {
				keys = append(keys, c.Name)
			}
		}
		frames[i] = sumFrame(&all, keys)
		return frames
	}
	return append(frames, f)
}

// appendRows appends the rows of g, matching columns by name; a column that one of
// them lacks is NULL there.
func (f *Frame) appendRows(g *Frame) {
	for i := range g.Columns {
		if f.Column(g.Columns[i].Name) == nil {
			c := Column{Name: g.Columns[i].Name, Kind: g.Columns[i].Kind, Type: g.Columns[i].Type}
			for r := range f.N {
				c.grow()
				c.setNull(r)
			}
			f.Columns = append(f.Columns, c)
		}
	}
	for i := range f.Columns {
		c, from := &f.Columns[i], g.Column(f.Columns[i].Name)
		for r := range g.N {
			c.grow()
			if from == nil {
				c.setNull(f.N + r)
			} else {
				c.copyCell(f.N+r, from, r)
			}
		}
	}
	f.N += g.N
}

// MergeGaps makes one gap of several: sums are added, runs of the same outcome
// joined, since and at span all. Only gaps of batches that were never sent may be
// merged, else the backend could not tell what it already has.
func MergeGaps(gaps ...*Gap) *Gap {
	out := &Gap{}
	index := map[string]*Batch{}
	for _, g := range gaps {
		for _, b := range g.Batches {
			key := strings.Join([]string{b.Instance, b.Database, string(b.Lane), fmt.Sprint(b.Server.Incarnation)}, "\x00")
			have := index[key]
			if have == nil {
				c := *b
				c.Outcomes, c.Frames = slices.Clone(b.Outcomes), slices.Clone(b.Frames)
				index[key] = &c
				out.Batches = append(out.Batches, &c)
				continue
			}
			have.Tick = min(have.Tick, b.Tick)
			have.Schedules = append(slices.Clip(have.Schedules), b.Schedules...)
			have.Unobserved = append(slices.Clip(have.Unobserved), b.Unobserved...)
			have.Outcomes = append(have.Outcomes, b.Outcomes...)
			for _, f := range b.Frames {
				have.Frames = mergeSums(have.Frames, f)
			}
		}
	}
	for _, b := range out.Batches {
		b.Outcomes = joinOutcomes(b.Outcomes)
	}
	return out
}

// joinOutcomes joins evenly spaced neighbours that differ in their tick only.
func joinOutcomes(list []Outcome) []Outcome {
	slices.SortStableFunc(list, func(a, b Outcome) int {
		if c := strings.Compare(a.Family+"\x00"+a.Database, b.Family+"\x00"+b.Database); c != 0 {
			return c
		}
		return int(min(1, max(-1, a.First-b.First)))
	})
	var out []Outcome
	for _, o := range list {
		if len(out) > 0 {
			p := &out[len(out)-1]
			step := o.First - p.Last
			if p.Family == o.Family && p.Database == o.Database && p.Lane == o.Lane && p.Code == o.Code && p.Reason == o.Reason && p.Detail == o.Detail &&
				step > 0 && (p.N == 1 || (p.Last-p.First) == step*(p.N-1)) && (o.N == 1 || (o.Last-o.First) == step*(o.N-1)) {
				p.Last, p.N = o.Last, p.N+o.N
				continue
			}
		}
		out = append(out, o)
	}
	return out
}

// AppendGap appends the encoding of g to dst.
func AppendGap(dst []byte, g *Gap) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(g.Batches)))
	for _, b := range g.Batches {
		from := len(dst)
		dst = AppendBatch(dst, b)
		size := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64), uint64(len(dst)-from))
		dst = slices.Insert(dst, from, size...)
	}
	return dst
}

// DecodeGap decodes a gap; all of data must be used up.
func DecodeGap(data []byte) (*Gap, error) {
	d := &decoder{b: data}
	g := &Gap{}
	for range d.count("batches", MaxItems) {
		n := d.uvarint()
		if d.err == nil && n > uint64(len(d.b)) {
			d.fail("truncated gap")
		}
		if d.err != nil {
			break
		}
		// The limits of cells and texts are for all of them together.
		inner := &decoder{b: d.b[:n], cells: d.cells, texts: d.texts}
		b := inner.batch()
		if inner.err == nil && len(inner.b) != 0 {
			inner.fail("%d bytes after the end", len(inner.b))
		}
		if inner.err != nil {
			return nil, inner.err
		}
		d.b, d.cells, d.texts = d.b[n:], inner.cells, inner.texts
		g.Batches = append(g.Batches, b)
	}
	if d.err == nil && len(d.b) != 0 {
		d.fail("%d bytes after the end", len(d.b))
	}
	if d.err != nil {
		return nil, d.err
	}
	return g, nil
}

// Gap decodes the envelope's gap; every dropped outcome gets the envelope's reason.
func (e *Envelope) Gap() (*Gap, error) {
	raw, err := e.Raw()
	if err != nil {
		return nil, err
	}
	g, err := DecodeGap(raw)
	if err != nil {
		return nil, err
	}
	for _, b := range g.Batches {
		for i := range b.Outcomes {
			if b.Outcomes[i].Code == OutcomeDropped && b.Outcomes[i].Reason == "" {
				b.Outcomes[i].Reason = e.Reason
			}
		}
	}
	return g, nil
}

func (c *Column) grow() {
	switch c.Type {
	case catalog.Float:
		c.Floats = append(c.Floats, 0)
	case catalog.Text:
		c.Texts = append(c.Texts, "")
	default:
		c.Ints = append(c.Ints, 0)
	}
	if c.Null != nil {
		c.Null = append(c.Null, false)
	}
}

func (c *Column) setNull(i int) {
	if c.Null == nil {
		c.Null = make([]bool, max(len(c.Ints), len(c.Floats), len(c.Texts)))
	}
	c.Null[i] = true
}

func (c *Column) copyCell(i int, from *Column, j int) {
	if from.IsNull(j) {
		c.setNull(i)
		return
	}
	switch c.Type {
	case catalog.Float:
		c.Floats[i] = from.Floats[j]
	case catalog.Text:
		c.Texts[i] = from.Texts[j]
	default:
		c.Ints[i] = from.Ints[j]
	}
}

// appendCell appends an injective encoding of one cell, for use in map keys.
func appendCell(dst []byte, c *Column, i int) []byte {
	if c.IsNull(i) {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	switch c.Type {
	case catalog.Float:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(c.Floats[i]))
	case catalog.Text:
		dst = binary.AppendUvarint(dst, uint64(len(c.Texts[i])))
		return append(dst, c.Texts[i]...)
	default:
		return binary.LittleEndian.AppendUint64(dst, uint64(c.Ints[i]))
	}
}
