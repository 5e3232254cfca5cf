package counter_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// statements makes readings of n statements at extension version 1.11, of which a
// part is executed between two of them.
func statements(f *catalog.Family, n, readings int, part float64) []counter.Reading {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	var rows []row
	for i := range n {
		r := row{"dbid": 5, "userid": 10 + i%3, "queryid": random.Int64(), "toplevel": 1, "stats_since": 1_700_000_000_000_000 + i}
		for _, c := range f.OfKind(catalog.Counter) {
			if c.Expr.At(111) != "" {
				r[c.Name] = random.Int64N(1_000_000)
			}
		}
		rows = append(rows, r)
	}
	var out []counter.Reading
	for at := range readings {
		for _, r := range rows {
			if random.Float64() < part {
				for _, name := range []string{"calls", "total_exec_time", "rows", "shared_blks_hit", "shared_blks_read", "wal_records", "wal_bytes"} {
					r[name] = number(r[name]) + random.Int64N(10_000)
				}
			}
		}
		res := reading(f, int64(at+1)*10*second, rows...)
		res.Proof = counter.Proof{Valid: true, Reset: 1}
		out = append(out, res)
	}
	return out
}

// BenchmarkCount counts readings of all columns of statements; cells are rows x
// counters that the version has.
func BenchmarkCount(b *testing.B) {
	f := lookup(b, "statements")
	cells := 0
	for _, c := range f.OfKind(catalog.Counter) {
		if c.Expr.At(111) != "" {
			cells++
		}
	}
	for _, n := range []int{120, 1000} {
		for _, limit := range []int{0, 100} {
			b.Run(fmt.Sprintf("rows=%d/limit=%d", n, limit), func(b *testing.B) {
				list := statements(f, n, 16, 0.4)
				base := counter.Count(f, nil, list[0], counter.Options{Limit: limit}).Baseline
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					i++
					r := list[i%len(list)]
					r.Frame.At = int64(i+1) * 10 * second
					res := counter.Count(f, base, r, counter.Options{Limit: limit})
					if i%len(list) == 0 {
						continue // readings begin again: counters would fall
					}
					base = res.Baseline
					base.Settle()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n*cells), "ns/cell")
			})
		}
	}
}

// BenchmarkAppend writes baselines, as the spool does for every batch.
func BenchmarkAppend(b *testing.B) {
	f := lookup(b, "statements")
	for _, n := range []int{120, 1000} {
		list := statements(f, n, 2, 0.4)
		first := counter.Count(f, nil, list[0], counter.Options{}).Baseline
		base := counter.Count(f, first, list[1], counter.Options{}).Baseline
		for name, write := range map[string]func([]byte) []byte{"full": base.AppendFull, "patch": base.AppendPatch} {
			b.Run(fmt.Sprintf("%s/rows=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				var buf []byte
				for b.Loop() {
					buf = write(buf[:0])
				}
				b.ReportMetric(float64(len(buf)), "bytes")
			})
		}
	}
}
