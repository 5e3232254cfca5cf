package spool_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/spool"
)

// BenchmarkAppend appends a batch of 30 KB with a baseline of 4 KB on the real disk,
// alone and as many workers do; what is appended is acknowledged.
func BenchmarkAppend(b *testing.B) {
	for _, workers := range []int{1, 4, 32} {
		b.Run(fmt.Sprint("workers ", workers), func(b *testing.B) {
			s, _, err := spool.Open(b.Context(), spool.OS{}, b.TempDir(), spool.Options{MaxSize: 256 << 20})
			if err != nil {
				b.Fatal(err)
			}
			data, base, gap := bytes.Repeat([]byte("0123456789abcdef"), 2000), bytes.Repeat([]byte("b"), 4000), bytes.Repeat([]byte("g"), 300)
			b.SetBytes(int64(len(data) + len(base) + len(gap)))
			b.ReportAllocs()
			var worker atomic.Int64
			b.SetParallelism(max(workers/2, 1)) // times GOMAXPROCS
			if workers == 1 {
				for i := range b.N {
					appendOne(b, s, "k", data, base, gap, i)
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					key := fmt.Sprint("key ", worker.Add(1))
					for i := 0; pb.Next(); i++ {
						appendOne(b, s, key, data, base, gap, i)
					}
				})
			}
			b.StopTimer()
			st := s.Stats()
			b.ReportMetric(float64(st.Syncs)/float64(st.Appends), "syncs/op")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func appendOne(b *testing.B, s *spool.Spool, key string, data, base, gap []byte, i int) {
	id, err := s.Append(b.Context(), func(_, _ spool.ID) (spool.Record, error) {
		full := s.WantFull(key)
		patch := base
		if !full {
			patch = base[:200]
		}
		return spool.Record{Data: data, Gap: gap, Baselines: []spool.Baseline{{Key: key, Full: full, Data: patch}}}, nil
	})
	if err != nil {
		b.Fatal(err)
	}
	s.Ack(id)
}

// BenchmarkOpen recovers 200 MB: 6,000 batches of 30 KB and 1,000 baselines.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s, _, err := spool.Open(b.Context(), spool.OS{}, dir, spool.Options{})
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 2000)
	for i := range 6000 {
		key := fmt.Sprint("key ", i%1000)
		if _, err := s.Append(b.Context(), func(_, _ spool.ID) (spool.Record, error) {
			return spool.Record{Data: data, Gap: data[:300], Baselines: []spool.Baseline{{Key: key, Full: s.WantFull(key), Data: data[:1000]}}}, nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(6000 * 33000)
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		s, rec, err := spool.Open(b.Context(), spool.OS{}, dir, spool.Options{})
		if err != nil || rec.Pending != 6000 {
			b.Fatal(rec, err)
		}
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/open")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
