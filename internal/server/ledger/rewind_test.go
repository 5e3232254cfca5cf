package ledger_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// A collector whose clock goes back, twice, the second time behind all that it ever
// planned: three schedules of one family overlap. Each of their ticks has its
// outcome, in whatever order the batches come, and retention keeps what still holds.
func TestClockWentBack(t *testing.T) {
	pool := openStore(t)
	l, err := ledger.Prepare(t.Context(), pool, []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	tick := func(second, timeline int) int64 { return us(second) + int64(timeline) }
	ensure(t, pool, us(900), us(1200))
	opens := func(from int64, absent string) frame.Schedule {
		return frame.Schedule{Family: "a", Lane: catalog.Slow, From: from, Every: 10_000_000, Absent: []string{absent}}
	}
	ends := func(from, until int64) frame.Schedule {
		return frame.Schedule{Family: "a", Lane: catalog.Slow, From: from, Until: until, Every: 10_000_000, Reason: frame.Closed}
	}
	var batches []*frame.Batch
	round := func(at int64, code frame.Code, schedules ...frame.Schedule) {
		o := frame.Outcome{Family: "a", Lane: catalog.Slow, First: at, Last: at, N: 1, Code: code}
		if code != frame.Stored {
			o.Reason = "timeout"
		}
		batches = append(batches, &frame.Batch{Tick: at, Lane: catalog.Slow, Schedules: schedules, Outcomes: []frame.Outcome{o}})
	}
	round(tick(1000, 0), frame.Stored, opens(tick(1000, 0), "x"))
	for s := 1010; s <= 1050; s += 10 {
		round(tick(s, 0), frame.Stored)
	}
	round(tick(1030, 1), frame.Stored, ends(tick(1000, 0), tick(1050, 0)), opens(tick(1030, 1), "y")) // it is 1023
	round(tick(1040, 1), frame.Failed)
	round(tick(1050, 1), frame.Stored)
	round(tick(910, 2), frame.Stored, ends(tick(1030, 1), tick(1050, 1)), opens(tick(910, 2), "z")) // it is 903
	for s := 920; s <= 1100; s += 10 {
		round(tick(s, 2), frame.Stored)
	}
	for seed := range uint64(8) {
		if _, err := pool.Exec(t.Context(), "TRUNCATE ledger_schedule, ledger_exception, ledger"); err != nil {
			t.Fatal(err)
		}
		order := slices.Clone(batches)
		if seed > 0 {
			rand.New(rand.NewPCG(seed, 0)).Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
		}
		for _, b := range order {
			c := &ledger.Content{}
			l.Add(c, 7, b, func(string) bool { return true }, nil)
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				if err := store.CopyAll(t.Context(), tx.Conn().PgConn(), c.Copies); err != nil {
					return err
				}
				_, err := l.Write(t.Context(), tx, [][16]byte{{1}}, []*ledger.Content{c})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, retained := range []bool{false, true} {
			for _, w := range []struct {
				from, to int
				want     ledger.Counts
			}{
				{0, 1100, ledger.Counts{Planned: 29, Stored: 28, Failed: 1}},
				{0, 1130, ledger.Counts{Planned: 32, Stored: 28, Failed: 1, Missing: 3}}, // none came since
				{1034, 1046, ledger.Counts{Planned: 3, Stored: 2, Failed: 1}},
				{1041, 1050, ledger.Counts{Planned: 3, Stored: 3}},
				{1065, 1100, ledger.Counts{Planned: 4, Stored: 4}},
			} {
				if retained && w.from < 1030 {
					continue
				}
				var a *ledger.Account
				err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) (err error) {
					a, err = ledger.ReadAccount(t.Context(), tx, ledger.Part{}, ledger.Window{From: tick(w.from, 9), To: tick(w.to, 9)}, nil)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if len(a.Planned) != 1 {
					t.Fatalf("%d keys", len(a.Planned))
				}
				p := a.Planned[0]
				if got := a.Count(p); got != w.want {
					t.Errorf("order %d, retained %v, %d to %d: %+v, want %+v", seed, retained, w.from, w.to, got, w.want)
				}
				if ticks := a.StoredTicks(p); !slices.IsSorted(ticks) || int64(len(ticks)) != w.want.Stored {
					t.Errorf("order %d: stored ticks %v", seed, ticks)
				}
				if p.Every != 10_000_000 {
					t.Errorf("every %d", p.Every)
				}
			}
			if err := l.Retain(t.Context(), pool, tick(1030, 5)); err != nil {
				t.Fatal(err)
			}
		}
		// What an end says reaches only the end.
		if got := text(t, pool, "SELECT absent FROM ledger_schedule ORDER BY valid_from"); got != "{z}\n{x}\n{y}" {
			t.Errorf("order %d: absent columns %s", seed, got)
		}
		var now []ledger.Current
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) (err error) {
			now, err = ledger.Schedules(t.Context(), tx, 7, tick(1100, 9))
			return err
		})
		if err != nil || len(now) != 1 || now[0].From != tick(910, 2) {
			t.Errorf("order %d: the schedule in effect: %+v, %v", seed, now, err)
		}
	}
}
