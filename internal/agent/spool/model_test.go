package spool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/agent/spool"
	"github.com/pganalytics/pganalytics/internal/agent/spool/simdisk"
)

func (w *world) fail0() context.Context { return context.Background() }

// machine drives a world at random.
type machine struct {
	*world
	keys []string
}

func newMachine(t *rapid.T) *machine {
	m := &machine{world: newWorld(t.Fatalf, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "chance") })}
	m.keys = []string{"a", "b", "c", "d", "e"}
	m.open()
	return m
}

// live says whether there is a process, and starts one if there is none.
func (m *machine) live(t *rapid.T) bool {
	if m.s != nil && m.disk.Crashed() {
		m.s = nil
	}
	if m.s == nil {
		m.reopen(t)
	}
	return m.s != nil
}

func (m *machine) reopen(t *rapid.T) {
	if rapid.Bool().Draw(t, "power") {
		m.disk.PowerCut()
	} else {
		m.disk.Kill()
	}
	m.s = nil
	m.open()
}

func (m *machine) Append(t *rapid.T) {
	if !m.live(t) {
		return
	}
	n := rapid.IntRange(1, 4).Draw(t, "batches")
	batches, pads := make([][]string, n), make([]int, n)
	for i := range batches {
		for _, key := range m.keys {
			if rapid.IntRange(0, 2).Draw(t, "with "+key) == 0 {
				batches[i] = append(batches[i], key)
			}
		}
		pads[i] = rapid.SampledFrom([]int{0, 10, 300, 3000, 9000}).Draw(t, "pad")
	}
	for _, key := range m.keys {
		m.counts[key] += int64(rapid.IntRange(0, 3).Draw(t, "grow"))
	}
	for _, err := range m.appendGroup(batches, pads, rapid.IntRange(0, 5).Draw(t, "full") == 0) {
		if err != nil && !errors.Is(err, spool.ErrFull) && !m.faulty(err) {
			t.Fatalf("append: %v", err)
		}
	}
}

// faulty says that an error is one that was asked for.
func (m *machine) faulty(err error) bool {
	return errors.Is(err, spool.ErrNoSpace) || strings.Contains(err.Error(), "input/output error")
}

func (m *machine) Ship(t *rapid.T) {
	if !m.live(t) {
		return
	}
	left := map[spool.ID]bool{}
	for range rapid.IntRange(1, 5).Draw(t, "requests") {
		items, err := m.s.Next(t.Context(), rapid.IntRange(1, 20).Draw(t, "limit"), 30000, func(id spool.ID) bool { return left[id] })
		if m.disk.Crashed() {
			return
		}
		if err != nil && !m.faulty(err) {
			t.Fatalf("next: %v", err)
		}
		for i, it := range items {
			if i > 1 && it.ID.Epoch == items[i-1].ID.Epoch && it.ID.Seq <= items[i-1].ID.Seq && !m.damage && it.Reason != spool.ReasonTorn && items[i-1].Reason != spool.ReasonTorn {
				t.Fatalf("%s after %s", it.ID, items[i-1].ID)
			}
			switch rapid.IntRange(0, 9).Draw(t, "fate") {
			case 0: // never arrives
				left[it.ID] = true
			case 1: // the answer is lost
				m.deliver(it)
				left[it.ID] = true
			case 2:
				m.note("refuse %v %v %s", it.FirstSeq, it.ID, it.Kind)
				if err := m.s.Refuse(it.ID, "poison"); err != nil && !m.disk.Crashed() {
					t.Fatalf("refuse: %v", err)
				}
				if it.Kind == spool.Gap { // gives up its sums
					m.deliver(it)
					if len(it.Gap) == 0 {
						m.noteAck(it)
					}
				}
			default:
				m.deliver(it)
				m.ack(it)
			}
			if m.disk.Crashed() {
				return
			}
		}
	}
}

func (m *machine) Flush(t *rapid.T) {
	if m.live(t) {
		m.s.Flush()
	}
}

func (m *machine) Close(t *rapid.T) {
	if !m.live(t) {
		return
	}
	if err := m.s.Close(); err != nil && !m.faulty(err) {
		t.Fatalf("close: %v", err)
	}
	m.s = nil
}

func (m *machine) Wait(t *rapid.T) { m.now = m.now.Add(time.Minute) }

func (m *machine) Crash(t *rapid.T) {
	m.disk.CrashAt(rapid.IntRange(1, 40).Draw(t, "at"))
}

func (m *machine) Kill(t *rapid.T) {
	m.s = nil
	m.disk.Kill()
}

func (m *machine) PowerCut(t *rapid.T) {
	m.s = nil
	m.disk.PowerCut()
}

func (m *machine) Fault(t *rapid.T) {
	m.disk.Fail(rapid.SampledFrom([]string{"write", "sync", "dir"}).Draw(t, "kind"), rapid.IntRange(1, 3).Draw(t, "times"))
	m.disk.Fail("read", rapid.IntRange(0, 2).Draw(t, "reads"))
}

func (m *machine) FullDisk(t *rapid.T) {
	m.disk.Limit(m.usedBytes() + int64(rapid.IntRange(0, 20000).Draw(t, "room")))
}

func (m *machine) usedBytes() (n int64) {
	for _, f := range m.disk.Files("") {
		n += f.Size
	}
	return n + 1
}

func (m *machine) SpaceBack(t *rapid.T) { m.disk.Limit(0) }

func (m *machine) check(t *rapid.T) {
	if m.s == nil || m.disk.Crashed() {
		return
	}
	if err := m.s.Check(); err != "" {
		t.Fatalf("index: %s", err)
	}
	st := m.s.Stats()
	if most := m.opt.MaxSize + m.opt.MaxSize/8 + m.biggest + 4096; st.Bytes > most {
		t.Fatalf("%d bytes, at most %d", st.Bytes, most)
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		t.Repeat(map[string]func(*rapid.T){
			"append": m.Append, "append2": m.Append, "append3": m.Append, "append4": m.Append,
			"ship": m.Ship, "flush": m.Flush, "close": m.Close, "wait": m.Wait, "crash": m.Crash,
			"kill": m.Kill, "cut": m.PowerCut, "fault": m.Fault, "full": m.FullDisk, "space": m.SpaceBack,
			"": m.check,
		})
		m.drain()
	})
}

// TestModelOutage is the same while nothing can be shipped: the spool runs full.
func TestModelOutage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		more := func(t *rapid.T) {
			for range 10 {
				m.Append(t)
				m.Wait(t)
			}
		}
		once := func(t *rapid.T) {
			if rapid.IntRange(0, 3).Draw(t, "ships") == 0 {
				m.Ship(t)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": more, "append2": more, "append3": more, "ship": once,
			"crash": m.Crash, "kill": m.Kill, "cut": m.PowerCut, "fault": m.Fault, "full": m.FullDisk, "space": m.SpaceBack,
			"": m.check,
		})
		m.drain()
	})
}

// TestModelDamage lets the disk break its promises: a bit flips, a segment is gone,
// an old copy comes back. Batches may be lost then, but nothing is doubled and
// nothing fails.
func TestModelDamage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		m.damage = true
		segments := func() (names []string) {
			for _, f := range m.disk.Files(dir + "/") {
				if strings.HasSuffix(f.Name, ".seg") && f.Size > 0 {
					names = append(names, f.Name)
				}
			}
			return names
		}
		broken := false // once per life: two damages may hide each other
		damaged := false
		var copied *simdisk.Disk
		reopen := func(t *rapid.T) {
			m.s = nil
			m.disk.Kill()
			m.open()
			broken = false
		}
		flip := func(t *rapid.T) {
			if names := segments(); len(names) > 0 && !broken {
				broken, damaged = true, true
				name := rapid.SampledFrom(names).Draw(t, "file")
				for _, f := range m.disk.Files(name) {
					m.disk.Flip(name, int64(rapid.IntRange(0, int(f.Size)-1).Draw(t, "off")), rapid.IntRange(0, 7).Draw(t, "bit"))
				}
			}
		}
		drop := func(t *rapid.T) {
			if names := segments(); len(names) > 0 && !broken {
				damaged = true
				m.s = nil
				m.disk.Drop(rapid.SampledFrom(names).Draw(t, "file"))
				reopen(t)
			}
		}
		zero := func(t *rapid.T) {
			if names := segments(); len(names) > 0 && !broken {
				broken, damaged = true, true
				name := rapid.SampledFrom(names).Draw(t, "file")
				m.disk.Put(name, make([]byte, m.disk.Files(name)[0].Size))
				reopen(t)
			}
		}
		keep := func(t *rapid.T) {
			if !damaged {
				copied = m.disk.Clone()
			}
		}
		// Once, and not together with other damage: batches that one of two damages
		// took away, and that were counted again, would come back by the other.
		rollback := func(t *rapid.T) {
			if damaged || copied == nil {
				return
			}
			damaged = true
			m.s = nil
			m.disk = copied
			reopen(t)
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": m.Append, "append2": m.Append, "append3": m.Append, "append4": m.Append,
			"ship": m.Ship, "ship2": m.Ship, "flush": m.Flush, "wait": m.Wait,
			"reopen": reopen, "flip": flip, "drop": drop, "zero": zero, "keep": keep, "rollback": rollback,
			"": m.check,
		})
		m.drain()
	})
}
