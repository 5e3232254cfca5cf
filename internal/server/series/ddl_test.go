package series_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

var update = flag.Bool("update", false, "write the golden files")

// TestDDLGolden shows every consequence of a catalog change for the store in the diff.
func TestDDLGolden(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range catalog.All() {
		got := strings.Join(series.DDL(f), ";\n\n") + ";\n"
		path := filepath.Join("testdata", f.Name+".ddl.sql")
		seen[path] = true
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; go test ./internal/server/series -update", path)
		}
	}
	files, _ := filepath.Glob("testdata/*.ddl.sql")
	for _, path := range files {
		if !seen[path] {
			t.Errorf("%s belongs to no family", path)
		}
	}
}

func migrate(t *testing.T, url string) {
	t.Helper()
	pool, err := store.Open(url, store.Options{MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := store.Migrate(t.Context(), pool, store.MetricsTable, fleet.Migrations, ledger.Migrations, series.Migrations, ingest.Migrations); err != nil {
		t.Fatal(err)
	}
}

// TestReconcileTwice starts several backends at once on an empty database, then again.
func TestReconcileConcurrently(t *testing.T) {
	url := pgtest.Database(t, pgtest.Store(t, pgtest.StoreMajor(t)))
	for range 2 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				migrate(t, url)
				pool, err := store.Open(url, store.Options{MaxConns: 2})
				if err != nil {
					t.Error(err)
					return
				}
				defer pool.Close()
				if err := series.Reconcile(t.Context(), pool, catalog.All()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	conn := pgtest.Connect(t, url)
	for _, f := range catalog.All() {
		if _, err := conn.Exec(context.Background(), "SELECT * FROM "+store.Quote(f.Name)); err != nil {
			t.Errorf("view %s: %v", f.Name, err)
		}
	}
}

// TestReconcileWidens meets a store of an older catalog, with rows and a user's own view on ours.
func TestReconcileWidens(t *testing.T) {
	url := pgtest.Database(t, pgtest.Store(t, pgtest.StoreMajor(t)))
	migrate(t, url)
	newer := *catalog.Lookup("wal")
	older := newer
	older.Columns = nil
	for _, c := range newer.Columns {
		if c.Name != "wal_bytes" && c.Name != "wal_fpi" {
			older.Columns = append(older.Columns, c)
		}
	}
	pool, err := store.Open(url, store.Options{MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for i, f := range []*catalog.Family{&older, &newer, &older, &newer} {
		if err := series.Reconcile(t.Context(), pool, []*catalog.Family{f}); err != nil {
			t.Fatal(i, err)
		}
		if i == 0 {
			pgtest.Exec(t, url, "CREATE VIEW theirs AS SELECT * FROM wal")
		}
	}
	var n int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM information_schema.columns WHERE table_name IN ('wal', 'wal_raw', 'wal_sum') AND column_name IN ('wal_bytes', 'wal_fpi')").Scan(&n); err != nil || n != 6 {
		t.Fatalf("%d columns added, want 6 (%v)", n, err)
	}
	wrong := newer
	wrong.Columns = append([]catalog.Column(nil), newer.Columns...)
	wrong.Columns[2].Kind, wrong.Columns[2].Type = catalog.Gauge, catalog.Float
	if err := series.Reconcile(t.Context(), pool, []*catalog.Family{&wrong}); err == nil || !strings.Contains(err.Error(), "wal_records is bigint") {
		t.Fatalf("changed type: %v", err)
	}
}
