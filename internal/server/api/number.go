package api

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// appendScaled writes n wire units as a decimal number in documented units, exactly:
// scale 1000 gives three decimals.
func appendScaled(dst []byte, n, scale int64) []byte {
	if scale == 1 {
		return strconv.AppendInt(dst, n, 10)
	}
	u := uint64(n)
	if n < 0 {
		dst = append(dst, '-')
		u = -u
	}
	dst = strconv.AppendUint(dst, u/uint64(scale), 10)
	dst = append(dst, '.')
	rest := strconv.FormatUint(u%uint64(scale)+uint64(scale), 10) // with a leading 1, for the zeros
	return append(dst, rest[1:]...)
}

// Sums are values of additive columns in wire units, written in documented units
// with all their digits: what adds up here adds up in the answer.
type Sums struct {
	Columns []*catalog.Column
	Values  []int64
}

func (s Sums) append(dst []byte) []byte {
	for i, c := range s.Columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, c.Name...) // [a-z0-9_]
		dst = append(dst, '"', ':')
		dst = appendScaled(dst, s.Values[i], c.Scale())
	}
	return dst
}

// MarshalJSON implements json.Marshaler.
func (s Sums) MarshalJSON() ([]byte, error) {
	dst := make([]byte, 0, 32*len(s.Columns)+2)
	return append(s.append(append(dst, '{')), '}'), nil
}

// Item is a statement with its sums, as one object.
type Item struct {
	QueryID        string
	Query          *string
	Database, User string
	Trend          []float64 // NaN is null; nil: not asked for
	Sums           Sums
}

// MarshalJSON implements json.Marshaler.
func (it Item) MarshalJSON() ([]byte, error) {
	head, err := json.Marshal(struct {
		QueryID  string  `json:"query_id"`
		Query    *string `json:"query"`
		Database string  `json:"database"`
		User     string  `json:"user"`
		Trend    numbers `json:"trend,omitempty"`
	}{it.QueryID, it.Query, it.Database, it.User, it.Trend})
	if err != nil {
		return nil, err
	}
	if len(it.Sums.Columns) == 0 {
		return head, nil
	}
	head[len(head)-1] = ','
	return append(it.Sums.append(head), '}'), nil
}

// numbers are numbers of which NaN is null.
type numbers []float64

// MarshalJSON implements json.Marshaler.
func (n numbers) MarshalJSON() ([]byte, error) {
	dst := []byte{'['}
	for i, v := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendNumber(dst, v)
	}
	return append(dst, ']'), nil
}

func appendNumber(dst []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

// Point is a bucket's start in microseconds and its value: NaN is null; with Scale
// the value is Exact wire units.
type Point struct {
	Start int64
	Value float64
	Exact int64
	Scale int64
}

// MarshalJSON implements json.Marshaler.
func (p Point) MarshalJSON() ([]byte, error) {
	dst := append(make([]byte, 0, 40), '[')
	dst = appendSeconds(dst, p.Start)
	dst = append(dst, ',')
	if p.Scale > 0 && !math.IsNaN(p.Value) {
		dst = appendScaled(dst, p.Exact, p.Scale)
	} else {
		dst = appendNumber(dst, p.Value)
	}
	return append(dst, ']'), nil
}

// appendSeconds writes microseconds as seconds, without needless zeros.
func appendSeconds(dst []byte, us int64) []byte {
	if us%1_000_000 == 0 {
		return strconv.AppendInt(dst, us/1_000_000, 10)
	}
	dst = appendScaled(dst, us, 1_000_000)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// seconds gives microseconds since the Unix epoch as the API's Time. A double
// holds them to a quarter of a microsecond, and prints the microseconds.
func seconds(us int64) float64 { return float64(us) / 1e6 }

// maybe gives a time, nil when there is none.
func maybe(us int64) *float64 {
	if us == 0 {
		return nil
	}
	v := seconds(us)
	return &v
}

// known gives a number, nil when it is not known.
func known(v float64, ok bool) *float64 {
	if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// optional gives a text, nil when it is empty.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
