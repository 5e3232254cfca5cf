package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

const (
	// contactEvery bounds how long new databases, grants and settings that a round
	// does not notice stay unknown.
	contactEvery = 5 * time.Minute
	// fullEvery: a key's every 16th record in the spool holds its whole baseline.
	fullEvery = 16
	maxDetail = 300
	// maxDrafts bounds the batches of one job that are on their way into the spool.
	maxDrafts = 8
)

// counted is a new baseline; whole: the spool gets all of it, not a patch.
type counted struct {
	*counter.Baseline
	whole bool
}

// job runs what is due in one lane at a tick, and calls end when all that follows
// from it is done: batches are written later, together with those of others.
func (a *Agent) job(ctx context.Context, ln *lane, tick int64, due []*line, end func()) {
	drafts, reached := a.rounds(ctx, ln, tick, due)
	if len(drafts) == 0 {
		end()
		return
	}
	// Until the last one is written, the lane is nobody's; then it is the spooler's. No
	// goroutine waits: it would have to be woken.
	a.spooler.after(drafts[len(drafts)-1], func() {
		for _, d := range drafts {
			a.conclude(ctx, d)
		}
		in := ln.in
		in.mu.Lock()
		again := in.due || time.Since(in.contacted) > contactEvery && ln.name == catalog.Slow
		in.mu.Unlock()
		if !again || !reached || ctx.Err() != nil {
			end()
			return
		}
		go func() {
			_ = a.contact(ctx, ln) // said there; the next round tells what it means
			end()
		}()
	})
}

// rounds are those of a job: its databases one after another. It gives the drafts
// that are not concluded, and whether the instance was reached before.
func (a *Agent) rounds(ctx context.Context, ln *lane, tick int64, due []*line) (drafts []*draft, reached bool) {
	in := ln.in
	if _, g := a.journal.identity(); g != ln.generation {
		ln.void("restored", "the spool was restored from a copy, or copied")
		ln.generation = g
	}
	in.mu.Lock()
	must := in.facts == nil || in.down
	in.mu.Unlock()
	var failure error
	if must {
		failure = a.contact(ctx, ln)
	}
	if ctx.Err() != nil {
		return nil, false // the ticks are accounted for by the next process
	}
	in.mu.Lock()
	if ln.incarnation != in.server.Incarnation {
		ln.incarnation, ln.texts = in.server.Incarnation, texts{}
	}
	if ln.takes != in.takes { // another collector counted meanwhile
		ln.takes, ln.texts = in.takes, texts{}
		clear(ln.bases)
		clear(ln.voided)
	}
	debts, home := slices.Clone(ln.owed), in.home()
	in.mu.Unlock()
	if failure != nil {
		d := a.draft(ln, tick, home, due, debts, true)
		for _, l := range due {
			d.fail(l, target.ReasonOf(failure), failure)
		}
		a.spooler.put(d)
		return []*draft{d}, false
	}
	for i, via := range vias(due, debts, home) {
		mine := slices.DeleteFunc(slices.Clone(due), func(l *line) bool { return l.Via != via })
		owes := slices.DeleteFunc(slices.Clone(debts), func(o owed) bool { return o.line.Via != via })
		if touch(drafts, ln, mine, owes) {
			for _, d := range drafts {
				a.conclude(ctx, d)
			}
			drafts = nil
		}
		d := a.round(ctx, ln, tick, via, mine, owes, i == 0)
		if d == nil {
			break // the collector ends
		}
		if drafts = append(drafts, d); len(drafts) > maxDrafts {
			a.conclude(ctx, drafts[0])
			drafts = drafts[1:]
		}
	}
	return drafts, true
}

// contact finds out what can be read, one lane at a time; the other one takes its
// result.
func (a *Agent) contact(ctx context.Context, ln *lane) error {
	in := ln.in
	begun := time.Now()
	select {
	case in.contacting <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-in.contacting }()
	in.mu.Lock()
	tried, err := in.tried, in.tryErr
	in.mu.Unlock()
	if tried.After(begun) {
		return err
	}
	k, err := a.workers.enter(ctx, ln.name, true)
	if err != nil {
		return err
	}
	defer k.leave()
	limits := a.cfg.Limits
	cctx, cancel := context.WithTimeout(ctx, time.Duration(limits.ConnectTimeout+4*limits.StatementTimeout+2000)*time.Millisecond)
	defer cancel()
	facts, err := in.target.Contact(cctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	now := a.micros()
	in.mu.Lock()
	in.tried, in.tryErr = time.Now(), err
	if err != nil {
		in.down = in.facts == nil || isDown(target.ReasonOf(err))
		in.say(ctx, err)
		in.mu.Unlock()
		return err
	}
	changed := in.reconcile(&a.cfg, facts, now)
	in.down, in.due, in.contacted = false, false, time.Now()
	in.say(ctx, nil)
	version := in.server.VersionText
	in.mu.Unlock()
	if changed {
		in.log.WarnContext(ctx, "instance is another one now, baselines begin anew", "version", version)
	}
	a.schedule.replan(in)
	return nil
}

func isDown(reason string) bool {
	return reason == "connect" || reason == "lost" || reason == "timeout"
}

// say logs that an instance went away or came back, once each. mu is held.
func (in *instance) say(ctx context.Context, err error) {
	was, now := in.said, ""
	if err != nil {
		now = err.Error()
	}
	in.said = now
	switch {
	case now != "" && was != now:
		in.log.WarnContext(ctx, "instance not reached", "reason", target.ReasonOf(err), "err", err)
	case now == "" && was != "":
		in.log.InfoContext(ctx, "instance reached again")
	}
}

// round reads what is due in one database and sends the batch on its way into the
// spool. nil: the collector ends, nothing was sent.
func (a *Agent) round(ctx context.Context, ln *lane, tick int64, via string, due []*line, debts []owed, first bool) *draft {
	in := ln.in
	d := a.draft(ln, tick, via, due, debts, first)
	var plans []target.Plan
	var lines []*line
	var own, text *line
	in.mu.Lock()
	for _, l := range due {
		p, ok := in.plans[l.id()]
		switch {
		case !ok:
			d.fail(l, "gone", errors.New("the database is no longer there"))
		case p.Reason != "":
			d.fail(l, p.Reason, errors.New(p.Detail))
		case p.Family.Reader == "collector":
			own = l
		case p.Family.TextsOf != "":
			text = l
		default:
			plans, lines = append(plans, p), append(lines, l)
		}
	}
	in.mu.Unlock()
	if len(plans) == 0 && own == nil && text == nil {
		a.spooler.put(d)
		return d
	}
	k, err := a.workers.enter(ctx, ln.name, !in.target.Warm(via))
	if err != nil {
		return nil
	}
	begun := time.Now()
	r := &reading{a: a, d: d, ln: ln, via: via}
	r.read(ctx, plans, lines)
	if text != nil {
		r.readTexts(ctx, text)
	}
	if ctx.Err() == nil {
		r.note(ctx, time.Since(begun))
		if own != nil {
			r.ownFamily(own)
		}
	}
	target.Release(r.used) // what was counted holds none of it
	d.read, d.answered, d.took = true, r.answered, k.leave()
	if ctx.Err() != nil {
		return nil
	}
	a.spooler.put(d)
	return d
}

// reading is the reading part of a round.
type reading struct {
	a        *Agent
	d        *draft
	ln       *lane
	via      string
	stats    target.RoundStats
	used     []target.Reading
	asked    bool // there was something to read
	answered bool
	at       int64 // the watched server's clock
	failure  error // no connection
}

func (r *reading) target(ctx context.Context, plans []target.Plan, texts []int64) []target.Reading {
	limits := r.a.cfg.Limits
	ctx, cancel := context.WithTimeout(ctx, time.Duration(limits.ConnectTimeout+3*limits.StatementTimeout+6000)*time.Millisecond)
	defer cancel()
	out, stats, err := r.ln.in.target.Read(ctx, r.via, r.ln.name, plans, texts)
	r.asked = true
	r.used = append(r.used, out...)
	r.failure = err
	s := &r.stats
	s.RoundTrips += stats.RoundTrips
	s.ServerTime += stats.ServerTime
	s.Connects += stats.Connects
	s.ConnectTime += stats.ConnectTime
	s.Acquires += stats.Acquires
	s.AcquireTime += stats.AcquireTime
	s.PoolOpen, s.PoolBusy, s.PoolMax = stats.PoolOpen, max(s.PoolBusy, stats.PoolBusy), stats.PoolMax
	s.Changed = s.Changed || stats.Changed
	if stats.SystemID != 0 {
		s.SystemID = stats.SystemID
	}
	if stats.PostmasterStart != 0 {
		s.PostmasterStart, s.InRecovery = stats.PostmasterStart, stats.InRecovery
	}
	return out
}

// read reads and counts what SQL gives.
func (r *reading) read(ctx context.Context, plans []target.Plan, lines []*line) {
	if len(plans) == 0 {
		return
	}
	for i, rd := range r.target(ctx, plans, nil) {
		l := lines[i]
		if rd.Err != nil {
			r.d.fail(l, rd.Reason, rd.Err)
			continue
		}
		r.answered = true
		r.at = max(r.at, rd.At)
		r.count(l, &rd)
	}
}

// count turns a reading into frames.
func (r *reading) count(l *line, rd *target.Reading) {
	d, id, f := r.d, l.id(), rd.Plan.Family
	var before *counter.Baseline
	if b := r.ln.bases[id]; b != nil && (b.SystemID() == 0 || rd.SystemID == 0 || b.SystemID() == rd.SystemID) {
		before = b.Baseline
	}
	opt := counter.Options{}
	if f.Cut != nil && f.Cut.Limit == "query_stats_limit" {
		opt.Limit = r.a.cfg.PostgreSQL.QueryStatsLimit
	}
	res := counter.Count(f, before, rd.Reading, opt)
	d.memory = append(d.memory, res.Memory)
	since, at := res.Frames[0].Since, res.Frames[0].At
	for i := range res.Frames {
		if res.Frames[i].N > 0 {
			d.batch.Frames = append(d.batch.Frames, res.Frames[i])
		}
	}
	d.batch.Unobserved = append(d.batch.Unobserved, res.Unobserved...)
	if v, ok := r.ln.voided[id]; ok && f.HasCounters() {
		from := v.since
		if from == 0 || from > at {
			from = at
		}
		d.batch.Unobserved = append(d.batch.Unobserved, frame.Unobserved{
			Family: l.Family, Database: l.Database, Reason: v.reason, Detail: v.detail, Since: from, At: at,
		})
	}
	old := r.ln.bases[id]
	d.counted[id] = &counted{res.Baseline, before == nil || old.patches >= fullEvery-1}
	d.stored(l, since, at)
	for _, c := range res.Coverage {
		switch c.Column {
		case "calls":
			d.work.calls, d.work.callsSent = d.work.calls+c.Total, d.work.callsSent+c.Sent
		case "total_exec_time":
			d.work.execTime, d.work.execTimeSent = d.work.execTime+c.Total, d.work.execTimeSent+c.Sent
		}
	}
	if f.Cut != nil {
		d.work.queries += int64(res.Changed)
		r.ln.texts.see(rd.Frame, res.Frames, time.Now())
	}
}

// readTexts fetches the texts of statements that are sent and not yet known.
func (r *reading) readTexts(ctx context.Context, l *line) {
	r.ln.in.mu.Lock()
	plan := r.ln.in.plans[l.id()]
	r.ln.in.mu.Unlock()
	ids := r.ln.texts.ask()
	if r.failure != nil {
		r.d.fail(l, target.ReasonOf(r.failure), r.failure)
		return
	}
	if len(ids) == 0 && r.at != 0 {
		r.d.stored(l, r.at, r.at) // nothing to ask for, so no round trip
		return
	}
	rd := r.target(ctx, []target.Plan{plan}, ids)[0]
	if rd.Err != nil {
		r.d.fail(l, rd.Reason, rd.Err)
		return
	}
	r.answered = true
	if rd.Frame == nil { // nothing was asked for
		r.d.stored(l, r.a.micros(), r.a.micros())
		return
	}
	if f := once(rd.Frame); f.N > 0 {
		r.d.batch.Frames = append(r.d.batch.Frames, f)
	}
	r.d.asked = ids
	r.d.stored(l, rd.At, rd.At)
}

// note keeps what the round told of the instance.
func (r *reading) note(ctx context.Context, took time.Duration) {
	in := r.ln.in
	in.mu.Lock()
	defer in.mu.Unlock()
	s, w := &r.stats, &in.work
	w.rounds++
	w.roundTime += took
	w.trips += int64(s.RoundTrips)
	w.serverTime += s.ServerTime
	w.connects += int64(s.Connects)
	w.connectTime += s.ConnectTime
	w.acquires += int64(s.Acquires)
	w.acquireTime += s.AcquireTime
	w.poolOpen, w.poolBusy, w.poolMax = s.PoolOpen, s.PoolBusy, s.PoolMax
	if r.answered {
		w.lastRound = time.Now()
	}
	if s.Changed {
		in.due = true
	}
	if s.SystemID != 0 && in.server.SystemID != 0 && s.SystemID != in.server.SystemID {
		in.due = true // the batch says whom it is from; the incarnation follows with Contact
	}
	if s.PostmasterStart != 0 {
		in.server.PostmasterStart, in.server.InRecovery = s.PostmasterStart, s.InRecovery
		r.d.batch.Server.PostmasterStart, r.d.batch.Server.InRecovery = s.PostmasterStart, s.InRecovery
	}
	if r.failure != nil {
		if reason := target.ReasonOf(r.failure); isDown(reason) {
			in.down = true
			in.say(ctx, r.failure)
		} else {
			in.due = true
		}
	}
}
