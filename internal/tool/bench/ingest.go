package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	randv2 "math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

const (
	batchRows   = 1000      // statements of a batch
	requestSize = 1_000_000 // bytes of a push, as the collector makes them
	pushers     = 4
)

// pusher is a collector that pushes batches made beforehand.
type pusher struct {
	id       frame.CollectorID
	token    string
	instance string
	ticks    []int64
	frames   []frame.Frame
	bodies   [][]byte // of the coming run
	batches  []int    // in each
}

// ingest compares pushing statement rows over HTTP with a bare COPY of the same rows
// into the same table of the same database. Each run does both, in turns; the rows
// are the same in every run, and gone before the next.
func (b *bench) ingest(ctx context.Context) error {
	back, err := b.newBackend(ctx, "ingest")
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, b.storeURL("ingest"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	all, err := b.newPushers(ctx, back)
	if err != nil {
		return err
	}
	rows := 0
	for _, p := range all {
		rows += len(p.frames) * batchRows
	}
	b.log.Info("ingesting", "rows", rows, "runs", b.ingestRuns)

	// One run to warm up, whose rows are what COPY gets.
	if _, err := push(ctx, back, conn, all, rows); err != nil {
		return err
	}
	var copied bytes.Buffer
	names := []string{"time", "instance_id"}
	for _, c := range catalog.Lookup("statements").OfKind(catalog.Key, catalog.Counter, catalog.Gauge) {
		names = append(names, pgx.Identifier{c.Name}.Sanitize())
	}
	columns := strings.Join(names, ", ")
	if _, err := conn.PgConn().CopyTo(ctx, &copied, "COPY (SELECT "+columns+" FROM statements_raw ORDER BY time, instance_id) TO STDOUT (FORMAT binary)"); err != nil {
		return fmt.Errorf("take the rows: %w", err)
	}
	var http, bare time.Duration
	backendBefore, err := cpu(back.process.pid())
	if err != nil {
		return err
	}
	for run := range b.ingestRuns {
		for turn := range 2 {
			if run%2 == turn {
				took, err := push(ctx, back, conn, all, rows)
				if err != nil {
					return err
				}
				http += took
				continue
			}
			took, err := copyRows(ctx, conn, columns, copied.Bytes(), rows)
			if err != nil {
				return err
			}
			bare += took
		}
	}
	backendAfter, err := cpu(back.process.pid())
	if err != nil {
		return err
	}
	rate := func(took time.Duration) float64 { return float64(rows*b.ingestRuns) / took.Seconds() }
	b.report.judge(row{What: "ingest of wide statement rows through HTTP", Ours: rate(http), Reference: rate(bare), Of: "COPY", Unit: "rows/s",
		Note: fmt.Sprintf("%d runs of %d rows of %.0f bytes, batches of %d, %d pushers; COPY: one statement, one transaction", b.ingestRuns, rows, float64(copied.Len())/float64(rows), batchRows, pushers)}, false, 0.7)
	b.report.add(row{What: "backend CPU per 1,000 rows", Ours: (backendAfter - backendBefore).Seconds() * 1e6 / float64(rows*b.ingestRuns), Unit: "ms"})
	return nil
}

// clean empties what a run fills, so that all begin alike.
func clean(ctx context.Context, conn *pgx.Conn) error {
	for _, sql := range []string{"TRUNCATE statements_raw, statements_sum, ledger, ingest_batch", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("empty the tables: %w", err)
		}
	}
	return nil
}

func copyRows(ctx context.Context, conn *pgx.Conn, columns string, data []byte, rows int) (time.Duration, error) {
	if err := clean(ctx, conn); err != nil {
		return 0, err
	}
	start := time.Now()
	tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(data), "COPY statements_raw ("+columns+") FROM STDIN (FORMAT binary)")
	took := time.Since(start)
	if err == nil && tag.RowsAffected() != int64(rows) {
		err = fmt.Errorf("%d rows copied, want %d", tag.RowsAffected(), rows)
	}
	return took, err
}

// push sends all batches of all pushers at once and gives how long it took until the
// last was confirmed.
func push(ctx context.Context, back *backend, conn *pgx.Conn, all []*pusher, rows int) (time.Duration, error) {
	for _, p := range all {
		p.encode()
	}
	if err := clean(ctx, conn); err != nil {
		return 0, err
	}
	start := time.Now()
	group, gctx := errgroup.WithContext(ctx)
	for _, p := range all {
		group.Go(func() error {
			for i, body := range p.bodies {
				if err := p.push(gctx, back, body, p.batches[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	took := time.Since(start)
	if err != nil {
		return 0, err
	}
	var have int
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM statements_raw").Scan(&have); err != nil {
		return 0, err
	}
	if have != rows {
		return 0, fmt.Errorf("%d rows stored, want %d", have, rows)
	}
	return took, nil
}

// encode makes the requests of one run: the same rows, but new ids.
func (p *pusher) encode() {
	p.bodies, p.batches = nil, nil
	var raw [8]byte
	_, _ = rand.Read(raw[:])
	id := frame.ID{Collector: p.id, Epoch: binary.LittleEndian.Uint64(raw[:]) >> 1}
	var body []byte
	n := 0
	flush := func() {
		if n > 0 {
			p.bodies, p.batches = append(p.bodies, body), append(p.batches, n)
		}
		body, n = nil, 0
	}
	for i, tick := range p.ticks {
		var prev frame.ID
		if i > 0 {
			prev = id
		}
		id.Seq++
		const every = 10_000_000
		f := p.frames[i]
		batch := &frame.Batch{ID: id, Prev: prev, Instance: p.instance, Database: "postgres", Lane: catalog.Slow, Tick: tick, Frames: []frame.Frame{f},
			Server:   frame.Server{SystemID: 1, Incarnation: 1, Version: 170010, VersionText: "17.10", PostmasterStart: tick - 3_600_000_000, MaxConnections: 100, Role: "pganalytics", IntervalUs: every},
			Outcomes: []frame.Outcome{{Family: "statements", Lane: catalog.Slow, First: tick, Last: tick, N: 1, Code: frame.Stored, At: f.At, Since: f.Since}}}
		if i == 0 {
			batch.Schedules = []frame.Schedule{{Family: "statements", Lane: catalog.Slow, From: tick, Every: every}}
		}
		one := frame.AppendEnvelope(nil, frame.NewEnvelope(batch))
		if len(body)+len(one) > requestSize {
			flush()
		}
		body, n = append(body, one...), n+1
	}
	flush()
}

func (p *pusher) push(ctx context.Context, back *backend, body []byte, batches int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, back.url()+"/api/v1/metrics/push", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	request.Header.Set("Content-Type", "application/vnd.pganalytics.envelopes")
	var answer struct {
		Results []struct{ Status, Reason, Detail string }
	}
	if err := do(request, &answer); err != nil {
		return err
	}
	if len(answer.Results) != batches {
		return fmt.Errorf("%d verdicts on %d batches", len(answer.Results), batches)
	}
	for _, r := range answer.Results {
		if r.Status != "stored" {
			return fmt.Errorf("a batch is %s (%s: %s)", r.Status, r.Reason, r.Detail)
		}
	}
	return nil
}

func do(request *http.Request, answer any) error {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", request.URL.Path, response.Status, body)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(body, answer)
}

// newPushers registers collectors and makes their frames.
func (b *bench) newPushers(ctx context.Context, back *backend) ([]*pusher, error) {
	secret, err := os.ReadFile(back.registration())
	if err != nil {
		return nil, err
	}
	var all []*pusher
	for i := range pushers {
		p := &pusher{instance: "ingest-" + strconv.Itoa(i)}
		_, _ = rand.Read(p.id[:])
		body, err := json.Marshal(map[string]any{"id": p.id.String(), "name": p.instance, "version": "bench", "interval": 10, "instances": []map[string]any{{"name": p.instance}}})
		if err != nil {
			return nil, err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, back.url()+"/api/v1/collectors/register", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(secret)))
		request.Header.Set("Content-Type", "application/json")
		var answer struct{ Token string }
		if err := do(request, &answer); err != nil {
			return nil, err
		}
		p.token = answer.Token
		// Ticks of one day, so that rows go to one partition.
		day := time.Now().UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)
		random := randv2.New(randv2.NewPCG(uint64(i), 1))
		for k := range max(1, b.ingestRows/batchRows/pushers) {
			tick := day.Add(time.Duration(k) * 10 * time.Second).UnixMicro()
			p.ticks = append(p.ticks, tick)
			p.frames = append(p.frames, wideFrame(random, tick))
		}
		all = append(all, p)
	}
	return all, nil
}

// wideFrame is statements with every column and no zero, the widest rows there are.
func wideFrame(random *randv2.Rand, tick int64) frame.Frame {
	f := frame.Frame{Family: "statements", Since: tick - 9_900_000, At: tick + 100_000, N: batchRows}
	for _, c := range catalog.Lookup("statements").OfKind(catalog.Key, catalog.Counter, catalog.Gauge) {
		col := frame.Column{Name: c.Name, Kind: c.Kind, Type: c.Wire(), Ints: make([]int64, batchRows)}
		size := 1 + random.Int64N(20) // bits: counters differ in size
		for r := range col.Ints {
			switch c.Name {
			case "dbid":
				col.Ints[r] = 16384 + int64(r%4)
			case "userid":
				col.Ints[r] = 10 + int64(r%3)
			case "queryid":
				col.Ints[r] = int64(uint64(r+1) * 0x9e3779b97f4a7c15)
			case "toplevel":
				col.Ints[r] = 1
			default:
				col.Ints[r] = 1 + random.Int64N(1<<size)
			}
		}
		f.Columns = append(f.Columns, col)
	}
	return f
}
