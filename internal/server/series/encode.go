package series

import (
	"fmt"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Content is what a batch's frames become: rows to copy, and what must be merged
// with rows that are there.
type Content struct {
	Copies []store.CopyRows
	// Rows counts all rows.
	Rows int
	// Unknown names families and family.columns that this catalog lacks.
	Unknown []string
	labels  []labelRow
	texts   []textRow
}

type labelRow struct {
	plan     *plan
	instance int64
	from     int64
	frame    *frame.Frame
	row      int
}

type textRow struct {
	plan     *plan
	instance int64
	at       int64
	frame    *frame.Frame
	row      int
}

// Add encodes a frame of a tick (microseconds) for an instance. A column or family that the
// catalog lacks is left out and named in Unknown; one that it has otherwise is ErrSchema, but in
// a gap's sums it is left out too: a gap is what remains of a refused batch, and has no other
// way. The frame's texts must not change afterwards.
func (s *Series) Add(c *Content, instance, tick int64, f *frame.Frame) error {
	p := s.plans[f.Family]
	if p == nil {
		c.Unknown = append(c.Unknown, f.Family)
		return nil
	}
	gap := f.Part == frame.Dropped
	if gap && p.sums == nil {
		c.Unknown = append(c.Unknown, f.Family)
		return nil
	}
	known := make([]frame.Column, 0, len(f.Columns))
	for i := range f.Columns {
		have := &f.Columns[i]
		want := p.family.Column(have.Name)
		same := want != nil && want.Kind == have.Kind && want.Wire() == have.Type
		switch {
		case same:
			known = append(known, *have)
		case want == nil || want.Kind == catalog.Reset || gap:
			c.Unknown = append(c.Unknown, f.Family+"."+have.Name)
		default:
			return fmt.Errorf("%w: %s.%s is a %s of type %s, here %s of type %s", ErrSchema, f.Family, have.Name, have.Kind, have.Type, want.Kind, want.Wire())
		}
	}
	if f.N == 0 {
		return nil
	}
	if gap {
		only := *f
		only.Columns = known
		f = &only
	}
	c.Rows += f.N
	switch {
	case f.Part != frame.Rows && p.sums == nil:
		return fmt.Errorf("%w: %s has no sums, here are some (%s)", ErrSchema, f.Family, f.Part)
	case f.Part != frame.Rows:
		c.Copies = append(c.Copies, p.encodeSums(instance, tick, f))
	case p.text != nil:
		c.addTexts(p, instance, tick, f)
	default:
		c.Copies = append(c.Copies, p.encodeRows(instance, tick, f))
		if p.total != nil {
			c.Copies = append(c.Copies, p.encodeTotal(instance, tick, f))
		}
		c.addLabels(p, instance, tick, f)
	}
	return nil
}

// field is a column of a frame at its place in the table; col is nil where the frame has none.
type field struct {
	col     *frame.Column
	counter bool
}

func place(f *frame.Frame, cols []*catalog.Column) []field {
	out := make([]field, len(cols))
	for i, c := range cols {
		out[i] = field{col: f.Column(c.Name), counter: c.Kind == catalog.Counter}
	}
	return out
}

func (p *plan) encodeRows(instance, tick int64, f *frame.Frame) store.CopyRows {
	fields := place(f, p.fields)
	out := make([]byte, 0, f.N*(2+24+8*len(fields)))
	head := store.AppendInt8(store.AppendTime(store.AppendRow(nil, p.rows.Fields), tick), instance)
	for row := range f.N {
		out = append(out, head...)
		out = appendFields(out, fields, row)
	}
	return store.CopyRows{Target: p.rows, N: f.N, Data: out}
}

func (p *plan) encodeSums(instance, tick int64, f *frame.Frame) store.CopyRows {
	keys, counts := place(f, p.sumKeys), place(f, p.counts)
	kind := int16(KindCut)
	if f.Part == frame.Dropped {
		kind = KindDropped
	}
	head := store.AppendInt2(store.AppendInt8(store.AppendTime(store.AppendRow(nil, p.sums.Fields), tick), instance), kind)
	head = store.AppendTime(store.AppendTime(head, f.Since), f.At)
	out := make([]byte, 0, f.N*(len(head)+12*(len(keys)+len(counts))))
	for row := range f.N {
		out = append(out, head...)
		out = appendFields(out, keys, row)
		out = appendFields(out, counts, row)
	}
	return store.CopyRows{Target: p.sums, N: f.N, Data: out}
}

// encodeTotal sums the rows of a frame by the counters that it was cut by.
func (p *plan) encodeTotal(instance, tick int64, f *frame.Frame) store.CopyRows {
	out := store.AppendInt8(store.AppendTime(store.AppendRow(nil, p.total.Fields), tick), instance)
	for _, name := range p.family.Cut.By {
		var sum int64
		if c := f.Column(name); c != nil {
			for row, v := range c.Ints {
				if !c.IsNull(row) {
					sum += v
				}
			}
		}
		out = store.AppendInt8(out, sum)
	}
	return store.CopyRows{Target: p.total, N: 1, Data: out}
}

// appendFields appends a row's fields; a counter of 0 is stored as NULL.
func appendFields(out []byte, fields []field, row int) []byte {
	for i := range fields {
		c := fields[i].col
		if c == nil || c.Null != nil && c.Null[row] {
			out = store.AppendNull(out)
			continue
		}
		switch c.Type {
		case catalog.Int:
			v := c.Ints[row]
			if v == 0 && fields[i].counter {
				out = store.AppendNull(out)
			} else {
				out = store.AppendInt8(out, v)
			}
		case catalog.Float:
			out = store.AppendFloat8(out, c.Floats[row])
		case catalog.Text:
			out = store.AppendText(out, c.Texts[row])
		case catalog.Time:
			out = store.AppendTime(out, c.Ints[row])
		case catalog.Bool:
			out = store.AppendBool(out, c.Ints[row] != 0)
		}
	}
	return out
}

// addLabels keeps the rows that bring names; they are NULL in rows whose names did not change.
func (c *Content) addLabels(p *plan, instance, tick int64, f *frame.Frame) {
	if len(p.labels) == 0 {
		return
	}
	labels, keys := place(f, p.labels), place(f, p.keys)
	for row := range f.N {
		if !anyNull(keys, row) && !allNull(labels, row) {
			c.labels = append(c.labels, labelRow{p, instance, tick, f, row})
		}
	}
}

func (c *Content) addTexts(p *plan, instance, tick int64, f *frame.Frame) {
	keys, text := place(f, p.keys), place(f, []*catalog.Column{p.text})
	for row := range f.N {
		if !anyNull(keys, row) && !anyNull(text, row) {
			c.texts = append(c.texts, textRow{p, instance, tick, f, row})
		}
	}
}

func anyNull(fields []field, row int) bool {
	for _, f := range fields {
		if f.col == nil || f.col.IsNull(row) {
			return true
		}
	}
	return false
}

func allNull(fields []field, row int) bool {
	for _, f := range fields {
		if f.col != nil && !f.col.IsNull(row) {
			return false
		}
	}
	return true
}
