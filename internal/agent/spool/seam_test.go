package spool_test

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
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

// remarks are the lines of a batch or gap that name a part of a counter, from < x <= to.
func remarks(data []byte, word string) spans {
	s := spans{}
	for line := range strings.Lines(string(data)) {
		var what, key string
		var n span
		if _, err := fmt.Sscanf(line, "# %s %s %d %d\n", &what, &key, &n.from, &n.to); err == nil && what == word {
			s[key] = append(s[key], n)
		}
	}
	return s
}

// see notes what the backend is told that nobody knows.
func (w *world) see(data []byte) {
	for key, list := range remarks(data, "unseen") {
		for _, n := range list {
			if n.from < n.to {
				w.unseen.add(spans{key: {n}})
			}
		}
	}
}

// lost is spool.Options.Lost: what a key's next batch does not go on from is lost.
func (w *world) lost(seams iter.Seq[spool.Seam]) (gap []byte) {
	for m := range seams {
		from, known := before(m)
		data := append(m.After.Data, m.After.Gap...)
		after, fresh := remarks(data, "frame")[m.Key], remarks(data, "fresh")[m.Key]
		if len(after) == 0 {
			if !w.disk.Crashed() {
				w.fail("a seam that tells nothing: %+v", m)
			}
			continue
		}
		// Unknown from when: then from the beginning, unless it begins here.
		if to := after[0].from; to > from && (known || len(fresh) == 0) {
			gap = fmt.Appendf(gap, "# unseen %s %d %d\n", m.Key, from, to)
		}
	}
	w.asked++
	w.note("lost %s", gap)
	return gap
}

// void is spool.Options.Voided.
func (w *world) void(m spool.Seam) {
	from, known := before(m)
	if !known { // both its baseline and its last batch are damaged
		w.razed[m.Key] = true
		return
	}
	w.note("void %s %d", m.Key, from)
	w.voided[m.Key] = from
}

// before is the value that a key was read at before records were lost.
func before(m spool.Seam) (v int64, known bool) {
	if m.Full != nil {
		for _, b := range append([][]byte{m.Full}, m.Patches...) {
			n, err := strconv.ParseInt(string(b), 10, 64)
			if err != nil {
				return 0, false
			}
			v += n
		}
		return v, true
	}
	list := remarks(append(m.Before.Data, m.Before.Gap...), "frame")[m.Key]
	if len(list) == 0 {
		return 0, false
	}
	return list[0].to, true
}

// accounted fails when a part of a counter that a batch held is neither stored nor
// said to be unknown.
func (w *world) accounted() {
	if w.fresh {
		return
	}
	all := spans{}
	for _, s := range []spans{w.stored, w.unseen} {
		all.add(s)
	}
	for key, list := range w.read {
		for _, n := range list {
			if !w.razed[key] && !slices.ContainsFunc(all[key], func(a span) bool { return a.from <= n.from && n.to <= a.to }) {
				w.fail("%s was counted as %v, stored as %v, unknown are %v\n%v", key, list, w.stored[key], w.unseen[key], w.log)
			}
		}
	}
}
