package agent

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// cycle gathers what the rounds of one interval were like.
type cycle struct {
	mu       sync.Mutex
	now      Cycle
	answered map[*instance]struct{}
	last     Cycle
	busy     time.Duration // of all rounds since the start
	rounds   uint64
	failed   uint64
	ended    time.Time // the last round
}

// Cycle is one interval's rounds.
type Cycle struct {
	Ended time.Time
	// Duration is the longest (last frame spooled - planned start of its round) among
	// the instances that answered.
	Duration  time.Duration
	RoundTime time.Duration // summed
	Busy      float64       // RoundTime / (workers x interval)
	Rounds    int
	Failed    int // rounds that nothing answered
	Instances int // that answered
	Queries   int64
	// CallsCoverage and TimeCoverage say how much of the statements' calls and
	// execution time went statement by statement, in percent.
	CallsCoverage, TimeCoverage float64

	calls, callsSent, time, timeSent int64
}

// round notes the end of a round; now is when its batch was in the spool.
func (c *cycle) round(in *instance, tick, now int64, took time.Duration, answered bool, w *instanceWork) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rounds++
	c.ended = time.Now()
	c.busy += took
	c.now.Rounds++
	c.now.RoundTime += took
	if !answered {
		c.now.Failed++
		c.failed++
		return
	}
	c.now.Duration = max(c.now.Duration, time.Duration(now-tick)*time.Microsecond)
	if c.answered == nil {
		c.answered = map[*instance]struct{}{}
	}
	c.answered[in] = struct{}{}
	c.now.Queries += w.queries
	c.now.calls += w.calls
	c.now.callsSent += w.callsSent
	c.now.time += w.execTime
	c.now.timeSent += w.execTimeSent
}

// seen gives the last complete cycle, and the time of all rounds ever.
func (c *cycle) seen() (Cycle, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.busy
}

// end closes the cycle.
func (c *cycle) end(workers int, interval time.Duration) Cycle {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.now
	out.Ended, out.Instances = time.Now(), len(c.answered)
	out.Busy = float64(out.RoundTime) / float64(interval) / float64(workers)
	out.CallsCoverage, out.TimeCoverage = percent(out.callsSent, out.calls), percent(out.timeSent, out.time)
	c.last, c.now = out, Cycle{}
	clear(c.answered)
	return out
}

func percent(part, whole int64) float64 {
	if whole == 0 {
		return 100
	}
	return 100 * float64(part) / float64(whole)
}

// firstCycle bounds the first cycle, so that a start is soon seen to work: new
// instances are read at 0 s and 5 s.
const firstCycle = 10 * time.Second

// cycles logs each interval's rounds until ctx ends.
func (a *Agent) cycles(ctx context.Context) {
	interval := min(a.cfg.interval(), firstCycle)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c := a.cycle.end(a.workers.size, interval)
		if first {
			interval = a.cfg.interval()
			tick.Reset(interval)
		}
		a.log.InfoContext(ctx, "cycle", "duration", c.Duration.Round(time.Microsecond), "instances", c.Instances, "of", len(a.instances),
			"rounds", c.Rounds, "unanswered", c.Failed, "busy", fmt.Sprintf("%.1f%%", 100*c.Busy))
		p := a.pool()
		a.log.InfoContext(ctx, "connection pool", "open", p.Open, "busy", p.Busy, "limit", p.Max, "opened", p.Connects, "acquired", p.Acquires, "acquire", p.acquire())
		a.log.InfoContext(ctx, "queries collected", "queries", c.Queries, "sampling", fmt.Sprintf("%.1f%%", c.CallsCoverage), "time", fmt.Sprintf("%.1f%%", c.TimeCoverage))
	}
}
