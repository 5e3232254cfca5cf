package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Shape of the benchmark: a fleet's worth of wide statement rows.
const (
	benchCollectors = 8
	benchBatches    = 10   // of each collector
	benchRows       = 2000 // statements in a batch, every column filled
	benchPerPush    = 5
)

// wideStatements is a frame with a value in every column that a frame has.
func wideStatements(n int, since, at int64) frame.Frame {
	f := frame.Frame{Family: "statements", Since: since, At: at, N: n}
	var seed [16]byte
	_, _ = rand.Read(seed[:])
	x := binary.LittleEndian.Uint64(seed[:8]) | 1
	next := func() int64 { x ^= x << 13; x ^= x >> 7; x ^= x << 17; return int64(x) }
	for _, c := range catalog.Lookup("statements").Columns {
		if c.Kind == catalog.Reset {
			continue
		}
		col := frame.Column{Name: c.Name, Kind: c.Kind, Type: c.Wire(), Ints: make([]int64, n)}
		for i := range col.Ints {
			switch {
			case c.Name == "queryid":
				col.Ints[i] = next()
			case c.Type == catalog.Bool:
				col.Ints[i] = 1
			case c.Kind == catalog.Key:
				col.Ints[i] = 16384 + next()&7
			default:
				col.Ints[i] = 1 + next()&0xffff
			}
		}
		f.Columns = append(f.Columns, col)
	}
	return f
}

// backendsCPU is the CPU time, in seconds, of a postmaster and its children, ended ones included.
func backendsCPU(b *testing.B, postmaster int) (seconds float64) {
	b.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest) // from the state on: field 3 of proc(5)
		if len(f) < 15 || f[1] != strconv.Itoa(postmaster) && filepath.Base(filepath.Dir(file)) != strconv.Itoa(postmaster) {
			continue
		}
		fields := f[11:13]
		if f[1] != strconv.Itoa(postmaster) {
			fields = f[11:15]
		}
		for _, ticks := range fields {
			n, _ := strconv.ParseFloat(ticks, 64)
			seconds += n / 100
		}
	}
	return seconds
}

// BenchmarkIngest compares rows through HTTP, authentication, dedupe, decoding and commit with a bare
// binary COPY of the same rows into the same table, in turns on one server with fsync on.
func BenchmarkIngest(b *testing.B) {
	cluster := pgtest.PrivateStore(b, pgtest.StoreMajor(b), "fsync=on", "full_page_writes=on", "shared_buffers=256MB", "max_wal_size=4GB", "checkpoint_timeout=1h")
	url := pgtest.Database(b, cluster)
	r := start(b, url, "", func(c *server.Config) { c.AllowFsyncOff = false })
	r.waitHealth(b, 200)

	// The requests, and the bytes of one bare COPY for each.
	type request struct {
		token string
		body  []byte
	}
	perCollector := make([][]request, benchCollectors)
	rounds := 0
	make1 := func() (rows int) {
		rounds++
		for c := range benchCollectors {
			name := fmt.Sprintf("bench%d-%d", rounds, c)
			p := r.register(b, byte(100+c), name)
			perCollector[c] = nil
			epoch := uint64(rounds)
			var body []byte
			for k := range benchBatches {
				p.seq++
				tick := time.Now().Truncate(time.Minute).Add(-time.Hour).UnixMicro() + int64(k)*10e6
				f := wideStatements(benchRows, tick-10e6, tick)
				batch := &frame.Batch{ID: frame.ID{Collector: p.id, Epoch: epoch, Seq: p.seq}, Instance: name, Database: "postgres", Lane: catalog.Slow, Tick: tick,
					Server:   frame.Server{SystemID: 1, Version: 180000, VersionText: "18.0", PostmasterStart: tick - 1e12, IntervalUs: 10e6},
					Outcomes: []frame.Outcome{{Family: "statements", Lane: catalog.Slow, First: tick, Last: tick, N: 1, Code: frame.Stored, At: tick, Since: tick - 10e6}},
					Frames:   []frame.Frame{f}}
				body = frame.AppendEnvelope(body, frame.NewEnvelope(batch))
				rows += f.N
				if (k+1)%benchPerPush == 0 {
					perCollector[c] = append(perCollector[c], request{p.token, body})
					body = nil
				}
			}
		}
		return rows
	}
	pool, err := store.Open(url, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	ctx := context.Background()
	empty := func() {
		b.Helper()
		if _, err := pool.Exec(ctx, "TRUNCATE statements_raw; CHECKPOINT"); err != nil {
			b.Fatal(err)
		}
	}
	push := func() time.Duration {
		b.Helper()
		began := time.Now()
		var wg sync.WaitGroup
		for _, list := range perCollector {
			wg.Go(func() {
				for _, q := range list {
					req, _ := http.NewRequest("POST", r.base+"/api/v1/metrics/push", bytes.NewReader(q.body))
					req.Header.Set("Authorization", "Bearer "+q.token)
					req.Header.Set("Content-Type", envelopes)
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						b.Error(err)
						return
					}
					text, _ := io.ReadAll(resp.Body)
					resp.Body.Close()
					if bytes.Count(text, []byte(`"stored"`)) != benchPerPush {
						b.Errorf("%d %.500s", resp.StatusCode, text)
					}
				}
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	var pushed, copied time.Duration
	var pushedCPU, copiedCPU float64
	rows := 0
	for b.Loop() {
		b.StopTimer()
		n := make1()
		rows += n
		empty()
		cpu := backendsCPU(b, cluster.PID())
		b.StartTimer()
		pushed += push()
		b.StopTimer()
		pushedCPU += backendsCPU(b, cluster.PID()) - cpu
		// What is stored now is what the bare COPY gets.
		var data bytes.Buffer
		conn, err := pool.Acquire(ctx)
		if err != nil {
			b.Fatal(err)
		}
		tag, err := conn.Conn().PgConn().CopyTo(ctx, &data, "COPY (SELECT * FROM statements_raw) TO STDOUT (FORMAT binary)")
		if err != nil || tag.RowsAffected() != int64(n) {
			b.Fatal(tag.RowsAffected(), err)
		}
		empty()
		cpu = backendsCPU(b, cluster.PID())
		began := time.Now()
		if _, err := conn.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(data.Bytes()), "COPY statements_raw FROM STDIN (FORMAT binary)"); err != nil {
			b.Fatal(err)
		}
		copied += time.Since(began)
		copiedCPU += backendsCPU(b, cluster.PID()) - cpu
		conn.Release()
		b.StartTimer()
	}
	b.ReportMetric(float64(rows)/pushed.Seconds(), "rows/s")
	b.ReportMetric(float64(rows)/copied.Seconds(), "copy-rows/s")
	b.ReportMetric(copied.Seconds()/pushed.Seconds(), "x-of-copy")
	b.ReportMetric(pushedCPU/copiedCPU, "store-cpu-x-of-copy")
	if path := os.Getenv("PGA_TEST_BENCH_LOG"); path != "" {
		_ = os.WriteFile(path, []byte(r.log.String()), 0o600)
	}
}
