package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/agent/spool"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// draft is a batch in the making, with what is to be done when it is safe.
type draft struct {
	ln    *lane
	tick  int64
	batch frame.Batch
	// New baselines, by plan.
	counted map[planID]*counted
	own     *counter.Baseline // of the collector family
	due     []*line           // their outcome of tick is in the batch
	debts   []owed            // are in the batch
	rows    []frame.Schedule  // are in the batch
	asked   []int64           // texts of these are in the batch
	kept    bool              // the instance's identity is in the record
	work    instanceWork      // statements' part
	memory  []*counter.Memory // of the frames
	// On its way into the spool: see spooler.
	generation uint64 // of the journal, when it was counted
	pending    *spool.Pending
	err        error // it could not be begun
	done       chan error
	spooled    int64 // when it was there, microseconds since the Unix epoch
	written    bool
	then       func()
	// Of the round.
	read, answered bool
	took           time.Duration
}

// touch says that drafts on their way keep lines of a database that the next one
// keeps too: then these must be safe first, since each says how far all are.
func touch(drafts []*draft, ln *lane, due []*line, debts []owed) bool {
	for _, d := range drafts {
		mine := d.touched()[ln]
		for _, l := range due {
			if slices.Contains(mine, l.Database) {
				return true
			}
		}
		for _, o := range debts {
			if slices.Contains(mine, o.line.Database) {
				return true
			}
		}
	}
	return false
}

// draft begins a batch: what is owed, what is to be announced. first: of a job.
func (a *Agent) draft(ln *lane, tick int64, via string, due []*line, debts []owed, first bool) *draft {
	in := ln.in
	d := &draft{ln: ln, tick: tick, due: due, debts: debts, counted: map[planID]*counted{}}
	in.mu.Lock()
	defer in.mu.Unlock()
	d.batch = frame.Batch{Instance: in.name, Database: via, Lane: ln.name, Tick: tick, Server: in.server}
	for _, o := range debts {
		d.batch.Outcomes = append(d.batch.Outcomes, frame.Outcome{
			Family: o.line.Family, Database: o.line.Database, Lane: ln.name, First: o.First, Last: o.Last, N: o.N,
			Code: frame.Skipped, Reason: o.reason, Detail: o.detail,
		})
	}
	if !first {
		return d
	}
	for _, other := range in.lanes() {
		if _, planned := other.table.next(); other != ln && planned {
			continue // it tells its own
		}
		d.rows = append(d.rows, other.table.untold(other.name)...)
	}
	d.batch.Schedules = d.rows
	return d
}

// fail notes that a line's tick got nothing.
func (d *draft) fail(l *line, reason string, err error) {
	d.batch.Outcomes = append(d.batch.Outcomes, frame.Outcome{
		Family: l.Family, Database: l.Database, Lane: d.ln.name, First: d.tick, Last: d.tick, N: 1,
		Code: frame.Failed, Reason: reason, Detail: clip(err.Error()),
	})
}

func (d *draft) stored(l *line, since, at int64) {
	d.batch.Outcomes = append(d.batch.Outcomes, frame.Outcome{
		Family: l.Family, Database: l.Database, Lane: d.ln.name, First: d.tick, Last: d.tick, N: 1,
		Code: frame.Stored, At: at, Since: since,
	})
}

// clip makes a text for people of an error.
func clip(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?")
	if len(s) <= maxDetail {
		return s
	}
	n := maxDetail
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// conclude waits for a draft that is on its way into the spool; only then do its
// baselines count and are its ticks accounted for. A failure keeps the ticks owed,
// and the old baselines, so that the next deltas span both.
func (a *Agent) conclude(ctx context.Context, d *draft) {
	ln, in := d.ln, d.ln.in
	err := <-d.done
	in.mu.Lock()
	if err != nil {
		reason := "spool_failed"
		if errors.Is(err, spool.ErrFull) || errors.Is(err, spool.ErrNoSpace) {
			reason = "spool_full"
		}
		for _, l := range d.due {
			ln.owe(owed{l, run{d.tick, d.tick, 1}, reason, ""})
		}
		if ctx.Err() == nil && !errors.Is(err, errStale) && time.Since(ln.refused) > time.Minute {
			ln.refused = time.Now()
			in.log.WarnContext(ctx, "batch not spooled, the next one covers its time", "reason", reason, "err", err)
		}
	} else {
		d.settle()
	}
	in.mu.Unlock()
	if d.read {
		a.cycle.round(in, d.tick, d.spooled, d.took, d.answered, &d.work)
	}
}

// settle makes the draft's consequences count. mu is held.
func (d *draft) settle() {
	ln, in := d.ln, d.ln.in
	for id, b := range d.counted {
		patches := 0
		if old := ln.bases[id]; old != nil && !b.whole {
			patches = old.patches + 1
		}
		b.Settle()
		if old := ln.bases[id]; old != nil {
			old.Free()
		}
		ln.bases[id] = &base{b.Baseline, patches}
		delete(ln.voided, id)
	}
	for id := range ln.bases {
		if l := ln.table.find(id.database, id.family); l == nil || l.finished() {
			delete(ln.bases, id)
		}
	}
	if d.own != nil {
		d.own.Settle()
		in.own = d.own
	}
	if len(d.asked) > 0 {
		ln.texts.got(d.asked)
	}
	for _, r := range d.rows {
		in.lane(r.Lane).table.tell(r)
	}
	for _, l := range d.due {
		l.Done = max(l.Done, d.tick)
		l.trim()
	}
	for _, o := range d.debts {
		o.line.Done = max(o.line.Done, o.Last)
		o.line.trim()
		ln.owed = slices.DeleteFunc(ln.owed, func(x owed) bool { return x.line == o.line && x.First == o.First && x.N <= o.N })
	}
	for _, other := range in.lanes() {
		other.table.lines = slices.DeleteFunc(other.table.lines, func(l *line) bool { return l.note.Reason == "gone" && l.finished() })
		other.table.past = slices.DeleteFunc(other.table.past, (*line).over)
	}
	if d.kept {
		in.keep = false
	}
}
