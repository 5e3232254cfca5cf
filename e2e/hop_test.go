package e2e

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestHops follows one number, the bytes of WAL, through every hop: pg_stat_wal on
// the watched server -> a row of deltas in wal_raw -> the view wal -> the series
// of the API -> the page in a browser.
func TestHops(t *testing.T) {
	t.Parallel()
	p := startParts(t, 17, "")
	id := p.instance("watched")
	ctx := t.Context()
	watched, err := pgx.Connect(ctx, p.watched.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer watched.Close(context.WithoutCancel(ctx))
	read := func() (n int64) {
		if err := watched.QueryRow(ctx, "SELECT wal_bytes::int8 FROM pg_stat_wal").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	// The server must be at rest between our readings: no autovacuum, no checkpoint.
	for _, s := range []string{"ALTER SYSTEM SET autovacuum = off", "ALTER SYSTEM SET checkpoint_timeout = '1h'", "SELECT pg_reload_conf()", "CHECKPOINT"} {
		if _, err := watched.Exec(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	settle := func() {
		at := p.sql(`SELECT coalesce(extract(epoch FROM max(time)), 0)::bigint FROM ledger`)
		eventually(t, 15*time.Second, func() string {
			if p.sql(`SELECT extract(epoch FROM max(time))::bigint FROM ledger`) < at+3 {
				return "no new ticks are stored"
			}
			return ""
		})
	}
	// What the server counted when everything of it was stored. The server's own
	// records (of running transactions, some tens of bytes) may come at any time.
	inStore := `SELECT coalesce(sum(wal_bytes), 0)::bigint FROM wal_raw`
	settled := func() (counted, stored int64) {
		for range 10 {
			counted = read()
			settle()
			if stored = p.sql(inStore); read() == counted {
				return counted, stored
			}
		}
		t.Fatal("the watched server does not come to rest")
		return 0, 0
	}
	from := time.Now()
	before, stored := settled()

	// Hop 1: the server writes a known amount and its own counter shows it.
	if _, err := watched.Exec(ctx, "SELECT pg_logical_emit_message(false, 'hop', repeat('x', 1000000)) FROM generate_series(1, 8)"); err != nil {
		t.Fatal(err)
	}
	if _, err := watched.Exec(ctx, "SELECT pg_stat_force_next_flush()"); err != nil {
		t.Fatal(err)
	}
	var written int64
	eventually(t, 10*time.Second, func() string {
		if written = read() - before; written < 8_000_000 {
			return fmt.Sprintf("hop 1, pg_stat_wal: %d bytes more, want 8,000,000", written)
		}
		return ""
	})
	after, inTable := settled()
	written = after - before

	// Hop 2: the deltas in the store's table.
	if got := inTable - stored; got != written {
		t.Errorf("hop 2, wal_raw: %d bytes, pg_stat_wal says %d", got, written)
	}
	// Hop 3: the documented view.
	if more := p.sql(`SELECT (SELECT sum(wal_bytes) FROM wal)::bigint - (SELECT sum(wal_bytes) FROM wal_raw)::bigint`); more != 0 {
		t.Errorf("hop 3, view wal: %d bytes more than wal_raw", more)
	}
	// Hop 4: the API, as deltas and as a rate, in a window of whole seconds that is over.
	begin, end := from.Unix()-60, p.sql(`SELECT floor(extract(epoch FROM max(time)))::bigint - 1 FROM ledger`)
	var s struct {
		Unit   string
		Step   float64
		Series []struct{ Points [][2]*float64 }
	}
	window := []string{"family", "wal", "column", "wal_bytes", "step", "1", "from", strconv.FormatInt(begin, 10), "to", strconv.FormatInt(end, 10)}
	p.get(&s, "/api/v1/instances/"+id+"/series", append(window, "fn", "delta")...)
	var sum float64
	for _, point := range s.Series[0].Points {
		if point[1] != nil {
			sum += *point[1]
		}
	}
	all := p.sql(`SELECT coalesce(sum(wal_bytes), 0)::bigint FROM wal_raw WHERE time > to_timestamp($1) AND time <= to_timestamp($2)`, begin, end)
	if int64(sum) != all || all < written {
		t.Errorf("hop 4, series: %d bytes; wal_raw has %d in the window, of which %d in this test", int64(sum), all, written)
	}
	// The fullest bucket: what its frames counted, by the time they say they took.
	var bucket, bytes, millis int64
	p.row(`SELECT ceil(extract(epoch FROM w.time))::bigint - 1 AS bucket, sum(w.wal_bytes)::bigint, sum(l.since_ms[least(array_position(l.families, f.id), cardinality(l.since_ms))])::bigint
		FROM wal_raw w JOIN ledger_family f ON f.name = 'wal' JOIN ledger l ON l.instance_id = w.instance_id AND l.time = w.time AND l.database = '' AND f.id = ANY (l.families)
		WHERE w.time > to_timestamp($1) AND w.time <= to_timestamp($2) GROUP BY 1 ORDER BY sum(w.wal_bytes) DESC NULLS LAST LIMIT 1`,
		[]any{begin, end}, &bucket, &bytes, &millis)
	want := float64(bytes) / (float64(millis) / 1000)
	p.get(&s, "/api/v1/instances/"+id+"/series", append(window, "fn", "rate")...)
	var got float64
	for _, point := range s.Series[0].Points {
		if point[1] != nil && int64(*point[0]) == bucket {
			got = *point[1]
		}
	}
	if want < 1_000_000 || math.Abs(got-want) > want/1000 {
		t.Errorf("hop 4, series: %.0f bytes/s in the bucket of %d, want %d bytes in %d ms = %.0f", got, bucket, bytes, millis, want)
	}
	// Hop 5: the page.
	browser(t, "hop", "PGA_TEST_URL="+p.base, "PGA_TEST_TOKEN="+p.token, "PGA_TEST_INSTANCE="+id,
		"PGA_TEST_FROM="+strconv.FormatInt(begin, 10), "PGA_TEST_TO="+strconv.FormatInt(end, 10), "PGA_TEST_WAL_BYTES="+strconv.FormatInt(all, 10),
		"PGA_TEST_PEAK_TIME="+strconv.FormatInt(bucket, 10), "PGA_TEST_PEAK_RATE="+strconv.FormatFloat(want, 'f', -1, 64))

	// What a runbook greps: a healthy run has lines of these, and none of errors.
	for _, want := range []string{"cycle", "duration=", "pool", "connection", "queries collected", "sampling="} {
		if !strings.Contains(p.collector.out.String(), want) {
			t.Errorf("the collector's log has no %q", want)
		}
	}
	for line := range strings.Lines(p.collector.out.String() + p.backend.out.String()) {
		if strings.Contains(strings.ToLower(line), "error") {
			t.Errorf("a healthy run logs %s", line)
		}
	}
}

// browser runs one of the UI's browser tests against a backend.
func browser(t *testing.T, spec string, env ...string) {
	t.Helper()
	if _, err := os.Stat("../web/node_modules/.bin/playwright"); err != nil {
		t.Fatalf("no browser tests here: run scripts/ui.sh first (%v)", err)
	}
	cmd := exec.CommandContext(t.Context(), "npx", "playwright", "test", "--reporter=line", "tests/"+spec+".spec.ts")
	cmd.Dir = "../web"
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("hop to the page: %v\n%s", err, last(strings.TrimSpace(string(out)), 6000))
	}
}
