package spool_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Two damages before one restart: a delivered record, and all that was written after
// its group. What is left of the group looks like a write that a crash cut, whose
// counts nobody was told of; counting them again would double them.
func TestDamageAfterDamageDoublesNothing(t *testing.T) {
	for _, tail := range []string{"zeroed", "flipped"} {
		for lost := range 2 {
			for _, crash := range []bool{false, true} {
				w := newWorld(t.Fatalf, func(int) int { return 0 })
				w.damage = true
				w.open()
				grow := func() {
					for _, key := range []string{"a", "b"} {
						w.counts[key] += 3
					}
				}
				put := func(batches ...[]string) {
					grow()
					for _, err := range w.appendGroup(batches, make([]int, len(batches)), false) {
						if err != nil {
							t.Fatal(err)
						}
					}
				}
				put([]string{"a", "b"})
				name, from := w.lastSegment()
				put([]string{"a"}, []string{"b"})
				_, behind := w.lastSegment()
				w.ship(t.Context())
				w.s.Flush() // the acknowledgements
				w.disk.Kill()
				_, size := w.lastSegment()
				data := w.bytes(name, size)
				first := from + recordSize(data[from:])
				at := []int64{from, first}[lost]
				data[at+20] ^= 4
				for i := behind; i < int64(len(data)); i++ {
					if tail == "zeroed" {
						data[i] = 0
					} else if (i-behind)%16 == 0 {
						data[i] ^= 1
					}
				}
				w.disk.Put(name, data)
				if crash { // before anything is written down of what was found
					w.disk.CrashAt(12)
					w.open()
					w.disk.Kill()
				}
				w.s = nil
				w.open()
				put([]string{"a", "b"})
				put([]string{"a", "b"})
				w.drain() // fails when something was stored twice
				if n := w.counts["a"]; !slices.ContainsFunc(w.stored["a"], func(s span) bool { return s.to == n }) {
					t.Errorf("%s, record %d: what was counted since was not stored: %v", tail, lost, w.stored)
				}
			}
		}
	}
}

// recordSize reads the length of a record from its header.
func recordSize(b []byte) int64 {
	u32 := func(i int) int64 { return int64(b[i]) | int64(b[i+1])<<8 | int64(b[i+2])<<16 | int64(b[i+3])<<24 }
	return 52 + u32(8) + u32(12)
}

// lastSegment is the file written to, and its size.
func (w *world) lastSegment() (name string, size int64) {
	for _, f := range w.disk.Files(dir + "/") {
		if strings.HasSuffix(f.Name, ".seg") && f.Size > 0 {
			name, size = f.Name, f.Size
		}
	}
	return name, size
}

func (w *world) bytes(name string, size int64) []byte {
	b := make([]byte, size)
	f, err := w.disk.Open(name)
	if err == nil {
		_, err = f.ReadAt(b, 0)
	}
	if err != nil {
		w.fail("read %s: %v", name, err)
	}
	return b
}

// ship delivers and acknowledges all.
func (w *world) ship(ctx context.Context) {
	items, err := w.s.Next(ctx, 50, 1<<20, nil)
	if err != nil {
		w.fail("next: %v", err)
	}
	for _, it := range items {
		w.deliver(it)
		w.ack(it)
	}
}

// Any number of flipped bits and zeroed ranges in one file, among others that are
// sound, double nothing.
func TestModelManyDamages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		m.damage = true
		hurt := func(t *rapid.T) {
			m.s = nil
			m.disk.Kill()
			name, size := m.lastSegment()
			if name == "" {
				return
			}
			data := m.bytes(name, size)
			for range rapid.IntRange(1, 5).Draw(t, "damages") {
				at := rapid.Int64Range(0, size-1).Draw(t, "at")
				if rapid.Bool().Draw(t, "flip") {
					data[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
					continue
				}
				n := rapid.Int64Range(1, min(512, size-at)).Draw(t, "zeroes")
				clear(data[at : at+n])
			}
			m.disk.Put(name, data)
			m.open()
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": m.Append, "append2": m.Append, "append3": m.Append, "append4": m.Append,
			"ship": m.Ship, "ship2": m.Ship, "flush": m.Flush, "wait": m.Wait, "hurt": hurt,
			"": m.check,
		})
		m.drain()
	})
}
