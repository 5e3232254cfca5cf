package agent

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// planID names a plan within an instance.
type planID struct{ database, family string }

func (l *line) id() planID { return planID{l.Database, l.Family} }

// instance is one watched server with its two lanes.
type instance struct {
	name   string
	cfg    InstanceConfig
	offset int64 // of its ticks, microseconds
	target *target.Target
	log    *slog.Logger
	fast   lane
	slow   lane

	contacting chan struct{} // one Contact at a time

	mu        sync.Mutex // guards what follows, and the lanes' tables and owed ticks
	facts     *target.Facts
	plans     map[planID]target.Plan
	server    frame.Server // as known; incarnation and labels included
	phase     int64        // of the timeline that the lanes are on, see timetable.go
	keep      bool         // identity (system id, incarnation) is to be written with the next batch
	down      bool         // the last attempt to connect failed
	due       bool         // Contact is due before the next round
	contacted time.Time    // last success
	tried     time.Time    // end of the last attempt
	tryErr    error        // its error
	held      string       // the collector that holds the name; "" it is ours, or nobody said otherwise
	takes     uint64       // counts takeovers from other collectors
	said      string       // the last failure logged
	work      instanceWork
	own       *counter.Baseline // of the collector family
}

// instanceWork is what rounds on an instance cost since the process started.
type instanceWork struct {
	rounds, trips, connects, acquires                 int64
	roundTime, serverTime, connectTime, acquireTime   time.Duration
	poolOpen, poolBusy, poolMax                       int
	lastRound                                         time.Time // last one that answered
	calls, callsSent, execTime, execTimeSent, queries int64     // statements since the last cycle
}

// lane is one of an instance's two lanes. Its rounds run one after another.
type lane struct {
	in   *instance
	name catalog.Lane

	// Guarded by scheduler.mu.
	at      int64 // the tick it waits for
	place   int   // in the heap, -1: not there
	running bool
	jumps   uint64 // of the clock, when the round started

	// Guarded by instance.mu.
	table timetable
	owed  []owed

	// Of the running round.
	generation  uint64
	incarnation uint32
	takes       uint64
	bases       map[planID]*base
	voided      map[planID]void
	texts       texts
	refused     time.Time // last complaint about the spool
}

// owed are ticks whose outcome is known, but not yet durably in the spool.
type owed struct {
	line *line
	run
	reason, detail string
}

// base is a baseline, and how many records of it the spool has since a full one.
type base struct {
	*counter.Baseline
	patches int
}

// void says why a family has no baseline though it had one.
type void struct {
	reason, detail string
	since          int64 // of the baseline lost, 0 unknown
}

func newInstance(cfg *Config, in InstanceConfig, log *slog.Logger) (*instance, error) {
	password, err := in.password()
	if err != nil {
		return nil, err
	}
	t, err := target.New(targetConfig(cfg, in, password), log)
	if err != nil {
		return nil, err
	}
	i := &instance{
		name: in.Name, cfg: in, offset: offsetOf(in.Name, cfg.interval()), target: t,
		log: log.With("instance", in.Name), contacting: make(chan struct{}, 1), plans: map[planID]target.Plan{},
		server: frame.Server{Labels: in.Labels, IntervalUs: cfg.interval().Microseconds()},
	}
	i.fast = lane{in: i, name: catalog.Fast, place: -1, bases: map[planID]*base{}, voided: map[planID]void{}}
	i.slow = lane{in: i, name: catalog.Slow, place: -1, bases: map[planID]*base{}, voided: map[planID]void{}}
	return i, nil
}

func targetConfig(cfg *Config, in InstanceConfig, password string) target.Config {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	return target.Config{
		Name: in.Name, URL: target.Secret(in.URL), Password: target.Secret(password), Databases: in.Databases, Labels: in.Labels,
		Interval: cfg.interval(),
		Pool:     target.Pool{Min: cfg.Postgres.MinSize, Max: cfg.Postgres.MaxSize, IdleTimeout: time.Duration(cfg.Postgres.IdleTimeout) * time.Second},
		Limits:   target.Limits{Lock: ms(cfg.Limits.LockTimeout), Statement: ms(cfg.Limits.StatementTimeout), Connect: ms(cfg.Limits.ConnectTimeout)},
		Enabled:  cfg.enabled,
	}
}

func (in *instance) lanes() [2]*lane { return [2]*lane{&in.fast, &in.slow} }

func (in *instance) lane(l catalog.Lane) *lane {
	if l == catalog.Fast {
		return &in.fast
	}
	return &in.slow
}

// after is the first moment after t that the timeline may have a tick at.
func (in *instance) after(t int64) int64 { return moment(t+1, in.phase) }

// rewind begins a new timeline when the clock went back by minutes: ticks are never
// used twice, so the lanes would wait until it comes to where it was. It goes for
// all of the instance, else grids that share ticks would not any more. mu is held.
func (in *instance) rewind(now int64) bool {
	if !in.fast.table.far(now) && !in.slow.table.far(now) {
		return false
	}
	in.phase = (in.phase + 1) % phases
	for _, ln := range in.lanes() {
		for _, m := range ln.table.rewind(now, in.offset, in.phase) {
			ln.owe(owed{m.line, m.run, "clock", "the clock went back"})
		}
	}
	return true
}

// home is the database that families of the instance are read in, "" before the
// first contact.
func (in *instance) home() string {
	if in.facts == nil {
		return ""
	}
	return in.facts.Database
}

// begin plans what is planned before the first contact: what a former process
// planned goes on; a new instance has `activity` alone, after a delay. mu is held, or
// nobody else knows the instance.
func (in *instance) begin(cfg *Config, now int64, delay time.Duration, restored []*line) {
	for _, l := range restored {
		if l.planned() {
			in.phase = max(in.phase, l.Segments[len(l.Segments)-1].From%phases)
		}
	}
	for _, l := range restored {
		f := catalog.Lookup(l.Family)
		if f == nil || !l.planned() && l.Done >= l.floor(0) {
			continue // a former build's, or nothing planned: the next contact tells
		}
		ln := in.lane(f.Lane)
		if l.closed() { // of a timeline that has ended
			for _, r := range l.rest(l.Segments[len(l.Segments)-1].Until) {
				ln.owed = append(ln.owed, owed{l, r, "collector_down", ""})
			}
			ln.table.past = append(ln.table.past, l)
			continue
		}
		if ln.table.find(l.Database, l.Family) != nil {
			continue
		}
		ln.table.lines = append(ln.table.lines, l)
		// Ticks up to now passed without us. One of just now can't be told apart from
		// them, and a round for it would be late.
		for _, r := range l.rest(now) {
			ln.owed = append(ln.owed, owed{l, r, "collector_down", ""})
		}
		switch {
		case !cfg.enabled(l.Family):
			l.note = frame.Schedule{Reason: "disabled", Detail: "families." + l.Family + ".enabled = false"}
			l.add(segment{From: in.after(l.floor(now))})
		case l.planned():
			every := cfg.every(f).Microseconds()
			l.add(segment{From: align(l.floor(now), every, in.offset+in.phase), Every: every})
		}
	}
	f := catalog.Lookup("activity")
	if in.fast.table.find("", f.Name) == nil && cfg.enabled(f.Name) {
		now = moment(now+delay.Microseconds(), in.phase)
		in.fast.table.lines = append(in.fast.table.lines, &line{
			Family: f.Name, Segments: fresh(now, cfg.every(f).Microseconds(), cfg.base(f.Lane), in.offset+in.phase), Last: now - 1, Done: now - 1,
		})
	}
}

// reconcile brings the timetables in line with what was found on the instance. It
// says whether the instance is another one than before. mu is held.
func (in *instance) reconcile(cfg *Config, facts *target.Facts, now int64) (changed bool) {
	was := in.server
	in.facts = facts
	in.server = facts.Server
	in.server.Labels, in.server.IntervalUs = in.cfg.Labels, cfg.interval().Microseconds()
	in.server.Incarnation = was.Incarnation
	if was.SystemID == 0 {
		in.keep = true
	} else if facts.Server.SystemID != 0 && facts.Server.SystemID != was.SystemID {
		changed, in.keep = true, true
		in.server.Incarnation++
	}
	if in.server.SystemID == 0 {
		in.server.SystemID = was.SystemID
	}
	plans := facts.Plans
	for _, f := range catalog.All() {
		if f.Reader == "collector" {
			p := target.Plan{Family: f, Via: facts.Database, Lane: f.Lane}
			if !cfg.enabled(f.Name) {
				p.Via, p.Reason, p.Detail = "", "disabled", "families."+f.Name+".enabled = false"
			}
			plans = append(slices.Clip(plans), p)
		}
	}
	clear(in.plans)
	// All that is new begins at one tick, so that it goes in one round; with what is
	// due soon, as that would else come due while it is read.
	at := moment(now, in.phase)
	if next, ok := in.slow.table.next(); ok && next > now && next-now < time.Second.Microseconds() {
		at = next
	}
	for _, p := range plans {
		if l := in.lane(p.Lane).table.find(p.Database, p.Family.Name); l != nil && (changed || !l.planned()) {
			at = max(at, in.after(l.floor(now-1)))
		}
	}
	for i := range plans {
		p := &plans[i]
		in.plans[planID{p.Database, p.Family.Name}] = *p
		in.plan(cfg, p, now, at, changed)
	}
	for _, ln := range in.lanes() {
		for _, l := range ln.table.lines {
			if _, ok := in.plans[l.id()]; !ok && l.planned() {
				l.note = frame.Schedule{Reason: "gone", Detail: "the database is no longer there, or not chosen"}
				l.add(segment{From: in.after(l.floor(now))})
			}
		}
	}
	return changed
}

// plan brings one line in line. mu is held.
func (in *instance) plan(cfg *Config, p *target.Plan, now, at int64, again bool) {
	ln := in.lane(p.Lane)
	every := cfg.every(p.Family).Microseconds()
	note := frame.Schedule{Reason: p.Reason, Limit: p.Limit, Detail: p.Detail, Remedy: p.Remedy, Absent: p.Absent}
	l := ln.table.find(p.Database, p.Family.Name)
	isNew := l == nil
	if isNew {
		l = &line{Database: p.Database, Family: p.Family.Name, Last: at - 1, Done: at - 1}
		ln.table.lines = append(ln.table.lines, l)
	}
	if p.Via != "" {
		l.Via = p.Via
	}
	same := sameNote(&l.note, &note)
	switch {
	case p.Reason != "" && !isNew && !l.planned() && same:
	case p.Reason != "" && isNew:
		l.add(segment{From: at})
	case p.Reason != "":
		l.add(segment{From: in.after(l.floor(now))})
	case isNew || !l.planned() || again && l.Family != "activity":
		l.add(fresh(max(at, in.after(l.floor(at-1))), every, cfg.base(p.Lane), in.offset+in.phase)...)
	case l.every() != every || !same || again:
		l.add(segment{From: align(l.floor(now), every, in.offset+in.phase), Every: every})
	}
	l.note = note
}

func sameNote(a, b *frame.Schedule) bool {
	return a.Reason == b.Reason && a.Limit == b.Limit && a.Detail == b.Detail && a.Remedy == b.Remedy && slices.Equal(a.Absent, b.Absent)
}

// void lets all baselines go. It belongs to the lane's round.
func (ln *lane) void(reason, detail string) {
	for id, b := range ln.bases {
		ln.voided[id] = void{reason: reason, detail: detail, since: b.At()}
	}
	clear(ln.bases)
	ln.texts = texts{}
}

// finished says that nothing of the line is planned or owed, and everyone knows.
func (l *line) finished() bool {
	n := len(l.Segments)
	return n > 0 && l.Segments[n-1].Every == 0 && l.Done >= l.Segments[n-1].From-1 && l.Segments[n-1].known()
}

// owe notes ticks whose outcome is to go with the next batch. mu is held.
func (ln *lane) owe(o owed) {
	for i := len(ln.owed) - 1; i >= 0; i-- {
		p := &ln.owed[i]
		if p.line != o.line {
			continue
		}
		step := o.First - p.Last
		if p.reason == o.reason && p.detail == o.detail && step > 0 &&
			(p.N == 1 || p.every() == step) && (o.N == 1 || o.every() == step) {
			p.Last, p.N = o.Last, p.N+o.N
			return
		}
		break
	}
	ln.owed = append(ln.owed, o)
}

// vias are the databases that lines are read in, home first, then by name.
func vias(lines []*line, debts []owed, home string) []string {
	set := map[string]bool{}
	for _, l := range lines {
		set[l.Via] = true
	}
	for _, o := range debts {
		set[o.line.Via] = true
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b string) int {
		switch {
		case a == b:
			return 0
		case a == home || a == "":
			return -1
		case b == home || b == "":
			return 1
		}
		return strings.Compare(a, b)
	})
}
