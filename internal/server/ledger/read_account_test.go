package ledger_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// base is an arbitrary whole day; the model counts seconds from it.
const base = 1_760_000_000

func at(second int) time.Time { return time.Unix(base+int64(second), 0).UTC() }
func us(second int) int64     { return (base + int64(second)) * 1_000_000 }

func tables(t *testing.T) *pgxpool.Pool {
	t.Helper()
	url := pgtest.Database(t, pgtest.Store(t, 15))
	pool, err := store.Open(url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := store.Migrate(t.Context(), pool, store.MetricsTable, ledger.Migrations); err != nil {
		t.Fatal(err)
	}
	layout, err := store.FindLayout(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	if !layout.Hypertables {
		pgtest.Exec(t, url, `CREATE TABLE ledger_all PARTITION OF ledger DEFAULT`)
	}
	pgtest.Exec(t, url, `INSERT INTO ledger_family VALUES (1, 'a'), (2, 'b'), (3, 'c')`)
	return pool
}

type schedule struct {
	family, database   string
	from, until, every int // seconds; until -1: open
	reason             string
	collector          byte
}

type run struct {
	family, database string
	first, n, every  int
	outcome, reason  string
}

type storedTick struct {
	database string
	tick     int
	families []int16
}

type world struct {
	schedules []schedule
	stored    []storedTick
	runs      []run
	from, to  int
	alive     map[byte]bool
	kept      map[byte]int // the second from which on a collector may still bring something
}

var (
	databases = []string{"", "shop"}
	families  = []string{"a", "b"}
)

func draw(t *rapid.T) world {
	w := world{alive: map[byte]bool{1: rapid.Bool().Draw(t, "alive1"), 2: rapid.Bool().Draw(t, "alive2")},
		kept: map[byte]int{1: rapid.IntRange(-10, 70).Draw(t, "kept1"), 2: rapid.IntRange(-10, 70).Draw(t, "kept2")}}
	seen := map[string]bool{}
	for range rapid.IntRange(0, 6).Draw(t, "schedules") {
		s := schedule{
			family: rapid.SampledFrom(families).Draw(t, "family"), database: rapid.SampledFrom(databases).Draw(t, "database"),
			from: rapid.IntRange(0, 80).Draw(t, "from"), every: rapid.SampledFrom([]int{1, 2, 5, 10, 60}).Draw(t, "every"),
			until: -1, reason: rapid.SampledFrom([]string{"", "", "", "disabled"}).Draw(t, "reason"), collector: byte(rapid.IntRange(1, 2).Draw(t, "collector")),
		}
		if rapid.Bool().Draw(t, "ends") {
			s.until = s.from + rapid.IntRange(0, 40).Draw(t, "until")
		}
		if k := fmt.Sprint(s.family, "/", s.database, "/", s.from); !seen[k] {
			seen[k] = true
			w.schedules = append(w.schedules, s)
		}
	}
	taken := map[string]bool{}
	for range rapid.IntRange(0, 40).Draw(t, "stored") {
		s := storedTick{database: rapid.SampledFrom(databases).Draw(t, "database"), tick: rapid.IntRange(0, 100).Draw(t, "tick")}
		for id := int16(1); id <= 3; id++ { // 3 is a family without a schedule
			if k := fmt.Sprint(s.database, s.tick, id); rapid.Bool().Draw(t, "in") && !taken[k] {
				taken[k] = true
				s.families = append(s.families, id)
			}
		}
		if len(s.families) > 0 {
			w.stored = append(w.stored, s)
		}
	}
	for range rapid.IntRange(0, 12).Draw(t, "runs") {
		r := run{
			family: rapid.SampledFrom(families).Draw(t, "family"), database: rapid.SampledFrom(databases).Draw(t, "database"),
			first: rapid.IntRange(0, 90).Draw(t, "first"), n: rapid.IntRange(1, 12).Draw(t, "n"), every: rapid.SampledFrom([]int{1, 2, 5, 10}).Draw(t, "every"),
			outcome: rapid.SampledFrom([]string{"failed", "skipped", "dropped"}).Draw(t, "outcome"), reason: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "reason"),
		}
		w.runs = append(w.runs, r)
	}
	w.from = rapid.IntRange(-5, 100).Draw(t, "window from")
	w.to = w.from + rapid.IntRange(1, 110).Draw(t, "window")
	return w
}

// outcome is the model: what became of one second of a key, looked up naively; ""
// when nothing was planned.
func (w *world) outcome(family, database string, second int) string {
	var open *schedule // the one that goes on, at that second
	for i := range w.schedules {
		s := &w.schedules[i]
		if s.family == family && s.database == database && s.until < 0 && s.from <= second && (open == nil || s.from > open.from) {
			open = s
		}
	}
	var holds *schedule // the first one that plans it
	for i := range w.schedules {
		s := &w.schedules[i]
		if s.family != family || s.database != database || s != open && (s.until < second || s.from > second) {
			continue
		}
		if s.reason == "" && (second-s.from)%s.every == 0 && (holds == nil || s.from < holds.from) {
			holds = s
		}
	}
	if holds == nil {
		return ""
	}
	id := int16(slices.Index(families, family) + 1)
	for _, s := range w.stored {
		if s.database == database && s.tick == second && slices.Contains(s.families, id) {
			return "stored"
		}
	}
	for _, outcome := range []string{"dropped", "failed", "skipped"} {
		for _, r := range w.runs {
			if r.family != family || r.database != database || r.outcome != outcome {
				continue
			}
			for k := range r.n {
				if r.first+k*r.every == second {
					return outcome
				}
			}
		}
	}
	if w.alive[holds.collector] && second >= w.kept[holds.collector] {
		return "pending"
	}
	return "missing"
}

func (w *world) write(ctx context.Context, t *rapid.T, tx pgx.Tx) {
	exec := func(sql string, args ...any) {
		if _, err := tx.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range w.schedules {
		var until *time.Time
		if s.until >= 0 {
			u := at(s.until)
			until = &u
		}
		exec(`INSERT INTO ledger_schedule VALUES (7, $1, $2, $3, $4, 'slow', $5, $6, '', '', '', '{}', $7, now())`,
			s.database, s.family, at(s.from), until, int64(s.every)*1_000_000, s.reason, [16]byte{s.collector})
	}
	for _, s := range w.stored {
		exec(`INSERT INTO ledger VALUES ($1, 7, 'slow', $2, $3, '{3}', '{1000}')`, at(s.tick), s.database, s.families)
	}
	for _, r := range w.runs {
		every := int64(r.every) * 1_000_000
		if r.n == 1 {
			every = 0
		}
		exec(`INSERT INTO ledger_exception VALUES (7, $1, $2, $3, $4, 'slow', $5, $6, $7, $8, 'detail')`,
			at(r.first), at(r.first+(r.n-1)*r.every), int64(r.n), every, r.database, r.family, r.outcome, r.reason)
	}
}

// Planned is arithmetic over schedules and equals the sum of the six outcomes, each
// of which is what a naive look at every second says (I4).
func TestAccountIsTheModel(t *testing.T) {
	pool := tables(t)
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t)
		tx, err := pool.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(ctx) }()
		w.write(ctx, t, tx)
		alive := map[[16]byte]int64{}
		for c, is := range w.alive {
			if is {
				alive[[16]byte{c}] = us(w.kept[c])
			}
		}
		a, err := ledger.ReadAccount(ctx, tx, ledger.Part{}, ledger.Window{From: us(w.from), To: us(w.to)}, alive)
		if err != nil {
			t.Fatal(err)
		}
		type cellKey struct {
			family, database string
			cell             int
		}
		const step = 7
		cells := (w.to - w.from + step - 1) / step
		want, wantCells := map[string]ledger.Counts{}, map[cellKey]ledger.Counts{}
		var exceptions int
		for _, f := range families {
			for _, d := range databases {
				for second := w.from + 1; second <= w.to; second++ {
					o := w.outcome(f, d, second)
					if o == "" {
						continue
					}
					c := wantCells[cellKey{f, d, (second - w.from - 1) / step}]
					tally(&c, o)
					wantCells[cellKey{f, d, (second - w.from - 1) / step}] = c
					c = want[f+"/"+d]
					tally(&c, o)
					want[f+"/"+d] = c
					if o != "stored" && o != "pending" {
						exceptions++
					}
				}
			}
		}
		got := map[string]ledger.Counts{}
		for _, p := range a.Planned {
			c := a.Count(p)
			if c.Planned != c.Stored+c.Failed+c.Skipped+c.Dropped+c.Pending+c.Missing {
				t.Fatalf("%s/%s: planned is not the sum of the six: %+v", p.Family, p.Database, c)
			}
			got[p.Family+"/"+p.Database] = c
			if ticks := a.StoredTicks(p); !slices.IsSorted(ticks) || int64(len(ticks)) != c.Stored {
				t.Fatalf("%s/%s: stored ticks %v", p.Family, p.Database, ticks)
			}
			for i, c := range a.Buckets(p, us(w.from), step*1_000_000, cells) {
				if w := wantCells[cellKey{p.Family, p.Database, i}]; c != w {
					t.Fatalf("%s/%s cell %d: %+v, want %+v", p.Family, p.Database, i, c, w)
				}
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("counts\n%+v, want\n%+v", got, want)
		}
		items, more := a.Items(100_000, a.Planned...)
		if len(items) != exceptions || more {
			t.Fatalf("%d exceptions, want %d", len(items), exceptions)
		}
		for i, it := range items {
			if o := w.outcome(it.Family, it.Database, int(it.Tick/1_000_000)-base); o != it.Outcome {
				t.Fatalf("exception %+v: the model says %q", it, o)
			}
			if i > 0 && it.Tick > items[i-1].Tick {
				t.Fatal("exceptions are not newest first")
			}
		}
		if exceptions > 1 {
			if some, more := a.Items(exceptions-1, a.Planned...); len(some) != exceptions-1 || !more {
				t.Fatalf("a limit gave %d of %d, more = %v", len(some), exceptions, more)
			}
		}
		var reasons, gaps int64
		for _, r := range a.Reasons() {
			reasons += r.Ticks
		}
		for _, g := range a.Gaps() {
			gaps += g.Ticks
		}
		if reasons != int64(exceptions) || gaps != int64(exceptions) {
			t.Fatalf("%d ticks by reason, %d in gaps, want %d", reasons, gaps, exceptions)
		}
		one, err := ledger.ReadAccount(ctx, tx, ledger.Part{Instance: 7, Family: "b"}, ledger.Window{From: us(w.from), To: us(w.to)}, alive)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range one.Planned {
			if c := one.Count(p); p.Family != "b" || c != want["b/"+p.Database] {
				t.Fatalf("one family: %s/%s %+v, want %+v", p.Family, p.Database, c, want["b/"+p.Database])
			}
		}
	})
}

func tally(c *ledger.Counts, outcome string) {
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
	case "missing":
		c.Missing++
	}
}

// What is outside of the window costs nothing: a schedule without end from long ago
// and a run of a million ticks are clipped by arithmetic.
func TestAccountClipsRuns(t *testing.T) {
	pool := tables(t)
	ctx := t.Context()
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	for _, sql := range []string{
		`INSERT INTO ledger_schedule VALUES (7, '', 'a', '2020-01-01', NULL, 'fast', 1000000, '', '', '', '', '{}', '00000000-0000-0000-0000-000000000001', now())`,
		`INSERT INTO ledger_exception VALUES (7, '2020-01-01', '2030-01-01', 315619201, 1000000, 'fast', '', 'a', 'skipped', 'collector_down', '')`,
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	started := time.Now()
	a, err := ledger.ReadAccount(ctx, tx, ledger.Part{}, ledger.Window{From: us(0), To: us(3600)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := a.Count(a.Planned[0]); c != (ledger.Counts{Planned: 3600, Skipped: 3600}) {
		t.Errorf("counts %+v", c)
	}
	if gaps := a.Gaps(); len(gaps) != 1 || gaps[0].Ticks != 3600 || gaps[0].Closed {
		t.Errorf("gaps %+v", gaps)
	}
	if took := time.Since(started); took > time.Second {
		t.Errorf("an hour of a ten years' run took %s", took)
	}
}
