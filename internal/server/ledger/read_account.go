package ledger

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/snapshot"
)

// Window is a span of time: From < tick <= To, microseconds since the Unix epoch.
// To is never in the future.
type Window struct{ From, To int64 }

// Part says which planned ticks an Account is about; zero values mean all.
type Part struct {
	Instance int64
	Family   string
}

// Counts says what became of planned ticks. Planned is the sum of the others.
type Counts struct{ Planned, Stored, Failed, Skipped, Dropped, Pending, Missing int64 }

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	c.Planned += o.Planned
	c.Stored += o.Stored
	c.Failed += o.Failed
	c.Skipped += o.Skipped
	c.Dropped += o.Dropped
	c.Pending += o.Pending
	c.Missing += o.Missing
}

// Account holds every planned tick of a window with its outcome, by key, sorted by
// instance, database, family.
type Account struct {
	Window  Window
	Planned []*Planned
	alive   map[[16]byte]int64
}

// Planned is what was planned of one family in one database ("" for families of
// scope instance) of one instance.
type Planned struct {
	Instance         int64
	Database, Family string
	Lane             catalog.Lane
	Every            int64    // of the newest segment, microseconds
	Collector        [16]byte // of the newest segment

	segments   []segment
	open       int     // how many of them have no end of their own
	overlap    bool    // segments do not come one after the other
	ticks      []int32 // the outcome of each planned tick, by segment: none, stored, twice, or exception k as k+1
	exceptions []exception
}

const (
	none   = 0
	stored = -1
	twice  = -2 // planned by an earlier segment too, where it counts
)

// segment is a run of planned ticks: first + k*every for 0 <= k < n.
type segment struct {
	first, every int64
	n, offset    int // offset into Planned.ticks
	collector    [16]byte
}

type exception struct{ outcome, reason, detail string }

type key struct {
	instance         int64
	database, family string
}

// precedence of outcomes that claim the same tick; stored wins over all.
var precedence = map[string]int{"dropped": 1, "failed": 2, "skipped": 3}

// ReadAccount reads what was planned and what became of it. alive tells which
// collectors may still deliver, and from which tick on: those without outcome are
// pending, older ones and those of others missing.
func ReadAccount(ctx context.Context, tx pgx.Tx, part Part, w Window, alive map[[16]byte]int64) (*Account, error) {
	a := &Account{Window: w, alive: alive}
	index, err := a.readSchedules(ctx, tx, part)
	if err != nil {
		return nil, fmt.Errorf("read schedules: %w", err)
	}
	if len(index) == 0 {
		return a, nil
	}
	if err := a.readStored(ctx, tx, part, index); err != nil {
		return nil, fmt.Errorf("read stored ticks: %w", err)
	}
	if err := a.readExceptions(ctx, tx, part, index); err != nil {
		return nil, fmt.Errorf("read exceptions: %w", err)
	}
	return a, nil
}

// followed is ledger_schedule with the next schedule that ends each one: of those
// that have no end of their own, by key, whatever the order in which they arrived. One
// that has its end ends no other and is ended by none, so they may overlap: that is
// what is left when a collector's clock went back.
const followed = `(SELECT *, CASE WHEN valid_to IS NULL THEN min(valid_from) FILTER (WHERE valid_to IS NULL) OVER (
		PARTITION BY instance_id, database, family ORDER BY valid_from DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) END AS next
	FROM ledger_schedule WHERE ($1 = 0 OR instance_id = $1) AND ($2 = '' OR family = $2))`

// schedules effective in the window.
const schedulesSQL = `
SELECT instance_id, database, family, lane, every_us, collector_id, reason, valid_from, valid_to, next FROM ` + followed + ` s
WHERE valid_from <= $4 AND (next IS NULL OR next > $3) AND (valid_to IS NULL OR valid_to > $3)
ORDER BY instance_id, database, family, valid_from`

func (a *Account) readSchedules(ctx context.Context, tx pgx.Tx, part Part) (map[key]*Planned, error) {
	rows, err := tx.Query(ctx, schedulesSQL, part.Instance, part.Family, snapshot.Micros(a.Window.From), snapshot.Micros(a.Window.To))
	if err != nil {
		return nil, err
	}
	index := map[key]*Planned{}
	var (
		k              key
		lane, reason   string
		every          int64
		collector      [16]byte
		from           snapshot.Micros
		until, nextOne *snapshot.Micros
	)
	_, err = pgx.ForEachRow(rows, []any{&k.instance, &k.database, &k.family, &lane, &every, &collector, &reason, &from, &until, &nextOne}, func() error {
		if reason != "" || every <= 0 {
			return nil
		}
		last := a.Window.To
		if until != nil {
			last = min(last, int64(*until))
		}
		if nextOne != nil {
			last = min(last, int64(*nextOne)-1)
		}
		s := plan(int64(from), every, a.Window.From, last)
		if s.n == 0 {
			return nil
		}
		p := index[k]
		if p == nil {
			p = &Planned{Instance: k.instance, Database: k.database, Family: k.family}
			index[k] = p
			a.Planned = append(a.Planned, p)
		}
		if until == nil || p.open == 0 { // what goes on says how it is now
			p.Lane, p.Every, p.Collector = catalog.Lane(lane), every, collector
		}
		if until == nil {
			p.open++
		}
		p.plan(s, collector)
		return nil
	})
	return index, err
}

// plan adds a segment. A tick counts once, whatever plans it.
func (p *Planned) plan(s segment, collector [16]byte) {
	s.collector, s.offset = collector, len(p.ticks)
	overlap := slices.ContainsFunc(p.segments, func(o segment) bool { return s.first <= o.last() })
	p.ticks = append(p.ticks, make([]int32, s.n)...)
	if overlap {
		p.overlap = true
		for k := range s.n {
			if p.at(s.first+int64(k)*s.every) >= 0 {
				p.ticks[s.offset+k] = twice
			}
		}
	}
	p.segments = append(p.segments, s)
}

func (s *segment) last() int64 { return s.first + int64(s.n-1)*s.every }

// plan gives the ticks first + k*every (k >= 0) with after < tick <= last.
func plan(first, every, after, last int64) segment {
	if first <= after {
		first += ((after-first)/every + 1) * every
	}
	s := segment{first: first, every: every}
	if first <= last {
		s.n = int((last-first)/every + 1)
	}
	return s
}

// at gives the index of a tick in p.ticks, -1 when it was not planned in the window.
func (p *Planned) at(tick int64) int {
	for i := range p.segments {
		s := &p.segments[i]
		if d := tick - s.first; d >= 0 && d%s.every == 0 && d/s.every < int64(s.n) {
			return s.offset + int(d/s.every)
		}
	}
	return -1
}

// storedSQL packs the ticks of rows that differ in time alone: 40 times fewer rows.
// The index begins with the instance, so even all of them are named.
const storedSQL = `
SELECT instance_id, database, families, array_agg(time)
FROM ledger WHERE instance_id = ANY ($1) AND time > $3 AND time <= $4 AND ($2::smallint IS NULL OR $2 = ANY (families))
GROUP BY instance_id, database, families`

// instances gives the ids of the instances of which anything was planned.
func (a *Account) instances() []int64 {
	var ids []int64
	for _, p := range a.Planned { // sorted by instance
		if len(ids) == 0 || ids[len(ids)-1] != p.Instance {
			ids = append(ids, p.Instance)
		}
	}
	return ids
}

func (a *Account) readStored(ctx context.Context, tx pgx.Tx, part Part, index map[key]*Planned) error {
	names, err := familyNames(ctx, tx)
	if err != nil {
		return err
	}
	var only *int16
	if part.Family != "" {
		for id, name := range names {
			if name == part.Family {
				only = &id
			}
		}
		if only == nil {
			return nil // no tick of it was ever stored
		}
	}
	rows, err := tx.Query(ctx, storedSQL, a.instances(), only, snapshot.Micros(a.Window.From), snapshot.Micros(a.Window.To))
	if err != nil {
		return err
	}
	var (
		k        key
		families []int16
		raw      pgtype.UndecodedBytes
		ticks    []int64
	)
	_, err = pgx.ForEachRow(rows, []any{&k.instance, &k.database, &families, &raw}, func() error {
		if ticks, err = snapshot.Array(ticks, raw); err != nil {
			return err
		}
		for _, id := range families {
			k.family = names[id]
			p := index[k]
			if p == nil {
				continue
			}
			for _, t := range ticks {
				if i := p.at(t); i >= 0 {
					p.ticks[i] = stored
				}
			}
		}
		return nil
	})
	return err
}

const exceptionsSQL = `
SELECT instance_id, database, family, first, last, n, every_us, outcome, reason, detail
FROM ledger_exception
WHERE last > $3 AND first <= $4 AND ($1 = 0 OR instance_id = $1) AND ($2 = '' OR family = $2)
ORDER BY instance_id, database, family,
	CASE outcome WHEN 'dropped' THEN 1 WHEN 'failed' THEN 2 ELSE 3 END, first, last, reason, detail`

func (a *Account) readExceptions(ctx context.Context, tx pgx.Tx, part Part, index map[key]*Planned) error {
	rows, err := tx.Query(ctx, exceptionsSQL, part.Instance, part.Family, snapshot.Micros(a.Window.From), snapshot.Micros(a.Window.To))
	if err != nil {
		return err
	}
	var (
		k           key
		first, last snapshot.Micros
		n, every    int64
		e           exception
	)
	_, err = pgx.ForEachRow(rows, []any{&k.instance, &k.database, &k.family, &first, &last, &n, &every, &e.outcome, &e.reason, &e.detail}, func() error {
		if p := index[k]; p != nil {
			p.mark(int64(first), int64(last), n, every, a.Window, e)
		}
		return nil
	})
	return err
}

// mark gives the planned ticks of a run the outcome e, unless they have one that
// wins. Runs come in the order of precedence.
func (p *Planned) mark(first, last, n, every int64, w Window, e exception) {
	switch {
	case n <= 0 || precedence[e.outcome] == 0:
		return
	case n == 1 || last <= first:
		every = 1
		last = first
	case every <= 0:
		every = max(1, (last-first)/(n-1))
	}
	s := plan(first, every, max(w.From, math.MinInt64+1), min(last, w.To))
	code := int32(0)
	for k := range s.n {
		i := p.at(s.first + int64(k)*every)
		if i < 0 || p.ticks[i] != none {
			continue
		}
		if code == 0 {
			if len(p.exceptions) == 0 || p.exceptions[len(p.exceptions)-1] != e {
				p.exceptions = append(p.exceptions, e)
			}
			code = int32(len(p.exceptions))
		}
		p.ticks[i] = code
	}
}

func familyNames(ctx context.Context, tx pgx.Tx) (map[int16]string, error) {
	rows, err := tx.Query(ctx, `SELECT id, name FROM ledger_family`)
	if err != nil {
		return nil, err
	}
	names := map[int16]string{}
	var (
		id   int16
		name string
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		names[id] = name
		return nil
	})
	return names, err
}

// Count gives what became of all ticks of p.
func (a *Account) Count(p *Planned) Counts {
	return a.Buckets(p, a.Window.From, math.MaxInt64, 1)[0]
}

// Buckets counts by time: bucket i holds from + i*step < tick <= from + (i+1)*step.
// Ticks outside of all n buckets are not counted.
func (a *Account) Buckets(p *Planned, from, step int64, n int) []Counts {
	out := make([]Counts, n)
	a.each(p, func(tick int64, outcome string, _ *exception) {
		i := (tick - from - 1) / step
		if tick <= from || i >= int64(n) {
			return
		}
		out[i].count(outcome)
	})
	return out
}

func (c *Counts) count(outcome string) {
	c.Planned++
	switch outcome {
	case "stored":
		c.Stored++
	case "failed":
		c.Failed++
	case "skipped":
		c.Skipped++
	case "dropped":
		c.Dropped++
	case "pending":
		c.Pending++
	default:
		c.Missing++
	}
}

// each calls f for every planned tick of p in order; the exception is nil for
// stored, pending and missing.
func (a *Account) each(p *Planned, f func(tick int64, outcome string, e *exception)) {
	at := make([]int, len(p.segments)) // the next tick of each
	segments := p.segments
	for len(segments) > 0 {
		i := 0
		if p.overlap {
			i = p.earliest(at)
		}
		if i < 0 {
			return
		}
		s := &segments[i]
		kept, alive := a.alive[s.collector]
		end := s.n
		if p.overlap {
			end = at[i] + 1
		}
		for k := at[i]; k < end; k++ {
			tick := s.first + int64(k)*s.every
			switch code := p.ticks[s.offset+k]; code {
			case none:
				if alive && tick >= kept {
					f(tick, "pending", nil)
				} else {
					f(tick, "missing", nil)
				}
			case stored:
				f(tick, "stored", nil)
			case twice:
			default:
				e := &p.exceptions[code-1]
				f(tick, e.outcome, e)
			}
		}
		if at[i] = end; !p.overlap {
			segments, at = segments[1:], at[1:]
		}
	}
}

// earliest is the segment with the earliest tick that is not done, -1: none.
func (p *Planned) earliest(at []int) int {
	best, tick := -1, int64(0)
	for i := range p.segments {
		s := &p.segments[i]
		if t := s.first + int64(at[i])*s.every; at[i] < s.n && (best < 0 || t < tick) {
			best, tick = i, t
		}
	}
	return best
}

// StoredTicks gives the ticks of p that were stored, in order.
func (a *Account) StoredTicks(p *Planned) []int64 {
	var out []int64
	a.each(p, func(tick int64, outcome string, _ *exception) {
		if outcome == "stored" {
			out = append(out, tick)
		}
	})
	return out
}

// Item is a tick that was not stored.
type Item struct {
	Tick                    int64
	Instance                int64
	Database, Family        string
	Outcome, Reason, Detail string
}

// NoOutcome is the reason of missing ticks.
const NoOutcome = "no_outcome"

// Items gives the newest n exceptions of the given keys, newest first: ticks that
// failed, were skipped or dropped, or are missing. It reports whether there are
// more.
func (a *Account) Items(n int, planned ...*Planned) ([]Item, bool) {
	var items []Item
	for _, p := range planned {
		a.each(p, func(tick int64, outcome string, e *exception) {
			switch {
			case e != nil:
				items = append(items, Item{tick, p.Instance, p.Database, p.Family, outcome, e.reason, e.detail})
			case outcome == "missing":
				items = append(items, Item{tick, p.Instance, p.Database, p.Family, outcome, NoOutcome, ""})
			}
		})
	}
	slices.SortStableFunc(items, func(x, y Item) int { return cmp.Compare(y.Tick, x.Tick) })
	if len(items) > n {
		return items[:n:n], true
	}
	return items, false
}

// Reason counts ticks by what became of them and why.
type Reason struct {
	Outcome, Reason string
	Ticks           int64
}

// Reasons counts the exceptions of all keys, most first.
func (a *Account) Reasons() []Reason {
	counts := map[[2]string]int64{}
	for _, p := range a.Planned {
		a.each(p, func(_ int64, outcome string, e *exception) {
			switch {
			case e != nil:
				counts[[2]string{outcome, e.reason}]++
			case outcome == "missing":
				counts[[2]string{outcome, NoOutcome}]++
			}
		})
	}
	out := make([]Reason, 0, len(counts))
	for k, n := range counts {
		out = append(out, Reason{k[0], k[1], n})
	}
	slices.SortFunc(out, func(x, y Reason) int {
		return cmp.Or(cmp.Compare(y.Ticks, x.Ticks), cmp.Compare(x.Outcome, y.Outcome), cmp.Compare(x.Reason, y.Reason))
	})
	return out
}
