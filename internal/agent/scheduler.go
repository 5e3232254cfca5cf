package agent

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"
)

// scheduler starts each lane's rounds at their ticks. It owns the decision what a
// tick becomes that could not be taken: a round of its lane was still running, the
// clock jumped, or the process did not run.
type scheduler struct {
	now   func() time.Time // the wall clock
	start func(ln *lane, tick int64, due []*line)
	poke  chan struct{}

	mu      sync.Mutex // taken before instance.mu
	queue   laneHeap
	stopped bool
	clock   clockWatch
}

// wake bounds the sleep, so that a jump of the clock is noticed soon.
const wake = 5 * time.Second

// clockWatch compares the wall clock with the monotonic one.
type clockWatch struct {
	wall  int64 // at the last look
	mono  time.Time
	jumps uint64
	// The last jump forward left these ticks out.
	from, to int64
}

const jumpAfter = time.Second

// look notes a jump since the last look. back: lanes may wait for a time long passed.
func (c *clockWatch) look(wall int64, mono time.Time) (back bool) {
	back = c.mono.IsZero() || wall < c.wall
	if !c.mono.IsZero() {
		if off := time.Duration(wall-c.wall)*time.Microsecond - mono.Sub(c.mono); off > jumpAfter || off < -jumpAfter {
			c.jumps++
			c.from, c.to = c.wall, wall
		}
	}
	c.wall, c.mono = wall, mono
	return back
}

// reason is why a run of ticks was missed by a lane that was idle.
func (c *clockWatch) reason(r run) (reason, detail string) {
	if c.jumps > 0 && r.Last >= c.from && r.First <= c.to {
		return "clock", "the clock jumped"
	}
	return "collector_down", "the process did not run"
}

func newScheduler(now func() time.Time, start func(*lane, int64, []*line)) *scheduler {
	return &scheduler{now: now, start: start, poke: make(chan struct{}, 1)}
}

// Run starts rounds until ctx ends.
func (s *scheduler) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			s.stopped = true
			s.mu.Unlock()
			return
		case <-timer.C:
		case <-s.poke:
		}
		timer.Reset(s.step(s.now(), time.Now()))
	}
}

// step starts what is due and gives the time until the next step.
func (s *scheduler) step(wall, mono time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := wall.UnixMicro()
	if s.clock.look(now, mono) {
		s.rewind()
	}
	for len(s.queue) > 0 && s.queue[0].at <= now {
		s.dispatch(s.queue[0], now)
	}
	if len(s.queue) == 0 {
		return wake
	}
	if s.queue[0].at-now > far {
		s.rewind()
	}
	return min(wake, max(0, time.Duration(s.queue[0].at-now)*time.Microsecond))
}

// dispatch starts an idle lane's round. mu is held.
func (s *scheduler) dispatch(ln *lane, now int64) {
	in := ln.in
	in.mu.Lock()
	tick, ok := ln.table.newest(now)
	if !ok || in.held != "" {
		in.mu.Unlock()
		s.plan(ln)
		return
	}
	due, missed := ln.table.take(tick)
	for _, m := range missed {
		reason, detail := s.clock.reason(m.run)
		ln.owe(owed{m.line, m.run, reason, detail})
	}
	in.mu.Unlock()
	ln.running, ln.jumps = true, s.clock.jumps
	heap.Remove(&s.queue, ln.place)
	s.start(ln, tick, due)
}

// finish takes a lane back whose round has ended. Ticks that came due meanwhile are
// lost to it.
func (s *scheduler) finish(ln *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now().UnixMicro()
	in := ln.in
	in.mu.Lock()
	// One that is due just now is not late yet.
	if tick, ok := ln.table.newest(now - 1); ok && in.held == "" {
		due, missed := ln.table.take(tick)
		for _, l := range due {
			missed = append(missed, missedTick{l, run{tick, tick, 1}})
		}
		for _, m := range missed {
			reason, detail := "round_running", ""
			if s.clock.jumps != ln.jumps {
				if r, d := s.clock.reason(m.run); r == "clock" {
					reason, detail = r, d
				}
			}
			ln.owe(owed{m.line, m.run, reason, detail})
		}
	}
	in.mu.Unlock()
	ln.running = false
	s.plan(ln)
	if ln.place == 0 { // else Run wakes early enough
		s.wake()
	}
}

// replan puts both lanes of an instance where their timetables now say.
func (s *scheduler) replan(in *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ln := range in.lanes() {
		s.plan(ln)
	}
	s.wake()
}

func (s *scheduler) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// plan puts an idle lane into the queue. mu is held.
func (s *scheduler) plan(ln *lane) {
	if ln.running {
		return
	}
	in := ln.in
	in.mu.Lock()
	at, ok := ln.table.next()
	ok = ok && in.held == ""
	rewound := ok && s.clock.wall != 0 && at-s.clock.wall > far && in.rewind(s.clock.wall)
	in.mu.Unlock()
	if rewound { // while its round was running
		for _, ln := range in.lanes() {
			s.plan(ln)
		}
		return
	}
	switch {
	case !ok && ln.place >= 0:
		heap.Remove(&s.queue, ln.place)
	case !ok:
	case ln.place >= 0:
		ln.at = at
		heap.Fix(&s.queue, ln.place)
	default:
		ln.at = at
		heap.Push(&s.queue, ln)
	}
}

// rewind lets idle lanes that wait for a time long passed begin anew. mu is held.
func (s *scheduler) rewind() {
	for _, ln := range slices.Clone(s.queue) {
		s.plan(ln)
	}
}

// laneHeap orders idle lanes by their next tick.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *laneHeap) Push(x any) {
	ln := x.(*lane)
	ln.place = len(*h)
	*h = append(*h, ln)
}

// Pop implements heap.Interface.
func (h *laneHeap) Pop() any {
	old := *h
	ln := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	ln.place = -1
	return ln
}
