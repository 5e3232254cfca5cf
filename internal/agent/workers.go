package agent

import (
	"context"
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// The workers bound how many rounds are at work at once (thread_pool_size), so that
// a tick of a thousand instances costs little memory. A slot is held only while a
// round makes progress: one that has to connect, or takes long, is moved to the
// overflow set and frees its slot. So black-holed servers delay nobody: they sit in
// the overflow set until their time limits end them.
const (
	maxOverflow   = 64
	overflowAfter = time.Second
	// crowdedAfter takes the place of overflowAfter while others wait for a slot.
	crowdedAfter = 200 * time.Millisecond
)

// gate gives out n places, to the fast lane first.
type gate struct {
	mu      sync.Mutex
	free    int
	used    int
	waiting [2][]chan struct{} // fast, slow; each channel has room for its place
}

func priority(l catalog.Lane) int {
	if l == catalog.Fast {
		return 0
	}
	return 1
}

// take waits for a place.
func (g *gate) take(ctx context.Context, lane catalog.Lane) error {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.used++
		g.mu.Unlock()
		return nil
	}
	place := make(chan struct{}, 1)
	p := priority(lane)
	g.waiting[p] = append(g.waiting[p], place)
	g.mu.Unlock()
	select {
	case <-place:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting[p] {
		if w == place {
			g.waiting[p] = append(g.waiting[p][:i], g.waiting[p][i+1:]...)
			return context.Cause(ctx)
		}
	}
	g.giveLocked() // it was given meanwhile
	return context.Cause(ctx)
}

// tryTake takes a place if one is free.
func (g *gate) tryTake() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.free == 0 {
		return false
	}
	g.free--
	g.used++
	return true
}

func (g *gate) give() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.giveLocked()
}

func (g *gate) giveLocked() {
	for p := range g.waiting {
		if len(g.waiting[p]) > 0 {
			place := g.waiting[p][0]
			g.waiting[p] = g.waiting[p][1:]
			place <- struct{}{}
			return
		}
	}
	g.free++
	g.used--
}

func (g *gate) counts() (used, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.used, len(g.waiting[0]) + len(g.waiting[1])
}

type workers struct {
	size     int
	slots    gate
	overflow gate
}

func newWorkers(size int) *workers {
	return &workers{size: size, slots: gate{free: size}, overflow: gate{free: maxOverflow}}
}

// work is one round's place: a slot, or one in the overflow set.
type work struct {
	w     *workers
	mu    sync.Mutex
	begun time.Time
	timer *time.Timer // nil in the overflow set
	done  bool
	over  bool
}

// enter waits for a slot; aside (a connection has to be opened first) for a place
// in the overflow set.
func (w *workers) enter(ctx context.Context, lane catalog.Lane, aside bool) (*work, error) {
	if aside {
		if err := w.overflow.take(ctx, lane); err != nil {
			return nil, err
		}
		return &work{w: w, begun: time.Now(), over: true}, nil
	}
	if err := w.slots.take(ctx, lane); err != nil {
		return nil, err
	}
	k := &work{w: w, begun: time.Now()}
	k.mu.Lock()
	k.timer = time.AfterFunc(crowdedAfter, k.consider)
	k.mu.Unlock()
	return k, nil
}

// consider moves a round that takes long to the overflow set.
func (k *work) consider() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done {
		return
	}
	_, waiting := k.w.slots.counts()
	if (waiting > 0 || time.Since(k.begun) >= overflowAfter) && k.w.overflow.tryTake() {
		k.over = true
		k.w.slots.give()
		return
	}
	k.timer.Reset(crowdedAfter)
}

// leave gives the place back; the time of the round is returned.
func (k *work) leave() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done = true
	if k.timer != nil {
		k.timer.Stop()
	}
	if k.over {
		k.w.overflow.give()
	} else {
		k.w.slots.give()
	}
	return time.Since(k.begun)
}
