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
	r := t.newRound(via, lane, plans, texts)
	if err := t.enter(ctx, lane); err != nil {
		r.failRest(err)
		return r.out, r.stats, err
	}
	defer t.leave(lane)
	err := r.run(ctx)
	r.settle()
	return r.out, r.stats, err
}

func (t *Target) newRound(via string, lane catalog.Lane, plans []Plan, texts []int64) *round {
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
	return r
}

// Statements gives the SQL that a Read of these plans sends while nothing is amiss,
// by Sync group: what the collector's cost is compared with sends the same.
func (t *Target) Statements(via string, lane catalog.Lane, plans []Plan) (groups [][]string) {
	r := t.newRound(via, lane, plans, nil)
	for _, steps := range append(r.groups(), []*step{{stmt: tailStmt}}) {
		var sql []string
		for _, s := range steps {
			sql = append(sql, s.sql)
		}
		groups = append(groups, sql)
	}
	return groups
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
