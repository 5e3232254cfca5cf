package store_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

func TestCheck(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		server := pgtest.Server(t, major) // has fsync off
		pool, err := store.Open(pgtest.Database(t, server), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		if err := store.Check(t.Context(), pool, store.Options{}); !errors.Is(err, store.ErrUnfit) {
			t.Errorf("%d with fsync off: %v", major, err)
		}
		if err := store.Check(t.Context(), pool, store.Options{AllowFsyncOff: true}); (err != nil) != (major < 14) {
			t.Errorf("%d: %v", major, err)
		}
	}
	for _, url := range []string{"mysql://x", "postgres://u:hunter2@localhost:notaport/x", "postgres://u:hunter2@h/x?sslmode=maybe"} {
		if _, err := store.Open(url, store.Options{}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func partitions(t *testing.T, pool *pgxpool.Pool) *store.Partitions {
	p, err := store.NewPartitions(context.Background(), pool, []store.Table{{Name: "b_raw"}, {Name: "a_raw"}})
	if err != nil {
		t.Error(err)
	}
	return p
}

func TestPartitions(t *testing.T) {
	url := pgtest.Database(t, pgtest.Server(t, pgtest.StoreMajor(t)))
	pgtest.Exec(t, url, "CREATE TABLE a_raw (time timestamptz NOT NULL, v int) PARTITION BY RANGE (time)", "CREATE INDEX ON a_raw (time)",
		"CREATE TABLE b_raw (time timestamptz NOT NULL) PARTITION BY RANGE (time)")
	pool, err := store.Open(url, store.Options{MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	us := func(s string) int64 {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixMicro()
	}
	days := []int64{us("2026-03-01T00:00:00Z"), us("2026-03-01T23:59:59Z"), us("2026-03-02T00:00:00Z"), us("2026-03-05T12:00:00Z")}
	// A reader and a writer at work are not waited for.
	reader := pgtest.Connect(t, url)
	if _, err := reader.Exec(t.Context(), "BEGIN; SELECT * FROM a_raw"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := partitions(t, pool).Ensure(ctx, days...); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := reader.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "INSERT INTO a_raw SELECT '2026-03-01 23:59:59.999999+00', 1", "INSERT INTO a_raw VALUES ('2026-03-05 00:00:00+00', 1)")
	names := func() string {
		var s string
		if err := pool.QueryRow(t.Context(), "SELECT coalesce(string_agg(relname, ' ' ORDER BY relname), '') FROM pg_class WHERE relname ~ '_p2026' AND relkind = 'r'").Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := names(); got != "a_raw_p20260301 a_raw_p20260302 a_raw_p20260305 b_raw_p20260301 b_raw_p20260302 b_raw_p20260305" {
		t.Fatal(got)
	}
	// One was detached by a process that died before it could drop it.
	pgtest.Exec(t, url, "ALTER TABLE b_raw DETACH PARTITION b_raw_p20260301")
	p := partitions(t, pool)
	dropped, err := p.Expire(t.Context(), us("2026-03-02T18:00:00Z"))
	if err != nil || strings.Join(dropped, " ") != "a_raw_p20260301 b_raw_p20260301" {
		t.Fatal(dropped, err)
	}
	if got := names(); got != "a_raw_p20260302 a_raw_p20260305 b_raw_p20260302 b_raw_p20260305" {
		t.Fatal(got)
	}
	// What is still kept but detached is attached again.
	pgtest.Exec(t, url, "ALTER TABLE a_raw DETACH PARTITION a_raw_p20260305")
	if err := p.Ensure(t.Context(), days[3]); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM a_raw").Scan(&n); err != nil || n != 1 {
		t.Fatal(n, err)
	}
}
