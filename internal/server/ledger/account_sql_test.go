package ledger_test

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/server/ledger"
)

// A tick without an outcome is pending from where on its collector may still bring it, else
// missing: in SQL as in Go, whichever of the others were stored, and by whatever steps.
func TestAccountInSQLKnowsWhatIsKept(t *testing.T) {
	pool := tables(t)
	ctx := t.Context()
	for name, c := range map[string]struct {
		silent bool
		kept   int // -1: the collector did not say
	}{
		"all is kept":          {false, -1},
		"from 40 on":           {false, 40},
		"just behind a hole":   {false, 31},
		"from the hole on":     {false, 30},
		"nothing":              {false, 61},
		"a collector is gone":  {true, 40},
		"gone, and never said": {true, -1},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := pool.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(ctx) }()
			exec := func(sql string, args ...any) {
				t.Helper()
				if _, err := tx.Exec(ctx, sql, args...); err != nil {
					t.Fatal(err)
				}
			}
			collector := [16]byte{1}
			pushed := time.Now()
			alive := map[[16]byte]int64{collector: 0}
			if c.silent {
				pushed, alive = pushed.Add(-time.Hour), nil
			}
			// What package fleet keeps, as far as it is read here.
			exec(`CREATE TABLE fleet_collector (id uuid, last_push timestamptz, interval_us bigint)`)
			exec(`CREATE TABLE fleet_kept (collector_id uuid, since timestamptz)`)
			exec(`INSERT INTO fleet_collector VALUES ($1, $2, 1000000)`, collector, pushed)
			if c.kept >= 0 {
				exec(`INSERT INTO fleet_kept VALUES ($1, $2)`, collector, at(c.kept))
				if !c.silent {
					alive[collector] = us(c.kept)
				}
			}
			// Two schedules, one after the other, from 1 to 60 s.
			for _, from := range []int{1, 35} {
				exec(`INSERT INTO ledger_schedule VALUES (7, '', 'a', $1, NULL, 'slow', 1000000, '', '', '', '', '{}', $2, now())`, at(from), collector)
			}
			holes, dropped := []int{10, 20, 30, 50}, []int{25, 45}
			for tick := 1; tick <= 60; tick++ {
				if !slices.Contains(holes, tick) && !slices.Contains(dropped, tick) {
					exec(`INSERT INTO ledger VALUES ($1, 7, 'slow', '', '{1}', '{0}', '{0}')`, at(tick))
				}
			}
			for _, tick := range dropped {
				exec(`INSERT INTO ledger_exception VALUES (7, $1, $1, 1, 0, 'slow', '', 'a', 'dropped', 'corrupt', '')`, at(tick))
			}
			a, err := ledger.ReadAccount(ctx, tx, ledger.Part{}, ledger.Window{From: us(0), To: us(60)}, alive)
			if err != nil {
				t.Fatal(err)
			}
			want := a.Count(a.Planned[0])
			for _, h := range holes {
				if !c.silent && h >= c.kept {
					want.Pending--
				} else {
					want.Missing--
				}
			}
			if want != (ledger.Counts{Planned: 60, Stored: 54, Dropped: 2}) {
				t.Fatalf("in Go: %+v", a.Count(a.Planned[0]))
			}
			want = a.Count(a.Planned[0])
			for _, from := range []string{`ledger_account($1, $2)`, `ledger_outcomes($1, $2, '7 seconds')`} {
				rows, err := tx.Query(ctx, `SELECT sum(planned)::bigint, sum(stored)::bigint, sum(failed)::bigint, sum(skipped)::bigint, sum(dropped)::bigint, sum(pending)::bigint, sum(missing)::bigint FROM `+from, at(0), at(60))
				if err != nil {
					t.Fatal(err)
				}
				got, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[ledger.Counts])
				if err != nil || got != want {
					t.Errorf("%s: %+v (%v), want %+v", from, got, err, want)
				}
			}
		})
	}
}
