package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

const (
	second = int64(time.Second / time.Microsecond)
	every  = 10 * second
)

// prepared is a database with all tables.
func prepared() pgtest.Option {
	return pgtest.From("metrics", func(ctx context.Context, url string) error {
		pool, err := store.Open(url, store.Options{MaxConns: 4})
		if err != nil {
			return err
		}
		defer pool.Close()
		return prepare(ctx, pool)
	})
}

func prepare(ctx context.Context, pool *pgxpool.Pool) error {
	if err := store.Migrate(ctx, pool, store.MetricsTable, fleet.Migrations, ledger.Migrations, series.Migrations, ingest.Migrations); err != nil {
		return err
	}
	if err := series.Reconcile(ctx, pool, catalog.All()); err != nil {
		return err
	}
	_, err := ledger.Prepare(ctx, pool, catalog.Names())
	return err
}

// backend is one stateless backend on a store.
type backend struct {
	*ingest.Ingest
	fleet *fleet.Fleet
	pool  *pgxpool.Pool
	stop  func()
}

func newBackend(t testing.TB, url string, change ...func(*ingest.Options)) *backend {
	t.Helper()
	pool, err := store.Open(url, store.Options{MaxConns: 6})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Prepare(t.Context(), pool, catalog.Names())
	if err != nil {
		t.Fatal(err)
	}
	s, err := series.New(pool, catalog.All())
	if err != nil {
		t.Fatal(err)
	}
	p, err := store.NewPartitions(t.Context(), pool, append(series.PartitionedTables(catalog.All()), ledger.PartitionedTables...))
	if err != nil {
		t.Fatal(err)
	}
	f := fleet.New(pool, series.TakenOver)
	opt := ingest.Options{Retention: 14 * 24 * time.Hour}
	for _, c := range change {
		c(&opt)
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b := &backend{Ingest: ingest.New(pool, f, l, s, p, log, opt), fleet: f, pool: pool}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.Run(ctx) })
	b.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); pool.Close() })
	t.Cleanup(b.stop)
	return b
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if testing.Verbose() {
		w.t.Logf("%s", bytes.TrimSpace(p))
	}
	return len(p), nil
}

// collector makes batches of one collector.
type collector struct {
	id     frame.CollectorID
	name   string
	epoch  uint64
	seq    uint64
	start  int64
	server frame.Server
}

var collectors byte

func newCollector(t testing.TB, b *backend, instances ...string) *collector {
	t.Helper()
	collectors++
	c := &collector{id: frame.CollectorID{1, collectors}, name: fmt.Sprintf("collector %d", collectors), epoch: 0xfedcba9876543210 + uint64(collectors)}
	c.start = time.Now().Add(-time.Hour).Truncate(10 * time.Second).UnixMicro()
	c.server = frame.Server{SystemID: 7_400_000_000_000_000_000, Incarnation: 1, Version: 170010, VersionText: "17.10", PostmasterStart: c.start - 3600*second, MaxConnections: 100, Role: "monitor", IntervalUs: every}
	c.register(t, b, instances...)
	return c
}

func (c *collector) register(t testing.TB, b *backend, instances ...string) *fleet.Registered {
	t.Helper()
	r := fleet.Registration{ID: c.id, Name: c.name, Version: "1", Interval: 10 * time.Second}
	for _, i := range instances {
		r.Instances = append(r.Instances, fleet.Named{Name: i})
	}
	got, err := b.fleet.Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (c *collector) next() (id, prev frame.ID) {
	c.seq++
	id = frame.ID{Collector: c.id, Epoch: c.epoch, Seq: c.seq}
	if c.seq > 1 {
		prev = frame.ID{Collector: c.id, Epoch: c.epoch, Seq: c.seq - 1}
	}
	return id, prev
}

// batch is a slow round at the k-th tick: statements with calls and time for each query, a cut, and a
// wal frame. Each query q counts q calls and 1000 q µs.
func (c *collector) batch(instance string, k int64, queries int) *frame.Batch {
	id, prev := c.next()
	tick := c.start + k*every
	at, since := tick+120_000, tick-every+120_000
	b := &frame.Batch{ID: id, Prev: prev, Instance: instance, Database: "postgres", Lane: catalog.Slow, Tick: tick, Server: c.server}
	if c.seq == 1 {
		for _, f := range []string{"statements", "wal"} {
			b.Schedules = append(b.Schedules, frame.Schedule{Family: f, Lane: catalog.Slow, From: c.start, Every: every, Absent: []string{"wal_buffers_full"}})
		}
	}
	b.Outcomes = []frame.Outcome{stored("statements", tick, at, since), stored("wal", tick, at, since)}
	b.Frames = []frame.Frame{statements(queries, since, at), {Family: "statements", Part: frame.Cut, Since: since, At: at, N: 1, Columns: []frame.Column{
		ints("dbid", catalog.Key, 5), ints("userid", catalog.Key, 10), ints("calls", catalog.Counter, 1000), ints("total_exec_time", catalog.Counter, 7)}},
		{Family: "wal", Since: since, At: at, N: 1, Columns: []frame.Column{ints("wal_records", catalog.Counter, 3), ints("wal_bytes", catalog.Counter, 100), ints("wal_fpi", catalog.Counter, 0)}}}
	return b
}

func stored(family string, tick, at, since int64) frame.Outcome {
	return frame.Outcome{Family: family, Lane: catalog.Slow, First: tick, Last: tick, N: 1, Code: frame.Stored, At: at, Since: since}
}

func statements(n int, since, at int64) frame.Frame {
	f := frame.Frame{Family: "statements", Since: since, At: at, N: n, Columns: []frame.Column{
		ints("dbid", catalog.Key), ints("userid", catalog.Key), ints("queryid", catalog.Key), {Name: "toplevel", Kind: catalog.Key, Type: catalog.Bool},
		ints("calls", catalog.Counter), ints("total_exec_time", catalog.Counter), ints("rows", catalog.Counter)}}
	for q := range int64(n) {
		for i, v := range []int64{5, 10, -1<<60 + q, 1, q + 1, 1000 * (q + 1), 0} {
			f.Columns[i].Ints = append(f.Columns[i].Ints, v)
		}
	}
	return f
}

func ints(name string, kind catalog.Kind, values ...int64) frame.Column {
	return frame.Column{Name: name, Kind: kind, Type: catalog.Int, Ints: values}
}

func texts(name string, kind catalog.Kind, values ...string) frame.Column {
	return frame.Column{Name: name, Kind: kind, Type: catalog.Text, Texts: values}
}

// gapOf is the gap in the place of a batch.
func gapOf(b *frame.Batch, reason string) *frame.Envelope { return gapEnvelope(reason, b) }

// gapEnvelope merges batches of ascending ids into one gap.
func gapEnvelope(reason string, batches ...*frame.Batch) *frame.Envelope {
	var gaps []*frame.Gap
	for _, b := range batches {
		gaps = append(gaps, frame.NewGap(b))
	}
	raw := frame.AppendGap(nil, frame.MergeGaps(gaps...))
	first, last := batches[0], batches[len(batches)-1]
	return &frame.Envelope{Kind: frame.KindGap, ID: last.ID, Prev: first.Prev, FirstSeq: first.ID.Seq, Tick: first.Tick, CRC: frame.Checksum(raw), RawLen: len(raw), Reason: reason, Data: frame.Compress(raw)}
}

func envelopes(batches ...*frame.Batch) []*frame.Envelope {
	var out []*frame.Envelope
	for _, b := range batches {
		out = append(out, frame.NewEnvelope(b))
	}
	return out
}

func body(list ...*frame.Envelope) []byte {
	var out []byte
	for _, e := range list {
		out = frame.AppendEnvelope(out, e)
	}
	return out
}

// push sends envelopes and gives the statuses.
func push(t testing.TB, b *backend, c *collector, list ...*frame.Envelope) []ingest.Status {
	t.Helper()
	raw := body(list...)
	got, err := b.Push(t.Context(), c.id, bytes.NewReader(raw), int64(len(raw)), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Results) != len(list) {
		t.Fatalf("%d results for %d envelopes", len(got.Results), len(list))
	}
	var out []ingest.Status
	for i, r := range got.Results {
		if r.Seq != list[i].ID.Seq || r.Epoch != list[i].ID.Epoch {
			t.Fatalf("result %d is of %d", i, r.Seq)
		}
		out = append(out, r.Status)
	}
	return out
}

func want(t testing.TB, got []ingest.Status, all ...ingest.Status) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(all) {
		t.Fatalf("verdicts %v, want %v", got, all)
	}
}

// sums is what the store holds of statements.
type sums struct{ rows, calls, time, cutCalls, droppedCalls, walBytes, ticks, dropped int64 }

func (s sums) String() string { return fmt.Sprintf("%+v", struct{ sums }{s}) }

// totals reads the store with plain SQL.
func totals(t testing.TB, url string) sums {
	t.Helper()
	conn := pgtest.Connect(t, url)
	var s sums
	err := conn.QueryRow(context.Background(), `SELECT
		(SELECT count(*) FROM statements_raw), (SELECT coalesce(sum(calls), 0)::bigint FROM statements_raw), (SELECT coalesce(sum(total_exec_time), 0)::bigint FROM statements_raw),
		(SELECT coalesce(sum(calls), 0)::bigint FROM statements_sum WHERE kind = 1), (SELECT coalesce(sum(calls), 0)::bigint FROM statements_sum WHERE kind = 2),
		(SELECT coalesce(sum(wal_bytes), 0)::bigint FROM wal_raw) + (SELECT coalesce(sum(wal_bytes), 0)::bigint FROM wal_sum),
		(SELECT count(*) FROM ledger, unnest(families) f JOIN ledger_family ON id = f WHERE name = 'statements'),
		(SELECT coalesce(sum(n), 0)::bigint FROM ledger_exception WHERE outcome = 'dropped' AND family = 'statements')`).
		Scan(&s.rows, &s.calls, &s.time, &s.cutCalls, &s.droppedCalls, &s.walBytes, &s.ticks, &s.dropped)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// expect is what n batches of q queries must have left.
func expect(n, q int64) sums {
	return sums{rows: n * q, calls: n * q * (q + 1) / 2, time: n * 1000 * q * (q + 1) / 2, cutCalls: n * 1000, walBytes: n * 100, ticks: n}
}

func same(t testing.TB, url string, want sums) {
	t.Helper()
	if got := totals(t, url); got != want {
		t.Fatalf("the store holds\n%v, want\n%v", got, want)
	}
	// Rows of every stored tick, once.
	conn := pgtest.Connect(t, url)
	var twice int
	if err := conn.QueryRow(context.Background(), `SELECT count(*) FROM (SELECT FROM statements_raw GROUP BY instance_id, time, dbid, userid, queryid, toplevel HAVING count(*) > 1) x`).Scan(&twice); err != nil || twice > 0 {
		t.Fatalf("%d rows twice (%v)", twice, err)
	}
}

func query[T any](t testing.TB, url, sql string, args ...any) T {
	t.Helper()
	conn := pgtest.Connect(t, url)
	rows, err := conn.Query(context.Background(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}
