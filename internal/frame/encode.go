package frame

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// The encoding: unsigned varints, zigzag varints, length-prefixed strings; a
// frame column by column, each in the cheapest of four forms. The first byte of
// a batch is the format's version.
const formatVersion = 1

// Forms of a column of integers.
const (
	formAllNull = iota // nothing follows
	formConst          // one varint
	formVarint         // zigzag varints
	formFixed          // 8 bytes each: hashes, which no varint shortens
)

const (
	kindKey = iota + 1
	kindLabel
	kindCounter
	kindGauge
)

const (
	typeInt = iota + 1
	typeFloat
	typeText
	typeTime
	typeBool
)

var (
	kindCode = map[catalog.Kind]byte{catalog.Key: kindKey, catalog.Label: kindLabel, catalog.Counter: kindCounter, catalog.Gauge: kindGauge}
	typeCode = map[catalog.Type]byte{catalog.Int: typeInt, catalog.Float: typeFloat, catalog.Text: typeText, catalog.Time: typeTime, catalog.Bool: typeBool}
	laneCode = map[catalog.Lane]byte{catalog.Fast: 1, catalog.Slow: 2}
)

// AppendBatch appends the encoding of b to dst.
func AppendBatch(dst []byte, b *Batch) []byte {
	dst = append(dst, formatVersion)
	dst = appendID(dst, b.ID)
	dst = appendID(dst, b.Prev)
	dst = appendString(dst, b.Instance)
	dst = appendString(dst, b.Database)
	dst = append(dst, laneCode[b.Lane])
	dst = binary.AppendVarint(dst, b.Tick)
	dst = appendServer(dst, &b.Server)
	dst = binary.AppendUvarint(dst, uint64(len(b.Schedules)))
	for i := range b.Schedules {
		s := &b.Schedules[i]
		dst = appendString(dst, s.Family)
		dst = appendString(dst, s.Database)
		dst = append(dst, laneCode[s.Lane])
		dst = binary.AppendVarint(dst, s.From)
		dst = binary.AppendVarint(dst, s.Until)
		dst = binary.AppendVarint(dst, s.Every)
		dst = appendString(dst, s.Reason)
		dst = appendString(dst, s.Limit)
		dst = appendString(dst, s.Detail)
		dst = appendString(dst, s.Remedy)
		dst = binary.AppendUvarint(dst, uint64(len(s.Absent)))
		for _, a := range s.Absent {
			dst = appendString(dst, a)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Outcomes)))
	for i := range b.Outcomes {
		o := &b.Outcomes[i]
		dst = appendString(dst, o.Family)
		dst = appendString(dst, o.Database)
		dst = append(dst, laneCode[o.Lane], byte(o.Code))
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
		dst = appendString(dst, u.Family)
		dst = appendString(dst, u.Database)
		dst = appendString(dst, u.Reason)
		dst = binary.AppendVarint(dst, u.Since)
		dst = binary.AppendVarint(dst, u.At)
		dst = appendString(dst, u.Detail)
		dst = binary.AppendUvarint(dst, uint64(len(u.Upper)))
		for _, k := range slices.Sorted(maps.Keys(u.Upper)) {
			dst = appendString(dst, k)
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
	dst = appendString(dst, f.Family)
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
	dst = appendString(dst, c.Name)
	dst = append(dst, kindCode[c.Kind], typeCode[c.Type])
	nulls := 0
	for _, null := range c.Null {
		if null {
			nulls++
		}
	}
	if nulls == n {
		return append(dst, formAllNull)
	}
	form := byte(formVarint)
	if c.Type != catalog.Float && c.Type != catalog.Text {
		form = intForm(c, n, nulls)
	}
	dst = append(dst, form)
	dst = appendBool(dst, nulls > 0)
	if nulls > 0 {
		dst = appendBits(dst, c.Null)
	}
	switch {
	case form == formConst:
		return binary.AppendVarint(dst, c.Ints[0])
	case c.Type == catalog.Float:
		for i, v := range c.Floats {
			if !c.IsNull(i) {
				dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
			}
		}
	case c.Type == catalog.Text:
		for i, v := range c.Texts {
			if !c.IsNull(i) {
				dst = appendString(dst, v)
			}
		}
	case form == formFixed:
		for i, v := range c.Ints {
			if !c.IsNull(i) {
				dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
			}
		}
	default:
		for i, v := range c.Ints {
			if !c.IsNull(i) {
				dst = binary.AppendVarint(dst, v)
			}
		}
	}
	return dst
}

// intForm picks the cheapest form of an integer column that is not all NULL.
func intForm(c *Column, n, nulls int) byte {
	same, wide := nulls == 0, 0
	for i, v := range c.Ints {
		if c.IsNull(i) {
			continue
		}
		same = same && v == c.Ints[0]
		if v >= 1<<55 || v < -1<<55 {
			wide++
		}
	}
	switch {
	case same:
		return formConst
	case wide*2 > n-nulls:
		return formFixed
	}
	return formVarint
}

func appendID(dst []byte, id ID) []byte {
	dst = append(dst, id.Collector[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, id.Epoch)
	return binary.AppendUvarint(dst, id.Seq)
}

func appendString(dst []byte, s string) []byte {
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
