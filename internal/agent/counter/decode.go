package counter

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// ErrMalformed is what every decoding error wraps. A baseline that can't be decoded
// is void: the next Count gets nil.
var ErrMalformed = errors.New("malformed baseline")

// Limits of what is decoded; they bound memory, not use.
const (
	maxRows  = 1_000_000
	maxCols  = 1_000
	maxCells = 8_000_000
	maxText  = 1 << 20
)

// Decode makes a baseline of its full encoding and the patches that followed it, in
// order. Columns that the family no longer has are ignored, new ones are NULL; other
// keys are an error.
func Decode(f *catalog.Family, full []byte, patches ...[]byte) (*Baseline, error) {
	t := &table{}
	for i, data := range append([][]byte{full}, patches...) {
		d := &decoder{b: data}
		switch form := d.byte(); {
		case d.err != nil:
		case form == fullForm:
			t = d.full()
		case form == patchForm && i > 0:
			t = d.patch(t)
		default:
			d.fail("form %d", form)
		}
		if d.err == nil && len(d.b) > 0 {
			d.fail("%d bytes after the end", len(d.b))
		}
		if d.err != nil {
			return nil, fmt.Errorf("part %d: %w", i, d.err)
		}
	}
	return t.baseline(f)
}

// table is a baseline before it is fitted to the family.
type table struct {
	Baseline // no cols, no slabs
	family   string
	columns  []column
}

type column struct {
	name  string
	kind  catalog.Kind
	typ   catalog.Type
	ints  []int64 // nil, like texts, when all is NULL
	texts []string
	null  []bool // nil for none
	void  bool   // all NULL
}

func (t *table) baseline(f *catalog.Family) (*Baseline, error) {
	lay := layoutOf(f)
	if t.family != f.Name {
		return nil, fmt.Errorf("%w: of family %q, not %q", ErrMalformed, t.family, f.Name)
	}
	b := &t.Baseline
	b.lay = lay
	if !lay.keeps {
		b.n = 0
		return b, nil
	}
	b.cols = make([]stored, len(lay.types))
	keys := 0
	for i := range t.columns {
		if t.columns[i].kind == catalog.Key {
			keys++
		}
	}
	for c := range b.cols {
		b.cols[c] = stored{null: allNull}
		decl := &f.Columns[c]
		var from *column
		for i := range t.columns {
			if t.columns[i].name == decl.Name {
				from = &t.columns[i]
			}
		}
		same := from != nil && from.kind == decl.Kind && from.typ == lay.types[c]
		if decl.Kind == catalog.Key {
			if keys--; !same {
				return nil, fmt.Errorf("%w: key %q is another", ErrMalformed, decl.Name)
			}
		}
		if !same || from.void || countTrue(from.null) == b.n {
			continue
		}
		at := stored{null: noNull}
		if from.null != nil {
			at.null = int32(len(b.null))
			b.null = append(b.null, from.null...)
		}
		if lay.text(c) {
			at.at = int32(len(b.texts))
			b.texts = append(b.texts, from.texts...)
		} else {
			at.at = int32(len(b.ints))
			b.ints = append(b.ints, from.ints...)
		}
		b.cols[c] = at
	}
	if keys != 0 {
		return nil, fmt.Errorf("%w: the family has other keys", ErrMalformed)
	}
	return b, nil
}

type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
	d.b = nil
}

func (d *decoder) head(t *table) {
	t.at = d.varint()
	t.whole = t.at - d.varint()
	t.start = d.varint()
	t.systemID = d.uvarint()
	switch d.byte() {
	case 0:
	case 1:
		t.proof = Proof{Valid: true, Reset: d.varint(), Dealloc: d.varint()}
	default:
		d.fail("proof")
	}
	n := d.uvarint()
	if n > maxRows {
		d.fail("%d rows", n)
		return
	}
	t.n = int(n)
}

func (d *decoder) full() *table {
	t := &table{family: d.text()}
	d.head(t)
	n := d.uvarint()
	if n > maxCols || n > uint64(len(d.b)) || n*uint64(t.n) > maxCells {
		d.fail("%d columns", n)
		return t
	}
	for range n {
		c := column{name: d.text()}
		kind, typ := int(d.byte()), int(d.byte())
		if kind >= len(kindCodes) || typ >= len(typeCodes) {
			d.fail("column %q: kind %d, type %d", c.name, kind, typ)
		}
		if d.err != nil {
			return t
		}
		c.kind, c.typ = kindCodes[kind], typeCodes[typ]
		d.column(&c, t.n)
		if d.err != nil {
			return t
		}
		t.columns = append(t.columns, c)
	}
	return t
}

func (d *decoder) column(c *column, n int) {
	form := d.byte()
	switch form {
	case colNull:
		c.void = true
		return
	case colValues:
	case colMixed:
		c.null = d.bits(n)
	default:
		d.fail("column %q: form %d", c.name, form)
	}
	if d.err != nil {
		return
	}
	null := func(i int) bool { return c.null != nil && c.null[i] }
	if c.typ == catalog.Text {
		if c.null == nil && n > len(d.b) {
			d.fail("column %q: truncated", c.name)
			return
		}
		c.texts = make([]string, n)
		for i := range c.texts {
			if !null(i) && d.err == nil {
				c.texts[i] = d.text()
			}
		}
		return
	}
	switch form = d.byte(); form {
	case numConst:
		v := d.varint()
		c.ints = make([]int64, n)
		for i := range c.ints {
			c.ints[i] = v
		}
		if c.null != nil && v != 0 {
			d.fail("column %q: a constant with NULLs", c.name)
		}
	case numVarint, numDelta, numFixed:
		if c.null == nil && n > len(d.b) {
			d.fail("column %q: truncated", c.name)
			return
		}
		c.ints = make([]int64, n)
		last := int64(0)
		for i := range c.ints {
			switch {
			case null(i) || d.err != nil:
			case form == numFixed:
				c.ints[i] = d.fixed()
			case form == numDelta:
				last += d.varint()
				c.ints[i] = last
			default:
				c.ints[i] = d.varint()
			}
		}
	default:
		d.fail("column %q: numbers of form %d", c.name, form)
	}
	d.clamp(c)
}

// clamp: counters are never negative, whatever the bytes say.
func (d *decoder) clamp(c *column) {
	if c.kind == catalog.Counter {
		for _, v := range c.ints {
			if v < 0 {
				d.fail("column %q: counter %d", c.name, v)
				return
			}
		}
	}
}

func (d *decoder) patch(old *table) *table {
	t := &table{family: old.family}
	d.head(t)
	if n := d.uvarint(); d.err == nil && n != uint64(old.n) {
		d.fail("a patch on %d rows, there are %d", n, old.n)
	}
	if t.n*len(old.columns) > maxCells {
		d.fail("%d rows", t.n)
	}
	from := d.runs(t.n, old.n)
	differs := d.bits(t.n)
	changes := 0
	for i := range differs {
		if differs[i] {
			changes++
		} else if from[i] < 0 {
			d.fail("a new row without values")
			break
		}
	}
	for k := range old.columns {
		if d.err != nil {
			return t
		}
		t.columns = append(t.columns, d.changes(&old.columns[k], from, differs, changes))
	}
	return t
}

// runs gives for each row the old row that it comes from, -1 for new ones.
func (d *decoder) runs(n, old int) []int32 {
	var from []int32
	expect := int64(0)
	for len(from) < n && d.err == nil {
		run := d.uvarint()
		size := run / 2
		if size == 0 || size > uint64(n-len(from)) {
			d.fail("a run of %d rows", size)
			return nil
		}
		if run%2 == 1 {
			for range size {
				from = append(from, -1)
			}
			continue
		}
		start := expect + d.varint()
		if start < 0 || start > int64(old) || start+int64(size) > int64(old) {
			d.fail("a run from row %d", start)
			return nil
		}
		for i := range int64(size) {
			from = append(from, int32(start+i))
		}
		expect = start + int64(size)
	}
	return from
}

// changes makes a column of the old one and what changed.
func (d *decoder) changes(old *column, from []int32, differs []bool, changes int) column {
	c := column{name: old.name, kind: old.kind, typ: old.typ}
	form := d.byte()
	var nulls []bool // of the rows that differ
	switch form {
	case colSame:
		for _, j := range from {
			if j < 0 {
				d.fail("column %q: new rows without values", c.name)
				return c
			}
		}
		if c.void = old.void; c.void {
			return c
		}
	case colNull:
		c.void = true
		return c
	case colValues:
	case colMixed:
		nulls = d.bits(changes)
	default:
		d.fail("column %q: form %d", c.name, form)
	}
	if d.err != nil {
		return c
	}
	c.null = make([]bool, len(from))
	if c.typ == catalog.Text {
		c.texts = make([]string, len(from))
	} else {
		c.ints = make([]int64, len(from))
	}
	some, k := false, 0
	for i, j := range from {
		kept := j >= 0 && !old.void
		if kept && old.null != nil && old.null[j] {
			c.null[i] = true
		} else if kept && c.texts != nil {
			c.texts[i] = old.texts[j]
		} else if kept {
			c.ints[i] = old.ints[j]
		} else if j >= 0 {
			c.null[i] = true
		}
		if differs[i] && form != colSame {
			if c.null[i] = nulls != nil && nulls[k]; c.null[i] {
				if c.texts != nil {
					c.texts[i] = ""
				} else {
					c.ints[i] = 0
				}
			} else {
				d.cell(&c, i)
			}
			k++
		}
		some = some || c.null[i]
		if d.err != nil {
			return c
		}
	}
	if !some {
		c.null = nil
	}
	d.clamp(&c)
	return c
}

// cell reads a changed cell over the old one.
func (d *decoder) cell(c *column, i int) {
	switch c.typ {
	case catalog.Text:
		if n := d.uvarint(); n > 0 {
			c.texts[i] = d.string(n - 1)
		}
	case catalog.Float:
		c.ints[i] = d.fixed()
	default:
		c.ints[i] += d.varint()
	}
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("truncated")
		return 0
	}
	x := d.b[0]
	d.b = d.b[1:]
	return x
}

func (d *decoder) fixed() int64 {
	if len(d.b) < 8 {
		d.fail("truncated")
		return 0
	}
	x := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return int64(x)
}

func (d *decoder) uvarint() uint64 {
	x, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return x
}

func (d *decoder) varint() int64 {
	x, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return x
}

func (d *decoder) text() string { return d.string(d.uvarint()) }

func (d *decoder) string(n uint64) string {
	if n > maxText || n > uint64(len(d.b)) {
		d.fail("a text of %d bytes", n)
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) bits(n int) []bool {
	if len(d.b) < (n+7)/8 {
		d.fail("truncated")
		return nil
	}
	out := make([]bool, n)
	for i := range out {
		out[i] = d.b[i/8]&(1<<(i%8)) != 0
	}
	d.b = d.b[(n+7)/8:]
	return out
}
