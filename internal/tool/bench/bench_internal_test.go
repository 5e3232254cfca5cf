package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		row    row
		atMost bool
		bound  float64
		met    bool
		target string
	}{
		{"ratio below", row{Ours: 3, Reference: 2, Unit: "ms"}, true, 2, true, "≤ 2x"},
		{"ratio above", row{Ours: 5, Reference: 2, Unit: "ms"}, true, 2, false, "≤ 2x"},
		{"ratio at the bound", row{Ours: 4, Reference: 2, Unit: "ms"}, true, 2, true, "≤ 2x"},
		{"faster than asked", row{Ours: 8, Reference: 10, Unit: "rows/s"}, false, 0.7, true, "≥ 0.7x"},
		{"slower than asked", row{Ours: 6, Reference: 10, Unit: "rows/s"}, false, 0.7, false, "≥ 0.7x"},
		{"no reference", row{Ours: 61, Unit: "MB"}, true, 60, false, "≤ 60 MB"},
		{"no unit", row{Ours: 1}, true, 1, true, "≤ 1"},
	} {
		r := &report{}
		r.judge(c.row, c.atMost, c.bound)
		if got := r.Rows[0]; *got.Met != c.met || got.Target != c.target {
			t.Errorf("%s: met %v, target %q, want %v, %q", c.name, *got.Met, got.Target, c.met, c.target)
		}
	}
}

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"-interval 1500ms":     "-interval 1.5s: want whole seconds",
		"-quick -full":         "-quick and -full: want one of them",
		"-only wire":           "-only wire: it measures what the collector pushed",
		"-only ingest,sausage": `-only "ingest,sausage": want some of`,
		"-measure 10s":         "-measure 10s: want at least two intervals",
		"sausage":              `unknown argument "sausage"`,
	} {
		if _, err := parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	opt, err := parse([]string{"-quick", "-outage", "7s"})
	if err != nil || opt.instances != 10 || opt.outage != 7*time.Second {
		t.Errorf("-quick -outage 7s: %d instances, outage %s (%v)", opt.instances, opt.outage, err)
	}
}

// TestWorkload: pg_stat_statements tells all statements apart, and a second run adds
// to each and leaves the tables as they were.
func TestWorkload(t *testing.T) {
	c := pgtest.Server(t, 17, "pg_stat_statements.track_utility=off")
	pgtest.Exec(t, c.URL("postgres"), "CREATE DATABASE workload")
	url := c.URL("workload")
	if err := fill(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for range 2 {
		for _, q := range queries(manyQueries) {
			if _, err := conn.Exec(t.Context(), q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
	}
	var distinct, rows int
	if err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = 'workload' AND s.calls = 2), (SELECT count(*) FROM t7)`).Scan(&distinct, &rows); err != nil {
		t.Fatal(err)
	}
	if distinct != manyQueries || rows != tableRows {
		t.Errorf("%d statements ran twice, want %d; table t7 has %d rows, want %d", distinct, manyQueries, rows, tableRows)
	}
}

// TestFamilySQL: the floor reads every family that the collector reads at each tick.
func TestFamilySQL(t *testing.T) {
	n := len(familySQL(catalog.Fast, 17, 111, "public")) + len(familySQL(catalog.Slow, 17, 111, "public"))
	want := 0
	for _, f := range catalog.All() {
		if f.Reader == "" && f.TextsOf == "" && f.Every == 0 {
			want++
			if len(f.Proof) > 0 {
				want++
			}
		}
	}
	if n != want || n < 6 {
		t.Errorf("%d statements, want %d", n, want)
	}
}
