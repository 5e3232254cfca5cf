package target_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// onlyHome keeps a test apart from others on the shared server.
func onlyHome(url string) func(*target.Config) {
	return func(c *target.Config) { c.Databases = []string{databaseOf(url)} }
}

func TestExtensionMissing(t *testing.T) {
	forMajors(t, func(t *testing.T, shared *pgtest.Cluster) {
		s := pgtest.Private(t, shared.Major)
		tg := newTarget(t, s.URL("postgres"))
		facts := contact(t, tg)
		p := plan(t, facts, "statements", "")
		if p.Reason != "extension_missing" || p.Via != "" || p.Remedy != "CREATE EXTENSION pg_stat_statements;" {
			t.Fatalf("%+v", p)
		}
		got, stats := read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		arrived(t, got)
		if stats.Changed {
			t.Error("changed, yet nothing did")
		}
		pgtest.Exec(t, s.URL("postgres"), p.Remedy) // it mends it, and the next round notices
		_, stats = read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		if !stats.Changed {
			t.Error("a new extension was not noticed")
		}
		facts = contact(t, tg)
		got, stats = read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		arrived(t, got)
		if reading(t, got, "statements").Frame.N == 0 || stats.Changed {
			t.Errorf("stats %+v", stats)
		}
		// In another database, in a schema of any name; home loses its own.
		pgtest.Exec(t, s.URL("postgres"), "CREATE DATABASE other")
		pgtest.Exec(t, s.URL("other"), `CREATE SCHEMA "We""ird \schema"`, `CREATE EXTENSION pg_stat_statements SCHEMA "We""ird \schema"`)
		pgtest.Exec(t, s.URL("postgres"), "DROP EXTENSION pg_stat_statements")
		got, stats = read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		arrived(t, got, "statements")
		if !stats.Changed {
			t.Error("a lost extension was not noticed")
		}
		facts = contact(t, tg)
		if p := plan(t, facts, "statements", ""); p.Via != "other" || p.Database != "" || p.Reason != "" {
			t.Fatalf("%+v", p)
		}
		got, stats = read(t, tg, "other", catalog.Slow, planned(facts, "other", catalog.Slow), 1)
		arrived(t, got)
		if r := reading(t, got, "statements"); r.Frame == nil || r.Frame.N == 0 || r.Frame.Database != "" || r.Proof.Valid != (s.Major >= 14) || stats.RoundTrips != 1 {
			t.Errorf("%+v, %+v", r, stats)
		}
		// Lost there too: the round on that database notices.
		read(t, tg, "other", catalog.Slow, planned(facts, "other", catalog.Slow))
		pgtest.Exec(t, s.URL("other"), "DROP EXTENSION pg_stat_statements")
		_, stats = read(t, tg, "other", catalog.Slow, planned(facts, "other", catalog.Slow))
		if !stats.Changed {
			t.Error("the extension lost in the other database was not noticed")
		}
		if p := plan(t, contact(t, tg), "statements", ""); p.Reason != "extension_missing" {
			t.Errorf("%+v", p)
		}
	})
}

func TestExtensionNotLoaded(t *testing.T) {
	forMajors(t, func(t *testing.T, shared *pgtest.Cluster) {
		s := pgtest.Server(t, shared.Major, "shared_preload_libraries=auto_explain")
		url := pgtest.Database(t, s)
		home := databaseOf(url)
		for _, created := range []bool{false, true} {
			if created {
				pgtest.Exec(t, url, "CREATE EXTENSION pg_stat_statements")
			}
			tg := newTarget(t, url, onlyHome(url))
			facts := contact(t, tg)
			p := plan(t, facts, "statements", "")
			want := "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_stat_statements'; -- then restart the server"
			if !created {
				want += "\nCREATE EXTENSION pg_stat_statements;"
			}
			if p.Reason != "not_loaded" || p.Remedy != want || p.Detail == "" {
				t.Errorf("%+v", p)
			}
			got, _ := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
			arrived(t, got)
		}
	})
}

// A role without privileges: what it may see is read, exactly, and the plan says
// what it doesn't and the GRANT.
func TestRoleWithoutPrivileges(t *testing.T) {
	forMajors(t, func(t *testing.T, shared *pgtest.Cluster) {
		s := pgtest.Private(t, shared.Major)
		pgtest.Exec(t, s.URL("postgres"), "CREATE EXTENSION pg_stat_statements", "CREATE TABLE t (n int)", `CREATE ROLE "a watcher" LOGIN`, "CREATE ROLE worker LOGIN",
			"CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC", "CREATE DATABASE shut ALLOW_CONNECTIONS false")
		pgtest.Exec(t, s.URLAs("worker", "postgres"), "SELECT 1", "SELECT 2, 3", "SELECT 2, 3", "SELECT now()")
		log := &bytes.Buffer{}
		tg := newTargetLogging(t, s.URLAs("a watcher", "postgres"), log)
		facts := contact(t, tg)
		if facts.Superuser || facts.ReadFiles || strings.Contains(log.String(), "WARN") || facts.Server.Role != "a watcher" {
			t.Errorf("%+v: %s", facts, log)
		}
		for family, limit := range map[string]string{"statements": "ids_hidden", "statement_texts": "ids_hidden", "activity": "activity_hidden", "database": "", "settings": ""} {
			p := plan(t, facts, family, "")
			if p.Limit != limit || p.Reason != "" || (limit != "") != (p.Remedy == `GRANT pg_read_all_stats TO "a watcher";`) {
				t.Errorf("%s: %+v", family, p)
			}
		}
		for name, remedy := range map[string]string{"closed": `GRANT CONNECT ON DATABASE "closed" TO "a watcher";`, "shut": ""} {
			p := plan(t, facts, "tables", name)
			if p.Reason != "no_connect" || p.Via != "" || p.Remedy != remedy || p.Detail == "" {
				t.Errorf("%s: %+v", name, p)
			}
			i := slices.IndexFunc(facts.Databases, func(d target.DB) bool { return d.Name == name })
			if i < 0 || facts.Databases[i].Connectable || facts.Databases[i].Reason != "no_connect" || facts.Databases[i].Remedy != remedy {
				t.Errorf("%s: %+v", name, facts.Databases)
			}
		}
		if facts.Server.SystemID == 0 {
			t.Error("no system identifier")
		}
		got, _ := read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		arrived(t, got)
		fast, _ := read(t, tg, "postgres", catalog.Fast, planned(facts, "postgres", catalog.Fast))
		arrived(t, fast)

		// One pseudo row for each user and database that is hidden, exact sums in it.
		f := reading(t, got, "statements").Frame
		sums := map[[2]int64][2]int64{}
		for i := range f.N {
			if !f.Column("queryid").IsNull(i) {
				continue
			}
			key := [2]int64{f.Column("dbid").Ints[i], f.Column("userid").Ints[i]}
			if _, twice := sums[key]; twice || f.Column("dbid").IsNull(i) || f.Column("userid").IsNull(i) {
				t.Errorf("hidden rows of %v are not one", key)
			}
			sums[key] = [2]int64{f.Column("calls").Ints[i], f.Column("rows").Ints[i]}
		}
		var dbid, worker int64
		conn := pgtest.Connect(t, s.URL("postgres"))
		if err := conn.QueryRow(t.Context(), "SELECT (SELECT oid::bigint FROM pg_database WHERE datname = 'postgres'), 'worker'::regrole::oid::bigint").Scan(&dbid, &worker); err != nil {
			t.Fatal(err)
		}
		var calls, rows int64
		if err := conn.QueryRow(t.Context(), "SELECT sum(calls)::bigint, sum(rows)::bigint FROM pg_stat_statements WHERE dbid = $1 AND userid = $2", dbid, worker).Scan(&calls, &rows); err != nil {
			t.Fatal(err)
		}
		if sums[[2]int64{dbid, worker}] != [2]int64{calls, rows} || calls < 4 {
			t.Errorf("hidden rows sum up to %v, want %d calls, %d rows", sums[[2]int64{dbid, worker}], calls, rows)
		}
		// The GRANT mends it, and the next round notices.
		pgtest.Exec(t, s.URL("postgres"), plan(t, facts, "statements", "").Remedy, plan(t, facts, "tables", "closed").Remedy)
		_, stats := read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		if !stats.Changed {
			t.Error("a GRANT was not noticed")
		}
		facts = contact(t, tg)
		got, _ = read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		if f := reading(t, got, "statements").Frame; slices.Contains(f.Column("queryid").Null, true) || plan(t, facts, "statements", "").Limit != "" {
			t.Error("ids are still hidden")
		}
		got, _ = read(t, tg, "closed", catalog.Slow, planned(facts, "closed", catalog.Slow))
		arrived(t, got)
	})
}

func TestSchemaAndFunctionPrivileges(t *testing.T) {
	forMajors(t, func(t *testing.T, shared *pgtest.Cluster) {
		s := pgtest.Private(t, shared.Major)
		pgtest.Exec(t, s.URL("postgres"), "CREATE ROLE w LOGIN", "GRANT pg_monitor TO w", "CREATE SCHEMA stats", "CREATE EXTENSION pg_stat_statements SCHEMA stats")
		tg := newTarget(t, s.URLAs("w", "postgres"))
		p := plan(t, contact(t, tg), "statements", "")
		if p.Reason != "privilege" || p.Remedy != `GRANT USAGE ON SCHEMA "stats" TO "w";` {
			t.Fatalf("%+v", p)
		}
		pgtest.Exec(t, s.URL("postgres"), p.Remedy, "REVOKE EXECUTE ON FUNCTION stats.pg_stat_statements FROM PUBLIC")
		p = plan(t, contact(t, tg), "statements", "")
		if p.Reason != "privilege" || p.Remedy != `GRANT EXECUTE ON FUNCTION "stats"."pg_stat_statements" TO "w";` {
			t.Fatalf("%+v", p)
		}
		pgtest.Exec(t, s.URL("postgres"), p.Remedy)
		if s.Major >= 14 { // the proof is not for us: statements come without it
			pgtest.Exec(t, s.URL("postgres"), "REVOKE EXECUTE ON FUNCTION stats.pg_stat_statements_info FROM PUBLIC")
		}
		facts := contact(t, tg)
		got, stats := read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		arrived(t, got)
		if r := reading(t, got, "statements"); r.Proof.Valid || stats.RoundTrips != 1 {
			t.Errorf("%+v, %+v", r.Proof, stats)
		}
		// Lost while it is planned.
		pgtest.Exec(t, s.URL("postgres"), "REVOKE EXECUTE ON FUNCTION stats.pg_stat_statements FROM w")
		got, stats = read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		arrived(t, got, "statements")
		if r := reading(t, got, "statements"); r.Reason != "privilege" || !stats.Changed {
			t.Errorf("%s, %v, %+v", r.Reason, r.Err, stats)
		}
	})
}

func TestSuperuserIsWarnedOf(t *testing.T) {
	s := pgtest.Server(t, pgtest.StoreMajor(t))
	url := pgtest.Database(t, s)
	log := &bytes.Buffer{}
	tg := newTargetLogging(t, url, log, onlyHome(url))
	if f := contact(t, tg); !f.Superuser {
		t.Errorf("%+v", f)
	}
	contact(t, tg)
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "role=postgres") || strings.Contains(strings.ToLower(log.String()), "error") {
		t.Errorf("%d warnings: %s", n, log)
	}
}

func TestDatabasesComeAndGo(t *testing.T) {
	forMajors(t, func(t *testing.T, shared *pgtest.Cluster) {
		s := pgtest.Private(t, shared.Major)
		pgtest.Exec(t, s.URL("postgres"), "CREATE DATABASE app_one", "CREATE DATABASE other")
		tg := newTarget(t, s.URL("postgres"), func(c *target.Config) { c.Databases = []string{"app_*"} })
		names := func(f *target.Facts) (out []string) {
			for _, p := range f.Plans {
				if p.Family.Name == "tables" {
					out = append(out, p.Database)
				}
			}
			return out
		}
		facts := contact(t, tg)
		if got := names(facts); !slices.Equal(got, []string{"app_one"}) || len(facts.Databases) != 1 {
			t.Errorf("tables are planned in %v", got)
		}
		// Also where home itself is not chosen, the instance's families are read on it.
		got, stats := read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		arrived(t, got)
		if stats.Changed {
			t.Error("changed, yet nothing did")
		}
		pgtest.Exec(t, s.URL("postgres"), `CREATE DATABASE "app_two/x"`)
		if _, stats = read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow)); !stats.Changed {
			t.Error("a new database was not noticed")
		}
		facts = contact(t, tg)
		if got := names(facts); !slices.Equal(got, []string{"app_one", "app_two/x"}) {
			t.Errorf("tables are planned in %v", got)
		}
		rows, _ := read(t, tg, "app_one", catalog.Slow, planned(facts, "app_one", catalog.Slow))
		arrived(t, rows)
		execDrop(t, s, "app_one")
		if got, stats, err := tg.Read(t.Context(), "app_one", catalog.Slow, planned(facts, "app_one", catalog.Slow), nil); target.ReasonOf(err) != "gone" || !stats.Changed || got[0].Reason != "gone" {
			t.Errorf("%v, %s", err, got[0].Reason)
		}
		if _, stats = read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow)); !stats.Changed {
			t.Error("a dropped database was not noticed")
		}
		if got := names(contact(t, tg)); !slices.Equal(got, []string{"app_two/x"}) {
			t.Errorf("tables are planned in %v", got)
		}
	})
}

func execDrop(t testing.TB, s *pgtest.Cluster, name string) {
	t.Helper()
	pgtest.Exec(t, s.URL("postgres"), "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'", "DROP DATABASE "+name)
}

func TestDisabledFamilies(t *testing.T) {
	s := pgtest.Server(t, pgtest.StoreMajor(t))
	url := pgtest.Database(t, s)
	tg := newTarget(t, url, onlyHome(url), func(c *target.Config) { c.Enabled = func(family string) bool { return family != "tables" } })
	if p := plan(t, contact(t, tg), "tables", databaseOf(url)); p.Reason != "disabled" || p.Via != "" {
		t.Errorf("%+v", p)
	}
}

// An extension older than the server, as pg_upgrade leaves it.
func TestOldExtensionVersions(t *testing.T) {
	forMajors(t, func(t *testing.T, s *pgtest.Cluster) {
		for _, version := range []string{"1.4", "1.7", "1.8", "1.9", "1.10", "1.11"} {
			url := pgtest.Database(t, s)
			home := databaseOf(url)
			conn := pgtest.Connect(t, url)
			if _, err := conn.Exec(t.Context(), "CREATE EXTENSION pg_stat_statements VERSION '"+version+"'"); err != nil {
				continue // newer than the server
			}
			_ = conn.Close(context.Background())
			tg := newTarget(t, url, onlyHome(url))
			facts := contact(t, tg)
			p := plan(t, facts, "statements", "")
			if version == "1.4" {
				if p.Via == home && p.Reason == "" || p.Reason == "version" && p.Remedy != "ALTER EXTENSION pg_stat_statements UPDATE;" {
					t.Errorf("%+v", p)
				}
				continue
			}
			if p.Reason != "" {
				t.Errorf("%s: %+v", version, p)
				continue
			}
			got, stats := read(t, tg, p.Via, catalog.Slow, planned(facts, p.Via, catalog.Slow), 1)
			arrived(t, got)
			r := reading(t, got, "statements")
			v, _ := catalog.ParseExtVersion(version)
			if r.Frame.N == 0 || r.Proof.Valid != (v >= 109) || slices.Contains(r.Plan.Absent, "stats_since") != (v < 111) || stats.RoundTrips != 1 {
				t.Errorf("%s: %d rows, %+v, absent %v", version, r.Frame.N, r.Proof, r.Plan.Absent)
			}
			// Updated under way: the old function is gone, another one is there.
			pgtest.Exec(t, url, "ALTER EXTENSION pg_stat_statements UPDATE")
			got, stats = read(t, tg, p.Via, catalog.Slow, planned(facts, p.Via, catalog.Slow), 1)
			if latest := reading(t, got, "statements"); latest.Err != nil && !stats.Changed {
				t.Errorf("%s: %v, not changed", version, latest.Err)
			}
			facts = contact(t, tg)
			got, _ = read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow), 1)
			arrived(t, got)
		}
	})
}

// Encodings: texts arrive in UTF-8 whatever the database has.
func TestEncodings(t *testing.T) {
	forMajors(t, func(t *testing.T, shared *pgtest.Cluster) {
		s := pgtest.Private(t, shared.Major)
		for _, encoding := range []string{"LATIN1", "SQL_ASCII", "UTF8"} {
			name := "db_" + strings.ToLower(encoding)
			pgtest.Exec(t, s.URL("postgres"), fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING '%s' LC_COLLATE 'C' LC_CTYPE 'C'", name, encoding))
			table := "CREATE TABLE grün (n int)"
			if encoding == "SQL_ASCII" {
				table = "DO $$ BEGIN EXECUTE 'CREATE TABLE \"gr' || E'\\xfc' || 'n\" (n int)'; END $$" // LATIN1 in it
			}
			conn := pgtest.Connect(t, s.URL(name))
			execAll(t, conn, "SET client_encoding = '"+map[bool]string{true: "SQL_ASCII", false: "UTF8"}[encoding == "SQL_ASCII"]+"'", table)
		}
		tg := newTarget(t, s.URL("db_utf8"))
		facts := contact(t, tg)
		for via, want := range map[string]string{"db_utf8": "grün", "db_latin1": "grün", "db_sql_ascii": "gr�n"} {
			got, _ := read(t, tg, via, catalog.Slow, planned(facts, via, catalog.Slow))
			arrived(t, got)
			if r := reading(t, got, "tables"); r.Err == nil && !slices.Contains(r.Frame.Column("relname").Texts, want) {
				t.Errorf("%s: %q", via, r.Frame.Column("relname").Texts)
			}
		}
	})
}

// Passwords in what the server shows are masked before they leave the package.
func TestPasswordsAreMasked(t *testing.T) {
	forMajors(t, func(t *testing.T, shared *pgtest.Cluster) {
		s := pgtest.Private(t, shared.Major, "primary_conninfo=host=nowhere password=zauberwort1", "app.jwt_secret=zauberwort2")
		pgtest.Exec(t, s.URL("postgres"), "CREATE EXTENSION pg_stat_statements", "CREATE ROLE r PASSWORD 'zauberwort3'", "ALTER ROLE r PASSWORD 'zauberwort4'",
			"DO $$ BEGIN EXECUTE 'ALTER ROLE r PASSWORD ''zauberwort5'''; END $$")
		tg := newTarget(t, s.URL("postgres"))
		facts := contact(t, tg)
		got, _ := read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
		arrived(t, got)
		ids := slices.Clone(reading(t, got, "statements").Frame.Column("queryid").Ints)
		texts, _ := read(t, tg, "postgres", catalog.Slow, []target.Plan{plan(t, facts, "statement_texts", "")}, ids...)
		arrived(t, texts)
		masked := 0
		for _, r := range slices.Concat(got, texts) {
			for _, c := range r.Frame.Columns {
				for _, v := range c.Texts {
					if strings.Contains(v, "zauberwort") {
						t.Errorf("%s.%s shows a password: %s", r.Plan.Family.Name, c.Name, v)
					}
					if strings.Contains(v, "***") {
						masked++
					}
				}
			}
		}
		if masked < 4 { // a statement each of CREATE ROLE, ALTER ROLE, DO; primary_conninfo
			t.Errorf("%d texts are masked", masked)
		}
	})
}
