package target_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// proxy stands before a server and counts turns: a client's turn begins when it
// sends after the server did. It can be told to swallow everything.
type proxy struct {
	addr    string
	to      atomic.Pointer[string]
	turns   atomic.Int64
	swallow atomic.Bool
	cancels atomic.Int64
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String()}
	p.to.Store(&to)
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp4", *p.to.Load())
			if err != nil {
				client.Close()
				continue
			}
			mu.Lock()
			open = append(open, client, server)
			mu.Unlock()
			var clientSpoke atomic.Bool
			all.Go(func() { p.copy(server, client, true, &clientSpoke) })
			all.Go(func() { p.copy(client, server, false, &clientSpoke) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return p
}

func (p *proxy) copy(to, from net.Conn, client bool, clientSpoke *atomic.Bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 1<<20)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if client && n == 16 && string(b[4:8]) == "\x04\xd2\x16\x2e" {
				p.cancels.Add(1)
			}
			if was := clientSpoke.Swap(client); client && !was {
				p.turns.Add(1)
			}
			if !p.swallow.Load() {
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// through gives the URL with the proxy's address.
func (p *proxy) through(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = p.addr
	return u.String()
}

func TestOneRoundTripPerRound(t *testing.T) {
	forMajors(t, func(t *testing.T, s *pgtest.Cluster) {
		raw := pgtest.Database(t, s)
		home := databaseOf(raw)
		pgtest.Exec(t, raw, "CREATE EXTENSION pg_stat_statements", "CREATE TABLE t (n int)")
		p := newProxy(t, s.Name())
		tg := newTarget(t, p.through(t, raw))
		facts := contact(t, tg)
		plans := planned(facts, home, catalog.Slow)
		read(t, tg, home, catalog.Slow, plans) // prepares; a long send may take turns with the answers
		for range 5 {
			before := p.turns.Load()
			got, stats := read(t, tg, home, catalog.Slow, plans, 1, 2, 3)
			arrived(t, got)
			if turns := p.turns.Load() - before; turns != 1 || stats.RoundTrips != 1 {
				t.Errorf("%d turns, %d told, for %d families", turns, stats.RoundTrips, len(got))
			}
		}
		if p.cancels.Load() != 0 {
			t.Error("the client cancelled")
		}
	})
}

// ours counts our connections as the server sees them.
func ours(t testing.TB, s *pgtest.Cluster) (n int, byDatabase map[string]int) {
	t.Helper()
	conn := pgtest.Connect(t, s.URL("postgres"))
	rows, err := conn.Query(context.Background(), "SELECT coalesce(datname, ''), count(*) FROM pg_stat_activity WHERE application_name = 'pganalytics' GROUP BY 1")
	if err != nil {
		t.Fatal(err)
	}
	byDatabase = map[string]int{}
	for rows.Next() {
		var name string
		var count int
		if err := rows.Scan(&name, &count); err != nil {
			t.Fatal(err)
		}
		byDatabase[name] = count
		n += count
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n, byDatabase
}

func TestPoolBoundsManyDatabases(t *testing.T) {
	s := pgtest.Private(t, pgtest.StoreMajor(t))
	const databases, bound = 8, 3
	var names []string
	for i := range databases {
		names = append(names, fmt.Sprintf("db%d", i))
		pgtest.Exec(t, s.URL("postgres"), "CREATE DATABASE "+names[i])
	}
	tg := newTarget(t, s.URL("postgres"), func(c *target.Config) { c.Pool = target.Pool{Min: 1, Max: bound, IdleTimeout: 500 * time.Millisecond} })
	facts := contact(t, tg)
	if len(facts.Databases) != databases+1 {
		t.Fatalf("databases %+v", facts.Databases)
	}
	stop := make(chan struct{})
	var most int
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				n, _ := ours(t, s)
				most = max(most, n)
			}
		}
	})
	var lanes sync.WaitGroup
	lanes.Go(func() {
		for range 20 {
			got, _ := read(t, tg, "postgres", catalog.Fast, planned(facts, "postgres", catalog.Fast))
			arrived(t, got)
		}
	})
	for range 3 {
		for _, name := range names {
			got, stats := read(t, tg, name, catalog.Slow, planned(facts, name, catalog.Slow))
			arrived(t, got)
			if stats.PoolOpen > bound || stats.PoolBusy > 2 || stats.PoolMax != bound || len(got) == 0 {
				t.Errorf("%s: %d readings, %+v", name, len(got), stats)
			}
		}
	}
	lanes.Wait()
	close(stop)
	watching.Wait()
	// A backend goes a moment after its client.
	if most > bound+1 {
		t.Errorf("the server saw %d connections, bound is %d", most, bound)
	}
	// What was used last is kept; home, used by nobody for longest, was closed.
	for range 2 {
		for _, name := range names[5:] {
			read(t, tg, name, catalog.Slow, planned(facts, name, catalog.Slow))
		}
	}
	time.Sleep(50 * time.Millisecond)
	_, by := ours(t, s)
	for _, name := range names[5:] {
		if by[name] != 1 || !tg.Warm(name) {
			t.Errorf("%s has %d connections: %v", name, by[name], by)
		}
	}
	if tg.Warm("db0") || tg.Warm("postgres") {
		t.Error("connections to databases not used for long are still open")
	}
	_, stats := read(t, tg, names[7], catalog.Slow, planned(facts, names[7], catalog.Slow))
	if stats.Connects != 0 || stats.Acquires != 1 {
		t.Errorf("an idle connection was not used: %+v", stats)
	}
	time.Sleep(600 * time.Millisecond)
	_, stats = read(t, tg, names[7], catalog.Slow, planned(facts, names[7], catalog.Slow))
	if stats.PoolOpen != 1 {
		t.Errorf("%d are open after the idle timeout, the minimum is 1", stats.PoolOpen)
	}
	// Nothing of ours is in the way of dropping a database once we know.
	pgtest.Exec(t, s.URL("postgres"), "ALTER DATABASE db7 ALLOW_CONNECTIONS false")
	contact(t, tg)
	time.Sleep(50 * time.Millisecond)
	if _, by := ours(t, s); by["db7"] != 0 {
		t.Errorf("db7 has %d connections", by["db7"])
	}
}

func TestSmallestPool(t *testing.T) {
	s := pgtest.Private(t, pgtest.StoreMajor(t))
	pgtest.Exec(t, s.URL("postgres"), "CREATE DATABASE other")
	tg := newTarget(t, s.URL("postgres"), func(c *target.Config) { c.Pool = target.Pool{Min: 0, Max: 1, IdleTimeout: time.Minute} })
	facts := contact(t, tg)
	var all sync.WaitGroup
	for _, via := range []string{"postgres", "other"} {
		all.Go(func() {
			for range 5 {
				got, stats := read(t, tg, via, catalog.Slow, planned(facts, via, catalog.Slow))
				arrived(t, got)
				if stats.PoolOpen > 1 {
					t.Errorf("%d open", stats.PoolOpen)
				}
			}
		})
	}
	all.Go(func() {
		for range 5 {
			got, _ := read(t, tg, "postgres", catalog.Fast, planned(facts, "postgres", catalog.Fast))
			arrived(t, got)
		}
	})
	all.Wait()
}

func TestBackendKilled(t *testing.T) {
	tampered(t, func(t *testing.T, s *pgtest.Cluster, raw string) {
		home := databaseOf(raw)
		tg := newTarget(t, raw)
		facts := contact(t, tg)
		plans := planned(facts, home, catalog.Slow)
		read(t, tg, home, catalog.Slow, plans)
		kill := "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pganalytics' AND datname = '" + home + "'"
		pgtest.Exec(t, s.URL("postgres"), kill)
		time.Sleep(50 * time.Millisecond)
		// While idle: the round notices at its first word and takes another connection.
		got, stats := read(t, tg, home, catalog.Slow, plans)
		arrived(t, got)
		if stats.Connects != 1 {
			t.Errorf("stats %+v", stats)
		}
		// In the middle of a round: what was read stays, the next round is whole.
		slowView(t, raw, "pg_stat_database", 20)
		var killer sync.WaitGroup
		killer.Go(func() {
			time.Sleep(300 * time.Millisecond)
			pgtest.Exec(t, s.URL("postgres"), kill)
		})
		got, _ = read(t, tg, home, catalog.Slow, plans)
		killer.Wait()
		if r := reading(t, got, "database"); r.Reason != "lost" {
			t.Errorf("database: %s, %v", r.Reason, r.Err)
		}
		pgtest.Exec(t, raw, "DROP VIEW pg_catalog.pg_stat_database")
		got, _ = read(t, tg, home, catalog.Slow, plans)
		arrived(t, got, "database") // it is gone now
	})
}

func TestServerRestarted(t *testing.T) {
	s := pgtest.Private(t, pgtest.StoreMajor(t))
	tg := newTarget(t, s.URL("postgres"))
	facts := contact(t, tg)
	plans := planned(facts, "postgres", catalog.Slow)
	read(t, tg, "postgres", catalog.Slow, plans)
	read(t, tg, "postgres", catalog.Fast, planned(facts, "postgres", catalog.Fast))
	s.Stop(t)
	got, stats, err := tg.Read(t.Context(), "postgres", catalog.Slow, plans, nil)
	if target.ReasonOf(err) != "connect" || len(got) != len(plans) || stats.PoolOpen > 1 {
		t.Errorf("%v, %+v", err, stats)
	}
	for _, r := range got {
		if r.Reason != "connect" || r.Err == nil || r.Frame != nil {
			t.Errorf("%s: %s, %v", r.Plan.Family.Name, r.Reason, r.Err)
		}
	}
	s.Start(t)
	again, stats := read(t, tg, "postgres", catalog.Slow, plans)
	arrived(t, again)
	if stats.PostmasterStart <= facts.Server.PostmasterStart || stats.SystemID != facts.Server.SystemID {
		t.Errorf("stats %+v", stats)
	}
	fast, _ := read(t, tg, "postgres", catalog.Fast, planned(facts, "postgres", catalog.Fast))
	arrived(t, fast)
}

// Another major answers on the same address: the old plans are not tried on it.
func TestServerOfAnotherMajor(t *testing.T) {
	majors := pgtest.Majors(t)
	if len(majors) < 2 {
		t.Skip("PGA_TEST_MAJORS leaves one major only")
	}
	old, other := pgtest.Server(t, majors[0]), pgtest.Server(t, majors[len(majors)-1])
	p := newProxy(t, old.Name())
	tg := newTarget(t, p.through(t, old.URL("postgres")))
	facts := contact(t, tg)
	name := other.Name()
	p.to.Store(&name)
	pgtest.Exec(t, old.URL("postgres"), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pganalytics'")
	time.Sleep(50 * time.Millisecond)
	got, stats, err := tg.Read(t.Context(), "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow), nil)
	if err != nil || !stats.Changed || got[0].Reason != "changed" {
		t.Fatalf("%v, changed %t, %s", err, stats.Changed, got[0].Reason)
	}
	after := contact(t, tg)
	if after.Server.Version == facts.Server.Version || after.Server.SystemID == facts.Server.SystemID {
		t.Errorf("server %+v", after.Server)
	}
	got, stats = read(t, tg, "postgres", catalog.Slow, planned(after, "postgres", catalog.Slow))
	arrived(t, got)
	if stats.SystemID != after.Server.SystemID || stats.Changed {
		t.Errorf("stats %+v", stats)
	}
}

func TestBlackHole(t *testing.T) {
	// It accepts, and says nothing.
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const limit = 300 * time.Millisecond
	tg := newTarget(t, "postgres://u@"+l.Addr().String()+"/d?sslmode=disable", func(c *target.Config) { c.Limits.Connect = limit })
	start := time.Now()
	_, err = tg.Contact(t.Context())
	if took := time.Since(start); target.ReasonOf(err) != "connect" || took < limit || took > limit+time.Second {
		t.Errorf("%s after %v: %v", target.ReasonOf(err), took, err)
	}
	start = time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit/3)
	defer cancel()
	_, err = tg.Contact(ctx)
	if took := time.Since(start); target.ReasonOf(err) != "connect" || took > limit {
		t.Errorf("%s after %v: %v", target.ReasonOf(err), took, err)
	}
}

// A server that falls silent in a round is given up after its own limits, and so
// is a round when its ctx ends. Nothing is cancelled.
func TestSilenceInARound(t *testing.T) {
	s := pgtest.Server(t, pgtest.StoreMajor(t))
	p := newProxy(t, s.Name())
	tg := newTarget(t, p.through(t, s.URL("postgres")), func(c *target.Config) { c.Limits.Statement = 50 * time.Millisecond })
	facts := contact(t, tg)
	plans := planned(facts, "postgres", catalog.Fast)
	read(t, tg, "postgres", catalog.Fast, plans)
	p.swallow.Store(true)
	start := time.Now()
	got, _, err := tg.Read(t.Context(), "postgres", catalog.Fast, plans, nil)
	if took := time.Since(start); err != nil || got[0].Reason != "timeout" || took > 4*time.Second {
		t.Errorf("after %v: %v, %s, %v", took, err, got[0].Reason, got[0].Err)
	}
	p.swallow.Store(false)
	got, _ = read(t, tg, "postgres", catalog.Fast, plans)
	arrived(t, got)
	p.swallow.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start = time.Now()
	got, _, _ = tg.Read(ctx, "postgres", catalog.Fast, plans, nil)
	if took := time.Since(start); got[0].Err == nil || took > time.Second {
		t.Errorf("after %v: %s, %v", took, got[0].Reason, got[0].Err)
	}
	p.swallow.Store(false)
	got, _ = read(t, tg, "postgres", catalog.Fast, plans)
	arrived(t, got)
	if p.cancels.Load() != 0 {
		t.Error("the client cancelled")
	}
}
