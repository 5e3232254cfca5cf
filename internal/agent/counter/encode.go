package counter

import (
	"encoding/binary"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// The encoding of a baseline, full or as a patch on the one before. Columns go by
// name, so that a baseline survives a change of its family. The record that holds
// it has the checksum.
const (
	fullForm  = 1
	patchForm = 2
)

// Forms of a column: of its NULLs in both encodings …
const (
	colSame   = iota // patch: no row changed here
	colNull          // all NULL
	colValues        // none is NULL
	colMixed         // bits say which are NULL
)

// … and of its numbers in a full baseline.
const (
	numConst  = iota // one varint
	numVarint        // zigzag varints
	numDelta         // zigzag varints of the difference to the row before: times
	numFixed         // 8 bytes each: hashes and floats
)

var kindCodes = []catalog.Kind{catalog.Key, catalog.Label, catalog.Counter, catalog.Gauge, catalog.Reset}

var typeCodes = []catalog.Type{catalog.Int, catalog.Float, catalog.Text, catalog.Time, catalog.Bool}

func code[T comparable](list []T, v T) byte {
	for i, x := range list {
		if x == v {
			return byte(i)
		}
	}
	panic("BUG: a value without a code")
}

// AppendFull appends the whole baseline to dst.
func (b *Baseline) AppendFull(dst []byte) []byte {
	dst = append(dst, fullForm)
	dst = appendText(dst, b.lay.family.Name)
	dst = b.appendHead(dst)
	dst = binary.AppendUvarint(dst, uint64(len(b.cols)))
	for c := range b.cols {
		decl := &b.lay.family.Columns[c]
		dst = appendText(dst, decl.Name)
		dst = append(dst, code(kindCodes, decl.Kind), code(typeCodes, b.lay.types[c]))
		dst = b.appendColumn(dst, c)
	}
	return dst
}

func (b *Baseline) appendHead(dst []byte) []byte {
	dst = binary.AppendVarint(dst, b.at)
	dst = binary.AppendVarint(dst, b.at-b.whole)
	dst = binary.AppendVarint(dst, b.start)
	dst = binary.AppendUvarint(dst, b.systemID)
	if b.proof.Valid {
		dst = append(dst, 1)
		dst = binary.AppendVarint(dst, b.proof.Reset)
		dst = binary.AppendVarint(dst, b.proof.Dealloc)
	} else {
		dst = append(dst, 0)
	}
	return binary.AppendUvarint(dst, uint64(b.n))
}

func (b *Baseline) appendColumn(dst []byte, c int) []byte {
	if b.allNull(c) {
		return append(dst, colNull)
	}
	nulls := b.nullsOf(c)
	if nulls == nil {
		dst = append(dst, colValues)
	} else {
		dst = appendBits(append(dst, colMixed), nulls)
	}
	if b.lay.text(c) {
		for i, s := range b.textsOf(c) {
			if nulls == nil || !nulls[i] {
				dst = appendText(dst, s)
			}
		}
		return dst
	}
	ints := b.intsOf(c)
	form := numForm(b.lay.types[c], ints)
	dst = append(dst, form)
	if form == numConst {
		return binary.AppendVarint(dst, ints[0])
	}
	last := int64(0)
	for i, v := range ints {
		if nulls != nil && nulls[i] {
			continue
		}
		switch form {
		case numFixed:
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
		case numDelta:
			dst = binary.AppendVarint(dst, v-last)
			last = v
		default:
			dst = binary.AppendVarint(dst, v)
		}
	}
	return dst
}

// numForm picks a form. NULLs are 0 in ints, so that a column with NULLs is const
// only when all is 0, and that is right too.
func numForm(t catalog.Type, ints []int64) byte {
	same, wide := true, 0
	for _, v := range ints {
		same = same && v == ints[0]
		if v >= 1<<55 || v < -1<<55 {
			wide++
		}
	}
	switch {
	case same:
		return numConst
	case t == catalog.Float || 2*wide > len(ints):
		return numFixed
	case t == catalog.Time:
		return numDelta
	}
	return numVarint
}

// AppendPatch appends what changed against the baseline that was given to the Count
// that made this one; the full baseline when there was none, or after Settle.
func (b *Baseline) AppendPatch(dst []byte) []byte {
	if b.prev == nil {
		return b.AppendFull(dst)
	}
	dst = append(dst, patchForm)
	dst = b.appendHead(dst)
	dst = binary.AppendUvarint(dst, uint64(b.prev.n))
	dst = b.appendRuns(dst)
	differs := make([]bool, b.n)
	columns := make([]bool, len(b.cols))
	for c := range b.cols {
		if b.match == nil && sameColumn(b, b.prev, c) {
			continue
		}
		for i := range differs {
			if j := b.prevRow(i); j < 0 || !sameCell(b, i, b.prev, j, c) {
				differs[i], columns[c] = true, true
			}
		}
	}
	dst = appendBits(dst, differs)
	for c := range b.cols {
		if columns[c] {
			dst = b.appendChanges(dst, c, differs)
		} else {
			dst = append(dst, colSame)
		}
	}
	return dst
}

func (b *Baseline) prevRow(i int) int {
	if b.match == nil {
		return i
	}
	return int(b.match[i])
}

// appendRuns says where the rows come from: runs of rows of the one before, and new
// ones. A run is its length * 2 (+ 1 for new rows), and for old ones where it
// begins, relative to the end of the last.
func (b *Baseline) appendRuns(dst []byte) []byte {
	expect := 0
	for i := 0; i < b.n; {
		from, n := b.prevRow(i), 1
		for i+n < b.n && (from < 0 && b.prevRow(i+n) < 0 || from >= 0 && b.prevRow(i+n) == from+n) {
			n++
		}
		if from < 0 {
			dst = binary.AppendUvarint(dst, uint64(n)*2+1)
		} else {
			dst = binary.AppendUvarint(dst, uint64(n)*2)
			dst = binary.AppendVarint(dst, int64(from-expect))
			expect = from + n
		}
		i += n
	}
	return dst
}

// appendChanges appends a column's cells in the rows that differ anywhere.
func (b *Baseline) appendChanges(dst []byte, c int, differs []bool) []byte {
	if b.allNull(c) {
		return append(dst, colNull)
	}
	nulls := b.nullsOf(c)
	if nulls == nil {
		dst = append(dst, colValues)
	} else {
		dst = append(dst, colMixed)
		picked := make([]bool, 0, len(nulls))
		for i, null := range nulls {
			if differs[i] {
				picked = append(picked, null)
			}
		}
		dst = appendBits(dst, picked)
	}
	float := b.lay.types[c] == catalog.Float
	for i, d := range differs {
		if !d || nulls != nil && nulls[i] {
			continue
		}
		j := b.prevRow(i)
		if b.lay.text(c) {
			if j >= 0 && sameCell(b, i, b.prev, j, c) {
				dst = append(dst, 0)
			} else {
				s := b.textsOf(c)[i]
				dst = append(binary.AppendUvarint(dst, uint64(len(s))+1), s...)
			}
			continue
		}
		old := int64(0)
		if j >= 0 && !b.prev.allNull(c) {
			old = b.prev.intsOf(c)[j]
		}
		if v := b.intsOf(c)[i]; float {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
		} else {
			dst = binary.AppendVarint(dst, v-old)
		}
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendBits(dst []byte, bits []bool) []byte {
	for i := 0; i < len(bits); i += 8 {
		var x byte
		for j, bit := range bits[i:min(i+8, len(bits))] {
			if bit {
				x |= 1 << j
			}
		}
		dst = append(dst, x)
	}
	return dst
}
