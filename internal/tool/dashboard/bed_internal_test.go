package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
)

// bed is a whole backend on a store, spoken to as collectors and browsers do.
type bed struct {
	t            testing.TB
	url          string // of the store, as its owner
	handler      http.Handler
	api          string
	registration string
}

// onStores runs a test on plain PostgreSQL, and on TimescaleDB where there is one.
func onStores(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, pgtest.Database(t, pgtest.Server(t, pgtest.StoreMajor(t))))
	})
	t.Run("timescale", func(t *testing.T) {
		t.Parallel()
		base := os.Getenv("PGA_TEST_TIMESCALE_URL")
		if base == "" {
			t.Skip("PGA_TEST_TIMESCALE_URL is not set: no server with TimescaleDB to run the dashboards' queries on")
		}
		const name = "dashboard_test"
		pgtest.Exec(t, base, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)", "CREATE DATABASE "+name)
		t.Cleanup(func() { pgtest.Exec(t, base, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
		url := withDatabase(t, base, name)
		pgtest.Exec(t, url, "CREATE EXTENSION IF NOT EXISTS timescaledb")
		test(t, url)
	})
}

func newBed(t testing.TB, url string) *bed {
	t.Helper()
	dir := t.TempDir()
	var log bytes.Buffer // read once the backend has ended
	cfg := server.Config{
		Version: "test", MetricsURL: url, Retention: 14 * 24 * time.Hour, AllowFsyncOff: true, APITokenFile: filepath.Join(dir, "api"),
		RegistrationTokenFile: filepath.Join(dir, "registration"), Log: slog.New(slog.NewTextHandler(&log, nil)),
	}
	backend, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- backend.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("the backend's log:\n%s", log.String())
		}
	})
	for deadline := time.Now().Add(20 * time.Second); !backend.Ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) { // its log, which says why, follows
			t.Fatal("the store is not ready after a minute")
		}
	}
	return &bed{t: t, url: url, handler: backend.Handler(), api: read(cfg.APITokenFile), registration: read(cfg.RegistrationTokenFile)}
}

func (b *bed) send(method, path, token string, body []byte, out any, header ...string) {
	b.t.Helper()
	r := httptest.NewRequestWithContext(context.Background(), method, path, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		b.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
		b.t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
	}
}

func (b *bed) get(path string, out any) {
	b.t.Helper()
	b.send("GET", path, b.api, nil, out)
}

// agent is a collector as the backend sees it.
type agent struct {
	b     *bed
	id    frame.CollectorID
	token string
	seq   uint64
	body  []byte
}

func (b *bed) agent(name string, instances ...string) *agent {
	b.t.Helper()
	a := &agent{b: b}
	copy(a.id[:], name+"................")
	var list []map[string]any
	for _, i := range instances {
		list = append(list, map[string]any{"name": i})
	}
	body, err := json.Marshal(map[string]any{"id": a.id.String(), "name": name, "version": "1.0", "hostname": "host", "interval": interval.Seconds(), "instances": list})
	if err != nil {
		b.t.Fatal(err)
	}
	var out struct{ Token string }
	b.send("POST", "/api/v1/collectors/register", b.registration, body, &out)
	a.token = out.Token
	return a
}

func (a *agent) next(batch *frame.Batch) *frame.Batch {
	if a.seq > 0 {
		batch.Prev = frame.ID{Collector: a.id, Epoch: 7, Seq: a.seq}
	}
	a.seq++
	batch.ID = frame.ID{Collector: a.id, Epoch: 7, Seq: a.seq}
	return batch
}

// put queues a batch.
func (a *agent) put(batch *frame.Batch) {
	a.body = frame.AppendEnvelope(a.body, frame.NewEnvelope(a.next(batch)))
	if len(a.body) > 200_000 {
		a.push()
	}
}

// drop queues the gap record that takes the place of a batch.
func (a *agent) drop(batch *frame.Batch) {
	gap := frame.NewGap(a.next(batch))
	raw := frame.AppendGap(nil, gap)
	a.body = frame.AppendEnvelope(a.body, &frame.Envelope{
		Kind: frame.KindGap, ID: batch.ID, Prev: batch.Prev, FirstSeq: batch.ID.Seq, Tick: batch.Tick, CRC: frame.Checksum(raw), RawLen: len(raw), Reason: "spool_full", Data: frame.Compress(raw),
	})
}

func (a *agent) push() {
	a.b.t.Helper()
	var out struct {
		Results []struct{ Status, Reason string }
	}
	a.b.send("POST", "/api/v1/metrics/push", a.token, a.body, &out, "Content-Type", ingest.ContentType)
	for _, r := range out.Results {
		if r.Status != "stored" {
			a.b.t.Fatalf("a batch was %s: %s", r.Status, r.Reason)
		}
	}
	a.body = nil
}

// batch begins a round of an instance at a tick (µs).
func batch(instance, database string, lane catalog.Lane, tick int64) *frame.Batch {
	return &frame.Batch{Instance: instance, Database: database, Lane: lane, Tick: tick, Server: frame.Server{
		SystemID: 7_000_000_000_000_000_001, Incarnation: 1, Version: 160004, VersionText: "16.4", PostmasterStart: 1_750_000_000_000_000,
		MaxConnections: 100, Role: "monitor", IntervalUs: interval.Microseconds(),
	}}
}

type row map[string]any

// add adds a frame with its outcome.
func add(b *frame.Batch, family, database string, since, at int64, rows ...row) {
	b.Outcomes = append(b.Outcomes, frame.Outcome{Family: family, Database: database, Lane: b.Lane, First: b.Tick, Last: b.Tick, N: 1, Code: frame.Stored, At: at, Since: since})
	b.Frames = append(b.Frames, frameOf(family, database, frame.Rows, since, at, rows...))
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

// fail adds outcomes without frames.
func fail(b *frame.Batch, database string, code frame.Code, reason string, families ...string) {
	for _, f := range families {
		b.Outcomes = append(b.Outcomes, frame.Outcome{Family: f, Database: database, Lane: catalog.Lookup(f).Lane, First: b.Tick, Last: b.Tick, N: 1, Code: code, Reason: reason, Detail: "as the test has it"})
	}
}

// withDatabase gives a URL for another database of the same server.
func withDatabase(t testing.TB, url, database string) string {
	t.Helper()
	return rewrite(t, url, func(c *pgx.ConnConfig) (string, string) { return c.User, database })
}
