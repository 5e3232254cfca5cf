package agent

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/agent/spool"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// What a restarted collector goes on from lies in the spool under keys of instance,
// database and name: baselines under the family's name, a lane's lines under
// "@fast" and "@slow", what is known of the instance under "@instance".
const identityKey = "@instance"

func stateKey(instance, database, name string) string {
	return instance + "\x00" + database + "\x00" + name
}

func laneKey(l catalog.Lane) string { return "@" + string(l) }

// persistent says that a family's baseline outlives the process. A family stored
// whole each time has none worth keeping; what the collector itself used begins
// anew with each process.
func persistent(f *catalog.Family) bool {
	return f.Reader == "" && (f.Shape == catalog.State || f.Shape == catalog.Sample && !f.Full)
}

// baselines are what the spool keeps with the batch, their bytes in s. in.mu is
// held.
func (d *draft) baselines(s *scratch) []spool.Baseline {
	ln, in := d.ln, d.ln.in
	var out []spool.Baseline
	for id, c := range d.counted {
		if f := catalog.Lookup(id.family); !persistent(f) {
			continue
		}
		from := len(s.keep)
		if c.whole {
			s.keep = c.AppendFull(s.keep)
		} else {
			s.keep = c.AppendPatch(s.keep)
		}
		out = append(out, spool.Baseline{Key: stateKey(in.name, id.database, id.family), Full: c.whole, Data: s.keep[from:len(s.keep):len(s.keep)]})
	}
	touched := d.touched()
	for other, databases := range touched {
		for _, database := range databases {
			out = append(out, d.lines(other, database))
		}
	}
	if in.keep && in.server.SystemID != 0 {
		d.kept = true
		data := binary.AppendUvarint([]byte{stateVersion}, in.server.SystemID)
		data = binary.AppendUvarint(data, uint64(in.server.Incarnation))
		out = append(out, spool.Baseline{Key: stateKey(in.name, "", identityKey), Full: true, Data: data})
	}
	for id := range ln.bases {
		if l := ln.table.find(id.database, id.family); (l == nil || l.finished()) && persistent(catalog.Lookup(id.family)) && d.counted[id] == nil {
			out = append(out, spool.Baseline{Key: stateKey(in.name, id.database, id.family), Full: true})
		}
	}
	return out
}

// touched are the databases whose lines are kept with the batch: those of its ticks
// and schedules.
func (d *draft) touched() map[*lane][]string {
	out := map[*lane][]string{}
	add := func(ln *lane, database string) {
		if !slices.Contains(out[ln], database) {
			out[ln] = append(out[ln], database)
		}
	}
	for _, l := range d.due {
		add(d.ln, l.Database)
	}
	for _, o := range d.debts {
		add(d.ln, o.line.Database)
	}
	for _, r := range d.rows {
		add(d.ln.in.lane(r.Lane), r.Database)
	}
	return out
}

// lines are the lane's lines in one database, as they will be when the batch is
// safe. in.mu is held.
func (d *draft) lines(ln *lane, database string) spool.Baseline {
	var keep []*line
	for _, l := range slices.Concat(ln.table.past, ln.table.lines) {
		if l.Database != database {
			continue
		}
		c := *l
		c.Segments = nil
		for _, s := range l.Segments { // not what is not announced yet
			i := slices.IndexFunc(d.rows, func(r frame.Schedule) bool {
				return r.Family == l.Family && r.Database == l.Database && r.From == s.From
			})
			switch {
			case i >= 0:
				s.Until = d.rows[i].Until
			case s.told:
				s.Until = s.toldUntil
			default:
				continue
			}
			c.Segments = append(c.Segments, s)
		}
		if len(c.Segments) == 0 {
			continue
		}
		if ln == d.ln {
			if slices.Contains(d.due, l) {
				c.Done = max(c.Done, d.tick)
			}
			for _, o := range d.debts {
				if o.line == l {
					c.Done = max(c.Done, o.Last)
				}
			}
		}
		if c.closed() {
			if c.owing() {
				keep = append(keep, &c)
			}
			continue
		}
		if c.planned() || c.Done < c.Segments[len(c.Segments)-1].From-1 {
			keep = append(keep, &c)
		}
	}
	b := spool.Baseline{Key: stateKey(d.ln.in.name, database, laneKey(ln.name)), Full: true}
	if len(keep) > 0 {
		b.Data = appendLines(nil, keep)
	}
	return b
}

// restored is what the spool keeps of one instance.
type restored struct {
	lines       []*line
	bases       map[planID]*base
	voided      map[planID]void
	systemID    uint64
	incarnation uint32
	keys        []string
}

// restore reads what former processes left, by instance.
func (a *Agent) restore(ctx context.Context, found *spool.Recovered) map[string]*restored {
	out := map[string]*restored{}
	of := func(instance string) *restored {
		r := out[instance]
		if r == nil {
			r = &restored{bases: map[planID]*base{}, voided: map[planID]void{}}
			out[instance] = r
		}
		return r
	}
	lost := a.journal.lost
	damaged := func(key string, detail string) {
		parts := strings.Split(key, "\x00")
		switch {
		case len(parts) != 3:
		case parts[2] == identityKey:
			of(parts[0]).identify(lost.state[key])
		case strings.HasPrefix(parts[2], "@"):
			r := of(parts[0])
			r.lines = append(r.lines, lost.lines[key]...)
		default:
			of(parts[0]).voided[planID{parts[1], parts[2]}] = void{reason: spool.ReasonCorrupt, detail: detail, since: lost.since[key]}
		}
	}
	for _, v := range found.Void {
		a.log.WarnContext(ctx, "baseline lost", "key", strings.ReplaceAll(v.Key, "\x00", "/"), "reason", v.Reason)
		damaged(v.Key, "the baseline was damaged on disk: "+v.Reason)
	}
	for _, key := range found.Keys {
		parts := strings.Split(key, "\x00")
		if len(parts) != 3 {
			continue
		}
		r := of(parts[0])
		r.keys = append(r.keys, key)
		full, patches, err := a.journal.spool.Baseline(key)
		if err != nil || full == nil {
			damaged(key, "the baseline could not be read")
			continue
		}
		switch name := parts[2]; name {
		case laneKey(catalog.Fast), laneKey(catalog.Slow):
			lines, err := decodeLines(full)
			if err != nil {
				a.log.WarnContext(ctx, "schedule not restored", "instance", parts[0], "err", err)
				continue
			}
			lost.announceAgain(key, lines)
			r.lines = append(r.lines, lines...)
		case identityKey:
			r.identify(full)
		default:
			f := catalog.Lookup(name)
			if f == nil {
				continue
			}
			b, err := counter.Decode(f, full, patches...)
			if err != nil {
				a.log.WarnContext(ctx, "baseline not restored", "instance", parts[0], "database", parts[1], "family", name, "err", err)
				damaged(key, "the baseline could not be read")
				continue
			}
			r.bases[planID{parts[1], name}] = &base{Baseline: b, patches: len(patches)}
		}
	}
	return out
}

// identify reads what is kept under identityKey.
func (r *restored) identify(full []byte) {
	full = full[min(1, len(full)):]
	id, n := binary.Uvarint(full)
	if n <= 0 {
		return
	}
	if incarnation, m := binary.Uvarint(full[n:]); m > 0 {
		r.systemID, r.incarnation = id, uint32(incarnation)
	}
}

// adopt gives an instance what a former process left.
func (in *instance) adopt(r *restored) {
	in.server.SystemID, in.server.Incarnation = r.systemID, r.incarnation
	for id, b := range r.bases {
		in.lane(catalog.Lookup(id.family).Lane).bases[id] = b
	}
	for id, v := range r.voided {
		if f := catalog.Lookup(id.family); f != nil {
			in.lane(f.Lane).voided[id] = v
		}
	}
	in.fast.incarnation, in.slow.incarnation = r.incarnation, r.incarnation
}

// retire accounts for an instance that is not configured any more: its ticks up to
// now passed without a collector, from now on none are planned.
func (a *Agent) retire(ctx context.Context, name string, r *restored, now int64) error {
	b := frame.Batch{Instance: name, Lane: catalog.Slow, Tick: now, Server: frame.Server{SystemID: r.systemID, Incarnation: r.incarnation, IntervalUs: a.cfg.interval().Microseconds()}}
	for _, l := range r.lines {
		f := catalog.Lookup(l.Family)
		if f == nil || !l.planned() {
			continue
		}
		if l.closed() { // of a timeline that has ended
			for _, m := range l.rest(l.Segments[len(l.Segments)-1].Until) {
				b.Outcomes = append(b.Outcomes, missedOutcome(l, f.Lane, m))
			}
			continue
		}
		l.note = frame.Schedule{Reason: "gone", Detail: "the instance is not configured any more"}
		l.add(segment{From: l.floor(now) + 1})
		_, missed := l.take(l.floor(now))
		for _, m := range missed {
			b.Outcomes = append(b.Outcomes, missedOutcome(l, f.Lane, m))
		}
		b.Schedules = append(b.Schedules, l.untold(f.Lane)...)
	}
	var forget []spool.Baseline
	for _, key := range r.keys {
		forget = append(forget, spool.Baseline{Key: key, Full: true})
	}
	_, generation := a.journal.identity()
	return a.journal.append(ctx, generation, &b, forget, new(scratch))
}

func missedOutcome(l *line, lane catalog.Lane, r run) frame.Outcome {
	return frame.Outcome{
		Family: l.Family, Database: l.Database, Lane: lane, First: r.First, Last: r.Last, N: r.N, Code: frame.Skipped, Reason: "collector_down",
	}
}
