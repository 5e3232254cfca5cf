package api_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// BenchmarkAPI fills a store with a day of a fleet (PGA_TEST_BENCH_INSTANCES, by
// default 100; 60-s interval, 120 statements of which 100 are kept, 20 tables, 8 groups of
// sessions every 10 s) and prints how long each list and chart takes.
func BenchmarkAPI(b *testing.B) {
	instances, _ := strconv.Atoi(os.Getenv("PGA_TEST_BENCH_INSTANCES"))
	if instances == 0 {
		instances = 100
	}
	hours, _ := strconv.Atoi(os.Getenv("PGA_TEST_BENCH_HOURS"))
	if hours == 0 {
		hours = 24
	}
	bed := newBed(b, "shared_buffers=512MB", "max_wal_size=8GB", "wal_level=minimal", "max_wal_senders=0", "synchronous_commit=off")
	a := bed.agent("bench", time.Minute)
	now := time.Now().Truncate(time.Minute)
	from := now.Add(-time.Duration(hours) * time.Hour)
	fill(b, bed, a, instances, from, now)
	id := "1"
	last := func(d time.Duration) string { return fmt.Sprintf("from=%d&to=%d", now.Add(-d).Unix(), now.Unix()) }
	hour, day := last(time.Hour), last(24*time.Hour)
	for _, c := range []struct{ name, path string }{
		{"instances/1h", "/api/v1/instances?" + hour},
		{"instance/1h", "/api/v1/instances/" + id + "?" + hour},
		{"collectors/1h", "/api/v1/collectors?" + hour},
		{"ledger/1h", "/api/v1/ledger?" + hour},
		{"ledger-one/1h", "/api/v1/ledger?instance=1&" + hour},
		{"grid-one/1h", "/api/v1/ledger/grid?instance=1&" + hour},
		{"grid/1h", "/api/v1/ledger/grid?" + hour},
		{"events/1h", "/api/v1/events?" + hour},
		{"statements/1h", "/api/v1/instances/" + id + "/statements?trend=30&" + hour},
		{"statements-text/1h", "/api/v1/instances/" + id + "/statements?text=abc&" + hour},
		{"statement/1h", "/api/v1/instances/" + id + "/statements/7?" + hour},
		{"series-xacts/1h", "/api/v1/instances/" + id + "/series?family=database&column=xact_commit&" + hour},
		{"series-sessions/1h", "/api/v1/instances/" + id + "/series?family=activity&column=sessions&by=state&" + hour},
		{"statements/24h", "/api/v1/instances/" + id + "/statements?trend=30&" + day},
		{"series-xacts/24h", "/api/v1/instances/" + id + "/series?family=database&column=xact_commit&" + day},
		{"series-sessions/24h", "/api/v1/instances/" + id + "/series?family=activity&column=sessions&by=wait_event_type&state=active&backend_type=client%20backend&" + day},
		{"series-calls/24h", "/api/v1/instances/" + id + "/series?family=statements&column=calls&" + day},
		{"series-calls-one/24h", "/api/v1/instances/" + id + "/series?family=statements&column=calls&queryid=7&" + day},
		{"series-tables/24h", "/api/v1/instances/" + id + "/series?family=tables&column=seq_tup_read&" + day},
		{"series-dead/24h", "/api/v1/instances/" + id + "/series?family=tables&column=n_dead_tup&" + day},
		{"series-dead-by/24h", "/api/v1/instances/" + id + "/series?family=tables&column=n_dead_tup&by=relid&" + day},
		{"series-wal/24h", "/api/v1/instances/" + id + "/series?family=wal&column=wal_bytes&" + day},
		{"ledger-one/24h", "/api/v1/ledger?instance=1&" + day},
		{"instances/24h", "/api/v1/instances?" + day},
		{"ledger/24h", "/api/v1/ledger?" + day},
	} {
		b.Run(c.name, func(b *testing.B) {
			var took []time.Duration
			size := 0
			for b.Loop() {
				began := time.Now()
				w := bed.send("GET", c.path, bed.api.Reveal(), nil)
				took = append(took, time.Since(began))
				if size = w.Body.Len(); w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[min(len(took)-1, len(took)*99/100)].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(size)/1024, "kB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func fill(b *testing.B, bed *bed, a *agent, instances int, from, to time.Time) {
	b.Helper()
	ctx := context.Background()
	partitions, err := store.NewPartitions(b.Context(), bed.pool, append(series.PartitionedTables(catalog.All()), ledger.PartitionedTables...))
	if err != nil {
		b.Fatal(err)
	}
	if err := partitions.Ensure(ctx, from.UnixMicro(), from.Add(12*time.Hour).UnixMicro(), to.UnixMicro()); err != nil {
		b.Fatal(err)
	}
	exec := func(sql string, args ...any) {
		if _, err := bed.pool.Exec(ctx, sql, args...); err != nil {
			b.Errorf("%s: %v", sql, err)
		}
	}
	began := time.Now()
	exec(`INSERT INTO fleet_instance (name, collector_id, interval_us, first_seen, updated, version) SELECT 'db' || g || ':5432', (SELECT id FROM fleet_collector), 60000000, $2, $3, '16.4' FROM generate_series(1, $1::int) g`, instances, from, to)
	exec(`UPDATE fleet_collector SET last_push = now()`)
	exec(`INSERT INTO ledger_schedule SELECT i, CASE WHEN f = 'tables' THEN 'shop' ELSE '' END, f, $2, NULL, CASE WHEN f = 'activity' THEN 'fast' ELSE 'slow' END,
		CASE f WHEN 'activity' THEN 10000000 WHEN 'statement_texts' THEN 300000000 ELSE 60000000 END, '', '', '', '', '{}', (SELECT id FROM fleet_collector), now()
		FROM generate_series(1, $1::int) i, unnest('{activity,statements,statement_texts,database,wal,tables,settings,roles,collector}'::text[]) f`, instances, from)
	exec(`INSERT INTO database_label SELECT i, d, $2, CASE d WHEN 5 THEN 'shop' ELSE 'db' || d END FROM generate_series(1, $1::int) i, generate_series(5, 7) d`, instances, from)
	exec(`INSERT INTO tables_label SELECT i, 5, r, $2, 'public', 'table' || r FROM generate_series(1, $1::int) i, generate_series(1, 20) r`, instances, from)
	exec(`INSERT INTO roles_raw (time, instance_id, oid, rolname) SELECT $2, i, 10, 'app' FROM generate_series(1, $1::int) i`, instances, from)
	exec(`INSERT INTO statement_texts_text SELECT md5(q::text)::uuid, 'SELECT abc' || q || ' FROM orders WHERE id = $1' FROM generate_series(1, 120) q`)
	exec(`INSERT INTO statement_texts_raw (instance_id, queryid, hash, time) SELECT i, q, md5(q::text)::uuid, $2 FROM generate_series(1, $1::int) i, generate_series(1, 120) q`, instances, from)
	var wg sync.WaitGroup
	hours := make(chan time.Time)
	for range 2 {
		wg.Go(func() {
			for h := range hours {
				fillHour(exec, instances, h)
			}
		})
	}
	for h := from; h.Before(to); h = h.Add(time.Hour) {
		hours <- h
	}
	close(hours)
	wg.Wait()
	exec(`VACUUM ANALYZE`)
	var size string
	if err := bed.pool.QueryRow(ctx, `SELECT pg_size_pretty(pg_database_size(current_database()))`).Scan(&size); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d instances, %s: filled in %s, %s", instances, to.Sub(from), time.Since(began).Round(time.Second), size)
}

// fillHour writes rows in the order in which they would come: by time.
func fillHour(exec func(string, ...any), n int, from time.Time) {
	const slow = `FROM generate_series($2::timestamptz + interval '1 minute', $2::timestamptz + interval '1 hour', interval '1 minute') t, generate_series(1, $1::int) i`
	const fast = `FROM generate_series($2::timestamptz + interval '10 seconds', $2::timestamptz + interval '1 hour', interval '10 seconds') t, generate_series(1, $1::int) i`
	id := func(f string) string { return `(SELECT id FROM ledger_family WHERE name = '` + f + `')` }
	exec(`INSERT INTO ledger SELECT t, i, 'fast', '', ARRAY[`+id("activity")+`], '{8}', '{10000}' `+fast, n, from)
	exec(`INSERT INTO ledger SELECT t, i, 'slow', '', ARRAY[`+id("statements")+`, `+id("database")+`, `+id("wal")+`, `+id("settings")+`, `+id("roles")+`, `+id("collector")+`]
		|| CASE WHEN extract(minute FROM t)::int % 5 = 0 THEN ARRAY[`+id("statement_texts")+`] END, '{12}', '{60000}' `+slow, n, from)
	exec(`INSERT INTO ledger SELECT t, i, 'slow', 'shop', ARRAY[`+id("tables")+`], '{30}', '{60000}' `+slow, n, from)
	exec(`INSERT INTO activity_raw (time, instance_id, datname, usename, application_name, backend_type, state, wait_event_type, wait_event, sessions, max_xact_age)
		SELECT t, i, CASE WHEN g < 4 THEN 'shop' ELSE '' END, CASE WHEN g < 4 THEN 'app' ELSE '' END, 'web', CASE WHEN g < 4 THEN 'client backend' ELSE 'background ' || g END,
		CASE g WHEN 0 THEN 'active' WHEN 1 THEN 'active' WHEN 2 THEN 'idle' WHEN 3 THEN 'idle in transaction' ELSE '' END, CASE WHEN g IN (0, 3) THEN '' ELSE 'Lock' END, '', 1 + g, g `+fast+`, generate_series(0, 7) g`, n, from)
	exec(`INSERT INTO statements_raw (time, instance_id, dbid, userid, queryid, toplevel, calls, total_exec_time, rows, shared_blks_hit, shared_blks_read, temp_blks_read, wal_records, wal_bytes, shared_blk_read_time)
		SELECT t, i, 5 + q % 3, 10, q, true, q * 10, q * 1234, q, q * 100, nullif(q % 3, 0), nullif(q % 20 % 2, 0), nullif(q % 4, 0), nullif(q % 4, 0) * 100, nullif(q % 3, 0) * 50 `+slow+`, generate_series(1, 100) q`, n, from)
	exec(`INSERT INTO statements_total (time, instance_id, calls, total_exec_time) SELECT t, i, 50500, 6231700 `+slow, n, from)
	exec(`INSERT INTO statements_sum (time, instance_id, kind, since, at, dbid, userid, calls, total_exec_time, rows)
		SELECT t, i, 1, t - interval '1 minute', t, d, 10, 20, 2000, 10 `+slow+`, generate_series(5, 7) d`, n, from)
	exec(`INSERT INTO database_raw (time, instance_id, datid, numbackends, xact_commit, xact_rollback, blks_read, blks_hit, tup_returned, tup_inserted, temp_bytes)
		SELECT t, i, d, 5, 6000, 3, 10, 90000, 100000, 500, 0 `+slow+`, generate_series(5, 7) d`, n, from)
	exec(`INSERT INTO wal_raw (time, instance_id, wal_records, wal_bytes) SELECT t, i, 1000, 1000000 `+slow, n, from)
	exec(`INSERT INTO tables_raw (time, instance_id, datid, relid, seq_scan, seq_tup_read, idx_scan, n_tup_ins, n_live_tup, n_dead_tup)
		SELECT t, i, 5, r, 1, 100, 50, 5, 1000, 10 `+slow+`, generate_series(1, 20) r WHERE r % 2 = extract(minute FROM t)::int % 2`, n, from)
	exec(`INSERT INTO collector_raw (time, instance_id, cpu_time, busy_time, memory, cycle_time, workers, spool_bytes, rounds, round_time, server_time, pool_open, pool_busy, pool_max)
		SELECT t, i, 50000, 900000, 50000000, 300000, 4, 1000, 7, 30000, 20000, 2, 1, 10 `+slow, n, from)
}
