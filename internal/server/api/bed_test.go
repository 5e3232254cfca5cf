package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server/api"
	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// bed is a whole backend on a real store, without a network between.
type bed struct {
	t        testing.TB
	pool     *pgxpool.Pool
	server   *api.Server
	api      auth.Token
	register auth.Token
	sessions *auth.Sessions
	log      *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const retention = 14 * 24 * time.Hour

func migrate(ctx context.Context, url string) error {
	pool, err := store.Open(url, store.Options{AllowFsyncOff: true})
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := store.Migrate(ctx, pool, store.MetricsTable, fleet.Migrations, ledger.Migrations, series.Migrations, ingest.Migrations); err != nil {
		return err
	}
	if err := store.Migrate(ctx, pool, store.AppTable, auth.Migrations); err != nil {
		return err
	}
	return series.Reconcile(ctx, pool, catalog.All())
}

func newBed(t testing.TB, setting ...string) *bed {
	t.Helper()
	return bedOn(t, pgtest.Store(t, 15, setting...))
}

func bedOn(t testing.TB, cluster *pgtest.Cluster) *bed {
	t.Helper()
	url := pgtest.Database(t, cluster, pgtest.From("api", migrate))
	pool, err := store.Open(url, store.Options{AllowFsyncOff: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	ctx := context.Background()
	book, err := ledger.Prepare(ctx, pool, catalog.Names())
	if err != nil {
		t.Fatal(err)
	}
	writer, err := series.New(pool, catalog.All())
	if err != nil {
		t.Fatal(err)
	}
	days, err := store.NewPartitions(ctx, pool, append(series.PartitionedTables(catalog.All()), ledger.PartitionedTables...))
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, pool: pool, api: auth.NewToken(), register: auth.NewToken(), log: &lockedBuffer{}}
	log := slog.New(slog.NewTextHandler(b.log, nil))
	registry := prometheus.NewRegistry()
	f := fleet.New(pool, series.TakenOver)
	in := ingest.New(pool, f, book, writer, days, log,
		ingest.Options{Retention: retention, Registry: registry})
	running, end := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = in.Run(running) })
	t.Cleanup(func() {
		end()
		wg.Wait()
	})
	b.sessions = auth.NewSessions(pool, b.api)
	b.server = api.New(api.Config{
		Version: "1.2.3", Retention: retention, API: b.api, Registration: b.register, Metrics: registry, Log: log, Demo: true,
		Health: func(context.Context) api.Health { return api.Health{Status: api.HealthStatusOk, Version: "1.2.3"} },
		Startup: func() api.Startup {
			return api.Startup{Started: time.Unix(1_760_000_000, 0), Steps: []api.StartupStep{{Name: "store", State: api.StartupStepStateDone, Detail: "ready"}}}
		},
		UI: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") }),
	})
	b.server.SetStore(&api.Store{Metrics: pool, Sessions: b.sessions, Fleet: f, Ingest: in})
	return b
}

// send sends any request; token "" sends none.
func (b *bed) send(method, path, token string, body io.Reader, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, body)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.server.ServeHTTP(w, r)
	return w
}

// get reads as the API token's holder, and holds the answer against the
// specification.
func (b *bed) get(path string, want int) map[string]any {
	b.t.Helper()
	w := b.send("GET", path, b.api.Reveal(), nil)
	if w.Code != want {
		b.t.Fatalf("GET %s: %d, want %d: %s", path, w.Code, want, w.Body)
	}
	conforms(b.t, "GET", path, w)
	return object(b.t, w)
}

// object decodes an answer with its numbers as they were written.
func object(t testing.TB, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return out
}

// dig follows a path of keys and indexes.
func dig(t testing.TB, v any, path ...any) any {
	t.Helper()
	for i, p := range path {
		switch k := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v: no object before %q", path[:i], k)
			}
			v = m[k]
		case int:
			l, ok := v.([]any)
			if !ok || k >= len(l) {
				t.Fatalf("%v: no element %d in %v", path[:i], k, v)
			}
			v = l[k]
		}
	}
	return v
}

// agent is a collector as the backend sees it.
type agent struct {
	b     *bed
	id    frame.CollectorID
	token string
	ids   map[string]string
	seq   uint64
}

func (b *bed) agent(name string, interval time.Duration, instances ...string) *agent {
	b.t.Helper()
	a := &agent{b: b, ids: map[string]string{}}
	copy(a.id[:], name+"................")
	var list []map[string]any
	for _, i := range instances {
		list = append(list, map[string]any{"name": i, "labels": map[string]string{"env": "test"}})
	}
	body, _ := json.Marshal(map[string]any{"id": a.id.String(), "name": name, "version": "1.0", "hostname": "host", "interval": interval.Seconds(), "instances": list})
	w := b.send("POST", "/api/v1/collectors/register", b.register.Reveal(), bytes.NewReader(body))
	if w.Code != http.StatusOK {
		b.t.Fatalf("register %s: %d %s", name, w.Code, w.Body)
	}
	conforms(b.t, "POST", "/api/v1/collectors/register", w)
	out := object(b.t, w)
	a.token = out["token"].(string)
	for _, i := range out["instances"].([]any) {
		a.ids[dig(b.t, i, "name").(string)] = dig(b.t, i, "id").(string)
	}
	return a
}

// next numbers a batch.
func (a *agent) next(batch *frame.Batch) *frame.Batch {
	batch.Prev = frame.ID{Collector: a.id, Epoch: 7, Seq: a.seq}
	if a.seq == 0 {
		batch.Prev = frame.ID{}
	}
	a.seq++
	batch.ID = frame.ID{Collector: a.id, Epoch: 7, Seq: a.seq}
	return batch
}

// push stores batches, each of which must be stored.
func (a *agent) push(batches ...*frame.Batch) {
	a.b.t.Helper()
	var body []byte
	for _, batch := range batches {
		body = frame.AppendEnvelope(body, frame.NewEnvelope(a.next(batch)))
	}
	a.post(body)
}

// drop pushes the gap that takes the place of a batch.
func (a *agent) drop(reason string, batches ...*frame.Batch) {
	a.b.t.Helper()
	var gaps []*frame.Gap
	first := a.seq + 1
	for _, batch := range batches {
		gaps = append(gaps, frame.NewGap(a.next(batch)))
	}
	raw := frame.AppendGap(nil, frame.MergeGaps(gaps...))
	a.post(frame.AppendEnvelope(nil, &frame.Envelope{Kind: frame.KindGap, ID: batches[len(batches)-1].ID, FirstSeq: first, Tick: batches[0].Tick,
		CRC: frame.Checksum(raw), RawLen: len(raw), Reason: reason, Data: frame.Compress(raw)}))
}

func (a *agent) post(body []byte) {
	a.b.t.Helper()
	w := a.b.send("POST", "/api/v1/metrics/push", a.token, bytes.NewReader(body), "Content-Type", ingest.ContentType)
	if w.Code != http.StatusOK || strings.Count(w.Body.String(), `"stored"`) == 0 || strings.Contains(w.Body.String(), `"refused"`) {
		a.b.t.Fatalf("push: %d %s", w.Code, w.Body)
	}
	conforms(a.b.t, "POST", "/api/v1/metrics/push", w)
}

// batch begins a batch of an instance at a tick (µs).
func batch(instance, database string, lane catalog.Lane, tick int64) *frame.Batch {
	return &frame.Batch{Instance: instance, Database: database, Lane: lane, Tick: tick, Server: frame.Server{
		SystemID: 7_000_000_000_000_000_001, Incarnation: 1, Version: 160004, VersionText: "16.4", PostmasterStart: 1_750_000_000_000_000,
		MaxConnections: 100, Role: "monitor", IntervalUs: 60_000_000, Labels: map[string]string{"env": "test"}}}
}

// plan says from when on families are planned.
func plan(b *frame.Batch, every time.Duration, database string, names ...string) *frame.Batch {
	for _, f := range names {
		b.Schedules = append(b.Schedules, frame.Schedule{Family: f, Database: database, Lane: catalog.Lookup(f).Lane, From: b.Tick, Every: every.Microseconds()})
	}
	return b
}

type row map[string]any

// add adds a frame with its outcome: since before the tick, at after it, in ms.
func add(b *frame.Batch, family, database string, since, at int64, rows ...row) *frame.Batch {
	b.Outcomes = append(b.Outcomes, frame.Outcome{Family: family, Database: database, Lane: b.Lane, First: b.Tick, Last: b.Tick, N: 1, Code: frame.Stored,
		At: b.Tick + at*1000, Since: b.Tick - since*1000})
	b.Frames = append(b.Frames, frameOf(family, database, frame.Rows, b.Tick-since*1000, b.Tick+at*1000, rows...))
	return b
}

// cut adds the sums of what was cut at the same tick.
func cut(b *frame.Batch, family string, rows ...row) *frame.Batch {
	f := b.Frames[len(b.Frames)-1]
	b.Frames = append(b.Frames, frameOf(family, "", frame.Cut, f.Since, f.At, rows...))
	return b
}

func frameOf(family, database string, part frame.Part, since, at int64, rows ...row) frame.Frame {
	f := frame.Frame{Family: family, Database: database, Part: part, Since: since, At: at, N: len(rows)}
	fam := catalog.Lookup(family)
	for i := range fam.Columns {
		c := &fam.Columns[i]
		used := false
		for _, r := range rows {
			_, has := r[c.Name]
			used = used || has
		}
		if !used {
			continue
		}
		col := frame.Column{Name: c.Name, Kind: c.Kind, Type: c.Wire(), Null: make([]bool, len(rows))}
		for i, r := range rows {
			v, has := r[c.Name]
			col.Null[i] = !has || v == nil
			switch c.Wire() {
			case catalog.Text:
				s, _ := v.(string)
				col.Texts = append(col.Texts, s)
			case catalog.Float:
				x, _ := v.(float64)
				col.Floats = append(col.Floats, x)
			default:
				n, _ := v.(int)
				if yes, is := v.(bool); is && yes {
					n = 1
				}
				col.Ints = append(col.Ints, int64(n))
			}
		}
		f.Columns = append(f.Columns, col)
	}
	return f
}

// fail adds an outcome without a frame.
func fail(b *frame.Batch, code frame.Code, reason, detail string, names ...string) *frame.Batch {
	for _, f := range names {
		b.Outcomes = append(b.Outcomes, frame.Outcome{Family: f, Lane: b.Lane, First: b.Tick, Last: b.Tick, N: 1, Code: code, Reason: reason, Detail: detail})
	}
	return b
}
