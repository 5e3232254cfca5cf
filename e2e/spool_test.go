package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// TestFullSpool: an outage that needs several times the spool's 2 MB. The detail
// of the oldest ticks is lost and said to be; the totals are exact (I2).
func TestFullSpool(t *testing.T) {
	t.Parallel()
	const watchers = 12 // names on one server, so that the spool fills fast
	p := newParts(t, 16)
	p.startBackend()
	p.token = p.secret("api-token")
	var instances []instance
	for i := range watchers {
		instances = append(instances, instance{"watched-" + strconv.Itoa(i), p.watched.URLAs("pganalytics", "postgres")})
	}
	p.configure(p.base, 1, "[spool]\nmax_size = \"2MB\"\n[postgresql]\nquery_stats_limit = 1000\n", instances...)
	pgtest.Exec(t, p.watched.URL("postgres"), "ALTER ROLE pganalytics CONNECTION LIMIT 90", "CREATE ROLE shop LOGIN")
	p.startCollector()
	var ids []string
	for _, i := range instances {
		ids = append(ids, p.instance(i.name))
	}
	eventually(t, 30*time.Second, func() string {
		if n := p.sql(`SELECT count(DISTINCT instance_id) FROM statements_raw`); n < watchers {
			return fmt.Sprintf("only %d instances have a second reading", n)
		}
		return ""
	})
	from := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	p.backend.kill()

	ctx := t.Context()
	conn, err := pgx.Connect(ctx, p.watched.URLAs("shop", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// The outage lasts five times as long as it took to fill the spool, so it needs
	// about 10 MB.
	var calls, largest int64
	var full time.Duration
	began := time.Now()
	for full == 0 || time.Since(began) < 5*full {
		for i := range 900 {
			// Distinct shapes: the number of columns and of their operands.
			statement := "select " + strings.Repeat("1,", i%30) + "1" + strings.Repeat("+1", i/30)
			if _, err := conn.PgConn().Exec(ctx, statement).ReadAll(); err != nil {
				t.Fatal(err)
			}
			calls++
		}
		largest = max(largest, folderSize(t, filepath.Join(p.dir, "collector")))
		switch took := time.Since(began); {
		case full == 0 && largest > 1800<<10:
			full = took
			t.Logf("the spool was full after %s, %d calls", full, calls)
		case took > 90*time.Second:
			t.Fatalf("the spool's folder has only %d bytes after %s", largest, took)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if largest > 4<<20 {
		t.Errorf("the spool's folder grew to %d bytes, its limit is 2 MB", largest)
	}
	outage := time.Now()
	p.startBackend()
	dropped := 0.0
	for _, id := range ids {
		eventually(t, 60*time.Second, func() string {
			var a account
			if _, err := p.try(&a, "/api/v1/instances/"+id+"/statements", "user", "shop", "limit", "10000", "from", from); err != nil {
				return err.Error()
			}
			if got := int64(a.Total["calls"]); got != calls {
				return fmt.Sprintf("instance %s: total calls %d, driven %d (dropped %v)", id, got, calls, a.Dropped["calls"])
			}
			dropped += a.Dropped["calls"]
			return ""
		})
	}
	if dropped == 0 {
		t.Error("nothing was dropped: the outage was too short for this test to say anything")
	}
	var l outcomes
	eventually(t, 20*time.Second, func() string {
		p.get(&l, "/api/v1/ledger", "from", from, "limit", "10000")
		if l.Planned != l.sum() || l.Missing != 0 || l.Dropped == 0 {
			return "ledger: " + l.String()
		}
		return ""
	})
	if l.Failed > 0 {
		t.Errorf("only a full spool may cost ticks: %s", &l)
	}
	// Of the statements' ticks in the outage most had to go.
	var during outcomes
	p.get(&during, "/api/v1/ledger", "family", "statements", "from", strconv.FormatInt(began.Unix(), 10), "to", strconv.FormatInt(outage.Unix(), 10))
	if during.Dropped < during.Planned/2 {
		t.Errorf("the outage needed less than twice the spool: %s", &during)
	}
	t.Logf("%s", &during)
	for _, i := range l.Items {
		if i.Outcome == "dropped" && i.Reason != "spool_full" {
			t.Errorf("dropped(%s), want dropped(spool_full)", i.Reason)
			break
		}
		// At a second's interval a busy machine may not be done with a round in time.
		if i.Outcome == "skipped" && i.Reason != "round_running" {
			t.Errorf("skipped(%s): only a full spool may cost ticks", i.Reason)
			break
		}
	}
}

func folderSize(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go meanwhile
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
