package agent

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// bench is a scheduler with clocks of its own.
type bench struct {
	*scheduler
	wall    time.Time
	mono    time.Time
	started []int64
	lane    *lane
}

func newBench(every int64) *bench {
	b := &bench{wall: time.UnixMicro(1_000_000 * second), mono: time.Now()}
	in := &instance{}
	in.slow = lane{in: in, name: catalog.Slow, place: -1}
	in.fast = lane{in: in, name: catalog.Fast, place: -1}
	b.lane = &in.slow
	now := b.wall.UnixMicro()
	b.lane.table.lines = []*line{{Family: "wal", Segments: []segment{{From: now + every, Every: every}}, Last: now, Done: now}}
	b.scheduler = newScheduler(func() time.Time { return b.wall }, func(_ *lane, tick int64, _ []*line) { b.started = append(b.started, tick) })
	b.replan(in)
	return b
}

// pass lets both clocks run.
func (b *bench) pass(d time.Duration) time.Duration {
	b.wall, b.mono = b.wall.Add(d), b.mono.Add(d)
	return b.step(b.wall, b.mono)
}

func (b *bench) owed() map[string]int64 {
	out := map[string]int64{}
	for _, o := range b.lane.owed {
		out[o.reason] += o.N
	}
	return out
}

func TestRoundsStartAtTheirTicks(t *testing.T) {
	b := newBench(10 * second)
	if wait := b.pass(0); wait != wake {
		t.Errorf("sleeps %s, want %s at most", wait, wake)
	}
	if wait := b.pass(9900 * time.Millisecond); wait != 100*time.Millisecond {
		t.Errorf("sleeps %s, want 100 ms", wait)
	}
	b.pass(100 * time.Millisecond)
	if len(b.started) != 1 || b.started[0] != b.wall.UnixMicro() {
		t.Fatalf("started %v", b.started)
	}
	b.pass(25 * time.Second) // the round takes long
	if len(b.started) != 1 {
		t.Fatalf("a second round of the lane was started beside the first: %v", b.started)
	}
	b.finish(b.lane)
	if got := b.owed(); got["round_running"] != 2 || len(got) != 1 {
		t.Errorf("owed %v, want two ticks for round_running", got)
	}
	b.pass(5 * time.Second)
	if len(b.started) != 2 || b.started[1] != b.started[0]+30*second {
		t.Errorf("started %v", b.started)
	}
}

func TestClockJumps(t *testing.T) {
	t.Run("forward", func(t *testing.T) {
		b := newBench(10 * second)
		b.pass(0)
		b.wall = b.wall.Add(time.Hour)
		b.pass(time.Second)
		if got := b.owed(); len(b.started) != 1 || got["clock"] != 359 || len(got) != 1 {
			t.Errorf("started %v, owed %v, want one round and 359 ticks for the clock", b.started, got)
		}
	})
	t.Run("forward in a round", func(t *testing.T) {
		b := newBench(10 * second)
		b.pass(0)
		b.pass(10 * time.Second)
		b.wall = b.wall.Add(time.Hour)
		b.pass(time.Second)
		b.finish(b.lane)
		if got := b.owed(); got["clock"] != 360 || len(got) != 1 {
			t.Errorf("owed %v, want 360 ticks for the clock", got)
		}
	})
	t.Run("the process was stopped", func(t *testing.T) {
		b := newBench(10 * second)
		b.pass(0)
		b.pass(95 * time.Second)
		if got := b.owed(); len(b.started) != 1 || got["collector_down"] != 8 || len(got) != 1 {
			t.Errorf("started %v, owed %v", b.started, got)
		}
	})
	t.Run("back a little: ticks are not used twice", func(t *testing.T) {
		b := newBench(10 * second)
		b.pass(0)
		b.pass(10 * time.Second)
		b.finish(b.lane)
		b.wall = b.wall.Add(-25 * time.Second)
		for range 60 {
			b.pass(time.Second)
			if n := len(b.started); n > 1 {
				if b.started[1] != b.started[0]+10*second {
					t.Errorf("started %v", b.started)
				}
				return
			}
		}
		t.Error("no round in a minute")
	})
	t.Run("back an hour: a new grid beside the old one", func(t *testing.T) {
		b := newBench(10 * second)
		b.pass(0)
		b.pass(10 * time.Second)
		b.finish(b.lane)
		b.wall = b.wall.Add(-time.Hour)
		b.pass(time.Second)
		b.pass(10 * time.Second)
		if len(b.started) != 2 || (b.started[1]-b.started[0]+3600*second)%(10*second) != 1 {
			t.Fatalf("started %v", b.started)
		}
		if rows := b.lane.table.untold(catalog.Slow); len(rows) != 2 || rows[0].Until != b.started[0] || rows[1].From != b.started[1] {
			t.Errorf("announced %+v", rows)
		}
	})
}

// Whatever rounds take and clocks do: each tick is started or owed once, and no lane
// runs twice at once.
func TestSchedulerLosesNoTick(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(10 * second)
		first := b.wall.UnixMicro()
		running, back := false, int64(100)
		b.start = func(_ *lane, tick int64, _ []*line) {
			if running {
				t.Fatal("two rounds of a lane at once")
			}
			running = true
			b.started = append(b.started, tick)
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				jump := rapid.Int64Range(-back, 4000).Draw(t, "jump") // minutes back begin a new grid
				back += min(0, jump)
				b.wall = b.wall.Add(time.Duration(jump) * time.Second)
			case 1, 2, 3:
				if running {
					running = false
					b.finish(b.lane)
				}
			}
			b.pass(time.Duration(rapid.Int64Range(0, 25_000).Draw(t, "ms")) * time.Millisecond)
		}
		left := map[int64]int{}
		for _, tick := range b.started {
			left[tick]++
		}
		for _, o := range b.lane.owed {
			for i := range o.N {
				left[o.First+i*o.every()]++
			}
		}
		for tick := first + 10*second; tick <= b.lane.table.lines[0].Last; tick += 10 * second {
			if left[tick] != 1 {
				t.Fatalf("tick %d: %d times", (tick-first)/second, left[tick])
			}
			delete(left, tick)
		}
		if len(left) != 0 {
			t.Fatalf("ticks that were not planned: %v", left)
		}
	})
}
