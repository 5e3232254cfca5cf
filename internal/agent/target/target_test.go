package target_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// forMajors runs a test on the shared server of every major.
func forMajors(t *testing.T, test func(t *testing.T, s *pgtest.Cluster)) {
	t.Helper()
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel() // each major has a server of its own
			test(t, pgtest.Server(t, major))
		})
	}
}

// newTarget makes a target for the test; change may alter its configuration.
func newTarget(t testing.TB, url string, change ...func(*target.Config)) *target.Target {
	t.Helper()
	log := &bytes.Buffer{}
	return newTargetLogging(t, url, log, change...)
}

func newTargetLogging(t testing.TB, url string, log *bytes.Buffer, change ...func(*target.Config)) *target.Target {
	t.Helper()
	cfg := target.Config{
		Name: "test", URL: target.Secret(url), Interval: 10 * time.Second,
		Pool:   target.Pool{Min: 2, Max: 10, IdleTimeout: time.Minute},
		Limits: target.Limits{Lock: 100 * time.Millisecond, Statement: 5 * time.Second, Connect: 5 * time.Second},
	}
	for _, c := range change {
		c(&cfg)
	}
	tg, err := target.New(cfg, slogTo(log))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tg.Close)
	return tg
}

func slogTo(log *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(log, nil)) }

func contact(t testing.TB, tg *target.Target) *target.Facts {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	facts, err := tg.Contact(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// planned gives the plans that can be read on a connection to via.
func planned(facts *target.Facts, via string, lane catalog.Lane) (plans []target.Plan) {
	for _, p := range facts.Plans {
		if p.Reason == "" && p.Via == via && p.Lane == lane {
			plans = append(plans, p)
		}
	}
	return plans
}

func plan(t testing.TB, facts *target.Facts, family, database string) target.Plan {
	t.Helper()
	for _, p := range facts.Plans {
		if p.Family.Name == family && p.Database == database {
			return p
		}
	}
	t.Fatalf("no plan for %s in %q", family, database)
	return target.Plan{}
}

// read runs a round and fails the test when there was no connection.
func read(t testing.TB, tg *target.Target, via string, lane catalog.Lane, plans []target.Plan, texts ...int64) ([]target.Reading, target.RoundStats) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	readings, stats, err := tg.Read(ctx, via, lane, plans, texts)
	if err != nil {
		t.Fatal(err)
	}
	if len(readings) != len(plans) {
		t.Fatalf("%d readings of %d plans", len(readings), len(plans))
	}
	return readings, stats
}

func reading(t testing.TB, readings []target.Reading, family string) *target.Reading {
	t.Helper()
	for i := range readings {
		if readings[i].Plan.Family.Name == family {
			return &readings[i]
		}
	}
	t.Fatalf("no reading of %s", family)
	return nil
}

// arrived fails the test unless all families but those named were read.
func arrived(t testing.TB, readings []target.Reading, but ...string) {
	t.Helper()
	for i := range readings {
		r := &readings[i]
		if name := r.Plan.Family.Name; (r.Err != nil) != slices.Contains(but, name) {
			t.Errorf("%s: %s, %v", name, r.Reason, r.Err)
		}
	}
}

func execAll(t testing.TB, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.Exec(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func databaseOf(url string) string {
	name := url[strings.LastIndex(url, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	return name
}

func TestReadEveryFamily(t *testing.T) {
	forMajors(t, func(t *testing.T, s *pgtest.Cluster) {
		url := pgtest.Database(t, s)
		pgtest.Exec(t, url, "CREATE EXTENSION pg_stat_statements", "CREATE TABLE counted (n int)", "INSERT INTO counted VALUES (1), (2), (3)",
			"SELECT count(*) FROM counted", "SELECT pg_sleep(0.01)")
		home := databaseOf(url)
		tg := newTarget(t, url, func(c *target.Config) { c.Databases = []string{home} })
		facts := contact(t, tg)
		if facts.Database != home || len(facts.Databases) != 1 || facts.Databases[0].Name != home || facts.Databases[0].OID == 0 {
			t.Errorf("databases %+v, home %s", facts.Databases, facts.Database)
		}
		if got := int(facts.Server.Version / 10000); got != s.Major || facts.Server.VersionText != s.Version || facts.Server.SystemID == 0 ||
			facts.Server.PostmasterStart == 0 || facts.Server.Role != "postgres" || facts.Server.MaxConnections == 0 {
			t.Errorf("server %+v", facts.Server)
		}
		for _, p := range facts.Plans {
			if p.Reason != "" && (p.Family.Name != "wal" || s.Major >= 14 || p.Reason != "version" || p.Detail == "") || p.Limit != "" {
				t.Errorf("%s: reason %q, limit %q: %s", p.Family.Name, p.Reason, p.Limit, p.Detail)
			}
		}
		before := time.Now()
		slow, stats := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
		if stats.RoundTrips != 1 || stats.Connects+stats.Acquires == 0 || stats.SystemID != facts.Server.SystemID || stats.ServerTime <= 0 || stats.Changed {
			t.Errorf("stats %+v", stats)
		}
		arrived(t, slow)
		fast, stats := read(t, tg, home, catalog.Fast, planned(facts, home, catalog.Fast))
		if stats.RoundTrips != 1 {
			t.Errorf("stats %+v", stats)
		}
		arrived(t, fast)
		for _, r := range slices.Concat(slow, fast) {
			name := r.Plan.Family.Name
			if at := time.UnixMicro(r.At); at.Before(before.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) || r.Frame.At != r.At {
				t.Errorf("%s: at %v", name, at)
			}
			if r.SystemID != facts.Server.SystemID || r.PostmasterStart != facts.Server.PostmasterStart {
				t.Errorf("%s: system %d, postmaster %d", name, r.SystemID, r.PostmasterStart)
			}
			if (r.Frame.N == 0) != (name == "statement_texts") || r.Frame.Database != r.Plan.Database || len(r.Frame.Columns) != len(r.Plan.Family.Columns) {
				t.Errorf("%s: %d rows, %d columns, database %q", name, r.Frame.N, len(r.Frame.Columns), r.Frame.Database)
			}
			for i := range r.Frame.Columns {
				c, want := &r.Frame.Columns[i], &r.Plan.Family.Columns[i]
				if c.Name != want.Name || c.Type != want.Wire() || c.Kind != want.Kind || len(c.Ints)+len(c.Floats)+len(c.Texts) != r.Frame.N || c.Null != nil && len(c.Null) != r.Frame.N {
					t.Errorf("%s.%s: %+v", name, want.Name, c)
				}
				if slices.Contains(r.Plan.Absent, c.Name) && r.Frame.N > 0 && slices.Contains(c.Null, false) {
					t.Errorf("%s.%s is absent, yet has values", name, c.Name)
				}
			}
		}
		tables := reading(t, slow, "tables").Frame
		row := slices.Index(tables.Column("relname").Texts, "counted")
		if row < 0 || tables.Column("schemaname").Texts[row] != "public" {
			t.Fatalf("tables: %v", tables.Column("relname").Texts)
		}
		statements := reading(t, slow, "statements")
		if has := statements.Proof.Valid; has != (s.Major >= 14) || has && statements.Proof.Reset == 0 {
			t.Errorf("proof %+v", statements.Proof)
		}
		var ids []int64
		ids = append(ids, statements.Frame.Column("queryid").Ints...)
		texts, _ := read(t, tg, home, catalog.Slow, []target.Plan{plan(t, facts, "statement_texts", "")}, ids...)
		arrived(t, texts)
		if got := texts[0].Frame.Column("query").Texts; !slices.Contains(got, "SELECT count(*) FROM counted") {
			t.Errorf("texts: %q", got)
		}
		if !tg.Warm(home) || tg.Warm("another") {
			t.Error("warm")
		}
		target.Release(slow)
		target.Release(fast)
		target.Release(texts)
	})
}

func TestValuesAreThoseOfTheServer(t *testing.T) {
	forMajors(t, func(t *testing.T, s *pgtest.Cluster) {
		url := pgtest.Database(t, s)
		home := databaseOf(url)
		conn := pgtest.Connect(t, url)
		pgtest.Exec(t, url, "CREATE TABLE t (n int)", "INSERT INTO t SELECT generate_series(1, 7)", "VACUUM t")
		tg := newTarget(t, url)
		facts := contact(t, tg)
		var role string
		if err := conn.QueryRow(t.Context(), "SELECT count(*)::text FROM pg_settings").Scan(&role); err != nil {
			t.Fatal(err)
		}
		got, _ := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
		settings := reading(t, got, "settings").Frame
		for _, want := range [][2]string{{"max_connections", "100"}, {"fsync", "off"}, {"statement_timeout", "0"}, {"search_path", `"$user", public`}} {
			i := slices.Index(settings.Column("name").Texts, want[0])
			if i < 0 || settings.Column("setting").Texts[i] != want[1] {
				t.Errorf("setting %s: row %d, want %s", want[0], i, want[1])
			}
		}
		// Statistics reach the views late before 15.
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			got, _ := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
			tables := reading(t, got, "tables").Frame
			i := slices.Index(tables.Column("relname").Texts, "t")
			if i >= 0 && tables.Column("n_tup_ins").Ints[i] == 7 && !tables.Column("last_vacuum").IsNull(i) {
				var unix float64
				if err := conn.QueryRow(t.Context(), "SELECT extract(epoch FROM last_vacuum)::float8 FROM pg_stat_user_tables WHERE relname = 't'").Scan(&unix); err != nil {
					t.Fatal(err)
				}
				if at := tables.Column("last_vacuum").Ints[i]; at != int64(unix*1e6+0.5) && at != int64(unix*1e6) {
					t.Errorf("last_vacuum %d, want %f", at, unix*1e6)
				}
				if !tables.Column("last_analyze").IsNull(i) {
					t.Error("last_analyze is not NULL")
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("row %d of %v", i, tables.Column("n_tup_ins"))
			}
		}
	})
}
