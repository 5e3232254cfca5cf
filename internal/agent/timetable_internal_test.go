package agent

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

const second = int64(1_000_000)

// plannedTicks is the backend's arithmetic over announced schedules: each holds
// until it ends, or, going on, until the next one that goes on begins.
func plannedTicks(rows []frame.Schedule, upto int64) []int64 {
	at := map[int64]*frame.Schedule{}
	for _, closing := range []bool{false, true} {
		for _, r := range rows {
			if (r.Reason == frame.Closed) != closing {
				continue
			}
			have := at[r.From]
			if have == nil {
				at[r.From] = &r
			} else if r.Until != 0 && (have.Until == 0 || r.Until < have.Until) {
				have.Until = r.Until
			}
		}
	}
	var out []int64
	next := never
	for _, from := range slices.Backward(slices.Sorted(maps.Keys(at))) {
		r := at[from]
		end := next - 1
		if r.Until != 0 {
			end = r.Until
		} else {
			next = r.From
		}
		if r.Every == 0 || r.Reason != "" {
			continue
		}
		for t := r.From; t <= min(end, upto); t += r.Every {
			out = append(out, t)
		}
	}
	return out
}

// Whatever happens, and whenever the timetable is asked: each tick that the
// announced schedules plan leaves exactly once, and no other tick leaves.
func TestEveryPlannedTickLeavesOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset := rapid.Int64Range(0, 5*second).Draw(t, "offset")
		everies := []int64{second, 5 * second, 10 * second, 60 * second, 300 * second}
		now := rapid.Int64Range(1_000*second, 2_000*second).Draw(t, "start")
		l := &line{Family: "wal", Segments: fresh(now, rapid.SampledFrom(everies).Draw(t, "every"), rapid.SampledFrom(everies).Draw(t, "base"), offset)}
		table := &timetable{lines: []*line{l}}
		var told []frame.Schedule
		left := map[int64]int{}
		announce := func() {
			rows := l.untold(catalog.Slow)
			told = append(told, rows...)
			for _, r := range rows {
				l.tell(r)
			}
		}
		announce()
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0: // the plan changes
				every := rapid.SampledFrom(everies).Draw(t, "new every")
				l.add(segment{From: align(l.floor(now), every, offset), Every: every})
				announce()
			case 1: // it ends
				l.add(segment{From: l.floor(now) + 1})
				announce()
			case 2: // it is new again
				l.add(fresh(l.floor(now)+1, rapid.SampledFrom(everies).Draw(t, "every"), rapid.SampledFrom(everies).Draw(t, "base"), offset)...)
				announce()
			case 3: // the process restarts: what left since Done leaves again
				if rapid.Bool().Draw(t, "all is safe") {
					l.Done = l.Last
				}
				for tick := range left {
					if tick > l.Done {
						delete(left, tick)
					}
				}
				lines, err := decodeLines(appendLines(nil, table.lines))
				if err != nil {
					t.Fatal(err)
				}
				table.lines = lines
				l = lines[0]
			case 4: // the clock jumps
				now += rapid.Int64Range(0, 4_000*second).Draw(t, "jump")
			case 5: // and back
				now -= rapid.Int64Range(0, 100*second).Draw(t, "back")
			}
			if next, ok := table.next(); ok && rapid.Bool().Draw(t, "on time") {
				now = max(now, next)
			}
			if rapid.Bool().Draw(t, "safe") {
				l.Done = l.Last
				l.trim()
			}
			tick, ok := table.newest(now)
			if !ok {
				continue
			}
			if tick > now {
				t.Fatalf("tick %d is after now %d", tick, now)
			}
			due, missed := table.take(tick)
			for range due {
				left[tick]++
			}
			for _, m := range missed {
				if m.Last >= tick || m.First > m.Last || m.N < 1 || m.N > 1 && (m.Last-m.First)%(m.N-1) != 0 {
					t.Fatalf("missed run %+v at tick %d", m.run, tick)
				}
				for i := range m.N {
					left[m.First+i*m.every()]++
				}
			}
		}
		want := plannedTicks(told, l.Last)
		if len(want) != len(left) {
			t.Fatalf("%d ticks planned, %d left\nschedules %+v", len(want), len(left), told)
		}
		for _, tick := range want {
			if left[tick] != 1 {
				t.Fatalf("tick %d left %d times", tick, left[tick])
			}
		}
	})
}

func TestFreshReadsAtOnceAndFiveSecondsLater(t *testing.T) {
	for _, c := range []struct {
		name  string
		every int64
		want  []int64
	}{
		{"a minute", 60 * second, []int64{1_000, 1_005, 1_022, 1_082}},
		{"ten seconds", 10 * second, []int64{1_000, 1_005, 1_012, 1_022}},
		{"five seconds: the grid is as fast", 5 * second, []int64{1_000, 1_007, 1_012, 1_017}},
		{"a second", second, []int64{1_000, 1_001, 1_002, 1_003}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &line{Segments: fresh(1_000*second, c.every, c.every, 2*second)}
			for _, want := range c.want {
				tick, ok := l.next()
				if !ok || tick != want*second {
					t.Fatalf("next tick %d, %v, want %d", tick/second, ok, want)
				}
				if due, missed := l.take(tick); !due || missed != nil {
					t.Fatalf("tick %d: due %v, missed %v", want, due, missed)
				}
			}
		})
	}
}

// A rare family's second short tick is one of the fast grid beside it, or well clear
// of it: else one of both is skipped because the other is being read.
func TestFreshIsClearOfTheGrid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SampledFrom([]int64{second, 2 * second, 5 * second, 10 * second, 60 * second}).Draw(t, "base")
		offset := rapid.Int64Range(0, min(base/4, 5*second)-1).Draw(t, "offset")
		now := rapid.Int64Range(1_000*second, 2_000*second).Draw(t, "now")
		l := &line{Segments: fresh(now, 300*second, base, offset)}
		l.take(now)
		tick, ok := l.next()
		if !ok || tick < now+4*second || tick > now+6*second {
			t.Fatalf("second tick %d µs after the first", tick-now)
		}
		after := align(tick-1, base, offset)
		if apart := min(after-tick, tick-(after-base)); after != tick && apart < second {
			t.Fatalf("%d µs from a tick of the grid", apart)
		}
	})
}

// Grids of multiples of an interval share their ticks, so that everything due goes
// in one round; offsets stay below min(interval/4, 5 s) and do spread.
func TestGrids(t *testing.T) {
	seen := map[int64]bool{}
	for i := range 100 {
		name := string(rune('a'+i%26)) + string(rune('a'+i/26))
		for _, interval := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
			offset := offsetOf(name, interval)
			if limit := min(interval/4, 5*time.Second).Microseconds(); offset < 0 || offset >= limit {
				t.Errorf("offset %d of %s at %s, limit %d", offset, name, interval, limit)
			}
			every := interval.Microseconds()
			slow := align(12_345*second, 5*every, offset)
			if (slow-offset)%every != 0 {
				t.Errorf("tick %d of the slower grid is none of the faster", slow)
			}
			if interval == time.Minute {
				seen[offset] = true
			}
		}
	}
	if len(seen) < 80 {
		t.Errorf("%d offsets for 100 instances", len(seen))
	}
}

func TestDamagedScheduleStateIsRefused(t *testing.T) {
	good := appendLines(nil, []*line{{Database: "shop", Family: "tables", Via: "shop", Last: 7, Segments: fresh(1, second, second, 0)}})
	if _, err := decodeLines(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		if _, err := decodeLines(good[:i]); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", i, len(good))
		}
	}
}
