package frame

import (
	"encoding/binary"
	"math"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// Forms of a column, four bits each. Those that are not said to hold NULLs hold none.
const (
	formNull       = iota // all NULL: nothing follows
	formZero              // all 0 or empty: nothing follows
	formConst             // all the same: one value
	formValues            // integers as the least one and what each is above it; texts
	formSparse            // most are the least one: bits say which are not; then what these are above it
	formFixed             // 8 bytes each: hashes, which no varint shortens; floats
	formValuesNull        // bits say which are NULL; then formValues of the others
	formFixedNull         // likewise
	forms
)

// A column of floats whose values are all whole millionths (ages in seconds are, as
// PostgreSQL gives them) is written as the integers that these are.
const micro = 1e6

// frame writes a frame: which columns, the form of each, then the values of each.
func (e *encoder) frame(f *Frame) {
	listed := dict.listed[f.Family]
	has, sent := uint64(0), 0
	e.others = e.others[:0]
	at := 0 // of the listed columns
	for i := range f.Columns {
		c := &f.Columns[i]
		if c.Kind == catalog.Reset {
			continue
		}
		k := at
		for k < len(listed) && (listed[k].name != c.Name || listed[k].kind != c.Kind || listed[k].typ != c.Type) {
			k++
		}
		if k < len(listed) {
			has |= 1 << k
			at = k + 1
		} else {
			e.others = append(e.others, i)
		}
		sent++
	}
	all := has == 1<<len(listed)-1
	e.byte(byte(f.Part)&3 | flag(all, frameAll) | flag(len(e.others) > 0, frameOther))
	e.text(f.Family)
	e.text(f.Database)
	e.span(f.Since, f.At)
	e.uvarint(uint64(f.N))
	if !all {
		for k := 0; k < len(listed); k += 8 {
			e.byte(byte(has >> k))
		}
	}
	if len(e.others) > 0 {
		e.uvarint(uint64(len(e.others)))
		before, next := 0, 0 // a place among the columns that are sent; the next of others
		for i := range f.Columns {
			c := &f.Columns[i]
			if c.Kind == catalog.Reset {
				continue
			}
			if next < len(e.others) && e.others[next] == i {
				e.uvarint(uint64(before)) // columns since the last of others
				e.text(c.Name)
				e.byte(code(kinds, c.Kind) | code(types, c.Type)<<2)
				before = -1
				next++
			}
			before++
		}
	}
	e.columns(f, sent)
}

// columns writes the forms of the columns and then their values.
func (e *encoder) columns(f *Frame, sent int) {
	at := len(e.b) // of the forms
	for range (sent + 1) / 2 {
		e.byte(0)
	}
	k := 0
	for i := range f.Columns {
		if c := &f.Columns[i]; c.Kind != catalog.Reset {
			form := e.column(c, f.N)
			e.b[at+k/2] |= form << (k % 2 * 4)
			k++
		}
	}
}

// column writes the values of a column and gives their form.
func (e *encoder) column(c *Column, n int) byte {
	nulls := 0
	for _, null := range c.Null {
		if null {
			nulls++
		}
	}
	if nulls == n {
		return formNull
	}
	null := c.Null
	if nulls == 0 {
		null = nil
	}
	ints := c.Ints
	switch c.Type {
	case catalog.Text:
		return e.texts(c.Texts, null)
	case catalog.Float:
		var whole bool
		if ints, whole = e.inMicros(c.Floats, null); !whole {
			return e.floats(c.Floats, null)
		}
	}
	return e.ints(ints, null)
}

// orNull gives the form that also holds NULLs, after their bits.
func (e *encoder) orNull(form byte, null []bool) byte {
	if null == nil {
		return form
	}
	for i := 0; i < len(null); i += 8 {
		var x byte
		for j, is := range null[i:min(i+8, len(null))] {
			x |= flag(is, 1<<j)
		}
		e.byte(x)
	}
	if form == formFixed {
		return formFixedNull
	}
	return formValuesNull
}

func (e *encoder) ints(ints []int64, null []bool) byte {
	least, greatest := int64(math.MaxInt64), int64(math.MinInt64)
	for i, v := range ints {
		if null == nil || !null[i] {
			least, greatest = min(least, v), max(greatest, v)
		}
	}
	switch {
	case null == nil && least == greatest && least == 0:
		return formZero
	case null == nil && least == greatest:
		e.varint(least)
		return formConst
	// Only what is spread over nearly all of 64 bits: a varint of it takes 9 or 10.
	case uint64(greatest)-uint64(least) >= 1<<58:
		form := e.orNull(formFixed, null)
		for i, v := range ints {
			if null == nil || !null[i] {
				e.fixed(uint64(v))
			}
		}
		return form
	case null == nil && mostly(ints, least):
		e.varint(least)
		e.sparse(ints, least)
		return formSparse
	}
	form := e.orNull(formValues, null)
	e.varint(least)
	b := e.b
	for i, v := range ints {
		if null == nil || !null[i] {
			b = binary.AppendUvarint(b, uint64(v)-uint64(least))
		}
	}
	e.b = b
	return form
}

// mostly says whether more than half of the numbers are x.
func mostly(ints []int64, x int64) bool {
	n := 0
	for _, v := range ints {
		if v == x {
			n++
		}
	}
	return 2*n > len(ints)
}

func (e *encoder) sparse(ints []int64, least int64) {
	b := e.b
	for i := 0; i < len(ints); i += 8 {
		var x byte
		for j, v := range ints[i:min(i+8, len(ints))] {
			x |= flag(v != least, 1<<j)
		}
		b = append(b, x)
	}
	for _, v := range ints {
		if v != least {
			b = binary.AppendUvarint(b, uint64(v)-uint64(least))
		}
	}
	e.b = b
}

// inMicros gives floats as whole millionths, if that is exactly what they are.
func (e *encoder) inMicros(floats []float64, null []bool) ([]int64, bool) {
	e.micros = e.micros[:0]
	for i, v := range floats {
		m := int64(0)
		if null == nil || !null[i] {
			r := math.Round(v * micro)
			if !(math.Abs(r) < 1<<53) { // NaN is not
				return nil, false
			}
			if m = int64(r); math.Float64bits(float64(m)/micro) != math.Float64bits(v) {
				return nil, false
			}
		}
		e.micros = append(e.micros, m)
	}
	return e.micros, true
}

func (e *encoder) floats(floats []float64, null []bool) byte {
	form := e.orNull(formFixed, null)
	for i, v := range floats {
		if null == nil || !null[i] {
			e.fixed(math.Float64bits(v))
		}
	}
	return form
}

func (e *encoder) texts(texts []string, null []bool) byte {
	if null == nil {
		same := true
		for _, s := range texts {
			if s != texts[0] {
				same = false
				break
			}
		}
		switch {
		case same && texts[0] == "":
			return formZero
		case same:
			e.text(texts[0])
			return formConst
		}
	}
	form := e.orNull(formValues, null)
	last, again, known := "", uint64(0), true
	for i, s := range texts {
		switch {
		case null != nil && null[i]:
		case known && s == last:
			e.uvarint(again)
		default:
			again, known = e.text(s)
			last = s
		}
	}
	return form
}
