package frame

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// The encoding: unsigned varints, zigzag varints, length-prefixed strings, names of
// families and columns as numbers (names.go); a frame column by column, each in the
// cheapest form. The first byte of a batch is the format's version.
const formatVersion = 1

// Forms of a column. Together with kind and type they are one byte.
const (
	formNull       = iota // all NULL: nothing follows
	formConst             // none NULL, all the same: one value
	formValues            // none NULL: integers as the least one and what each is above it
	formFixed             // none NULL, 8 bytes each: hashes, which no varint shortens
	formValuesNull        // bits say which are NULL; then formValues of the others
	formFixedNull         // likewise
	formSparse            // none NULL, most are 0: bits say which are not; then these
	forms
)

// A code is one less than the value's place in its list, and in a byte with others:
// kinds take 2 bits, types 3, forms 3.
var (
	kinds = []catalog.Kind{catalog.Key, catalog.Label, catalog.Counter, catalog.Gauge}
	types = []catalog.Type{catalog.Int, catalog.Float, catalog.Text, catalog.Time, catalog.Bool}
	lanes = []catalog.Lane{"", catalog.Fast, catalog.Slow}
)

func code[T comparable](list []T, v T) byte {
	for i, x := range list {
		if x == v {
			return byte(i)
		}
	}
	panic(fmt.Sprintf("BUG: no code for %v", v))
}

// AppendBatch appends the encoding of b to dst.
func AppendBatch(dst []byte, b *Batch) []byte {
	dst = append(dst, formatVersion)
	dst = appendID(dst, b.ID)
	dst = appendID(dst, b.Prev)
	dst = appendString(dst, b.Instance)
	dst = appendString(dst, b.Database)
	dst = append(dst, code(lanes, b.Lane))
	dst = binary.AppendVarint(dst, b.Tick)
	dst = appendServer(dst, &b.Server)
	dst = binary.AppendUvarint(dst, uint64(len(b.Schedules)))
	for i := range b.Schedules {
		s := &b.Schedules[i]
		dst = appendName(dst, s.Family)
		dst = appendString(dst, s.Database)
		dst = append(dst, code(lanes, s.Lane))
		dst = binary.AppendVarint(dst, s.From)
		dst = binary.AppendVarint(dst, s.Until)
		dst = binary.AppendVarint(dst, s.Every)
		dst = appendString(dst, s.Reason)
		dst = appendString(dst, s.Limit)
		dst = appendString(dst, s.Detail)
		dst = appendString(dst, s.Remedy)
		dst = binary.AppendUvarint(dst, uint64(len(s.Absent)))
		for _, a := range s.Absent {
			dst = appendName(dst, a)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Outcomes)))
	for i := range b.Outcomes {
		o := &b.Outcomes[i]
		dst = appendName(dst, o.Family)
		dst = appendString(dst, o.Database)
		dst = append(dst, code(lanes, o.Lane), byte(o.Code))
		dst = binary.AppendVarint(dst, o.First)
		dst = binary.AppendVarint(dst, o.Last-o.First)
		dst = binary.AppendVarint(dst, o.N)
		dst = appendString(dst, o.Reason)
		dst = appendString(dst, o.Detail)
		dst = binary.AppendVarint(dst, o.At)
		dst = binary.AppendVarint(dst, o.Since)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Unobserved)))
	for i := range b.Unobserved {
		u := &b.Unobserved[i]
		dst = appendName(dst, u.Family)
		dst = appendString(dst, u.Database)
		dst = appendString(dst, u.Reason)
		dst = binary.AppendVarint(dst, u.Since)
		dst = binary.AppendVarint(dst, u.At)
		dst = appendString(dst, u.Detail)
		dst = binary.AppendUvarint(dst, uint64(len(u.Upper)))
		for _, k := range slices.Sorted(maps.Keys(u.Upper)) {
			dst = appendName(dst, k)
			dst = binary.AppendVarint(dst, u.Upper[k])
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Frames)))
	for i := range b.Frames {
		dst = AppendFrame(dst, &b.Frames[i])
	}
	return dst
}

func appendServer(dst []byte, s *Server) []byte {
	dst = binary.AppendUvarint(dst, s.SystemID)
	dst = binary.AppendUvarint(dst, uint64(s.Incarnation))
	dst = binary.AppendVarint(dst, int64(s.Version))
	dst = appendString(dst, s.VersionText)
	dst = appendBool(dst, s.InRecovery)
	dst = binary.AppendVarint(dst, s.PostmasterStart)
	dst = binary.AppendVarint(dst, int64(s.MaxConnections))
	dst = appendString(dst, s.Role)
	dst = binary.AppendVarint(dst, s.IntervalUs)
	dst = binary.AppendUvarint(dst, uint64(len(s.Labels)))
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		dst = appendString(dst, k)
		dst = appendString(dst, s.Labels[k])
	}
	return dst
}

// AppendFrame appends the encoding of f to dst. Reset columns are not sent.
func AppendFrame(dst []byte, f *Frame) []byte {
	dst = appendName(dst, f.Family)
	dst = appendString(dst, f.Database)
	dst = append(dst, byte(f.Part))
	dst = binary.AppendVarint(dst, f.Since)
	dst = binary.AppendVarint(dst, f.At-f.Since)
	dst = binary.AppendUvarint(dst, uint64(f.N))
	n := 0
	for i := range f.Columns {
		if f.Columns[i].Kind != catalog.Reset {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range f.Columns {
		if f.Columns[i].Kind != catalog.Reset {
			dst = appendColumn(dst, &f.Columns[i], f.N)
		}
	}
	return dst
}

func appendColumn(dst []byte, c *Column, n int) []byte {
	nulls := 0
	for _, null := range c.Null {
		if null {
			nulls++
		}
	}
	form, least := formOf(c, n, nulls)
	dst = appendName(dst, c.Name)
	dst = append(dst, code(kinds, c.Kind)|code(types, c.Type)<<2|form<<5)
	if form == formNull {
		return dst
	}
	null := c.Null
	if form == formValuesNull || form == formFixedNull {
		dst = appendBits(dst, null)
	} else {
		null = nil
	}
	switch {
	case c.Type == catalog.Float:
		for i, v := range c.Floats {
			if null == nil || !null[i] {
				dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
			}
		}
	case c.Type == catalog.Text && form == formConst:
		dst = appendString(dst, c.Texts[0])
	case c.Type == catalog.Text:
		for i, v := range c.Texts {
			if null == nil || !null[i] {
				dst = appendString(dst, v)
			}
		}
	case form == formConst:
		dst = binary.AppendVarint(dst, c.Ints[0])
	case form == formFixed || form == formFixedNull:
		for i, v := range c.Ints {
			if null == nil || !null[i] {
				dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
			}
		}
	case form == formSparse:
		dst = appendSparse(dst, c.Ints)
	default:
		dst = binary.AppendVarint(dst, least)
		for i, v := range c.Ints {
			if null == nil || !null[i] {
				dst = binary.AppendUvarint(dst, uint64(v)-uint64(least))
			}
		}
	}
	return dst
}

// formOf picks the form of a column, for integers with the least that is not NULL.
func formOf(c *Column, n, nulls int) (form byte, least int64) {
	if nulls == n {
		return formNull, 0
	}
	withNull := func(form byte) byte {
		if nulls > 0 {
			return form + (formValuesNull - formValues)
		}
		return form
	}
	switch c.Type {
	case catalog.Float:
		return withNull(formFixed), 0
	case catalog.Text:
		for _, v := range c.Texts {
			if nulls > 0 || v != c.Texts[0] {
				return withNull(formValues), 0
			}
		}
		return formConst, 0
	}
	greatest, zeros := int64(math.MinInt64), 0
	least = math.MaxInt64
	for i, v := range c.Ints {
		if nulls > 0 && c.Null[i] {
			continue
		}
		least, greatest = min(least, v), max(greatest, v)
		if v == 0 {
			zeros++
		}
	}
	switch {
	case least == greatest && nulls == 0:
		return formConst, least
	// Only what is spread over nearly all of 64 bits: a varint of it takes 9 or 10.
	case uint64(greatest)-uint64(least) >= 1<<58:
		return withNull(formFixed), least
	case nulls == 0 && 2*zeros > n && least == 0:
		return formSparse, 0
	}
	return withNull(formValues), least
}

// appendSparse appends which numbers are not 0, and these; none is negative.
func appendSparse(dst []byte, ints []int64) []byte {
	for i := 0; i < len(ints); i += 8 {
		var x byte
		for j, v := range ints[i:min(i+8, len(ints))] {
			if v != 0 {
				x |= 1 << j
			}
		}
		dst = append(dst, x)
	}
	for _, v := range ints {
		if v != 0 {
			dst = binary.AppendUvarint(dst, uint64(v))
		}
	}
	return dst
}

func appendID(dst []byte, id ID) []byte {
	dst = append(dst, id.Collector[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, id.Epoch)
	return binary.AppendUvarint(dst, id.Seq)
}

// appendName appends a name by its number, or 0 and the name.
func appendName(dst []byte, name string) []byte {
	if n := nameNumber[name]; n > 0 {
		return binary.AppendUvarint(dst, n)
	}
	return appendString(append(dst, 0), name)
}

func appendString(dst []byte, s string) []byte {
	s = clean(s)
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendBits(dst []byte, bits []bool) []byte {
	for i := 0; i < len(bits); i += 8 {
		var x byte
		for j, b := range bits[i:min(i+8, len(bits))] {
			if b {
				x |= 1 << j
			}
		}
		dst = append(dst, x)
	}
	return dst
}
