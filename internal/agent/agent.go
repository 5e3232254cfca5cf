package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/host"
	"github.com/pganalytics/pganalytics/internal/agent/ship"
	"github.com/pganalytics/pganalytics/internal/agent/spool"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// Deps are what an Agent uses of its surroundings.
type Deps struct {
	Log     *slog.Logger
	Client  *http.Client     // reaches the backend
	Version string           // of the build
	FS      spool.FS         // nil: the real one
	Now     func() time.Time // the wall clock; nil: time.Now
}

// Time limits of an end, together below the 10 s of the whole process.
const (
	endRounds  = 3 * time.Second // rounds at work may end by themselves
	endAborted = time.Second     // those cut off
	endShip    = 2 * time.Second // a last push
	endTargets = time.Second
)

// New instances begin one after another, so that a thousand are not contacted at
// the same moment.
const (
	beginApart  = 20 * time.Millisecond
	beginWithin = 4 * time.Second
)

// Agent is a collector.
type Agent struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	started time.Time

	workers   *workers
	schedule  *scheduler
	cycle     cycle
	instances []*instance
	byName    map[string]*instance
	journal   *journal
	began     host.Process
	own       host.Sampler
	spooler   *spooler

	closing sync.Once

	mu      sync.Mutex // guards what follows
	shipper *ship.Shipper
}

// New checks the configuration. Nothing is opened, nobody is contacted.
func New(cfg Config, deps Deps) (*Agent, error) {
	cfg.Normalize()
	if err := errors.Join(cfg.Validate(), cfg.Running()); err != nil {
		return nil, err
	}
	if deps.FS == nil {
		deps.FS = spool.OS{}
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Client == nil {
		deps.Client = &http.Client{}
	}
	a := &Agent{cfg: cfg, deps: deps, log: deps.Log, started: time.Now(), workers: newWorkers(cfg.Threading.ThreadPoolSize), byName: map[string]*instance{}}
	for _, in := range cfg.Instances {
		i, err := newInstance(&a.cfg, in, a.log)
		if err != nil {
			a.closeTargets()
			return nil, err
		}
		a.instances = append(a.instances, i)
		a.byName[i.name] = i
	}
	return a, nil
}

// Run watches the configured instances until ctx ends; everything it started has
// ended when it returns, after at most about 8 s.
func Run(ctx context.Context, cfg Config, deps Deps) error {
	a, err := New(cfg, deps)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// micros is the wall clock, microseconds since the Unix epoch.
func (a *Agent) micros() int64 { return a.deps.Now().UnixMicro() }

// Run is the Agent's life; it can be had once. It returns nil when ctx ended, else
// what it can't go on with: a data directory in use or not writable.
func (a *Agent) Run(ctx context.Context) error {
	defer a.closeTargets()
	j, found, err := openJournal(ctx, a.deps.FS, a.cfg.Collector.DataDir, spool.Options{MaxSize: int64(a.cfg.Spool.MaxSize), Log: a.log})
	if err != nil {
		return fmt.Errorf("collector.data_dir %s: %w", a.cfg.Collector.DataDir, err)
	}
	a.mu.Lock()
	a.journal = j
	a.mu.Unlock()
	id, _ := j.identity()
	a.log.InfoContext(ctx, "collector started", "collector", id.String(), "version", a.deps.Version, "instances", len(a.instances), "interval", a.cfg.interval(), "pending", found.Pending)
	if found.Damaged > 0 || len(found.Lost) > 0 || found.QuarantinedBytes > 0 {
		a.log.WarnContext(ctx, "spool was damaged", "batches", found.Damaged, "lost", len(found.Lost), "bytes", found.QuarantinedBytes)
	}
	a.began, err = a.own.Self()
	if err != nil {
		a.log.WarnContext(ctx, "own use not known", "err", err)
	}
	a.begin(ctx, found)

	// Sinks outlive sources: contexts of their own, ended in order below.
	background := context.WithoutCancel(ctx)
	spoolCtx, endSpool := context.WithCancel(background)
	defer endSpool()
	shipCtx, endShipping := context.WithCancel(background)
	defer endShipping()
	spoolerCtx, endSpooler := context.WithCancel(background)
	defer endSpooler()
	var sinks, writing, shipping, cycles sync.WaitGroup
	rounds, abort := context.WithCancel(background)
	defer abort()
	var jobs sync.WaitGroup
	a.schedule = newScheduler(a.deps.Now, func(ln *lane, tick int64, due []*line) {
		jobs.Add(1)
		go a.job(rounds, ln, tick, due, func() {
			a.schedule.finish(ln)
			jobs.Done()
		})
	})
	shortest := time.Duration(min(a.cfg.base(catalog.Fast), a.cfg.base(catalog.Slow))) * time.Microsecond
	a.spooler = newSpooler(j, a.micros, min(maxWindow, max(shortest, time.Second)/20))
	sinks.Go(func() { _ = j.spool.Run(spoolCtx) })
	writing.Go(func() { a.spooler.Run(spoolerCtx) })
	fatal := make(chan error, 1)
	shipping.Go(func() {
		if err := a.ship(shipCtx); err != nil {
			fatal <- err
		}
	})
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	cycles.Go(func() { a.cycles(runCtx) })

	for _, in := range a.instances {
		a.schedule.replan(in)
	}
	var scheduling sync.WaitGroup
	scheduling.Go(func() { a.schedule.Run(runCtx) })

	select {
	case <-ctx.Done():
		err = nil
	case err = <-fatal:
	}
	stop()
	scheduling.Wait()
	if !within(endRounds, jobs.Wait) {
		abort()
		if !within(endAborted, jobs.Wait) {
			a.log.WarnContext(ctx, "rounds left behind")
		}
	}
	endSpooler()
	writing.Wait()
	cycles.Wait()
	a.closeTargets()
	endShipping()
	shipping.Wait()
	endSpool()
	sinks.Wait()
	if cerr := j.spool.Close(); cerr != nil && err == nil {
		err = cerr
	}
	a.log.InfoContext(ctx, "collector ended", "pending", j.spool.Stats().Pending)
	return err
}

// within reports whether wait returned in time. Its goroutine ends with wait.
func within(limit time.Duration, wait func()) bool {
	done := make(chan struct{})
	go func() { wait(); close(done) }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// begin restores what former processes left and plans the first ticks.
func (a *Agent) begin(ctx context.Context, found *spool.Recovered) {
	now := a.micros()
	left := a.restore(ctx, found)
	for i, in := range a.instances {
		var lines []*line
		if r := left[in.name]; r != nil {
			in.adopt(r)
			lines = r.lines
			delete(left, in.name)
		}
		in.mu.Lock()
		in.begin(&a.cfg, now, min(time.Duration(i)*beginApart, beginWithin), lines)
		in.mu.Unlock()
	}
	for name, r := range left {
		if err := a.retire(ctx, name, r, now); err != nil {
			a.log.WarnContext(ctx, "end of an instance not spooled", "instance", name, "err", err)
		}
	}
}

func (a *Agent) closeTargets() {
	a.closing.Do(func() {
		within(endTargets, func() {
			var all sync.WaitGroup
			for _, in := range a.instances {
				all.Go(in.target.Close)
			}
			all.Wait()
		})
	})
}

// ship pushes until ctx ends, under a new identity when the backend knows more of
// the present one than this disk.
func (a *Agent) ship(ctx context.Context) error {
	for {
		s := ship.New(ship.Config{
			URL: a.cfg.Backend.URL, Client: a.deps.Client, Queue: queue{a.journal}, Identity: identity{a}, Log: a.log,
			Linger: min(time.Second, a.cfg.interval()/10), Grace: endShip,
		})
		a.mu.Lock()
		a.shipper = s
		a.mu.Unlock()
		err := s.Run(ctx)
		if !errors.Is(err, ship.ErrForeign) {
			return err
		}
		a.log.WarnContext(ctx, "spool was restored from a copy, or copied: beginning a new identity", "err", err)
		if err := a.journal.reset(ctx, a.shipFormer); err != nil {
			return fmt.Errorf("begin a new identity: %w", err)
		}
		for _, in := range a.instances {
			in.mu.Lock()
			for _, ln := range in.lanes() {
				for _, l := range slices.Concat(ln.table.past, ln.table.lines) {
					for i := range l.Segments {
						l.Segments[i].told = false // what told of them was dropped
					}
				}
			}
			in.keep = true
			in.mu.Unlock()
		}
	}
}

// formerLimit bounds how long a collector that takes a new identity tries to ship what
// waits under the old one; it appends nothing meanwhile.
const formerLimit = time.Minute

// shipFormer pushes what q holds, under the identity that is given up, until done.
func (a *Agent) shipFormer(ctx context.Context, q ship.Queue, done func() bool) {
	ctx, cancel := context.WithTimeout(ctx, formerLimit)
	defer cancel()
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for !done() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	})
	s := ship.New(ship.Config{
		URL: a.cfg.Backend.URL, Client: a.deps.Client, Queue: q, Identity: formerIdentity{identity{a}}, Log: a.log,
		Linger: time.Millisecond, Grace: endShip,
	})
	if err := s.Run(ctx); err != nil {
		a.log.WarnContext(ctx, "batches of the old identity not shipped", "err", err)
	}
	cancel()
	watch.Wait()
}

// formerIdentity is one that is given up: it claims no instances, and asks for a token
// only when its own is not accepted any more, since a twin would lose its token by
// that.
type formerIdentity struct{ identity }

// Registration implements ship.Identity.
func (i formerIdentity) Registration() ship.Registration {
	r := i.identity.Registration()
	r.Instances = nil
	return r
}

// RegistrationToken implements ship.Identity.
func (i formerIdentity) RegistrationToken() (string, error) {
	if i.Token() != "" {
		return "", errors.New("the identity is given up")
	}
	return i.identity.RegistrationToken()
}

// Granted implements ship.Identity.
func (formerIdentity) Granted([]string, []ship.Conflict) {}

// identity is the Agent as package ship sees it.
type identity struct{ a *Agent }

// Registration implements ship.Identity.
func (i identity) Registration() ship.Registration {
	a := i.a
	id, _ := a.journal.identity()
	host, _ := os.Hostname() // for people; "" where there is none
	r := ship.Registration{ID: id.String(), Name: a.cfg.Collector.Name, Version: a.deps.Version, Hostname: host, Interval: a.cfg.interval().Seconds()}
	for _, in := range a.instances {
		r.Instances = append(r.Instances, ship.Instance{Name: in.name, Labels: in.cfg.Labels})
	}
	return r
}

// RegistrationToken implements ship.Identity. The file is read each time: it may be
// renewed while the collector runs.
func (i identity) RegistrationToken() (string, error) {
	return readToken(i.a.cfg.Backend.TokenFile)
}

// Token implements ship.Identity.
func (i identity) Token() string {
	j := i.a.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.token
}

// SaveToken implements ship.Identity.
func (i identity) SaveToken(token string) error {
	j := i.a.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.saveToken(token)
}

// Granted implements ship.Identity: an instance that another collector holds is
// left alone until it is ours; then it begins as new.
func (i identity) Granted(_ []string, conflicts []ship.Conflict) {
	a := i.a
	held := map[string]string{}
	for _, c := range conflicts {
		held[c.Instance] = c.Holder
	}
	now := a.micros()
	for _, in := range a.instances {
		holder := held[in.name]
		in.mu.Lock()
		was := in.held
		in.held = holder
		switch {
		case was == "" && holder != "":
			for _, ln := range in.lanes() {
				ln.table.forget()
				ln.owed = nil
			}
		case was != "" && holder == "":
			in.takes++
			in.facts, in.said = nil, ""
			for _, ln := range in.lanes() { // planned by a round that ended later
				ln.table.forget()
				ln.owed = nil
			}
			in.begin(&a.cfg, now, 0, nil)
			in.log.Info("instance taken over", "holder", was)
		}
		in.mu.Unlock()
		if was != holder {
			a.schedule.replan(in)
		}
	}
}
