package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// TestBlackHoles: 30 targets that swallow everything beside 70 names on 7 servers,
// one of each major: the 70 lose no tick, and each of the 30 is accounted for.
func TestBlackHoles(t *testing.T) {
	const interval, names, holes = 5, 70, 30
	p := newParts(t, 16)
	p.startBackend()
	p.token = p.secret("api-token")
	majors := pgtest.Majors(t)
	servers := make([]*pgtest.Cluster, len(majors))
	var starting sync.WaitGroup
	for i, major := range majors {
		starting.Go(func() { servers[i] = pgtest.Private(t, major, "max_connections=200") })
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	var list []instance
	for i, s := range servers {
		pgtest.Exec(t, s.URL("postgres"), "CREATE EXTENSION pg_stat_statements", "CREATE ROLE pganalytics LOGIN CONNECTION LIMIT 150", "GRANT pg_monitor TO pganalytics")
		for n := i; n < names; n += len(servers) {
			list = append(list, instance{fmt.Sprintf("good-%02d", n), s.URLAs("pganalytics", "postgres")})
		}
	}
	silent, full := pgtest.SilentListener(t), pgtest.FullListener(t)
	for n := range holes {
		address := silent
		if n%2 == 0 {
			address = full
		}
		list = append(list, instance{fmt.Sprintf("hole-%02d", n), "postgres://pganalytics@" + address + "/postgres?sslmode=disable"})
	}
	// The holes are among the good ones: whoever comes first gets a worker first.
	for i := range holes {
		list[2*i], list[names+i] = list[names+i], list[2*i]
	}
	p.configure(p.base, interval, "[postgres]\npool_max_size = 3\npool_min_size = 1\n", list...)
	p.startCollector()

	type item struct{ ID, Name, Status, Reason string }
	var all struct{ Items []item }
	eventually(t, 30*time.Second, func() string {
		p.get(&all, "/api/v1/instances")
		up, down := 0, 0
		for _, i := range all.Items {
			switch {
			case i.Status == "up":
				up++
			case i.Status == "down" && strings.HasPrefix(i.Name, "hole"):
				down++
			}
		}
		if up != names || down != holes {
			return fmt.Sprintf("%d are up, %d holes are down", up, down)
		}
		return ""
	})
	from := time.Now().Unix()
	time.Sleep(4*interval*time.Second + time.Second)
	to := time.Now().Unix()
	for _, i := range all.Items {
		var l outcomes
		eventually(t, 20*time.Second, func() string {
			p.get(&l, "/api/v1/ledger", "instance", i.ID, "from", strconv.FormatInt(from, 10), "to", strconv.FormatInt(to, 10))
			if l.Pending+l.Missing > 0 || l.sum() != l.Planned {
				return i.Name + ": " + l.String()
			}
			return ""
		})
		if strings.HasPrefix(i.Name, "good") {
			// activity, collector, database, settings, statements, tables, wal: most at each tick
			if l.Stored != l.Planned || l.Stored < 4*5 {
				t.Errorf("%s: %s", i.Name, &l)
			}
			continue
		}
		if l.Stored > 0 || l.Failed < 2 {
			t.Errorf("%s: %s", i.Name, &l)
		}
		for _, x := range l.Items {
			if x.Outcome+"("+x.Reason+")" != "failed(connect)" && x.Outcome+"("+x.Reason+")" != "skipped(round_running)" {
				t.Errorf("%s: %s(%s)", i.Name, x.Outcome, x.Reason)
			}
		}
	}
	late := p.sql(`SELECT max(ms) FROM ledger, unnest(at_ms) ms WHERE time BETWEEN to_timestamp($1) AND to_timestamp($2)`, from, to)
	t.Logf("the latest reading was %d ms after its tick", late)
}
