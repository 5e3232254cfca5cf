package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// Limits of what a decoder accepts. They bound memory, not use: the largest real
// frame (10,000 statements of 40 columns) is far below.
const (
	MaxRows    = 1_000_000
	MaxColumns = 1_000
	MaxItems   = 1_000_000
	MaxText    = 1 << 20
	// MaxCells bounds rows x columns over a batch, since a constant column of any
	// length takes a few bytes.
	MaxCells = 8_000_000
	// MaxTexts bounds the bytes of all texts in a batch's columns, each as often as it
	// occurs: one that occurs again takes a byte or two.
	MaxTexts = MaxRaw
)

// ErrMalformed is what every decoding error wraps.
var ErrMalformed = errors.New("malformed batch")

// DecodeBatch decodes one batch; all of data must be used up.
func DecodeBatch(data []byte) (*Batch, error) {
	d := &decoder{b: data}
	b := d.batch()
	if d.err == nil && len(d.b) != 0 {
		d.fail("%d bytes after the end", len(d.b))
	}
	if d.err != nil {
		return nil, d.err
	}
	return b, nil
}

// DecodeFrame decodes one frame and gives the bytes behind it.
func DecodeFrame(data []byte) (*Frame, []byte, error) {
	d := &decoder{b: data}
	d.begin()
	f := d.frame()
	d.finish()
	if d.err != nil {
		return nil, nil, d.err
	}
	return &f, d.b, nil
}

type decoder struct {
	b     []byte
	plain []byte // what encoder.plain was
	err   error
	cells int
	texts int // bytes
	tick  int64
	again []string // literals of this batch
	spans []span

	micros []int64
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
	d.b = nil
}

func (d *decoder) batch() *Batch {
	b := &Batch{}
	if d.head(b); d.err != nil {
		return b
	}
	d.tick = b.Tick
	d.begin()
	s := &b.Server
	head := d.byte()
	b.Lane = d.lane(head)
	s.InRecovery = head&headRecovery != 0
	b.Instance, b.Database = d.text("instance"), d.text("database")
	s.SystemID, s.Incarnation, s.Version = d.fixed(), uint32(d.uvarint()), int32(d.varint())
	s.VersionText = d.text("version")
	if head&headVersion != 0 {
		s.VersionText = versionText(s.Version) + s.VersionText
	}
	if head&headStarted != 0 {
		s.PostmasterStart = d.tick - d.varint()
	}
	s.MaxConnections, s.Role, s.IntervalUs = int32(d.varint()), d.text("role"), d.varint()
	for range d.count("labels", MaxColumns) {
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		k := d.text("label")
		s.Labels[k] = d.text("label value")
	}
	list(d, "schedules", &b.Schedules, (*decoder).schedule)
	list(d, "outcomes", &b.Outcomes, (*decoder).outcome)
	list(d, "unobserved", &b.Unobserved, (*decoder).unobserved)
	list(d, "frames", &b.Frames, (*decoder).frame)
	d.finish()
	return b
}

// begin takes what stands together before the rest.
func (d *decoder) begin() {
	n := d.uvarint()
	if n > uint64(len(d.b)/8) {
		d.fail("truncated")
		return
	}
	d.plain, d.b = d.b[:8*n], d.b[8*n:]
}

// finish says whether all of it was used.
func (d *decoder) finish() {
	if len(d.plain) > 0 {
		d.fail("%d bytes belong nowhere", len(d.plain))
	}
}

// head reads what appendHead wrote.
func (d *decoder) head(b *Batch) {
	d.version()
	b.ID, b.Prev, b.Tick = d.id(), d.id(), d.varint()
}

func (d *decoder) version() {
	if v := d.byte(); d.err == nil && v != formatVersion {
		d.fail("format version %d, this build reads %d", v, formatVersion)
	}
}

// list reads a number of items and these. Capacity is given for few: the number is
// not to be believed before they are there.
func list[T any](d *decoder, what string, to *[]T, read func(*decoder) T) {
	n := d.count(what, MaxItems)
	if n > 0 {
		*to = make([]T, 0, min(n, 32))
	}
	for range n {
		x := read(d)
		if d.err != nil {
			return
		}
		*to = append(*to, x)
	}
}

func (d *decoder) schedule() Schedule {
	s := Schedule{Family: d.text("family"), Database: d.text("database")}
	head := d.byte()
	s.Lane = d.lane(head)
	s.From = d.tick + d.varint()
	if head&scheduleUntil != 0 {
		s.Until = s.From + d.varint()
	}
	s.Every = d.varint()
	s.Reason, s.Limit, s.Detail, s.Remedy = d.text("reason"), d.text("limit"), d.text("detail"), d.text("remedy")
	for range d.count("absent columns", MaxColumns) {
		s.Absent = append(s.Absent, d.text("absent column"))
	}
	return s
}

func (d *decoder) outcome() Outcome {
	head := d.byte()
	o := Outcome{Lane: d.lane(head), Code: Code(head >> 2 & 7), First: d.tick, Last: d.tick, N: 1}
	if d.err == nil && (o.Code < Stored || o.Code > OutcomeDropped) {
		d.fail("outcome code %d", o.Code)
	}
	o.Family, o.Database = d.text("family"), d.text("database")
	if head&outcomeOther != 0 {
		o.First = d.tick + d.varint()
		o.Last = o.First + d.varint()
		o.N = d.varint()
	}
	if head&outcomeText != 0 {
		o.Reason, o.Detail = d.text("reason"), d.text("detail")
	}
	if head&outcomeSpan != 0 {
		o.Since, o.At = d.span()
	}
	return o
}

func (d *decoder) unobserved() Unobserved {
	u := Unobserved{Family: d.text("family"), Database: d.text("database"), Reason: d.text("reason")}
	u.Since, u.At = d.span()
	u.Detail = d.text("detail")
	for range d.count("upper bounds", MaxColumns) {
		if u.Upper == nil {
			u.Upper = map[string]int64{}
		}
		name := d.text("column")
		u.Upper[name] = d.varint()
	}
	return u
}

func (d *decoder) span() (since, at int64) {
	if n := int(d.byte()); n > 0 {
		if n > maxSpans || n > len(d.spans) {
			d.fail("times %d back, there are %d", n, len(d.spans))
			return 0, 0
		}
		s := d.spans[len(d.spans)-n]
		return s.since, s.at
	}
	at = d.tick + d.varint()
	since = at - d.varint()
	d.spans = append(d.spans, span{since, at})
	return since, at
}

func (d *decoder) id() ID {
	var id ID
	if len(d.b) < 24 {
		d.fail("truncated")
		return id
	}
	copy(id.Collector[:], d.b)
	id.Epoch = binary.LittleEndian.Uint64(d.b[16:])
	d.b = d.b[24:]
	id.Seq = d.uvarint()
	return id
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

// lane is in the lowest two bits of a head.
func (d *decoder) lane(head byte) catalog.Lane {
	x := head & 3
	if x == 0 || int(x) >= len(lanes) {
		d.fail("lane %d", x)
		return ""
	}
	return lanes[x]
}

func (d *decoder) fixed() uint64 {
	if len(d.plain) < 8 {
		d.fail("truncated")
		return 0
	}
	x := binary.LittleEndian.Uint64(d.plain)
	d.plain = d.plain[8:]
	return x
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

// count reads a number of items, each at least one byte long.
func (d *decoder) count(what string, limit int) int {
	x := d.uvarint()
	if d.err == nil && (x > uint64(limit) || x > uint64(len(d.b))) {
		d.fail("%d %s", x, what)
		return 0
	}
	return int(x)
}

// text reads a text in one of its three forms.
func (d *decoder) text(what string) string {
	x := d.uvarint()
	n := x >> 2
	if d.err != nil || x == 0 {
		return ""
	}
	switch x & 3 {
	case textLiteral:
		s := d.literal(what, n)
		if d.err == nil && len(s) >= minAgain && len(s) <= maxAgain && len(d.again) < maxKept {
			d.again = append(d.again, s)
		}
		return s
	case textWord:
		if n < uint64(len(dict.words)) {
			return dict.words[n]
		}
	case textAgain:
		if n < uint64(len(d.again)) {
			return d.again[n]
		}
	}
	d.fail("%s: no text has the number %d", what, x)
	return ""
}

func (d *decoder) literal(what string, n uint64) string {
	if n > MaxText || n > uint64(len(d.b)) {
		d.fail("%s: %d bytes", what, n)
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		d.fail("%s: not a text that PostgreSQL can hold", what)
		return ""
	}
	return s
}
