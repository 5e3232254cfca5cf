package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

const epoch2000 = 946_684_800_000_000

// Micros is a timestamptz as microseconds since the Unix epoch: what ticks are
// counted in. Infinities become the extremes of int64.
type Micros int64

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (m *Micros) ScanTimestamptz(v pgtype.Timestamptz) error {
	switch {
	case !v.Valid:
		return errors.New("NULL for a time that must be there")
	case v.InfinityModifier == pgtype.Infinity:
		*m = math.MaxInt64
	case v.InfinityModifier == pgtype.NegativeInfinity:
		*m = math.MinInt64
	default:
		*m = Micros(v.Time.UnixMicro())
	}
	return nil
}

// TimestamptzValue implements pgtype.TimestamptzValuer.
func (m Micros) TimestamptzValue() (pgtype.Timestamptz, error) {
	switch m {
	case math.MaxInt64:
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}, nil
	case math.MinInt64:
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, nil
	}
	return pgtype.Timestamptz{Time: time.UnixMicro(int64(m)), Valid: true}, nil
}

// Array gives the elements of a timestamptz[] (scanned as pgtype.UndecodedBytes)
// as microseconds since the Unix epoch, without making times of them: a day of a
// fleet holds a million. dst is used again.
func Array(dst []int64, src []byte) ([]int64, error) {
	dst = dst[:0]
	if len(src) < 12 {
		return nil, fmt.Errorf("array of %d bytes", len(src))
	}
	switch dims := binary.BigEndian.Uint32(src); {
	case dims == 0:
		return dst, nil
	case dims != 1 || len(src) < 20:
		return nil, fmt.Errorf("array of %d dimensions in %d bytes", dims, len(src))
	}
	n := int(binary.BigEndian.Uint32(src[12:]))
	src = src[20:]
	if len(src) != n*12 {
		return nil, fmt.Errorf("array of %d times in %d bytes", n, len(src))
	}
	for ; len(src) > 0; src = src[12:] {
		dst = append(dst, int64(binary.BigEndian.Uint64(src[4:]))+epoch2000)
	}
	return dst, nil
}
