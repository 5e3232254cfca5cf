package frame

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// The encoding: unsigned varints, zigzag varints, times as what they are beside the
// batch's tick, texts as numbers where the dictionary or the batch has them already;
// a frame column by column, each in the cheapest form. The first byte of a batch is
// the format's version. What is 8 bytes of any value each, hashes above all, stands
// together before the rest, so that it is not in the way of compression.
const formatVersion = 2

// The lowest two bits of a text's first number say what it is.
const (
	textLiteral = iota // the number is its length, the bytes follow
	textWord           // the number is that of a word of the dictionary
	textAgain          // the number is that of an earlier literal of this batch
)

// Literals that can be referred to again.
const (
	minAgain = 2
	maxAgain = 256  // bytes
	maxKept  = 4096 // literals
)

// maxSpans is how many of a batch's last spans (since, at) can be referred to.
const maxSpans = 16

// Bits of a batch's head, beside its lane in the lowest two.
const (
	headRecovery = 4 << iota
	headVersion  // the version's text begins with what follows from its number
	headStarted  // the postmaster's start is known
)

// Bits of a schedule's head, beside its lane.
const scheduleUntil = 4

// Bits of an outcome's head, beside its lane and, from bit 2 on, its code.
const (
	outcomeOther = 32 << iota // not the batch's tick, or several
	outcomeText               // reason or detail
	outcomeSpan               // since and at
)

// Bits of a frame's head, beside its part in the lowest two.
const (
	frameAll   = 4 << iota // it has all listed columns of its family
	frameOther             // it has others, by name
)

// A code is a value's place in its list.
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

type span struct{ since, at int64 }

// encoder writes one batch, or one frame alone.
type encoder struct {
	b     []byte
	plain []byte // what no compression shortens
	tick  int64
	again map[string]uint64
	spans []span

	others []int   // columns of the frame that the dictionary does not list
	micros []int64 // a column of floats as integers
}

// encoders keeps a few for good: a sync.Pool forgets them at every collection, which
// in a collector is about once a cycle.
var encoders = make(chan *encoder, 8)

func newEncoder(tick int64) *encoder {
	var e *encoder
	select {
	case e = <-encoders:
	default:
		e = &encoder{again: map[string]uint64{}}
	}
	e.tick = tick
	return e
}

// end appends what was written to dst.
func (e *encoder) end(dst []byte) []byte {
	dst = binary.AppendUvarint(slices.Grow(dst, len(e.plain)+len(e.b)+binary.MaxVarintLen64), uint64(len(e.plain)/8))
	dst = append(append(dst, e.plain...), e.b...)
	if cap(e.b) > maxRawBuffer || cap(e.plain) > maxRawBuffer || cap(e.micros) > maxRawBuffer/8 || cap(e.spans) > 1024 || len(e.again) > 256 {
		return dst // one giant batch must not hold memory for ever
	}
	e.b, e.plain, e.spans = e.b[:0], e.plain[:0], e.spans[:0]
	clear(e.again)
	select {
	case encoders <- e:
	default:
	}
	return dst
}

// AppendBatch appends the encoding of b to dst.
func AppendBatch(dst []byte, b *Batch) []byte {
	e := newEncoder(b.Tick)
	e.batch(b)
	return e.end(appendHead(dst, b.ID, b.Prev, b.Tick))
}

// AppendFrame appends the encoding of f alone to dst. Reset columns are not sent.
func AppendFrame(dst []byte, f *Frame) []byte {
	e := newEncoder(0)
	e.frame(f)
	return e.end(dst)
}

// appendHead appends what a batch begins with, and an envelope says outside.
func appendHead(dst []byte, id, prev ID, tick int64) []byte {
	dst = append(dst, formatVersion)
	dst = appendID(dst, id)
	dst = appendID(dst, prev)
	return binary.AppendVarint(dst, tick)
}

func appendID(dst []byte, id ID) []byte {
	dst = append(dst, id.Collector[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, id.Epoch)
	return binary.AppendUvarint(dst, id.Seq)
}

func (e *encoder) batch(b *Batch) {
	s := &b.Server
	head := code(lanes, b.Lane) | flag(s.InRecovery, headRecovery) | flag(s.PostmasterStart != 0, headStarted)
	versionText, follows := strings.CutPrefix(s.VersionText, versionText(s.Version))
	e.byte(head | flag(follows, headVersion))
	e.text(b.Instance)
	e.text(b.Database)
	e.fixed(s.SystemID)
	e.uvarint(uint64(s.Incarnation))
	e.varint(int64(s.Version))
	e.text(versionText)
	if s.PostmasterStart != 0 {
		e.varint(e.tick - s.PostmasterStart)
	}
	e.varint(int64(s.MaxConnections))
	e.text(s.Role)
	e.varint(s.IntervalUs)
	e.uvarint(uint64(len(s.Labels)))
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		e.text(k)
		e.text(s.Labels[k])
	}
	e.uvarint(uint64(len(b.Schedules)))
	for i := range b.Schedules {
		e.schedule(&b.Schedules[i])
	}
	e.uvarint(uint64(len(b.Outcomes)))
	for i := range b.Outcomes {
		e.outcome(&b.Outcomes[i])
	}
	e.uvarint(uint64(len(b.Unobserved)))
	for i := range b.Unobserved {
		u := &b.Unobserved[i]
		e.text(u.Family)
		e.text(u.Database)
		e.text(u.Reason)
		e.span(u.Since, u.At)
		e.text(u.Detail)
		e.uvarint(uint64(len(u.Upper)))
		for _, k := range slices.Sorted(maps.Keys(u.Upper)) {
			e.text(k)
			e.varint(u.Upper[k])
		}
	}
	e.uvarint(uint64(len(b.Frames)))
	for i := range b.Frames {
		e.frame(&b.Frames[i])
	}
}

func (e *encoder) schedule(s *Schedule) {
	e.text(s.Family)
	e.text(s.Database)
	e.byte(code(lanes, s.Lane) | flag(s.Until != 0, scheduleUntil))
	e.varint(s.From - e.tick)
	if s.Until != 0 {
		e.varint(s.Until - s.From)
	}
	e.varint(s.Every)
	e.text(s.Reason)
	e.text(s.Limit)
	e.text(s.Detail)
	e.text(s.Remedy)
	e.uvarint(uint64(len(s.Absent)))
	for _, a := range s.Absent {
		e.text(a)
	}
}

func (e *encoder) outcome(o *Outcome) {
	other := o.First != e.tick || o.Last != e.tick || o.N != 1
	text, span := o.Reason != "" || o.Detail != "", o.Since != 0 || o.At != 0
	e.byte(code(lanes, o.Lane) | byte(o.Code)&7<<2 | flag(other, outcomeOther) | flag(text, outcomeText) | flag(span, outcomeSpan))
	e.text(o.Family)
	e.text(o.Database)
	if other {
		e.varint(o.First - e.tick)
		e.varint(o.Last - o.First)
		e.varint(o.N)
	}
	if text {
		e.text(o.Reason)
		e.text(o.Detail)
	}
	if span {
		e.span(o.Since, o.At)
	}
}

// versionText is the server_version that follows from server_version_num, but for
// what a packager adds.
func versionText(v int32) string {
	if v < 100000 {
		return ""
	}
	return strconv.Itoa(int(v)/10000) + "." + strconv.Itoa(int(v)%10000)
}

// span writes since and at: that of an outcome is also that of its frame, and often
// of several families.
func (e *encoder) span(since, at int64) {
	s := span{since, at}
	for i := 1; i <= min(maxSpans, len(e.spans)); i++ {
		if e.spans[len(e.spans)-i] == s {
			e.byte(byte(i))
			return
		}
	}
	e.spans = append(e.spans, s)
	e.byte(0)
	e.varint(at - e.tick)
	e.varint(at - since)
}

// text writes a text and gives the number that would write it again; more says
// whether there is one.
func (e *encoder) text(s string) (again uint64, more bool) {
	s = clean(s)
	if s == "" {
		e.byte(0)
		return 0, true
	}
	if n, ok := dict.number[s]; ok {
		again = n<<2 | textWord
		e.uvarint(again)
		return again, true
	}
	if n, ok := e.again[s]; ok {
		again = n<<2 | textAgain
		e.uvarint(again)
		return again, true
	}
	e.uvarint(uint64(len(s)) << 2) // textLiteral
	e.b = append(e.b, s...)
	if len(s) < minAgain || len(s) > maxAgain || len(e.again) == maxKept {
		return 0, false
	}
	n := uint64(len(e.again))
	e.again[s] = n
	return n<<2 | textAgain, true
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

func (e *encoder) byte(x byte)      { e.b = append(e.b, x) }
func (e *encoder) uvarint(x uint64) { e.b = binary.AppendUvarint(e.b, x) }
func (e *encoder) varint(x int64)   { e.b = binary.AppendVarint(e.b, x) }
func (e *encoder) fixed(x uint64)   { e.plain = binary.LittleEndian.AppendUint64(e.plain, x) }
