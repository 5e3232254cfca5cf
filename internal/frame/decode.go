package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
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
	f := d.frame()
	if d.err != nil {
		return nil, nil, d.err
	}
	return &f, d.b, nil
}

type decoder struct {
	b     []byte
	err   error
	cells int
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
	d.b = nil
}

func (d *decoder) batch() *Batch {
	b := &Batch{}
	if v := d.byte(); d.err == nil && v != formatVersion {
		d.fail("format version %d, this build reads %d", v, formatVersion)
		return b
	}
	b.ID, b.Prev = d.id(), d.id()
	b.Instance = d.string("instance")
	b.Database = d.string("database")
	b.Lane = d.lane()
	b.Tick = d.varint()
	b.Server = d.server()
	for range d.count("schedules", MaxItems) {
		s := Schedule{Family: d.string("family"), Database: d.string("database"), Lane: d.lane(), From: d.varint(), Until: d.varint(), Every: d.varint(),
			Reason: d.string("reason"), Limit: d.string("limit"), Detail: d.string("detail"), Remedy: d.string("remedy")}
		for range d.count("absent columns", MaxColumns) {
			s.Absent = append(s.Absent, d.string("absent column"))
		}
		if d.err != nil {
			return b
		}
		b.Schedules = append(b.Schedules, s)
	}
	for range d.count("outcomes", MaxItems) {
		o := Outcome{Family: d.string("family"), Database: d.string("database"), Lane: d.lane(), Code: Code(d.byte())}
		if d.err == nil && (o.Code < Stored || o.Code > OutcomeDropped) {
			d.fail("outcome code %d", o.Code)
		}
		o.First = d.varint()
		o.Last = o.First + d.varint()
		o.N = d.varint()
		o.Reason, o.Detail = d.string("reason"), d.string("detail")
		o.At, o.Since = d.varint(), d.varint()
		if d.err != nil {
			return b
		}
		b.Outcomes = append(b.Outcomes, o)
	}
	for range d.count("unobserved", MaxItems) {
		u := Unobserved{Family: d.string("family"), Database: d.string("database"), Reason: d.string("reason"), Since: d.varint(), At: d.varint(), Detail: d.string("detail")}
		for range d.count("upper bounds", MaxColumns) {
			if u.Upper == nil {
				u.Upper = map[string]int64{}
			}
			name := d.string("column")
			u.Upper[name] = d.varint()
		}
		if d.err != nil {
			return b
		}
		b.Unobserved = append(b.Unobserved, u)
	}
	for range d.count("frames", MaxItems) {
		f := d.frame()
		if d.err != nil {
			return b
		}
		b.Frames = append(b.Frames, f)
	}
	return b
}

func (d *decoder) server() Server {
	s := Server{SystemID: d.uvarint(), Incarnation: uint32(d.uvarint()), Version: int32(d.varint()), VersionText: d.string("version"), InRecovery: d.bool(),
		PostmasterStart: d.varint(), MaxConnections: int32(d.varint()), Role: d.string("role"), IntervalUs: d.varint()}
	for range d.count("labels", MaxColumns) {
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		k := d.string("label")
		s.Labels[k] = d.string("label value")
	}
	return s
}

func (d *decoder) frame() Frame {
	f := Frame{Family: d.string("family"), Database: d.string("database"), Part: Part(d.byte())}
	if d.err == nil && f.Part > Dropped {
		d.fail("family %q: part %d", f.Family, f.Part)
	}
	f.Since = d.varint()
	f.At = f.Since + d.varint()
	rows := d.uvarint()
	if rows > MaxRows {
		d.fail("family %q: %d rows, at most %d", f.Family, rows, MaxRows)
		return f
	}
	f.N = int(rows)
	for range d.count("columns", MaxColumns) {
		c := d.column(f.Family, f.N)
		if d.err != nil {
			return f
		}
		if f.Column(c.Name) != nil {
			d.fail("family %q: column %q twice", f.Family, c.Name)
			return f
		}
		f.Columns = append(f.Columns, c)
	}
	if f.N > 0 && len(f.Columns) == 0 {
		d.fail("family %q: %d rows without columns", f.Family, f.N)
	}
	return f
}

func (d *decoder) column(family string, n int) Column {
	c := Column{Name: d.string("column")}
	kind, typ, form := d.byte(), d.byte(), d.byte()
	if d.err != nil {
		return c
	}
	for k, code := range kindCode {
		if code == kind {
			c.Kind = k
		}
	}
	for t, code := range typeCode {
		if code == typ {
			c.Type = t
		}
	}
	if c.Kind == "" || c.Type == "" || form > formFixed {
		d.fail("family %q column %q: kind %d, type %d, form %d", family, c.Name, kind, typ, form)
		return c
	}
	if d.cells += n; d.cells > MaxCells {
		d.fail("family %q column %q: more than %d cells", family, c.Name, MaxCells)
		return c
	}
	if form > formConst && len(d.b) < (n+7)/8 {
		d.fail("family %q column %q: truncated", family, c.Name)
		return c
	}
	if form == formAllNull {
		c.Null = make([]bool, n)
		for i := range c.Null {
			c.Null[i] = true
		}
	} else if d.bool() {
		c.Null = d.bits(n)
	}
	if d.err != nil {
		return c
	}
	switch c.Type {
	case catalog.Float:
		c.Floats = make([]float64, n)
	case catalog.Text:
		c.Texts = make([]string, n)
	default:
		c.Ints = make([]int64, n)
	}
	switch {
	case form == formAllNull:
	case form == formConst && c.Ints == nil:
		d.fail("family %q column %q: form %d for type %s", family, c.Name, form, c.Type)
	case form == formConst:
		v := d.varint()
		for i := range c.Ints {
			c.Ints[i] = v
		}
	default:
		for i := range n {
			if c.IsNull(i) {
				continue
			}
			switch {
			case c.Type == catalog.Float:
				c.Floats[i] = math.Float64frombits(d.fixed())
			case c.Type == catalog.Text:
				c.Texts[i] = d.string("value of " + c.Name)
			case form == formFixed:
				c.Ints[i] = int64(d.fixed())
			default:
				c.Ints[i] = d.varint()
			}
			if d.err != nil {
				return c
			}
		}
	}
	return c
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

func (d *decoder) bool() bool {
	x := d.byte()
	if x > 1 {
		d.fail("boolean %d", x)
	}
	return x == 1
}

func (d *decoder) lane() catalog.Lane {
	x := d.byte()
	for l, code := range laneCode {
		if code == x {
			return l
		}
	}
	d.fail("lane %d", x)
	return ""
}

func (d *decoder) fixed() uint64 {
	if len(d.b) < 8 {
		d.fail("truncated")
		return 0
	}
	x := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
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

func (d *decoder) string(what string) string {
	n := d.uvarint()
	if d.err != nil {
		return ""
	}
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
