package loadtest

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// member is a simulated collector with one instance. It is used by one goroutine.
type member struct {
	id       frame.CollectorID
	epoch    uint64
	seq      uint64
	name     string // of collector and instance
	instance string // the backend's id
	token    string
	random   uint64 // of the round that it begins with, and the server's identity

	rec   *recording
	from  int64 // its first tick, µs
	plan  []planned
	last  map[familyKey]int64 // when it was read last
	round map[catalog.Lane]int

	ticks int64 // outcomes in batches that were made
}

// planned is a family of its schedule.
type planned struct {
	frame.Schedule
	key familyKey
}

const micro = int64(time.Second / time.Microsecond)

// newMember is a collector whose first tick is from.
func newMember(rec *recording, name string, from time.Time, interval time.Duration) *member {
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	m := &member{name: name, rec: rec, from: from.UnixMicro(), last: map[familyKey]int64{}, round: map[catalog.Lane]int{},
		epoch: binary.LittleEndian.Uint64(raw[16:]) >> 1, random: binary.LittleEndian.Uint64(raw[24:]) >> 1}
	copy(m.id[:], raw[:16])
	for _, s := range rec.planned {
		s.From, s.Until = m.from, 0
		if s.Reason == "" {
			s.Every = every(s.Family, s.Lane, interval).Microseconds()
		}
		m.plan = append(m.plan, planned{s, familyKey{s.Family, s.Database}})
	}
	return m
}

// every is how often the agent reads a family: its rule, for the families as they are
// declared.
func every(family string, lane catalog.Lane, interval time.Duration) time.Duration {
	f := catalog.Lookup(family)
	switch {
	case lane == catalog.Fast:
		return min(10*time.Second, interval)
	case f == nil || f.Every <= interval:
		return interval
	}
	return (f.Every + interval - 1) / interval * interval
}

// spread is the offset of member i of n: as real ones, over min(interval/4, 5 s).
func spread(i, n int, interval time.Duration) time.Duration {
	return min(interval/4, 5*time.Second) * time.Duration(i) / time.Duration(max(1, n))
}

// next is the first tick after t at which anything is due.
func (m *member) next(t int64) int64 {
	best := int64(0)
	for i := range m.plan {
		p := &m.plan[i]
		if p.Reason != "" {
			continue
		}
		tick := m.from
		if t >= m.from {
			tick += ((t-m.from)/p.Every + 1) * p.Every
		}
		if best == 0 || tick < best {
			best = tick
		}
	}
	return best
}

// batches makes the batches of a tick, one for each lane of which something is due.
func (m *member) batches(tick int64) (out []*frame.Batch) {
	for _, lane := range []catalog.Lane{catalog.Fast, catalog.Slow} {
		if b := m.batch(lane, tick); b != nil {
			out = append(out, b)
		}
	}
	return out
}

func (m *member) batch(lane catalog.Lane, tick int64) *frame.Batch {
	var due []*planned
	for i := range m.plan {
		if p := &m.plan[i]; p.Lane == lane && p.Reason == "" && (tick-m.from)%p.Every == 0 {
			due = append(due, p)
		}
	}
	rounds := m.rec.steady[lane]
	if len(due) == 0 || len(rounds) == 0 {
		return nil
	}
	// Neighbours don't send the same round at the same time.
	like := rounds[(m.round[lane]+int(m.random%uint64(len(rounds))))%len(rounds)]
	m.round[lane]++
	b := m.empty(like, tick)
	if tick == m.from {
		for i := range m.plan {
			if p := &m.plan[i]; p.Lane == lane {
				b.Schedules = append(b.Schedules, p.Schedule)
			}
		}
	}
	for _, p := range due {
		at := tick + 10_000
		for _, o := range like.Outcomes {
			if o.Family == p.key.family && o.Database == p.key.database && o.At != 0 {
				at = tick + o.At - like.Tick
			}
		}
		since, seen := m.last[p.key]
		if !seen {
			since = at - p.Every // as if it had been watched before
		}
		m.last[p.key] = at
		b.Outcomes = append(b.Outcomes, frame.Outcome{Family: p.key.family, Database: p.key.database, Lane: lane, First: tick, Last: tick, N: 1, Code: frame.Stored, At: at, Since: since})
		b.Frames = append(b.Frames, m.frames(p.key, like, since, at, tick == m.from)...)
	}
	m.ticks += int64(len(due))
	return b
}

// empty is a batch with the next id, of the same server but another one.
func (m *member) empty(like *frame.Batch, tick int64) *frame.Batch {
	b := &frame.Batch{ID: frame.ID{Collector: m.id, Epoch: m.epoch, Seq: m.seq + 1}, Instance: m.name, Database: like.Database, Lane: like.Lane, Tick: tick, Server: like.Server}
	if m.seq > 0 {
		b.Prev = frame.ID{Collector: m.id, Epoch: m.epoch, Seq: m.seq}
	}
	m.seq++
	b.Server.SystemID = m.random
	for i := range m.plan {
		if m.plan[i].Family == "database" { // the slow lane's own pace
			b.Server.IntervalUs = m.plan[i].Every
		}
	}
	return b
}

// frames are a family's rows of a recorded round, moved in time; states and
// dictionaries are sent once, since nothing changes.
func (m *member) frames(key familyKey, like *frame.Batch, since, at int64, first bool) (out []frame.Frame) {
	list := like.Frames
	if family := catalog.Lookup(key.family); family == nil || family.Shape != catalog.Sample {
		if !first {
			return nil
		}
		list = m.rec.initial
	}
	for _, f := range list {
		if f.Family != key.family || f.Database != key.database {
			continue
		}
		shift := at - f.At
		f.Since, f.At = since, at
		f.Columns = slices.Clone(f.Columns)
		for i := range f.Columns {
			if c := &f.Columns[i]; c.Type == catalog.Time {
				c.Ints = slices.Clone(c.Ints)
				for r := range c.Ints {
					if !c.IsNull(r) {
						c.Ints[r] += shift
					}
				}
			}
		}
		out = append(out, f)
	}
	return out
}

// farewell ends the schedules at the last tick, so that nothing is expected any more.
func (m *member) farewell(last, now int64) *frame.Batch {
	lane := catalog.Slow
	if len(m.rec.steady[lane]) == 0 {
		lane = catalog.Fast
	}
	b := m.empty(m.rec.steady[lane][0], now)
	b.Lane = lane
	for _, p := range m.plan {
		if p.Reason == "" {
			p.Until, p.Reason = last, frame.Closed
			b.Schedules = append(b.Schedules, p.Schedule)
		}
	}
	return b
}

func compareKeys(a, b familyKey) int {
	return cmp.Or(cmp.Compare(a.family, b.family), cmp.Compare(a.database, b.database))
}

// rowsOf counts rows by family, those of sums included.
func rowsOf(b *frame.Batch) (all, statements int) {
	for i := range b.Frames {
		f := &b.Frames[i]
		all += f.N
		if f.Family == "statements" && f.Part == frame.Rows {
			statements += f.N
		}
	}
	return all, statements
}

func memberName(run string, i int) string { return fmt.Sprintf("loadtest-%s-%05d", run, i+1) }
