package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// CopyTarget is a table that rows are copied into, in PostgreSQL's binary format.
type CopyTarget struct {
	Name   string
	Fields int
	sql    string
}

// NewCopyTarget names a table and its columns, in the order in which rows give them.
func NewCopyTarget(table string, columns ...string) *CopyTarget {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = Quote(c)
	}
	return &CopyTarget{Name: table, Fields: len(columns),
		sql: fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT binary)", Quote(table), strings.Join(quoted, ", "))}
}

// CopyRows are rows for a target: each made of AppendRow and Target.Fields fields.
type CopyRows struct {
	Target *CopyTarget
	N      int
	Data   []byte
}

var (
	copyHeader  = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	copyTrailer = []byte{0xff, 0xff}
)

// CopyAll copies rows, one COPY per target, in the order of the targets' names, so that
// two backends take their locks in the same order.
func CopyAll(ctx context.Context, conn *pgconn.PgConn, rows []CopyRows) error {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b CopyRows) int { return cmp.Compare(a.Target.Name, b.Target.Name) })
	for len(rows) > 0 {
		target, n := rows[0].Target, 0
		parts := [][]byte{copyHeader}
		for len(rows) > 0 && rows[0].Target == target {
			n += rows[0].N
			parts = append(parts, rows[0].Data)
			rows = rows[1:]
		}
		if n == 0 {
			continue
		}
		tag, err := conn.CopyFrom(ctx, &chunks{parts: append(parts, copyTrailer)}, target.sql)
		if err != nil {
			return fmt.Errorf("copy into %s: %w", target.Name, err)
		}
		if got := tag.RowsAffected(); got != int64(n) {
			return fmt.Errorf("copy into %s: %d rows stored, %d sent", target.Name, got, n)
		}
	}
	return nil
}

// chunks reads byte slices one after another, without joining them.
type chunks struct{ parts [][]byte }

func (c *chunks) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && len(c.parts) > 0 {
		k := copy(p[n:], c.parts[0])
		n += k
		if c.parts[0] = c.parts[0][k:]; len(c.parts[0]) == 0 {
			c.parts = c.parts[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// AppendRow begins a row of n fields.
func AppendRow(dst []byte, n int) []byte { return binary.BigEndian.AppendUint16(dst, uint16(n)) }

// AppendNull appends a NULL field.
func AppendNull(dst []byte) []byte { return append(dst, 0xff, 0xff, 0xff, 0xff) }

// AppendInt8 appends a bigint.
func AppendInt8(dst []byte, v int64) []byte {
	return append(dst, 0, 0, 0, 8, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// AppendInt2 appends a smallint.
func AppendInt2(dst []byte, v int16) []byte { return append(dst, 0, 0, 0, 2, byte(v>>8), byte(v)) }

// AppendFloat8 appends a double precision.
func AppendFloat8(dst []byte, v float64) []byte { return AppendInt8(dst, int64(math.Float64bits(v))) }

// AppendBool appends a boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 0, 0, 0, 1, 1)
	}
	return append(dst, 0, 0, 0, 1, 0)
}

// AppendText appends a text.
func AppendText(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// AppendJSONB appends a jsonb from its text.
func AppendJSONB(dst, text []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text)+1))
	return append(append(dst, 1), text...)
}

// Microseconds between the epochs of Unix and PostgreSQL, and PostgreSQL's range of timestamps.
const (
	pgEpoch  = 946_684_800_000_000
	minStamp = -211_813_488_000_000_000
	maxStamp = 9_223_371_331_200_000_000 - 1
)

// AppendTime appends a timestamptz from microseconds since the Unix epoch; what PostgreSQL
// cannot hold becomes an infinity.
func AppendTime(dst []byte, us int64) []byte {
	switch {
	case us < minStamp+pgEpoch:
		us = math.MinInt64
	case us-pgEpoch > maxStamp:
		us = math.MaxInt64
	default:
		us -= pgEpoch
	}
	return AppendInt8(dst, us)
}

// Array element types.
const (
	oidInt2 = 21
	oidInt4 = 23
)

func appendArray(dst []byte, oid uint32, width, n int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(20+n*(4+width)))
	dst = binary.BigEndian.AppendUint32(dst, 1) // dimensions
	dst = binary.BigEndian.AppendUint32(dst, 0) // no NULLs
	dst = binary.BigEndian.AppendUint32(dst, oid)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	return binary.BigEndian.AppendUint32(dst, 1) // lower bound
}

// AppendInt2Array appends a smallint[] of at least one element.
func AppendInt2Array(dst []byte, list []int16) []byte {
	dst = appendArray(dst, oidInt2, 2, len(list))
	for _, v := range list {
		dst = AppendInt2(dst, v)
	}
	return dst
}

// AppendInt4Array appends an integer[] of at least one element.
func AppendInt4Array(dst []byte, list []int32) []byte {
	dst = appendArray(dst, oidInt4, 4, len(list))
	for _, v := range list {
		dst = binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 4), uint32(v))
	}
	return dst
}

// SQLTime is the expression of a timestamptz from a bigint of microseconds since the Unix
// epoch; exact, unlike to_timestamp of a double.
func SQLTime(expr string) string {
	return "('epoch'::timestamptz + " + expr + " * interval '1 microsecond')"
}
