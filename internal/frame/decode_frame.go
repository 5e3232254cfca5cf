package frame

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

func (d *decoder) frame() Frame {
	f := Frame{}
	head := d.byte()
	f.Part = Part(head & 3)
	f.Family, f.Database = d.text("family"), d.text("database")
	if d.err == nil && f.Part > Dropped {
		d.fail("family %q: part %d", f.Family, f.Part)
	}
	f.Since, f.At = d.span()
	rows := d.uvarint()
	if rows > MaxRows {
		d.fail("family %q: %d rows, at most %d", f.Family, rows, MaxRows)
		return f
	}
	f.N = int(rows)
	d.names(&f, head)
	if d.err == nil && f.N > 0 && len(f.Columns) == 0 {
		d.fail("family %q: %d rows without columns", f.Family, f.N)
	}
	if d.cells += f.N * len(f.Columns); d.err == nil && d.cells > MaxCells {
		d.fail("family %q: more than %d cells", f.Family, MaxCells)
	}
	if d.err == nil {
		d.columns(&f)
	}
	return f
}

// names reads which columns a frame has: those that the dictionary lists, and
// others, each with its place among them.
func (d *decoder) names(f *Frame, head byte) {
	listed := dict.listed[f.Family]
	has := uint64(1)<<len(listed) - 1
	if head&frameAll == 0 {
		n := (len(listed) + 7) / 8
		if len(d.b) < n {
			d.fail("truncated")
			return
		}
		all := has
		has = 0
		for k, x := range d.b[:n] {
			has |= uint64(x) << (8 * k)
		}
		d.b = d.b[n:]
		if has&^all != 0 {
			d.fail("family %q: columns beyond the %d listed ones", f.Family, len(listed))
			return
		}
	}
	others := 0
	if head&frameOther != 0 {
		others = d.count("columns", MaxColumns)
	}
	f.Columns = make([]Column, 0, bits.OnesCount64(has)+min(others, 64))
	next := func() {
		k := bits.TrailingZeros64(has)
		has &= has - 1
		f.Columns = append(f.Columns, Column{Name: listed[k].name, Kind: listed[k].kind, Type: listed[k].typ})
	}
	for range others {
		before := d.uvarint()
		name, what := d.text("column"), d.byte()
		if d.err == nil && (before > uint64(bits.OnesCount64(has)) || int(what>>2) >= len(types)) {
			d.fail("family %q column %q: %d before it, type %d", f.Family, name, before, what>>2)
		}
		if d.err != nil {
			return
		}
		for range before {
			next()
		}
		f.Columns = append(f.Columns, Column{Name: name, Kind: kinds[what&3], Type: types[what>>2]})
	}
	for has != 0 {
		next()
	}
	if others == 0 {
		return
	}
	seen := make(map[string]bool, len(f.Columns))
	for i := range f.Columns {
		name := f.Columns[i].Name
		if seen[name] {
			d.fail("family %q: column %q twice", f.Family, name)
			return
		}
		seen[name] = true
	}
}

// maxSlab bounds the cells of a frame whose columns share their memory: the many
// columns of a small frame would else be as many allocations.
const maxSlab = 1 << 16

// columns reads the forms of the columns and then their values.
func (d *decoder) columns(f *Frame) {
	if len(d.b) < (len(f.Columns)+1)/2 {
		d.fail("truncated")
		return
	}
	forms := d.b[:(len(f.Columns)+1)/2]
	d.b = d.b[len(forms):]
	// What the values take at least, before memory is given for them.
	least, plain, ints, floats, texts, nulls := 0, 0, 0, 0, 0, 0
	for i := range f.Columns {
		c, form := &f.Columns[i], forms[i/2]>>(i%2*4)&15
		if !d.fits(f, c, form) {
			return
		}
		switch form {
		case formNull:
			nulls++
		case formConst:
			least++
		case formValues:
			least += f.N
		case formFixed:
			plain += 8 * f.N
		case formSparse:
			least += (f.N + 7) / 8
		case formValuesNull, formFixedNull:
			least += (f.N + 7) / 8
			nulls++
		}
		switch c.Type {
		case catalog.Float:
			floats++
		case catalog.Text:
			texts++
		default:
			ints++
		}
	}
	if least > len(d.b) || plain > len(d.plain) {
		d.fail("family %q: %d rows in %d and %d bytes", f.Family, f.N, len(d.b), len(d.plain))
		return
	}
	var s slab
	if f.N*len(f.Columns) <= maxSlab {
		s = slab{make([]int64, ints*f.N), make([]float64, floats*f.N), make([]string, texts*f.N), make([]bool, nulls*f.N)}
	}
	for i := range f.Columns {
		if d.column(&f.Columns[i], forms[i/2]>>(i%2*4)&15, f.N, &s); d.err != nil {
			return
		}
	}
}

// slab is the memory of the columns of a small frame.
type slab struct {
	ints   []int64
	floats []float64
	texts  []string
	nulls  []bool
}

// take gives n cells of a slab, or of their own when it is empty.
func take[T any](from *[]T, n int) []T {
	if len(*from) < n || n == 0 {
		return make([]T, n)
	}
	out := (*from)[:n:n]
	*from = (*from)[n:]
	return out
}

// fits says whether a column of that type can have that form.
func (d *decoder) fits(f *Frame, c *Column, form byte) bool {
	ok := form < forms
	switch form {
	case formConst, formZero, formSparse:
		ok = f.N > 0 && (form != formSparse || c.Type != catalog.Text)
	case formFixed, formFixedNull:
		ok = c.Type != catalog.Text
	}
	if !ok {
		d.fail("family %q column %q: form %d for %d values of type %s", f.Family, c.Name, form, f.N, c.Type)
	}
	return ok
}

func (d *decoder) column(c *Column, form byte, n int, s *slab) {
	switch form {
	case formNull:
		c.Null = take(&s.nulls, n)
		for i := range c.Null {
			c.Null[i] = true
		}
	case formValuesNull, formFixedNull:
		c.Null = take(&s.nulls, n)
		d.nulls(c.Null)
	}
	if d.err != nil {
		return
	}
	switch c.Type {
	case catalog.Text:
		c.Texts = take(&s.texts, n)
		d.fillTexts(c, form)
	case catalog.Float:
		c.Floats = take(&s.floats, n)
		if form == formFixed || form == formFixedNull {
			for i := range c.Floats {
				if c.Null == nil || !c.Null[i] {
					c.Floats[i] = math.Float64frombits(d.fixed())
				}
			}
			return
		}
		if form == formNull || form == formZero {
			return
		}
		d.micros = slices.Grow(d.micros[:0], n)[:n]
		clear(d.micros)
		d.fillInts(d.micros, c.Null, form)
		for i, v := range d.micros {
			c.Floats[i] = float64(v) / micro
		}
	default:
		c.Ints = take(&s.ints, n)
		d.fillInts(c.Ints, c.Null, form)
	}
}

func (d *decoder) nulls(null []bool) {
	n := (len(null) + 7) / 8
	if len(d.b) < n {
		d.fail("truncated")
		return
	}
	for i := range null {
		null[i] = d.b[i/8]&(1<<(i%8)) != 0
	}
	d.b = d.b[n:]
}

// fillInts reads numbers; those that are there already are 0.
func (d *decoder) fillInts(ints []int64, null []bool, form byte) {
	switch form {
	case formConst:
		v := d.varint()
		for i := range ints {
			ints[i] = v
		}
	case formValues, formValuesNull:
		d.above(ints, null)
	case formFixed, formFixedNull:
		for i := range ints {
			if null == nil || !null[i] {
				ints[i] = int64(d.fixed())
			}
		}
	case formSparse:
		d.sparse(ints)
	}
}

// above reads the least number and what each is above it.
func (d *decoder) above(ints []int64, null []bool) {
	least := d.varint()
	b := d.b
	for i := range ints {
		if null != nil && null[i] {
			continue
		}
		var x uint64
		if len(b) > 0 && b[0] < 0x80 {
			x, b = uint64(b[0]), b[1:]
		} else {
			var n int
			if x, n = binary.Uvarint(b); n <= 0 {
				d.fail("bad number")
				return
			}
			b = b[n:]
		}
		ints[i] = int64(uint64(least) + x)
	}
	d.b = b
}

func (d *decoder) sparse(ints []int64) {
	least := d.varint()
	n := (len(ints) + 7) / 8
	if len(d.b) < n {
		d.fail("truncated")
		return
	}
	others := d.b[:n]
	d.b = d.b[n:]
	for i := range ints {
		ints[i] = least
		if others[i/8]&(1<<(i%8)) != 0 {
			if ints[i] = int64(uint64(least) + d.uvarint()); d.err != nil {
				return
			}
		}
	}
}

func (d *decoder) fillTexts(c *Column, form byte) {
	switch form {
	case formConst:
		v := d.text(c.Name)
		for i := range c.Texts {
			c.Texts[i] = v
		}
		d.texts += len(v) * len(c.Texts)
	case formValues, formValuesNull:
		for i := range c.Texts {
			if c.Null != nil && c.Null[i] {
				continue
			}
			if c.Texts[i] = d.text(c.Name); d.err != nil {
				return
			}
			d.texts += len(c.Texts[i])
		}
	}
	if d.texts > MaxTexts {
		d.fail("column %q: more than %d bytes of text", c.Name, MaxTexts)
	}
}
