package ingest_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
)

func database(t testing.TB) string {
	return pgtest.Database(t, pgtest.Store(t, pgtest.StoreMajor(t)), prepared())
}

func TestStoredOnce(t *testing.T) {
	url := database(t)
	b := newBackend(t, url)
	c := newCollector(t, b, "a:5432")
	list := envelopes(c.batch("a:5432", 1, 20), c.batch("a:5432", 2, 20), c.batch("a:5432", 3, 20))
	want(t, push(t, b, c, list...), "stored", "stored", "stored")
	want(t, push(t, b, c, list...), "duplicate", "duplicate", "duplicate")
	want(t, push(t, b, c, list[1], list[1]), "duplicate", "duplicate")
	same(t, url, expect(3, 20))

	// Out of order, and twice in one request.
	more := envelopes(c.batch("a:5432", 4, 20), c.batch("a:5432", 5, 20), c.batch("a:5432", 6, 20))
	want(t, push(t, b, c, more[2], more[2]), "stored", "duplicate")
	want(t, push(t, b, c, more[1], list[0], more[0]), "stored", "duplicate", "stored")
	same(t, url, expect(6, 20))

	epoch, seq, err := b.fleet.Newest(t.Context(), c.id)
	if err != nil || epoch != c.epoch || seq != 6 {
		t.Errorf("newest is %x/%d (%v)", epoch, seq, err)
	}
	if got := query[string](t, url, "SELECT version || ' ' || role || ' ' || system_id FROM fleet_instance"); got != "17.10 monitor 7400000000000000000" {
		t.Errorf("instance: %s", got)
	}
	if got := query[int64](t, url, "SELECT count(*) FROM fleet_state"); got != 1 {
		t.Errorf("%d states", got)
	}
	if got := query[int64](t, url, "SELECT count(*) FROM metrics"); got != 6 {
		t.Errorf("%d metrics", got)
	}
	// at and since, in ms: 120 after the tick, an interval before at.
	if got := query[string](t, url, "SELECT DISTINCT at_ms::text || since_ms::text FROM ledger"); got != "{120}{10000}" {
		t.Errorf("at, since: %s", got)
	}
	// The view: documented units, 0 instead of NULL, NULL where the server has no such column.
	if got := query[string](t, url, `SELECT sum(calls) || ' ' || sum(total_exec_time) || ' ' || sum(rows) || ' ' || min(instance) FROM statements`); got != "1260 1260 0 a:5432" {
		t.Errorf("view statements: %s", got)
	}
	if got := query[string](t, url, `SELECT DISTINCT wal_fpi || coalesce(wal_buffers_full::text, 'null') FROM wal`); got != "0null" {
		t.Errorf("view wal: %s", got)
	}
}

// TestTwoBackends pushes the same batches through two backends at once, in different orders.
func TestTwoBackends(t *testing.T) {
	url := database(t)
	backends := []*backend{newBackend(t, url), newBackend(t, url)}
	var all []*frame.Envelope
	var makers []*collector
	for i := range 4 {
		name := fmt.Sprintf("i%d", i)
		c := newCollector(t, backends[0], name)
		for k := range int64(25) {
			all = append(all, frame.NewEnvelope(c.batch(name, k, 10)))
			makers = append(makers, c)
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	storedBy := map[frame.ID]int{}
	for w := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for _, i := range r.Perm(len(all)) {
				if push(t, backends[w%2], makers[i], all[i])[0] == ingest.Stored {
					mu.Lock()
					storedBy[all[i].ID]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	same(t, url, expect(100, 10))
	for _, e := range all {
		if storedBy[e.ID] != 1 {
			t.Errorf("%s was said to be stored %d times", e.ID, storedBy[e.ID])
		}
	}
}

// TestDamaged cuts and flips every part of a request: nothing is stored, and the answer says why.
func TestDamaged(t *testing.T) {
	url := database(t)
	b := newBackend(t, url)
	c := newCollector(t, b, "a")
	good := body(envelopes(c.batch("a", 1, 5), c.batch("a", 2, 5))...)
	try := func(what string, raw []byte) {
		t.Helper()
		_, err := b.Push(t.Context(), c.id, bytes.NewReader(raw), int64(len(raw)), "")
		var re *ingest.RequestError
		if !errors.As(err, &re) || re.Status != 400 || !strings.Contains(re.Detail, "envelope") {
			t.Fatalf("%s: %v", what, err)
		}
	}
	first := len(body(envelopes(c.batch("a", 1, 5))...))
	for n := range good {
		if n == len(good) || n > 0 && n < first && n%7 != 0 {
			continue
		}
		if _, err := b.Push(t.Context(), c.id, bytes.NewReader(good[:n]), int64(n), ""); err == nil {
			// Cut exactly between envelopes: the first is whole.
			if got := totals(t, url); got.rows != 5 {
				t.Fatalf("cut at %d: %v", n, got)
			}
			continue
		}
		try(fmt.Sprintf("cut at %d", n), good[:n])
	}
	for n := 0; n < len(good); n += 3 {
		bad := slices.Clone(good)
		bad[n] ^= 1 << (n % 8)
		try(fmt.Sprintf("bit of byte %d", n), bad)
	}
	raw := slices.Clone(good)
	if got, err := b.Push(t.Context(), c.id, bytes.NewReader(raw), -1, ""); err != nil || got.Results[1].Status != ingest.Stored {
		t.Fatal(got, err)
	}
	same(t, url, expect(2, 5))
}

func TestRefused(t *testing.T) {
	url := database(t)
	b := newBackend(t, url)
	c := newCollector(t, b, "a")
	other := newCollector(t, b, "b")
	reason := func(e *frame.Envelope) string {
		t.Helper()
		raw := body(e)
		got, err := b.Push(t.Context(), c.id, bytes.NewReader(raw), int64(len(raw)), "")
		if err != nil {
			t.Fatal(err)
		}
		return string(got.Results[0].Status) + " " + got.Results[0].Reason
	}
	change := func(f func(*frame.Batch)) *frame.Envelope {
		x := c.batch("a", 1, 3)
		f(x)
		return frame.NewEnvelope(x)
	}
	damaged := frame.NewEnvelope(c.batch("a", 1, 3))
	damaged.Data = damaged.Data[:len(damaged.Data)/2]
	wrongCRC := frame.NewEnvelope(c.batch("a", 1, 3))
	wrongCRC.CRC++
	for name, x := range map[string]struct {
		e    *frame.Envelope
		want string
	}{
		"of another collector": {frame.NewEnvelope(other.batch("b", 1, 1)), "refused poison"},
		"another's instance":   {change(func(b *frame.Batch) { b.Instance = "b" }), "refused collector_change"},
		"zstd cut":             {damaged, "refused poison"},
		"crc":                  {wrongCRC, "refused poison"},
		"future": {change(func(b *frame.Batch) {
			b.Tick = time.Now().Add(6 * time.Minute).UnixMicro()
			b.Outcomes = nil
		}), "refused clock"},
		"old":           {change(func(b *frame.Batch) { b.Tick -= 15 * 24 * 3600 * second; b.Outcomes = nil }), "refused retention"},
		"type":          {change(func(b *frame.Batch) { b.Frames[0].Columns[4] = texts("calls", catalog.Counter, "1", "2", "3") }), "refused poison"},
		"kind":          {change(func(b *frame.Batch) { b.Frames[0].Columns[4].Kind = catalog.Gauge }), "refused poison"},
		"other tick":    {change(func(b *frame.Batch) { b.Outcomes[0].First++; b.Outcomes[0].Last++ }), "refused poison"},
		"run":           {change(func(b *frame.Batch) { b.Outcomes[0].Code = frame.Failed; b.Outcomes[0].N = 3 }), "refused poison"},
		"schedule":      {change(func(b *frame.Batch) { b.Schedules = []frame.Schedule{{Family: "wal", Lane: catalog.Slow}} }), "refused poison"},
		"dropped part":  {change(func(b *frame.Batch) { b.Frames[1].Part = frame.Dropped }), "refused poison"},
		"no instance":   {change(func(b *frame.Batch) { b.Instance = "" }), "refused poison"},
		"timestamp":     {change(func(b *frame.Batch) { b.Tick = 1 << 62 }), "refused poison"},
		"infinite time": {change(func(b *frame.Batch) { b.Frames[0].Since = -5 }), "refused poison"},
	} {
		if got := reason(x.e); got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}
	same(t, url, sums{})

	// A known column of another type: nothing of that batch, all of its neighbours.
	x, y := c.batch("a", 7, 3), c.batch("a", 8, 3)
	bad := c.batch("a", 9, 3)
	gap := gapOf(bad, "poison")
	bad.Frames[2].Columns[0] = texts("wal_records", catalog.Counter, "x")
	want(t, push(t, b, c, append(envelopes(x, bad), frame.NewEnvelope(y))...), "stored", "refused", "stored")
	same(t, url, expect(2, 3))

	// What was refused comes as a gap, and its counters are conserved.
	want(t, push(t, b, c, gap), "stored")
	got := totals(t, url)
	if got.droppedCalls != 6+1000 || got.dropped != 1 {
		t.Errorf("after the gap: %v", got)
	}
	// What was refused for a column's kind keeps the rest of its sums.
	kind := c.batch("a", 10, 3)
	for i := range kind.Frames {
		if col := kind.Frames[i].Column("total_exec_time"); col != nil {
			col.Type, col.Kind = catalog.Int, catalog.Counter
			col.Name = "toplevel"
		}
	}
	kind.Frames[0].Columns = slices.DeleteFunc(kind.Frames[0].Columns, func(c frame.Column) bool { return c.Type == catalog.Bool })
	want(t, push(t, b, c, frame.NewEnvelope(kind)), "refused")
	want(t, push(t, b, c, gapOf(kind, "poison")), "stored")
	if got := totals(t, url); got.droppedCalls != 2*1006 || got.dropped != 2 {
		t.Errorf("after the gap of another kind: %v", got)
	}
	// One far in the future, too.
	late := c.batch("a", 1_000_000, 3)
	want(t, push(t, b, c, frame.NewEnvelope(late)), "refused")
	want(t, push(t, b, c, gapOf(late, "clock")), "stored")
	if got := totals(t, url); got.droppedCalls != 3*1006 || got.dropped != 3 {
		t.Errorf("after the third gap: %v", got)
	}
}

// TestNewerCatalog stores what it knows of a batch and names the rest.
func TestNewerCatalog(t *testing.T) {
	url := database(t)
	b := newBackend(t, url)
	c := newCollector(t, b, "a")
	x := c.batch("a", 1, 4)
	x.Frames[0].Columns = append(x.Frames[0].Columns, ints("calls_on_the_moon", catalog.Counter, 1, 2, 3, 4), ints("stats_since", catalog.Gauge, 1, 2, 3, 4))
	x.Frames = append(x.Frames, frame.Frame{Family: "moons", N: 1, Columns: []frame.Column{ints("phase", catalog.Gauge, 3)}})
	x.Outcomes = append(x.Outcomes, stored("moons", x.Tick, x.Tick, x.Tick))
	x.Schedules = append(x.Schedules, frame.Schedule{Family: "moons", Lane: catalog.Slow, From: c.start, Every: every})
	raw := body(frame.NewEnvelope(x))
	for i, status := range []ingest.Status{"stored", "duplicate"} {
		got, err := b.Push(t.Context(), c.id, bytes.NewReader(raw), int64(len(raw)), "")
		if err != nil || got.Results[0].Status != status {
			t.Fatal(i, got, err)
		}
		if fmt.Sprint(got.Unknown) != "[moons statements.calls_on_the_moon statements.stats_since]" {
			t.Errorf("unknown: %v", got.Unknown)
		}
	}
	same(t, url, expect(1, 4))
	if got := query[string](t, url, "SELECT string_agg(name, ' ' ORDER BY name) FROM ledger_unknown"); got != "moons statements.calls_on_the_moon statements.stats_since" {
		t.Errorf("ledger_unknown: %s", got)
	}
	if got := query[string](t, url, "SELECT outcome || ' ' || reason || ' ' || n FROM ledger_exception WHERE family = 'moons'"); got != "dropped unknown_family 1" {
		t.Errorf("the unknown family's tick: %s", got)
	}
}

func TestGaps(t *testing.T) {
	url := database(t)
	b := newBackend(t, url)
	c := newCollector(t, b, "a", "z")
	var batches []*frame.Batch
	for k := range int64(12) {
		batches = append(batches, c.batch("a", k, 3))
	}
	const dropped = 6 + 1000 // calls of rows and cut

	// The batch first, its gap after it; the gap first, its batch after it.
	want(t, push(t, b, c, frame.NewEnvelope(batches[0])), "stored")
	want(t, push(t, b, c, gapOf(batches[0], "spool_full")), "duplicate")
	want(t, push(t, b, c, gapOf(batches[1], "spool_full")), "stored")
	want(t, push(t, b, c, frame.NewEnvelope(batches[1])), "duplicate")
	want(t, push(t, b, c, gapOf(batches[1], "poison")), "duplicate")
	w := expect(1, 3)
	w.droppedCalls, w.dropped, w.walBytes = dropped, 1, 200
	same(t, url, w)

	// A merged gap for four, one of which then arrives; and again the same gap.
	merged := gapEnvelope("spool_full", batches[2:6]...)
	want(t, push(t, b, c, merged), "stored")
	want(t, push(t, b, c, envelopes(batches[2:6]...)...), "duplicate", "duplicate", "duplicate", "duplicate")
	want(t, push(t, b, c, merged), "duplicate")
	w.droppedCalls, w.dropped, w.walBytes = 5*dropped, 5, 600
	same(t, url, w)
	if got := query[string](t, url, "SELECT n || ' ' || every_us || ' ' || reason || ' ' || (last - first) FROM ledger_exception WHERE n > 1 AND family = 'statements'"); got != "4 10000000 spool_full 00:00:30" {
		t.Errorf("the run: %s", got)
	}

	// One of a merged gap's ids is there already: it adds nothing, and the others may still come.
	want(t, push(t, b, c, frame.NewEnvelope(batches[7])), "stored")
	want(t, push(t, b, c, gapEnvelope("spool_full", batches[6:9]...)), "duplicate")
	want(t, push(t, b, c, envelopes(batches[6], batches[8])...), "stored", "stored")
	e := expect(4, 3)
	e.droppedCalls, e.dropped, e.walBytes = 5*dropped, 5, 400+500
	same(t, url, e)

	// In one request: batch, merged gap over it, and a batch beside it.
	want(t, push(t, b, c, frame.NewEnvelope(batches[9]), gapEnvelope("spool_full", batches[9:11]...), frame.NewEnvelope(batches[10]), frame.NewEnvelope(batches[11])), "stored", "duplicate", "stored", "stored")
	e = expect(7, 3)
	e.droppedCalls, e.dropped, e.walBytes = 5*dropped, 5, 700+500
	same(t, url, e)

	// Two instances merged in one gap.
	p, q := c.batch("a", 20, 3), c.batch("z", 20, 3)
	want(t, push(t, b, c, gapEnvelope("spool_full", p, q)), "stored")
	if got := query[int64](t, url, "SELECT count(DISTINCT instance_id) FROM statements_sum WHERE kind = 2"); got != 2 {
		t.Errorf("sums of %d instances", got)
	}
	// Holes between ids show.
	c.seq += 3
	want(t, push(t, b, c, frame.NewEnvelope(c.batch("a", 30, 1))), "stored")
	holes := query[int64](t, url, `SELECT coalesce(sum(first_seq - before - 1), 0)::bigint FROM (SELECT first_seq, lag(seq) OVER (PARTITION BY collector, epoch ORDER BY seq) AS before FROM ingest_batch) x WHERE before IS NOT NULL`)
	if holes != 3 {
		t.Errorf("%d holes, want 3", holes)
	}
}

func TestCloned(t *testing.T) {
	url := database(t)
	b := newBackend(t, url)
	c := newCollector(t, b, "a")
	clone := *c
	want(t, push(t, b, c, frame.NewEnvelope(c.batch("a", 1, 3))), "stored")
	other := clone.batch("a", 1, 4)
	want(t, push(t, b, c, frame.NewEnvelope(other)), "cloned")
	want(t, push(t, b, c, frame.NewEnvelope(other), frame.NewEnvelope(c.batch("a", 2, 3))), "cloned", "stored")
	// Two with one id in one request: the first is it.
	x, y := c.batch("a", 3, 3), *c
	y.seq--
	want(t, push(t, b, c, frame.NewEnvelope(x), frame.NewEnvelope(y.batch("a", 3, 4))), "stored", "cloned")
	same(t, url, expect(3, 3))
}

// TestPruned forgets ids, and still knows them; a clock that jumps back loses nothing.
func TestPruned(t *testing.T) {
	url := database(t)
	var now = time.Now()
	b := newBackend(t, url, func(o *ingest.Options) { o.Now = func() time.Time { return now } })
	c := newCollector(t, b, "a")
	var batches []*frame.Batch
	for k := range int64(10) {
		batches = append(batches, c.batch("a", k, 3))
	}
	list := envelopes(batches...)
	// The fifth stays on the collector's disk.
	want(t, push(t, b, c, append(slices.Clone(list[:4]), list[5:]...)...), slices.Repeat([]ingest.Status{"stored"}, 9)...)
	if err := b.Prune(t.Context(), c.id, batches[4].Tick); err != nil {
		t.Fatal(err)
	}
	if got := query[int64](t, url, "SELECT count(*) FROM ingest_batch"); got != 9 {
		t.Fatalf("%d ids right after they came, want all 9", got)
	}
	now = now.Add(2 * time.Hour)
	if err := b.Prune(t.Context(), c.id, batches[4].Tick); err != nil {
		t.Fatal(err)
	}
	if got := query[int64](t, url, "SELECT count(*) FROM ingest_batch"); got != 5 {
		t.Fatalf("%d ids, want 5", got)
	}
	want(t, push(t, b, c, list...), "duplicate", "duplicate", "duplicate", "duplicate", "stored", "duplicate", "duplicate", "duplicate", "duplicate", "duplicate")
	// The wall clock jumped back: older ticks, new ids.
	want(t, push(t, b, c, frame.NewEnvelope(c.batch("a", -5, 3))), "stored")
	c.epoch++
	c.seq = 0
	want(t, push(t, b, c, frame.NewEnvelope(c.batch("a", -4, 3))), "stored")
	same(t, url, expect(12, 3))
}

func TestHolderChanges(t *testing.T) {
	url := database(t)
	b := newBackend(t, url)
	old := newCollector(t, b, "a")
	want(t, push(t, b, old, frame.NewEnvelope(old.batch("a", 1, 3))), "stored")
	young := newCollector(t, b)
	got := young.register(t, b, "a", "own")
	if len(got.Conflicts) != 1 || got.Conflicts[0].Holder != old.name || len(got.Granted) != 1 || got.Granted[0].Name != "own" {
		t.Fatalf("%+v", got)
	}
	want(t, push(t, b, young, frame.NewEnvelope(young.batch("a", 1, 3))), "refused")
	// Silent for 11 minutes, and the backend was there to hear.
	pgtest.Exec(t, url, "UPDATE fleet_collector SET last_push = last_push - interval '11 min', registered = registered - interval '11 min'")
	if got := young.register(t, b, "a"); len(got.Conflicts) != 1 {
		t.Fatal("taken over although the backend has just started")
	}
	b.fleet.StartedBefore(11 * time.Minute)
	if got := young.register(t, b, "a"); len(got.Conflicts) != 0 {
		t.Fatalf("%+v", got)
	}
	// The old holder's backlog from before still counts, what it collects now does not.
	want(t, push(t, b, old, frame.NewEnvelope(old.batch("a", 2, 3))), "stored")
	future := old.batch("a", 363, 3) // after the takeover
	want(t, push(t, b, old, frame.NewEnvelope(future)), "refused")
	want(t, push(t, b, old, gapOf(future, "collector_change")), "stored")
	want(t, push(t, b, young, frame.NewEnvelope(young.batch("a", 363, 3))), "stored")
	same(t, url, expect(3, 3))
	if got := query[string](t, url, "SELECT reason || family FROM series_unobserved"); got != "collector_change" {
		t.Errorf("seam: %s", got)
	}
	if got := old.register(t, b, "a"); len(got.Conflicts) != 1 || got.Conflicts[0].Holder != young.name {
		t.Errorf("the old holder registers again: %+v", got)
	}
}
