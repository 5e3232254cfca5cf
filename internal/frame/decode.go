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
	seen  map[string]bool // names of the columns of one frame
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
		s := Schedule{Family: d.name("family"), Database: d.string("database"), Lane: d.lane(), From: d.varint(), Until: d.varint(), Every: d.varint(),
			Reason: d.string("reason"), Limit: d.string("limit"), Detail: d.string("detail"), Remedy: d.string("remedy")}
		for range d.count("absent columns", MaxColumns) {
			s.Absent = append(s.Absent, d.name("absent column"))
		}
		if d.err != nil {
			return b
		}
		b.Schedules = append(b.Schedules, s)
	}
	for range d.count("outcomes", MaxItems) {
		o := Outcome{Family: d.name("family"), Database: d.string("database"), Lane: d.lane(), Code: Code(d.byte())}
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
		u := Unobserved{Family: d.name("family"), Database: d.string("database"), Reason: d.string("reason"), Since: d.varint(), At: d.varint(), Detail: d.string("detail")}
		for range d.count("upper bounds", MaxColumns) {
			if u.Upper == nil {
				u.Upper = map[string]int64{}
			}
			name := d.name("column")
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
	f := Frame{Family: d.name("family"), Database: d.string("database"), Part: Part(d.byte())}
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
	columns := d.count("columns", MaxColumns)
	if d.seen == nil {
		d.seen = map[string]bool{}
	}
	clear(d.seen)
	f.Columns = make([]Column, 0, min(columns, 64))
	for range columns {
		c := d.column(f.Family, f.N)
		if d.err == nil && d.seen[c.Name] {
			d.fail("family %q: column %q twice", f.Family, c.Name)
		}
		if d.err != nil {
			return f
		}
		d.seen[c.Name] = true
		f.Columns = append(f.Columns, c)
	}
	if f.N > 0 && len(f.Columns) == 0 {
		d.fail("family %q: %d rows without columns", f.Family, f.N)
	}
	return f
}

func (d *decoder) column(family string, n int) Column {
	c := Column{Name: d.name("column")}
	head := d.byte()
	typ, form := head>>2&7, head>>5
	if d.err == nil && (int(typ) >= len(types) || form >= forms) {
		d.fail("family %q column %q: type %d, form %d", family, c.Name, typ, form)
	}
	if d.cells += n; d.err == nil && d.cells > MaxCells {
		d.fail("family %q column %q: more than %d cells", family, c.Name, MaxCells)
	}
	if d.err != nil {
		return c
	}
	c.Kind, c.Type = kinds[head&3], types[typ]
	isInt := c.Type != catalog.Float && c.Type != catalog.Text
	values := n // that follow, one by one
	switch form {
	case formNull:
		c.Null = make([]bool, n)
		for i := range c.Null {
			c.Null[i] = true
		}
		values = 0
	case formConst:
		values = min(n, 1)
	case formValuesNull, formFixedNull:
		c.Null = d.bits(n)
		for _, null := range c.Null {
			if null {
				values--
			}
		}
	case formSparse:
		values = (n + 7) / 8
	}
	width := 1 // a value takes at least that
	if form == formFixed || form == formFixedNull {
		width = 8
	}
	if d.err == nil && values > len(d.b)/width {
		d.fail("family %q column %q: truncated", family, c.Name)
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
	case form == formNull:
	case form == formConst && n == 0,
		form == formSparse && !isInt,
		c.Type == catalog.Float && width == 1,
		c.Type == catalog.Text && width == 8:
		d.fail("family %q column %q: form %d for %d values of type %s", family, c.Name, form, n, c.Type)
	case c.Type == catalog.Float:
		for i := range c.Floats {
			if c.Null == nil || !c.Null[i] {
				c.Floats[i] = math.Float64frombits(d.fixed())
			}
		}
	case c.Type == catalog.Text && form == formConst:
		v := d.string(c.Name)
		for i := range c.Texts {
			c.Texts[i] = v
		}
	case c.Type == catalog.Text:
		d.texts(&c)
	case form == formConst:
		v := d.varint()
		for i := range c.Ints {
			c.Ints[i] = v
		}
	case form == formSparse:
		d.sparse(c.Ints)
	case width == 8:
		for i := range c.Ints {
			if c.Null == nil || !c.Null[i] {
				c.Ints[i] = int64(d.fixed())
			}
		}
	default:
		d.ints(&c)
	}
	return c
}

func (d *decoder) ints(c *Column) {
	least := d.varint()
	b := d.b
	for i := range c.Ints {
		if c.Null != nil && c.Null[i] {
			continue
		}
		var x uint64
		if len(b) > 0 && b[0] < 0x80 {
			x, b = uint64(b[0]), b[1:]
		} else {
			var n int
			if x, n = binary.Uvarint(b); n <= 0 {
				d.fail("column %q: bad number", c.Name)
				return
			}
			b = b[n:]
		}
		c.Ints[i] = int64(uint64(least) + x)
	}
	d.b = b
}

func (d *decoder) sparse(ints []int64) {
	bits := d.b[:(len(ints)+7)/8]
	d.b = d.b[len(bits):]
	for i := range ints {
		if bits[i/8]&(1<<(i%8)) != 0 {
			if ints[i] = int64(d.uvarint()); ints[i] <= 0 && d.err == nil {
				d.fail("a sparse column with %d", ints[i])
			}
			if d.err != nil {
				return
			}
		}
	}
}

// texts reads strings; the same one again, as it comes in names, is kept once.
func (d *decoder) texts(c *Column) {
	last := ""
	for i := range c.Texts {
		if c.Null != nil && c.Null[i] {
			continue
		}
		if n, size := binary.Uvarint(d.b); size > 0 && n == uint64(len(last)) && uint64(len(d.b)-size) >= n && string(d.b[size:size+len(last)]) == last {
			d.b = d.b[size+len(last):]
		} else if last = d.string(c.Name); d.err != nil {
			return
		}
		c.Texts[i] = last
	}
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
	if x == 0 || int(x) >= len(lanes) {
		d.fail("lane %d", x)
		return ""
	}
	return lanes[x]
}

// name reads a name that appendName wrote.
func (d *decoder) name(what string) string {
	n := d.uvarint()
	switch {
	case d.err != nil:
		return ""
	case n == 0:
		return d.string(what)
	case n > uint64(len(names)):
		d.fail("%s: no name has the number %d", what, n)
		return ""
	}
	return names[n-1]
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
