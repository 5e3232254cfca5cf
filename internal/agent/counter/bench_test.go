package counter_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// statements makes a reading of n statements at extension version 1.11.
func statements(f *catalog.Family, n int) counter.Reading {
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
	out := reading(f, 10*second, rows...)
	out.Proof = counter.Proof{Valid: true, Reset: 1}
	return out
}

// execute moves some counters of two rows in five, and the clock.
func execute(r *counter.Reading) {
	r.Frame.At += 10 * second
	for k, name := range []string{"calls", "total_exec_time", "rows", "shared_blks_hit", "shared_blks_read", "wal_records", "wal_bytes"} {
		c := r.Frame.Column(name)
		for i := range c.Ints {
			if i%5 < 2 {
				c.Ints[i] += int64(1 + (i*7919+k*104729)%10_000)
			}
		}
	}
}

// BenchmarkCount counts readings of all columns of statements; cells are rows x
// counters that the version has.
//
// What it costs is mostly memory: one slab for the baseline, one for the rows sent.
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
				r := statements(f, n)
				base := counter.Count(f, nil, r, counter.Options{Limit: limit}).Baseline
				b.ReportAllocs()
				for b.Loop() {
					execute(&r)
					base = counter.Count(f, base, r, counter.Options{Limit: limit}).Baseline
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
		r := statements(f, n)
		first := counter.Count(f, nil, r, counter.Options{}).Baseline
		execute(&r)
		base := counter.Count(f, first, r, counter.Options{}).Baseline
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
