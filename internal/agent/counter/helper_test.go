package counter_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// row is one row of a reading by column: int64, float64, string, or absent for NULL.
type row map[string]any

// reading makes a reading of rows; at in microseconds.
func reading(f *catalog.Family, at int64, rows ...row) counter.Reading {
	fr := &frame.Frame{Family: f.Name, Database: "shop", At: at, N: len(rows)}
	for i := range f.Columns {
		decl := &f.Columns[i]
		c := frame.Column{Name: decl.Name, Kind: decl.Kind, Type: decl.Wire()}
		nulls := make([]bool, len(rows))
		for r, values := range rows {
			v, ok := values[decl.Name]
			nulls[r] = !ok
			switch c.Type {
			case catalog.Text:
				s, _ := v.(string)
				c.Texts = append(c.Texts, s)
			case catalog.Float:
				x, _ := v.(float64)
				c.Floats = append(c.Floats, x)
			default:
				c.Ints = append(c.Ints, number(v))
			}
		}
		if slices.Contains(nulls, true) {
			c.Null = nulls
		}
		fr.Columns = append(fr.Columns, c)
	}
	return counter.Reading{Frame: fr, SystemID: 7, PostmasterStart: 1}
}

func number(v any) int64 {
	switch v := v.(type) {
	case int:
		return int64(v)
	case int64:
		return v
	case bool:
		if v {
			return 1
		}
	}
	return 0
}

// rowsOf gives a frame's rows, NULLs absent.
func rowsOf(fr *frame.Frame) []row {
	out := make([]row, fr.N)
	for i := range out {
		out[i] = row{}
		for k := range fr.Columns {
			c := &fr.Columns[k]
			switch {
			case c.IsNull(i):
			case c.Type == catalog.Text:
				out[i][c.Name] = c.Texts[i]
			case c.Type == catalog.Float:
				out[i][c.Name] = c.Floats[i]
			default:
				out[i][c.Name] = c.Ints[i]
			}
		}
	}
	return out
}

// sums adds up a result's counters, rows and cut.
func sums(into map[string]int64, res counter.Result) {
	for i := range res.Frames {
		for k := range res.Frames[i].Columns {
			c := &res.Frames[i].Columns[k]
			if c.Kind != catalog.Counter {
				continue
			}
			for n, v := range c.Ints {
				if v < 0 {
					panic(fmt.Sprintf("%s = %d is negative", c.Name, v))
				}
				if c.IsNull(n) && v != 0 {
					panic(c.Name + " is NULL and not 0")
				}
				into[c.Name] += v
			}
		}
	}
}

func reasons(res counter.Result) []string {
	out := []string{}
	for _, u := range res.Unobserved {
		out = append(out, u.Reason)
	}
	slices.Sort(out)
	return out
}

// recode sends a baseline through the disk: full, or full and patch.
func recode(t testing.TB, f *catalog.Family, full []byte, patches ...[]byte) *counter.Baseline {
	t.Helper()
	b, err := counter.Decode(f, full, patches...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func lookup(t testing.TB, name string) *catalog.Family {
	t.Helper()
	f := catalog.Lookup(name)
	if f == nil {
		t.Fatalf("no family %q", name)
	}
	return f
}

func with(r row, more row) row {
	out := maps.Clone(r)
	maps.Copy(out, more)
	return out
}
