package spool_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/pganalytics/pganalytics/internal/agent/spool"
	"github.com/pganalytics/pganalytics/internal/agent/spool/simdisk"
)

// sample is a spool with everything in it, as names and bytes.
func sample(tb testing.TB) (*simdisk.Disk, []spool.FileInfo) {
	disk := simdisk.New(rand.New(rand.NewPCG(1, 2)).IntN)
	s, _, err := spool.Open(tb.Context(), disk, dir, spool.Options{MaxSize: 256 << 10, SegmentSize: 2 << 10})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range 30 {
		id, err := s.Append(tb.Context(), func(id, _ spool.ID) (spool.Record, error) {
			return spool.Record{
				Tick: int64(i), Data: []byte(strings.Repeat("d", 50*(i%5))), Gap: []byte("g"),
				Baselines: []spool.Baseline{{Key: fmt.Sprint("k", i%3), Full: i < 3 || i%16 == 0, Data: fmt.Append(nil, i)}},
			}, nil
		})
		if err != nil {
			tb.Fatal(err)
		}
		switch i % 7 {
		case 2:
			_, err = s.Next(tb.Context(), 2, 1<<20, nil)
		case 3:
			s.Ack(id)
		case 4:
			err = s.Refuse(id, "poison")
		case 5:
			err = s.Forget(tb.Context(), "k1")
			_, _ = s.Append(tb.Context(), func(id, _ spool.ID) (spool.Record, error) {
				return spool.Record{Baselines: []spool.Baseline{{Key: "k1", Full: true, Data: []byte("new")}}}, nil
			})
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	var files []spool.FileInfo
	for _, f := range disk.Files(dir + "/") {
		if strings.HasSuffix(f.Name, ".seg") && f.Size > 0 {
			files = append(files, f)
		}
	}
	return disk, files
}

// FuzzOpen puts arbitrary bytes into a segment among sound ones: Open takes it, what
// it offers can be used, and memory stays small.
func FuzzOpen(f *testing.F) {
	disk, files := sample(f)
	for i, file := range files {
		data, err := spool.ReadFile(disk, file.Name, 1<<20)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), uint16(0), data)
		f.Add(uint8(i), uint16(60), data[:len(data)/2])
		f.Add(uint8(i), uint16(len(data)), data)
		f.Add(uint8(i), uint16(10), []byte{0x9e, 'P', 'g', 0xa7, 1, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	}
	f.Fuzz(func(t *testing.T, which uint8, off uint16, patch []byte) {
		d := disk.Clone()
		file := files[int(which)%len(files)]
		data, err := spool.ReadFile(d, file.Name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		at := min(int(off), len(data))
		data = append(data[:at:at], append(patch, data[min(at+len(patch), len(data)):]...)...)
		d.Put(file.Name, data)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, rec, err := spool.Open(t.Context(), d, dir, spool.Options{MaxSize: 256 << 10, SegmentSize: 2 << 10})
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20+8*uint64(len(data)) {
			t.Errorf("%d bytes allocated for a file of %d", n, len(data))
		}
		if msg := s.Check(); msg != "" {
			t.Error(msg)
		}
		for _, key := range rec.Keys {
			if _, _, err := s.Baseline(key); err != nil {
				t.Error(err)
			}
		}
		for {
			items, err := s.Next(t.Context(), 100, 1<<20, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(items) == 0 {
				break
			}
			for _, it := range items {
				s.Ack(it.ID)
			}
		}
		if _, err := s.Append(t.Context(), func(_, _ spool.ID) (spool.Record, error) {
			return spool.Record{Data: []byte("more")}, nil
		}); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
