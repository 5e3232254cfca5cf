package target

import (
	"slices"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
)

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
