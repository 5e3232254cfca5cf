package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/spool"
)

// maxWindow is how long a draft waits for others to be written with. A shorter one
// costs CPU: what is waited for in each fdatasync is waited for by the Go
// scheduler's monitor too, which wakes every 20 µs meanwhile.
const maxWindow = 250 * time.Millisecond

// spooler writes drafts to disk, those of one window together: what a round leaves
// need not be durable at once.
type spooler struct {
	journal *journal
	now     func() int64 // microseconds since the Unix epoch
	window  time.Duration
	timer   *time.Timer // fires at the end of the window that is open
	scratch scratch     // Run's

	mu      sync.Mutex // guards what follows, and draft.written and draft.then
	waiting []*draft
}

func newSpooler(j *journal, now func() int64, window time.Duration) *spooler {
	s := &spooler{journal: j, now: now, window: window, timer: time.NewTimer(time.Hour)}
	s.timer.Stop()
	return s
}

// Run writes what waits at the end of each window, until ctx ends; then the rest.
func (s *spooler) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			s.timer.Stop()
			s.write(context.WithoutCancel(ctx))
			return
		case <-s.timer.C:
			s.write(ctx)
		}
	}
}

// put takes a draft, which is written after those that were put before it. Then its
// done has the error.
func (s *spooler) put(d *draft) {
	d.generation = d.ln.generation
	d.done = make(chan error, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting = append(s.waiting, d); len(s.waiting) == 1 {
		now := time.Now()
		s.timer.Reset(now.Truncate(s.window).Add(s.window).Sub(now))
	}
}

// after calls then when a draft that was put is written, or could not be: at once, or
// from Run, which waits for it.
func (s *spooler) after(d *draft, then func()) {
	s.mu.Lock()
	if !d.written {
		d.then = then
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	then()
}

// write writes all drafts that wait, in a few groups when they are large.
func (s *spooler) write(ctx context.Context) {
	s.mu.Lock()
	list := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for len(list) > 0 {
		n := 0
		for ; n < len(list) && len(s.scratch.keep) <= maxScratch/2; n++ {
			list[n].begin(ctx, s.journal, &s.scratch)
		}
		for i, d := range list[:n] {
			list[i] = nil
			s.finish(d)
		}
		s.scratch.reset()
		list = list[n:]
	}
}

// finish waits for a draft's write and passes the news on.
func (s *spooler) finish(d *draft) {
	err := d.err
	if err == nil {
		_, err = d.pending.Wait()
	}
	d.pending, d.spooled = nil, s.now()
	d.batch.Frames = nil
	for _, m := range d.memory {
		m.Free()
	}
	d.memory = nil
	d.done <- err
	s.mu.Lock()
	d.written = true
	then := d.then
	s.mu.Unlock()
	if then != nil {
		then()
	}
}

// begin makes a draft's record, for the next write.
func (d *draft) begin(ctx context.Context, j *journal, s *scratch) {
	in := d.ln.in
	try := func() {
		in.mu.Lock()
		baselines := d.baselines(s)
		in.mu.Unlock()
		d.pending, d.err = j.begin(ctx, d.generation, &d.batch, baselines, s)
	}
	if try(); errors.Is(d.err, spool.ErrNoBaseline) {
		for _, c := range d.counted {
			c.whole = true
		}
		try()
	}
}
