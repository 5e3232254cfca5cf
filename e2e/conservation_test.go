package e2e

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// TestConservation drives exactly known numbers of calls while collector, backend
// and store are killed with SIGKILL: the store shows exactly these (I1, I2). At a
// limit of 1,000 each statement; at 10 the total and each user's, most of it cut.
func TestConservation(t *testing.T) {
	for _, limit := range []int{1000, 10} {
		t.Run("limit "+strconv.Itoa(limit), func(t *testing.T) {
			t.Parallel()
			conservation(t, limit)
		})
	}
}

const statements = 40 // distinct statements of each user

func conservation(t *testing.T, limit int) {
	p := startParts(t, 17, fmt.Sprintf("[postgresql]\nquery_stats_limit = %d\n[families.statement_texts]\nevery = 3\n", limit))
	users := []string{"shop", "billing"}
	for _, u := range users {
		pgtest.Exec(t, p.watched.URL("postgres"), "CREATE ROLE "+u+" LOGIN")
	}
	id := p.instance("watched")
	// Totals begin at the first reading: wait until there are two.
	eventually(t, 20*time.Second, func() string {
		if n := p.sql(`SELECT count(*) FROM statements_raw`); n == 0 {
			return "no statement is stored"
		}
		return ""
	})
	from := time.Now().Add(-time.Hour)

	stop := make(chan struct{})
	expected := make(map[string]map[string]int64) // user -> text -> calls
	var wg sync.WaitGroup
	for _, u := range users {
		counts := map[string]int64{}
		expected[u] = counts
		wg.Go(func() { drive(t, p.watched.URLAs(u, "postgres"), counts, stop) })
	}
	pause := func() { time.Sleep(3 * time.Second) }
	pause()
	p.collector.kill()
	pause()
	p.startCollector()
	pause()
	p.backend.kill()
	pause()
	p.startBackend()
	pause()
	p.store.Kill(t)
	pause()
	p.store.Start(t)
	pause()
	p.collector.kill() // with a backlog in its spool
	p.backend.kill()
	pause()
	p.startBackend()
	p.startCollector()
	pause()
	close(stop)
	wg.Wait()

	var total int64
	for _, u := range users {
		var sum int64
		for _, n := range expected[u] {
			sum += n
		}
		total += sum
		eventually(t, 40*time.Second, func() string {
			var a account
			if _, err := p.try(&a, "/api/v1/instances/"+id+"/statements", "user", u, "limit", "10000", "from", strconv.FormatInt(from.Unix(), 10)); err != nil {
				return err.Error()
			}
			if got := int64(a.Total["calls"]); got != sum {
				return fmt.Sprintf("%s: total calls %d, want %d (unobserved %+v)", u, got, sum, a.Unobserved)
			}
			var items int64
			for _, i := range a.Items {
				items += int64(i.Calls)
			}
			if items+int64(a.Rest["calls"])+int64(a.Cut["calls"])+int64(a.Dropped["calls"]) != sum {
				return fmt.Sprintf("%s: items %d + rest %v + cut %v + dropped %v is not the total %d", u, items, a.Rest["calls"], a.Cut["calls"], a.Dropped["calls"], sum)
			}
			if limit == 10 && a.Cut["calls"] == 0 {
				return "nothing was cut: the limit has no effect"
			}
			if a.Dropped["calls"] != 0 {
				return fmt.Sprintf("%s: %v calls dropped", u, a.Dropped["calls"])
			}
			if limit == 1000 {
				return sameCalls(&a, expected[u])
			}
			return ""
		})
	}
	if total < 1000 {
		t.Errorf("only %d calls were driven: the test says little", total)
	}
	var all account
	p.get(&all, "/api/v1/instances/"+id+"/statements", "limit", "10", "from", strconv.FormatInt(from.Unix(), 10))
	if limit == 1000 && (all.Coverage.Calls == nil || math.Abs(*all.Coverage.Calls-1) > 1e-9) {
		t.Errorf("coverage of calls %v at limit 1000, want 1", all.Coverage.Calls)
	}
	for _, u := range all.Unobserved {
		t.Errorf("unobserved %s (%s), though nothing was evicted or reset", u.Reason, u.Detail)
	}
	checkLedger(t, p, from)
}

// sameCalls compares each statement's calls.
func sameCalls(a *account, want map[string]int64) string {
	got := map[string]int64{}
	for _, i := range a.Items {
		if i.Query == nil {
			return "statement " + i.QueryID + " has no text"
		}
		got[*i.Query] += int64(i.Calls)
	}
	for text, n := range want {
		if got[text] != n {
			return fmt.Sprintf("%q: %d calls, want %d", text, got[text], n)
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d statements, want %d", len(got), len(want))
	}
	return ""
}

// drive executes distinct statements until stop and counts them. The simple
// protocol sends nothing but the statement.
func drive(t *testing.T, url string, counts map[string]int64, stop <-chan struct{}) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(ctx)
	for round := 0; ; round++ {
		for i := range statements {
			if i > round%statements { // the first ones far more often than the last
				break
			}
			names := strings.Repeat("1,", i) + "1"
			text := "select " + names
			normal := "select " + placeholders(i+1)
			if _, err := conn.PgConn().Exec(ctx, text).ReadAll(); err != nil {
				t.Errorf("drive: %v", err)
				return
			}
			counts[normal]++
		}
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// placeholders is how pg_stat_statements writes n constants.
func placeholders(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = "$" + strconv.Itoa(i+1)
	}
	return strings.Join(parts, ",")
}

// checkLedger: planned is the sum of all outcomes, nothing is missing once the
// backlog has arrived, and no tick is stored twice.
func checkLedger(t *testing.T, p *parts, from time.Time) {
	t.Helper()
	var l outcomes
	eventually(t, 20*time.Second, func() string {
		if _, err := p.try(&l, "/api/v1/ledger", "from", strconv.FormatInt(from.Unix(), 10), "limit", "10000"); err != nil {
			return err.Error()
		}
		if l.Planned != l.sum() {
			return "planned is not the sum of the outcomes: " + l.String()
		}
		if l.Missing != 0 || l.Stored == 0 {
			return "ticks are missing: " + l.String()
		}
		return ""
	})
	if l.Skipped == 0 {
		t.Errorf("a killed collector skipped no tick: %s", &l)
	}
	for _, i := range l.Items {
		if i.Outcome != "skipped" || i.Reason != "collector_down" && i.Reason != "round_running" {
			t.Errorf("%s(%s) of %s at %s: only the collector was down", i.Outcome, i.Reason, i.Family, time.UnixMilli(int64(i.Time*1000)))
		}
	}
	checkOnce(t, p)
}
