package spool_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/agent/spool"
)

// TestModelLoss damages the spool once. What a damaged record held is lost, and the
// backend learns which part of which counter that was: nothing is missing in silence.
func TestModelLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		m.damage = true
		hurt := false
		damage := func(t *rapid.T) {
			if hurt {
				return
			}
			m.s = nil
			m.disk.Kill()
			var files []spool.FileInfo
			for _, f := range m.disk.Files(dir + "/") {
				if strings.HasSuffix(f.Name, ".seg") && f.Size > 0 {
					files = append(files, f)
				}
			}
			if len(files) == 0 {
				return
			}
			hurt = true
			f := rapid.SampledFrom(files).Draw(t, "file")
			data := m.bytes(f.Name, f.Size)
			at := rapid.Int64Range(0, f.Size-1).Draw(t, "at")
			if rapid.Bool().Draw(t, "flip") {
				data[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			} else {
				clear(data[at : at+rapid.Int64Range(1, min(4096, f.Size-at)).Draw(t, "zeroes")])
			}
			m.disk.Put(f.Name, data)
			m.open()
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": m.Append, "append2": m.Append, "append3": m.Append, "append4": m.Append,
			"ship": m.Ship, "flush": m.Flush, "wait": m.Wait, "kill": m.Kill, "damage": damage,
			"": m.check,
		})
		// A cut group is counted again by the next batch.
		for m.s == nil {
			m.open()
		}
		for _, err := range m.appendGroup([][]string{m.keys}, []int{0}, false) {
			if err != nil {
				t.Fatalf("append: %v", err)
			}
		}
		m.drain()
		m.accounted()
	})
}
