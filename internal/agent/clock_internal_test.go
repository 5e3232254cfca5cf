package agent

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// clockWorld is an instance's two lanes, with a family each, under a wall clock that
// does what it likes, the spool, and what the backend will learn from that.
type clockWorld struct {
	t    *rapid.T
	cfg  Config
	wall time.Time
	mono time.Time

	s      *scheduler
	in     *instance
	rounds map[catalog.Lane]*clockRound

	// Of the spool, by lane.
	saved    map[catalog.Lane][]byte // lines
	rows     map[catalog.Lane][]frame.Schedule
	outcomes map[catalog.Lane]map[int64]int
}

type clockRound struct {
	*draft
	put   []byte // the state that goes with it
	isPut bool
}

var clockFamilies = map[catalog.Lane]string{catalog.Fast: "activity", catalog.Slow: "wal"}

func newClockWorld(t *rapid.T) *clockWorld {
	w := &clockWorld{
		t: t, wall: time.UnixMicro(1_000_000 * second), mono: time.Now(),
		saved: map[catalog.Lane][]byte{}, rows: map[catalog.Lane][]frame.Schedule{},
		outcomes: map[catalog.Lane]map[int64]int{catalog.Fast: {}, catalog.Slow: {}},
	}
	w.cfg.Collector.Interval = 20 // the fast lane's is 10
	w.begin()
	return w
}

func (w *clockWorld) now() int64 { return w.wall.UnixMicro() }

func (w *clockWorld) line(l catalog.Lane) *line { return w.in.lane(l).table.find("", clockFamilies[l]) }

// begin starts a process.
func (w *clockWorld) begin() {
	w.rounds = map[catalog.Lane]*clockRound{}
	w.in = &instance{offset: 3 * second, log: slog.New(slog.DiscardHandler)}
	w.in.slow = lane{in: w.in, name: catalog.Slow, place: -1}
	w.in.fast = lane{in: w.in, name: catalog.Fast, place: -1}
	w.s = newScheduler(func() time.Time { return w.wall }, func(ln *lane, tick int64, due []*line) {
		if w.rounds[ln.name] != nil {
			w.t.Fatal("two rounds of a lane at once")
		}
		w.rounds[ln.name] = &clockRound{draft: &draft{
			ln: ln, tick: tick, due: due, debts: slices.Clone(ln.owed), rows: ln.table.untold(ln.name), counted: map[planID]*counted{},
		}}
	})
	var restored []*line
	for _, saved := range w.saved {
		lines, err := decodeLines(saved)
		if err != nil {
			w.t.Fatal(err)
		}
		restored = append(restored, lines...)
	}
	w.in.begin(&w.cfg, w.now(), 0, restored)
	if w.line(catalog.Slow) == nil {
		at := w.in.after(w.now())
		w.in.slow.table.lines = append(w.in.slow.table.lines, &line{
			Family: "wal", Segments: fresh(at, 20*second, 20*second, w.in.offset+w.in.phase), Last: at - 1, Done: at - 1,
		})
	}
	w.s.replan(w.in)
}

func (w *clockWorld) pass(d time.Duration) {
	w.wall, w.mono = w.wall.Add(d), w.mono.Add(d)
	w.s.step(w.wall, w.mono)
}

// spool encodes what goes with the round's batch.
func (w *clockWorld) spool(l catalog.Lane) {
	if r := w.rounds[l]; r != nil && !r.isPut {
		r.put, r.isPut = slices.Clone(r.lines(r.ln, "").Data), true
	}
}

// safe: the batch is durable.
func (w *clockWorld) safe(l catalog.Lane) {
	w.spool(l)
	r := w.rounds[l]
	w.rows[l] = append(w.rows[l], r.rows...)
	for range r.due {
		w.outcomes[l][r.tick]++
	}
	for _, o := range r.debts {
		for i := range o.N {
			w.outcomes[l][o.First+i*o.every()]++
		}
	}
	w.saved[l] = r.put
}

// end ends the round.
func (w *clockWorld) end(l catalog.Lane, ok bool) {
	r := w.rounds[l]
	if r == nil {
		return
	}
	if ok {
		w.safe(l)
		r.settle()
	} else {
		for _, l := range r.due {
			r.ln.owe(owed{l, run{r.tick, r.tick, 1}, "spool_failed", ""})
		}
	}
	delete(w.rounds, l)
	w.s.finish(r.ln)
}

// Wherever the clock jumps and whenever the process dies: every tick that the
// announced schedules plan gets exactly one outcome, and no other tick gets any (I4).
func TestClockJumpsLeaveEveryTickAccountedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newClockWorld(t)
		jumps := rapid.SampledFrom([]int64{-100_000, -4000, -3600, -700, -200, -150, -100, -30, 30, 200, 3600, 100_000})
		lanes := []catalog.Lane{catalog.Fast, catalog.Slow}
		lane := rapid.SampledFrom(lanes)
		top := w.now()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 13).Draw(t, "step") {
			case 0, 1:
				w.wall = w.wall.Add(time.Duration(jumps.Draw(t, "jump")) * time.Second)
			case 2:
				w.end(lane.Draw(t, "lane"), false)
			case 3, 4, 5, 6:
				w.end(lane.Draw(t, "lane"), true)
			case 7:
				w.spool(lane.Draw(t, "lane"))
			case 8: // the process dies, perhaps with a batch that was durable after all
				for _, l := range lanes {
					if w.rounds[l] != nil && rapid.Bool().Draw(t, "was durable") {
						w.safe(l)
					}
				}
				w.wall = w.wall.Add(time.Duration(rapid.Int64Range(0, 100).Draw(t, "down")) * time.Second)
				if rapid.Bool().Draw(t, "jumps") {
					w.wall = w.wall.Add(time.Duration(jumps.Draw(t, "jump")) * time.Second)
				}
				w.begin()
			case 9: // the plan changes
				l := w.line(lane.Draw(t, "lane"))
				l.add(segment{From: align(l.floor(w.now()), 30*second, w.in.offset+w.in.phase), Every: 30 * second})
				w.s.replan(w.in)
			case 10:
				l := w.line(lane.Draw(t, "lane"))
				l.add(fresh(w.in.after(l.floor(w.now())), 10*second, 10*second, w.in.offset+w.in.phase)...)
				w.s.replan(w.in)
			}
			w.pass(time.Duration(rapid.Int64Range(0, 25_000).Draw(t, "ms")) * time.Millisecond)
			top = max(top, w.now())
		}
		// All is well from now on, until the clock is behind all that it ever showed.
		settle := func(n int) {
			for range n {
				for _, l := range lanes {
					w.end(l, true)
				}
				w.pass(5 * time.Second)
			}
		}
		settle(20)
		w.wall = w.wall.Add(max(0, time.Duration(top-w.now())*time.Microsecond) + 1000*time.Second)
		settle(40)
		for _, l := range lanes {
			w.end(l, true)
			w.accounted(l)
		}
	})
}

func (w *clockWorld) accounted(lane catalog.Lane) {
	t, table, l, outcomes := w.t, &w.in.lane(lane).table, w.line(lane), w.outcomes[lane]
	if n := len(table.past); n != 0 {
		t.Errorf("%d lines of timelines that ended are kept", n)
	}
	if n := len(l.Segments); n > 3 {
		t.Errorf("%d segments are kept", n)
	}
	for i, tick := range slices.Sorted(slices.Values(plannedTicks(w.rows[lane], l.Done))) {
		if outcomes[tick] != 1 {
			t.Fatalf("tick %d, the %dth planned: %d outcomes\nrows %+v", tick, i, outcomes[tick], w.rows[lane])
		}
		delete(outcomes, tick)
	}
	for tick, n := range outcomes {
		t.Fatalf("tick %d was not planned: %d outcomes\nrows %+v", tick, n, w.rows[lane])
	}
}
