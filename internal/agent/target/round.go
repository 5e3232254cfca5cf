package target

import (
	"context"
	"slices"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// round is one Read at work.
type round struct {
	t     *Target
	via   string
	lane  catalog.Lane
	texts [][]byte // the one parameter of a Dictionary's query
	keys  int      // in it
	stats RoundStats
	out   []Reading
	reads []read // beside out
	watch string
	saw   bool // watch was read
	began int64
	ended int64
}

// read is one plan at work.
type read struct {
	query  *query
	rows   *rows
	proof  counter.Proof // before the rows
	after  counter.Proof
	group  *header
	steps  []*step
	finish bool
}

// header is what a group's head told.
type header struct {
	step
	at, start  int64
	inRecovery bool
}

// Read runs one round: all plans given, which must have this Via and lane, on one
// connection, in one network round trip (one or two more when a Sync group
// failed). texts are the keys for a Dictionary's plan (queryid); without any it
// gives a frame of no rows. The readings are in the order of the plans, one each.
// err is not nil when nothing was read because there was no connection; every
// reading then has it as well. Frames are the caller's until Release.
func (t *Target) Read(ctx context.Context, via string, lane catalog.Lane, plans []Plan, texts []int64) ([]Reading, RoundStats, error) {
	r := &round{t: t, via: via, lane: lane, out: make([]Reading, len(plans)), reads: make([]read, len(plans))}
	r.stats.PoolMax = t.cfg.Pool.Max
	r.texts, r.keys = [][]byte{int8Array(texts)}, len(texts)
	t.mu.Lock()
	for i, p := range plans {
		r.out[i].Plan = p
		q := p.query
		if newer := t.queries[p.key()]; newer != nil && q != nil {
			q = newer
		}
		if q == nil || p.Via != via || p.Lane != lane {
			r.fail(i, failf(reasonFailed, "read "+p.Family.Name, "not planned on database %q in the %s lane", via, lane))
			continue
		}
		r.reads[i].query = q
		r.out[i].Plan.query, r.out[i].Plan.Absent = q, q.absent
		if missing := t.missing[p.key()]; len(missing) > 0 {
			setLimit(&r.out[i].Plan, missing)
		}
	}
	t.mu.Unlock()
	if err := t.enter(ctx, lane); err != nil {
		r.failRest(err)
		return r.out, r.stats, err
	}
	defer t.leave(lane)
	err := r.run(ctx)
	r.settle()
	return r.out, r.stats, err
}

// run takes a connection and reads; once more on a fresh one when an idle one
// turned out to be dead before it told anything.
func (r *round) run(ctx context.Context) error {
	for fresh := false; ; fresh = true {
		start := time.Now()
		res, opened, err := r.t.pool.acquire(ctx, r.via, fresh)
		r.stats.AcquireTime += time.Since(start)
		if err != nil {
			r.failRest(err)
			return err
		}
		r.stats.Acquires++
		c := res.Value()
		if opened {
			r.stats.Connects++
			r.stats.ConnectTime += c.opening
		}
		_, r.stats.PoolBusy = r.t.pool.counts()
		end := c.begin(ctx)
		err = r.on(c)
		end()
		r.t.pool.release(res)
		r.stats.PoolOpen, _ = r.t.pool.counts()
		if err != nil && c.rounds > 1 && !opened && r.began == 0 && roundReason(err) == reasonLost && ctx.Err() == nil {
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			r.failRest(fail(roundReason(err), "read on database "+quoteIdent(r.via), err))
		}
		return nil
	}
}

// on reads on a connection. An error means that it broke.
func (r *round) on(c *conn) error {
	t := r.t
	t.mu.Lock()
	facts, pooled := t.facts, t.pooled
	t.mu.Unlock()
	if facts == nil || c.version() != facts.Server.VersionText {
		// Another server, or the same after an upgrade: what was planned is for
		// another version.
		r.stats.Changed = true
		r.failRest(failf(reasonChanged, "read on database "+quoteIdent(r.via), "the server is now PostgreSQL %.40q", c.version()))
		return nil
	}
	groups := r.groups()
	if c.systemID == 0 || pooled {
		hello := &step{stmt: helloStmt, row: func(v [][]byte) error {
			id, _ := int8Of(v[0])
			c.systemID = uint64(id)
			return nil
		}}
		groups = append(groups, []*step{hello})
	}
	tail := &step{stmt: tailStmt, row: func(v [][]byte) error { r.ended = timeOf(v[0]); return nil }}
	groups = append(groups, []*step{tail})
	if err := r.exchange(c, groups, pooled); err != nil {
		return err
	}
	again, err := r.judge(c)
	if err != nil || len(again) == 0 {
		return err
	}
	groups = append(r.second(again), []*step{{stmt: tailStmt, row: tail.row}})
	if err := r.exchange(c, groups, t.isPooled()); err != nil {
		return err
	}
	for _, i := range again {
		r.conclude(i, true)
	}
	return nil
}

func (r *round) exchange(c *conn, groups [][]*step, pooled bool) error {
	r.stats.RoundTrips++
	err := exchange(c, groups, pooled, r.t.patience())
	r.stats.SystemID = c.systemID
	return err
}

// groups lays out the first exchange: one Sync group for the cheap families with
// the watch, one for each that is apart, and last those that broke a connection.
func (r *round) groups() [][]*step {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	var shared, apart, last []int
	for i := range r.out {
		if q := r.reads[i].query; q == nil || q.takes && r.keys == 0 {
			continue // nothing to ask for: see settle
		}
		key := r.out[i].Plan.key()
		switch {
		case t.last[key]:
			last = append(last, i)
		case t.alone[key] || r.reads[i].query.apart():
			apart = append(apart, i)
		default:
			shared = append(shared, i)
		}
	}
	var groups [][]*step
	h := &header{step: step{stmt: t.head}}
	steps := []*step{r.headStep(h)}
	if r.lane == catalog.Slow {
		steps = append(steps, &step{stmt: watchStmt[r.via == t.home], row: func(v [][]byte) error {
			r.watch, r.saw = string(v[0]), true
			return nil
		}})
	}
	for _, i := range shared {
		steps = append(steps, r.member(i, h)...)
	}
	if len(steps) > 1 {
		groups = append(groups, steps)
	}
	for _, i := range slices.Concat(apart, last) {
		groups = append(groups, r.single(i))
	}
	return groups
}

// single is a Sync group for one plan.
func (r *round) single(i int) []*step {
	h := &header{step: step{stmt: r.t.headOf(r.reads[i].query)}}
	return append([]*step{r.headStep(h)}, r.member(i, h)...)
}

func (r *round) headStep(h *header) *step {
	h.row = func(v [][]byte) error {
		if len(v) != headColumns {
			return failf(reasonLost, "read", "%d columns in the head", len(v))
		}
		h.at, h.start, h.inRecovery = timeOf(v[headTime]), timeOf(v[headStart]), boolOf(v[headRecovery])
		if r.began == 0 {
			r.began = h.at
			r.stats.PostmasterStart, r.stats.InRecovery = h.start, h.inRecovery
		}
		return nil
	}
	return &h.step
}

// member gives the steps of one plan: its rows, between two readings of the proof.
// Both must say the same, else statistics were reset, or rows evicted, in between,
// and which of the rows were read before that nobody knows.
func (r *round) member(i int, h *header) []*step {
	w := &r.reads[i]
	q := w.query
	w.group, w.rows, w.finish = h, newRows(q), false
	w.proof, w.after = counter.Proof{}, counter.Proof{}
	rows := &step{stmt: q.rows, row: w.rows.add}
	if q.takes {
		rows.params = r.texts
	}
	w.steps = []*step{rows}
	if q.proof != nil {
		into := func(p *counter.Proof) func([][]byte) error {
			return func(v [][]byte) error {
				if len(v) == 2 {
					p.Valid, p.Reset = true, timeOf(v[0])
					p.Dealloc, _ = int8Of(v[1])
				}
				return nil
			}
		}
		w.steps = []*step{{stmt: q.proof, row: into(&w.proof)}, rows, {stmt: q.proof, row: into(&w.after)}}
	}
	return w.steps
}

// judge makes readings of what the first exchange gave, and tells which plans are
// to be read again, each in a group of its own: those that another one's failure
// took along, and those that lack a column. What failed by itself is not tried
// again in this round: it waited for a lock, or worked, as long as it may.
func (r *round) judge(c *conn) (again []int, err error) {
	var lacking []int
	pooler := false
	for i := range r.reads {
		w := &r.reads[i]
		if w.query == nil || w.group == nil {
			continue
		}
		switch e := w.failure(); {
		case e == nil && w.done():
			if w.proof != w.after {
				again = append(again, i)
				continue
			}
			r.conclude(i, false)
		case e == nil && w.group.state == failed && w.query.head == nil,
			e == nil && w.group.state == done:
			again = append(again, i) // another one's fault, or the head's
		case e == nil:
			r.conclude(i, false) // its own head failed
		case sqlState(e) == "42P05", sqlState(e) == "26000" && !r.t.isPooled():
			pooler = true
			again = append(again, i)
		case undefined(e):
			lacking = append(lacking, i)
		default:
			r.conclude(i, false)
		}
		if s := sqlState(w.group.err); s == "42P05" || s == "26000" {
			pooler = true
			if !slices.Contains(again, i) {
				again = append(again, i)
			}
		}
	}
	if pooler && !r.t.isPooled() {
		r.t.setPooled()
	}
	for _, i := range lacking {
		found, err := r.lacks(c, i)
		if err != nil {
			return nil, err
		}
		if found {
			again = append(again, i)
		} else {
			r.conclude(i, false)
		}
	}
	slices.Sort(again)
	return again, nil
}

// lacks finds which columns of a plan the server doesn't have, and compiles the
// plan without them. It reports false when that is no help.
func (r *round) lacks(c *conn, i int) (bool, error) {
	t, p := r.t, &r.out[i].Plan
	r.stats.RoundTrips++
	src := t.source(p)
	src.missing = nil
	missing, err := probe(c, t, p.Family, src)
	t.mu.Lock()
	delete(t.checked, r.reads[i].query.rows.name)
	t.mu.Unlock()
	if err != nil || len(missing) == 0 {
		return false, err
	}
	src.missing = missing
	q := compile(p.Family, src, t.settings)
	t.mu.Lock()
	t.missing[p.key()], t.queries[p.key()] = missing, q
	t.mu.Unlock()
	r.stats.Changed = true
	r.reads[i].query = q
	p.query, p.Absent = q, q.absent
	setLimit(p, missing)
	return true, nil
}

// second lays out the second exchange.
func (r *round) second(again []int) (groups [][]*step) {
	for _, i := range again {
		if b := r.reads[i].rows; b != nil {
			b.free(r.out[i].Plan.Family)
		}
		groups = append(groups, r.single(i))
	}
	return groups
}

// failure is the error of the plan's own statements.
func (w *read) failure() error {
	for _, s := range w.steps {
		if s.state == failed {
			return s.err
		}
	}
	return nil
}

func (w *read) done() bool {
	return w.group != nil && w.group.state == done && !slices.ContainsFunc(w.steps, func(s *step) bool { return s.state != done })
}

// conclude makes the reading of a plan whose steps are through.
func (r *round) conclude(i int, second bool) {
	t, w, out := r.t, &r.reads[i], &r.out[i]
	key := out.Plan.key()
	e := w.failure()
	doing := "read " + out.Plan.Family.Name
	switch {
	case e == nil && w.done() && second && w.proof.Reset != w.after.Reset:
		r.fail(i, failf(reasonReset, doing, "statistics were reset while they were read, twice"))
	case e == nil && w.done():
		w.finish = true
		out.At = w.group.at
		out.buffer = w.rows.buffer
		out.Frame = w.rows.done(out.Plan.Database, w.group.at)
		out.Proof, out.PostmasterStart = w.proof, w.group.start
		out.Err, out.Reason = nil, ""
		t.mu.Lock()
		delete(t.alone, key)
		delete(t.last, key)
		t.mu.Unlock()
		return
	case e == nil && w.group.err != nil && sqlState(w.group.err) == "22012":
		r.stats.Changed = true
		r.fail(i, failf(reasonNotExtension, doing, "what we would call is not the extension's any more"))
	case e == nil && w.group.err != nil:
		r.fail(i, fail(roundReason(w.group.err), doing, w.group.err))
	case e != nil:
		r.fail(i, fail(roundReason(e), doing, e))
		if reason := out.Reason; reason == reasonMissing || reason == reasonPrivilege || reason == reasonNotLoaded {
			r.stats.Changed = true // Contact tells what mends it
		}
	default:
		r.fail(i, failf(reasonLost, doing, "no answer"))
	}
	t.mu.Lock()
	t.alone[key] = true
	t.mu.Unlock()
}

func (r *round) fail(i int, err error) {
	out := &r.out[i]
	if b := r.reads[i].rows; b != nil && r.reads[i].query != nil {
		b.free(out.Plan.Family)
		r.reads[i].rows = nil
	}
	r.reads[i].query = nil
	out.buffer, out.Reading = nil, counter.Reading{}
	out.Err, out.Reason = err, ReasonOf(err)
}

// failRest fails all plans that have no reading yet. One whose own statement
// ended the connection is read last from then on.
func (r *round) failRest(err error) {
	for i := range r.reads {
		w := &r.reads[i]
		if w.query == nil || w.finish || w.group == nil && w.query.takes && r.began != 0 {
			continue
		}
		if w.done() && w.proof == w.after {
			r.conclude(i, false) // it came before the connection broke
			continue
		}
		e := err
		if own := w.failure(); own != nil {
			e = fail(roundReason(own), "read "+r.out[i].Plan.Family.Name, own)
			r.t.mu.Lock()
			r.t.last[r.out[i].Plan.key()] = true
			r.t.mu.Unlock()
		}
		r.fail(i, e)
	}
}

// settle fills in what is known of the whole round.
func (r *round) settle() {
	t := r.t
	if r.ended > r.began && r.began != 0 {
		r.stats.ServerTime = time.Duration(r.ended-r.began) * time.Microsecond
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.facts != nil && r.stats.SystemID != 0 && t.facts.Server.SystemID != r.stats.SystemID {
		r.stats.Changed = true
	}
	for i := range r.out {
		if w := &r.reads[i]; w.query != nil && w.group == nil && r.began != 0 {
			r.out[i].buffer = newBuffer(w.query.family)
			r.out[i].Frame, r.out[i].At = &r.out[i].buffer.frame, r.began
			r.out[i].Frame.Database, r.out[i].Frame.At = r.out[i].Plan.Database, r.began
			r.out[i].PostmasterStart = r.stats.PostmasterStart
		}
		if r.out[i].Frame != nil {
			r.out[i].SystemID = r.stats.SystemID
		}
		if r.out[i].Reason == reasonGone || r.out[i].Reason == reasonNoConnect {
			r.stats.Changed = true
		}
	}
	if !r.saw {
		return
	}
	was, known := t.watched[r.via]
	if known && was != r.watch {
		r.stats.Changed = true
		delete(t.extension, r.via) // to be looked at again
	}
	if !known && r.via != t.home {
		t.watched[r.via] = r.watch
	}
}
