package counter_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// plain is row i of a family's reading; n moves what may move, every fifth row has
// NULLs.
func plain(f *catalog.Family, i, n int) row {
	out := row{}
	for k := range f.Columns {
		c := &f.Columns[k]
		v := i
		switch {
		case c.Kind != catalog.Key && i%5 == 0 && k%3 == 0:
			continue
		case c.Kind == catalog.Counter:
			v = i + n*(k+1)
		case c.Kind == catalog.Gauge && i%2 == 0:
			v = i + n
		case c.Kind == catalog.Reset:
			v = 1
		}
		switch c.Wire() {
		case catalog.Text:
			out[c.Name] = fmt.Sprint(c.Name, v)
		case catalog.Float:
			out[c.Name] = float64(v)
		case catalog.Bool:
			out[c.Name] = v%2 == 1
		default:
			out[c.Name] = v
		}
	}
	return out
}

// Memory that is given back changes nothing of what is counted, whatever it held.
func TestFreedMemory(t *testing.T) {
	for _, name := range []string{"statements", "settings", "tables"} {
		f := lookup(t, name)
		count := func(free bool) (out [][]row) {
			var base *counter.Baseline
			for n := range 40 {
				size := 50 + n*7%40 // rows come and go
				rows := make([]row, 0, size)
				for i := range size {
					rows = append(rows, plain(f, i, n/3*n))
				}
				res := counter.Count(f, base, reading(f, int64(n+1)*10*second, rows...), counter.Options{Limit: 30})
				for i := range res.Frames {
					out = append(out, rowsOf(&res.Frames[i]))
				}
				res.Baseline.Settle()
				if free {
					res.Memory.Free()
					if base != nil {
						base.Free()
					}
				}
				base = res.Baseline
			}
			return out
		}
		if diff := cmp.Diff(count(false), count(true)); diff != "" {
			t.Errorf("%s: frames differ when memory is used again (- kept, + used again):\n%s", name, diff)
		}
	}
}

// A State family that says the same keeps its memory, and a change is still seen.
func TestSameSettings(t *testing.T) {
	f := lookup(t, "settings")
	rows := []row{plain(f, 1, 1), plain(f, 2, 1), plain(f, 3, 1)}
	base := counter.Count(f, nil, reading(f, 10*second, rows...), counter.Options{}).Baseline
	base.Settle()
	res := counter.Count(f, base, reading(f, 20*second, rows...), counter.Options{})
	if res.Items != 0 {
		t.Fatalf("%d rows sent though nothing changed", res.Items)
	}
	res.Baseline.Settle()
	base.Free() // its memory is the new one's too
	rows[1] = plain(f, 2, 7)
	res = counter.Count(f, res.Baseline, reading(f, 30*second, rows...), counter.Options{})
	if res.Items != 1 {
		t.Errorf("%d rows sent, want the one that changed", res.Items)
	}
}
