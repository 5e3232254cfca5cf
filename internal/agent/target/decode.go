package target

import (
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/pganalytics/pganalytics/internal/agent/target/redact"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// Types of the results, as catalog.Family.Query casts them.
const (
	oidBool        = 16
	oidInt8        = 20
	oidText        = 25
	oidFloat8      = 701
	oidTimestamptz = 1184
	oidInt8Array   = 1016
)

// microseconds from the Unix epoch to 2000-01-01, from where PostgreSQL counts.
const postgresEpoch = 946_684_800_000_000

const (
	// maxRows and maxTextBytes bound one result: a hostile server may send rows
	// without end.
	maxRows      = 250_000
	maxTextBytes = 32 << 20
)

// kind is how a column is decoded.
type kind uint8

const (
	isInt kind = iota
	isTime
	isBool
	isFloat
	isText
)

func kindsOf(f *catalog.Family) []kind {
	of := map[catalog.Type]kind{catalog.Int: isInt, catalog.Time: isTime, catalog.Bool: isBool, catalog.Float: isFloat, catalog.Text: isText}
	out := make([]kind, len(f.Columns))
	for i := range f.Columns {
		out[i] = of[f.Columns[i].Wire()]
	}
	return out
}

// rows is where the rows of one result go.
type rows struct {
	*buffer
	query *query
	known map[string]string
	texts int  // bytes
	same  bool // the row's name is that of the same row in the reading before
	// hidden are the pseudo rows, by (dbid, userid), of statements whose id we may
	// not see; see hide.
	hidden map[[2]int64]int
}

func newRows(q *query) *rows {
	return &rows{buffer: newBuffer(q.family), query: q, known: names.published()}
}

// add decodes one row into the columns.
func (r *rows) add(values [][]byte) error {
	cols := r.frame.Columns
	if len(values) != len(cols) {
		return failf(reasonFailed, "read "+r.query.family.Name, "%d columns, want %d", len(values), len(cols))
	}
	if r.frame.N >= maxRows {
		return failf(reasonTooBig, "read "+r.query.family.Name, "more than %d rows", maxRows)
	}
	if r.query.hides >= 0 && values[r.query.hides] == nil {
		return r.hide(values)
	}
	for i, v := range values {
		c := &cols[i]
		if v == nil {
			r.null(i)
			continue
		}
		if c.Null != nil {
			c.Null = append(c.Null, false)
		}
		switch r.query.kinds[i] {
		case isInt:
			if len(v) != 8 {
				return r.malformed(i, v)
			}
			c.Ints = append(c.Ints, int64(binary.BigEndian.Uint64(v)))
		case isText:
			s, err := r.text(i, v, values)
			if err != nil {
				return err
			}
			c.Texts = append(c.Texts, s)
		case isFloat:
			if len(v) != 8 {
				return r.malformed(i, v)
			}
			c.Floats = append(c.Floats, math.Float64frombits(binary.BigEndian.Uint64(v)))
		case isBool:
			if len(v) != 1 {
				return r.malformed(i, v)
			}
			c.Ints = append(c.Ints, int64(v[0]))
		case isTime:
			if len(v) != 8 {
				return r.malformed(i, v)
			}
			t := int64(binary.BigEndian.Uint64(v))
			if t == math.MaxInt64 || t == math.MinInt64 {
				if c.Null != nil {
					c.Null = c.Null[:len(c.Null)-1]
				}
				r.null(i) // infinity is no moment
				continue
			}
			c.Ints = append(c.Ints, t+postgresEpoch)
		}
	}
	r.frame.N++
	return nil
}

func (r *rows) malformed(i int, v []byte) error {
	return failf(reasonFailed, "read "+r.query.family.Name, "column %s: a value of %d bytes", r.frame.Columns[i].Name, len(v))
}

// null appends a NULL to column i.
func (r *rows) null(i int) {
	c := &r.frame.Columns[i]
	switch r.query.kinds[i] {
	case isFloat:
		c.Floats = append(c.Floats, 0)
	case isText:
		c.Texts = append(c.Texts, "")
	default:
		c.Ints = append(c.Ints, 0)
	}
	if c.Null == nil {
		c.Null = r.nulls[i][:0]
		r.nulls[i] = nil
		for range r.frame.N {
			c.Null = append(c.Null, false)
		}
	}
	c.Null = append(c.Null, true)
}

// text decodes a string: masked where it may hold a password, valid UTF-8 (names
// in shared catalogs have the encoding of whichever database they were made in),
// one copy of short ones.
func (r *rows) text(i int, v []byte, row [][]byte) (string, error) {
	r.texts += len(v)
	if r.texts > maxTextBytes {
		return "", failf(reasonTooBig, "read "+r.query.family.Name, "more than %d bytes of text", maxTextBytes)
	}
	redacts := r.query.family.Columns[i].Redact
	if was := r.was[i]; r.frame.N < len(was) && was[r.frame.N] == string(v) {
		// What is masked differs from what it was, so it isn't masked: unless the
		// value stood beside another name.
		r.same = i == r.query.named || r.same
		if !redacts || r.query.named < 0 || r.same {
			return was[r.frame.N], nil
		}
	} else if i == r.query.named {
		r.same = false
	}
	if len(v) == 0 {
		return "", nil
	}
	if redacts {
		name := ""
		if r.query.named >= 0 {
			name = unsafe.String(unsafe.SliceData(row[r.query.named]), len(row[r.query.named]))
		}
		if m, changed := redact.Value(name, unsafe.String(unsafe.SliceData(v), len(v))); changed {
			return valid(m), nil
		}
	}
	if len(v) > maxInterned {
		return valid(string(v)), nil
	}
	if s, ok := r.known[string(v)]; ok {
		return s, nil
	}
	if !utf8.Valid(v) {
		return valid(string(v)), nil
	}
	return names.add(v), nil
}

func valid(s string) string { return strings.ToValidUTF8(s, "�") }

// hide adds a statement whose id we may not see to the pseudo row of its database
// and user: PostgreSQL gives its counters, but nothing to tell it by.
func (r *rows) hide(values [][]byte) error {
	var key [2]int64
	for k, col := range r.query.hidden {
		if v := values[col]; len(v) == 8 {
			key[k] = int64(binary.BigEndian.Uint64(v))
		}
	}
	if r.hidden == nil {
		r.hidden = map[[2]int64]int{}
	}
	row, seen := r.hidden[key]
	if !seen {
		row = r.frame.N
		r.hidden[key] = row
	}
	for i := range r.frame.Columns {
		c := &r.frame.Columns[i]
		kind := c.Kind
		sum := kind == catalog.Counter
		keep := i == r.query.hidden[0] || i == r.query.hidden[1]
		v := values[i]
		switch {
		case seen && (!sum || v == nil):
		case seen:
			if len(v) != 8 {
				return r.malformed(i, v)
			}
			c.Ints[row] += int64(binary.BigEndian.Uint64(v))
			if c.Null != nil {
				c.Null[row] = false
			}
		case (sum || keep) && v != nil:
			if len(v) != 8 {
				return r.malformed(i, v)
			}
			c.Ints = append(c.Ints, int64(binary.BigEndian.Uint64(v)))
			if c.Null != nil {
				c.Null = append(c.Null, false)
			}
		default:
			r.null(i)
		}
	}
	if !seen {
		r.frame.N++
	}
	return nil
}

// done gives the frame.
func (r *rows) done(database string, at int64) *frame.Frame {
	f := &r.frame
	f.Database, f.At = database, at
	return f
}
