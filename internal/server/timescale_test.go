package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

func storeDetail(t *testing.T, r *running) string {
	t.Helper()
	c, _ := r.waitHealth(t, 200)["components"].(map[string]any)["timescale"].(map[string]any)
	detail, _ := c["detail"].(string)
	return detail
}

func cutTables() []store.Table {
	return append(series.PartitionedTables(catalog.All()), ledger.PartitionedTables...)
}

// TestHypertables lives through what a day's chunk meets: it is filled, compressed, gets a
// backlog and a column, and goes.
func TestHypertables(t *testing.T) {
	url := pgtest.Database(t, pgtest.Timescale(t))
	r := start(t, url, "")
	if got := storeDetail(t, r); !strings.HasSuffix(got, "hypertables with columnstore") {
		t.Fatalf("health says %q", got)
	}
	pool, err := store.Open(url, store.Options{MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	number := func(sql string, args ...any) (n int) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	tables := cutTables()
	if n := number(`SELECT count(*) FROM timescaledb_information.dimensions d JOIN timescaledb_information.hypertables h USING (hypertable_schema, hypertable_name)
		WHERE d.time_interval = '1 day' AND h.compression_enabled`); n != len(tables) {
		t.Errorf("%d hypertables with columnstore and days, want %d", n, len(tables))
	}
	policies := func(retention time.Duration) {
		t.Helper()
		for proc, want := range map[string]string{"policy_retention": "drop_after", "policy_compression": "compress_after"} {
			after := retention
			if proc == "policy_compression" {
				after = 24 * time.Hour
			}
			if n := number("SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name = $1 AND (config->>$2)::interval = $3::text::interval",
				proc, want, fmt.Sprint(int(after.Seconds()), " seconds")); n != len(tables) {
				t.Errorf("%d policies %s of %s, want %d", n, proc, after, len(tables))
			}
		}
	}
	policies(14 * 24 * time.Hour)

	// A day that is over is compressed by its policy, then gets a backlog and a column.
	p := r.register(t, 1, "db:5432")
	if code, got := p.push(t, p.wal("db:5432", 1)); code != 200 || got != "stored" {
		t.Fatal(code, got)
	}
	exec := func(statements ...string) { t.Helper(); pgtest.Exec(t, url, statements...) }
	run := func(proc string) string {
		return fmt.Sprintf(`DO $$ DECLARE j int; BEGIN
			FOR j IN SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = '%s' AND hypertable_name IN ('wal_raw', 'ledger') LOOP CALL run_job(j); END LOOP; END $$`, proc)
	}
	const fill = "INSERT INTO wal_raw (time, instance_id, wal_bytes) SELECT date_trunc('day', now(), 'UTC') - %d * interval '1 day' + n * interval '1 second', 1, n FROM generate_series(1, 1000) n"
	exec(fmt.Sprintf(fill, 5), "INSERT INTO ledger SELECT time - interval '5 days', instance_id, lane, database, families, at_ms, since_ms FROM ledger", run("policy_compression"))
	if n := number("SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed AND hypertable_name IN ('wal_raw', 'ledger')"); n < 2 || n > 3 {
		t.Errorf("%d chunks compressed, want the past day's of wal_raw (or two) and of ledger", n)
	}
	late := p.wal("db:5432", -5*8640)
	if code, got := p.push(t, late); code != 200 || got != "stored" {
		t.Errorf("backlog of a compressed day: %d %s", code, got)
	}
	if code, got := p.push(t, late); code != 200 || got != "duplicate" {
		t.Errorf("the same again: %d %s", code, got)
	}
	wider := *catalog.Lookup("wal")
	wider.Columns = append(slices.Clone(wider.Columns), catalog.Column{Name: "extra", Doc: "x", Kind: catalog.Gauge, Type: catalog.Int})
	if err := series.Reconcile(t.Context(), pool, []*catalog.Family{&wider}); err != nil {
		t.Errorf("add a column: %v", err)
	}
	exec("INSERT INTO wal_raw (time, instance_id, extra) SELECT max(time) - interval '1 microsecond', 1, 7 FROM wal_raw WHERE time < now() - interval '4 days'")
	// Compressed again, with what came later.
	exec(run("policy_compression"))
	if n := number("SELECT count(*) FROM wal_raw"); n != 1003 {
		t.Errorf("%d rows, want the 1,000, 2 pushed and 1 with the new column", n)
	}
	if n := number("SELECT sum(wal_bytes)::int * 10 + sum(extra)::int FROM wal_raw WHERE time < now() - interval '4 days'"); n != (500500+10)*10+7 {
		t.Errorf("the past day sums up to %d", n)
	}
	if n := number("SELECT count(*) FROM metrics"); n != 3 {
		t.Errorf("metrics has %d rows, want 3", n)
	}

	// Another retention at the next start; what it no longer covers goes by the policy, and what
	// policies leave behind goes with our housekeeping.
	r = start(t, url, "", func(c *server.Config) { c.Retention = 3 * 24 * time.Hour })
	r.waitHealth(t, 200)
	policies(3 * 24 * time.Hour)
	exec(run("policy_retention"))
	if n := number("SELECT count(*) FROM wal_raw"); n != 1 {
		t.Errorf("%d rows of wal after retention, want 1", n)
	}
	exec(fmt.Sprintf(fill, 9))
	if err := r.Keep(t.Context()); err != nil {
		t.Error(err)
	}
	if n := number("SELECT count(*) FROM wal_raw"); n != 1 {
		t.Errorf("%d rows of wal after housekeeping, want 1", n)
	}

	// Jobs that no worker has run for two days are run by us: the day that the retention just left goes.
	exec(fmt.Sprintf(fill, 4), "SELECT alter_job(job_id, initial_start => now() - interval '2 days', next_start => now() + interval '1 hour') FROM timescaledb_information.jobs WHERE hypertable_name = 'wal_raw'",
		"DELETE FROM _timescaledb_internal.bgw_job_stat")
	if n := number("SELECT count(*) FROM wal_raw"); n != 1001 {
		t.Fatalf("%d rows of wal, want 1,001", n)
	}
	if err := r.Keep(t.Context()); err != nil {
		t.Error(err)
	}
	if n := number("SELECT count(*) FROM wal_raw"); n != 1 || !strings.Contains(r.log.String(), "policies run that TimescaleDB's workers did not") {
		t.Errorf("%d rows of wal, want 1; the log:\n%s", n, r.log)
	}
}

// TestHypertablesWithoutColumnstore is the Apache build: no columnstore, no policies, same rows.
func TestHypertablesWithoutColumnstore(t *testing.T) {
	pgtest.Timescale(t)
	url := pgtest.Database(t, pgtest.PrivateStore(t, pgtest.StoreMajor(t), "timescaledb.license=apache"))
	r := start(t, url, "")
	if got := storeDetail(t, r); !strings.HasSuffix(got, "timescaledb.license is apache") {
		t.Fatalf("health says %q", got)
	}
	p := r.register(t, 1, "db:5432")
	if code, got := p.push(t, p.wal("db:5432", 1)); code != 200 || got != "stored" {
		t.Fatal(code, got)
	}
	pgtest.Exec(t, url, "INSERT INTO wal_raw (time, instance_id) SELECT now() - n * interval '1 day', 1 FROM generate_series(13, 16) n")
	if err := r.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows, jobs int
	if err := pgtest.Connect(t, url).QueryRow(t.Context(), `SELECT (SELECT count(*) FROM wal_raw),
		(SELECT count(*) FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL)`).Scan(&rows, &jobs); err != nil || rows != 3 || jobs != 0 {
		t.Errorf("%d rows, want today's, those of 13 and 14 days ago; %d jobs, want none (%v)", rows, jobs, err)
	}
}

// TestTimescaleLater gives TimescaleDB to a database that has partitions, which it keeps.
func TestTimescaleLater(t *testing.T) {
	url := pgtest.Database(t, pgtest.Timescale(t))
	pgtest.Exec(t, url, "DROP EXTENSION timescaledb")
	r := start(t, url, "")
	if got := storeDetail(t, r); !strings.Contains(got, "but not in this database") {
		t.Errorf("health says %q", got)
	}
	r.stop()
	pgtest.Exec(t, url, "CREATE EXTENSION timescaledb")
	r = start(t, url, "")
	if got := storeDetail(t, r); !strings.HasPrefix(got, "daily partitions, made before") || !strings.Contains(r.log.String(), "made before the database had TimescaleDB") {
		t.Errorf("health says %q\n%s", got, r.log)
	}
	p := r.register(t, 1, "db:5432")
	if code, got := p.push(t, p.wal("db:5432", 1)); code != 200 || got != "stored" {
		t.Error(code, got)
	}
	if err := r.Keep(t.Context()); err != nil {
		t.Error(err)
	}
}
