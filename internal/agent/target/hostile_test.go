package target_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// A trap leaves a session-level advisory lock behind: that works in a read-only
// transaction, outlives it, and every session can see it.
const trapKey = 666_013

func fired(t testing.TB, s *pgtest.Cluster) (n int) {
	t.Helper()
	conn := pgtest.Connect(t, s.URL("postgres"))
	if err := conn.QueryRow(context.Background(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1", trapKey).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func trapBody(result string) string {
	return fmt.Sprintf("LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_advisory_lock(%d); %s END $$", trapKey, result)
}

// as makes a login role, dropped at the end, and gives the URL of a database as it.
func as(t testing.TB, s *pgtest.Cluster, database string, grants ...string) (role, url string) {
	t.Helper()
	role = fmt.Sprintf("watcher_%d", time.Now().UnixNano())
	pgtest.Exec(t, s.URL("postgres"), "CREATE ROLE "+role+" LOGIN")
	for _, g := range grants {
		pgtest.Exec(t, s.URL("postgres"), "GRANT "+g+" TO "+role)
	}
	t.Cleanup(func() {
		pgtest.Exec(t, s.URL("postgres"), "DROP OWNED BY "+role, "DROP ROLE "+role)
	})
	return role, s.URLAs(role, database)
}

// Functions and operators named like ours, first in every search_path that the
// owner of the database can set: none is called.
func TestTrapsInTheSearchPath(t *testing.T) {
	forMajors(t, func(t *testing.T, s *pgtest.Cluster) {
		owner := pgtest.Database(t, s)
		home := databaseOf(owner)
		conn := pgtest.Connect(t, owner)
		execAll(t, conn, "CREATE EXTENSION pg_stat_statements", "CREATE TABLE t (n int)",
			"CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text "+trapBody("RETURN $2;"),
			"CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz "+trapBody("RETURN pg_catalog.now();"),
			"CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean "+trapBody("RETURN false;"),
			"CREATE FUNCTION public.count(text) RETURNS bigint "+trapBody("RETURN 0;"),
			"CREATE FUNCTION public.round(double precision) RETURNS double precision "+trapBody("RETURN 0;"),
			"CREATE FUNCTION public.left(text, integer) RETURNS text "+trapBody("RETURN '';"),
			"CREATE FUNCTION public.current_setting(text) RETURNS text "+trapBody("RETURN '';"),
			"CREATE FUNCTION public.int8(integer) RETURNS bigint "+trapBody("RETURN 0;"),
			"CREATE FUNCTION public.pg_stat_statements(text) RETURNS bigint "+trapBody("RETURN 0;"),
			"CREATE FUNCTION public.eq(text, text) RETURNS boolean "+trapBody("RETURN true;"),
			"CREATE FUNCTION public.eq(name, name) RETURNS boolean "+trapBody("RETURN true;"),
			"CREATE FUNCTION public.eq(oid, oid) RETURNS boolean "+trapBody("RETURN true;"),
			"CREATE FUNCTION public.minus(bigint, bigint) RETURNS bigint "+trapBody("RETURN 0;"),
			"CREATE FUNCTION public.times(double precision, integer) RETURNS double precision "+trapBody("RETURN 0;"),
			"CREATE OPERATOR public.= (FUNCTION = public.eq, LEFTARG = text, RIGHTARG = text)",
			"CREATE OPERATOR public.= (FUNCTION = public.eq, LEFTARG = name, RIGHTARG = name)",
			"CREATE OPERATOR public.= (FUNCTION = public.eq, LEFTARG = oid, RIGHTARG = oid)",
			"CREATE OPERATOR public.- (FUNCTION = public.minus, LEFTARG = bigint, RIGHTARG = bigint)",
			"CREATE OPERATOR public.* (FUNCTION = public.times, LEFTARG = double precision, RIGHTARG = integer)",
			"CREATE TABLE public.pg_stat_database (n int)", "CREATE TABLE public.pg_settings (name text, setting text)",
			"CREATE DOMAIN public.int8 AS bigint CHECK (public.clock_timestamp() IS NOT NULL)",
			"ALTER DATABASE "+home+" SET search_path = public, pg_catalog",
			"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC")
		// The traps work: this is what they catch.
		victim := pgtest.Connect(t, owner)
		for _, sql := range []string{"SELECT clock_timestamp()", "SELECT 'a'::text = 'a'::text", "SELECT 5::bigint - 3::bigint", "SELECT count('x'::text)"} {
			execAll(t, victim, sql)
			if fired(t, s) == 0 {
				t.Fatalf("%s falls into no trap", sql)
			}
			execAll(t, victim, "SELECT pg_advisory_unlock_all()")
		}
		role, url := as(t, s, home, "pg_monitor")
		execAll(t, conn, "ALTER ROLE "+role+" IN DATABASE "+home+" SET search_path = public, pg_catalog")
		tg := newTarget(t, url)
		facts := contact(t, tg)
		var ids []int64
		for range 3 {
			got, stats := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow), ids...)
			arrived(t, got)
			if stats.RoundTrips != 1 {
				t.Errorf("%d round trips", stats.RoundTrips)
			}
			ids = slices.Clone(reading(t, got, "statements").Frame.Column("queryid").Ints)
			fast, _ := read(t, tg, home, catalog.Fast, planned(facts, home, catalog.Fast))
			arrived(t, fast)
		}
		if n := fired(t, s); n != 0 {
			t.Errorf("%d sessions fell into a trap", n)
		}
	})
}

// What an owner sets for the sessions in a database: our own settings hold, and
// nothing of them stays behind.
func TestSettingsOfTheDatabase(t *testing.T) {
	tampered(t, func(t *testing.T, s *pgtest.Cluster, url string) {
		home := databaseOf(url)
		slowView(t, url, "pg_stat_database", 0.3)
		pgtest.Exec(t, url,
			"ALTER DATABASE "+home+" SET statement_timeout = '100ms'", "ALTER DATABASE "+home+" SET lock_timeout = '1min'",
			"ALTER DATABASE "+home+" SET search_path = nowhere", "ALTER DATABASE "+home+" SET bytea_output = 'escape'",
			"ALTER DATABASE "+home+" SET DateStyle = 'German'", "ALTER DATABASE "+home+" SET IntervalStyle = 'iso_8601'",
			"ALTER DATABASE "+home+" SET default_transaction_isolation = 'serializable'",
			"ALTER DATABASE "+home+" SET idle_in_transaction_session_timeout = '1ms'",
			"ALTER DATABASE "+home+" SET client_encoding = 'LATIN1'")
		tg := newTarget(t, url)
		facts := contact(t, tg)
		for range 2 {
			got, stats := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
			arrived(t, got)
			if stats.RoundTrips != 1 {
				t.Errorf("%d round trips", stats.RoundTrips)
			}
			// settings has the values of new sessions, not those of our transaction.
			f := reading(t, got, "settings").Frame
			for name, want := range map[string]string{"statement_timeout": "100", "search_path": "nowhere"} {
				if i := slices.Index(f.Column("name").Texts, name); i < 0 || f.Column("setting").Texts[i] != want {
					t.Errorf("setting %s: %d", name, i)
				}
			}
		}
	})
}

func statementColumns(t testing.TB, conn *pgx.Conn) string {
	t.Helper()
	var columns string
	err := conn.QueryRow(context.Background(), `SELECT string_agg(quote_ident(a.name) || ' ' || format_type(a.type, NULL), ', ' ORDER BY a.n)
		FROM pg_proc p, unnest(p.proargnames, p.proallargtypes, p.proargmodes) WITH ORDINALITY a(name, type, mode, n)
		WHERE p.proname = 'pg_stat_statements' AND a.mode = 'o'`).Scan(&columns)
	if err != nil {
		t.Fatal(err)
	}
	return columns
}

// A function that only looks like the extension's is never called: not when there
// is no extension, not when it takes the place of one that was dropped, and not
// when the extension's own was taken out of it.
func TestFakeExtension(t *testing.T) {
	forMajors(t, func(t *testing.T, s *pgtest.Cluster) {
		url := pgtest.Database(t, s)
		home := databaseOf(url)
		conn := pgtest.Connect(t, url)
		execAll(t, conn, "CREATE EXTENSION pg_stat_statements")
		trap := "CREATE FUNCTION public.pg_stat_statements(showtext boolean) RETURNS TABLE (" + statementColumns(t, conn) + ") " + trapBody("RETURN;")
		_, monitor := as(t, s, home, "pg_monitor")
		tg := newTarget(t, monitor, func(c *target.Config) { c.Databases = []string{home} })
		facts := contact(t, tg)
		got, _ := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
		arrived(t, got)

		execAll(t, conn, "DROP EXTENSION pg_stat_statements", trap, "CREATE VIEW public.pg_stat_statements_info AS SELECT now() AS stats_reset, 0::bigint AS dealloc FROM public.pg_stat_statements(true)",
			"GRANT SELECT ON public.pg_stat_statements_info TO PUBLIC")
		got, stats := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow), 1)
		arrived(t, got, "statements", "statement_texts")
		if r := reading(t, got, "statements"); r.Reason != "not_extension" || !stats.Changed {
			t.Errorf("statements: %s, %v, changed %t", r.Reason, r.Err, stats.Changed)
		}
		facts = contact(t, tg)
		if p := plan(t, facts, "statements", ""); p.Reason != "extension_missing" && p.Via == home {
			t.Errorf("planned: %+v", p)
		}
		got, _ = read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
		arrived(t, got)

		execAll(t, conn, "DROP VIEW public.pg_stat_statements_info", "DROP FUNCTION public.pg_stat_statements(boolean)", "CREATE EXTENSION pg_stat_statements",
			"ALTER EXTENSION pg_stat_statements DROP VIEW pg_stat_statements", "ALTER EXTENSION pg_stat_statements DROP FUNCTION pg_stat_statements(boolean)",
			"DROP VIEW pg_stat_statements", "DROP FUNCTION pg_stat_statements(boolean)", trap)
		facts = contact(t, tg)
		if p := plan(t, facts, "statements", ""); p.Via == home || p.Reason == "not_extension" && (p.Detail == "" || p.Remedy == "") {
			t.Errorf("planned: %+v", p)
		}
		got, _ = read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
		arrived(t, got)
		if n := fired(t, s); n != 0 {
			t.Errorf("%d sessions fell into a trap", n)
		}
	})
}

// A server that sends a value, or rows, without end loses the connection; the
// family is read last from then on, so that the others arrive.
func TestGiantAnswers(t *testing.T) {
	tampered(t, func(t *testing.T, s *pgtest.Cluster, url string) {
		home := databaseOf(url)
		conn := pgtest.Connect(t, url)
		for name, sql := range map[string]string{
			"value": "CREATE VIEW pg_catalog.pg_roles AS SELECT 1::oid AS oid, repeat('x', 5000000) AS rolname",
			"rows":  "CREATE VIEW pg_catalog.pg_roles AS SELECT n::oid AS oid, 'x'::text AS rolname FROM generate_series(1, 400000) n",
			"text":  "CREATE VIEW pg_catalog.pg_roles AS SELECT n::oid AS oid, repeat('x', 1000000) AS rolname FROM generate_series(1, 100) n",
		} {
			t.Run(name, func(t *testing.T) {
				execAll(t, conn, "BEGIN", "ALTER VIEW pg_catalog.pg_roles RENAME TO real_roles", sql, "GRANT SELECT ON pg_catalog.pg_roles TO PUBLIC", "COMMIT")
				defer execAll(t, conn, "DROP VIEW pg_catalog.pg_roles", "ALTER VIEW pg_catalog.real_roles RENAME TO pg_roles")
				log := &bytes.Buffer{}
				tg := newTargetLogging(t, url, log)
				// Contact reads pg_roles too: what it is like before somebody tampers.
				execAll(t, conn, "ALTER VIEW pg_catalog.pg_roles RENAME TO false_roles", "ALTER VIEW pg_catalog.real_roles RENAME TO pg_roles")
				facts := contact(t, tg)
				execAll(t, conn, "ALTER VIEW pg_catalog.pg_roles RENAME TO real_roles", "ALTER VIEW pg_catalog.false_roles RENAME TO pg_roles")
				got, _ := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
				if r := reading(t, got, "roles"); r.Reason != "too_big" {
					t.Errorf("roles: %s, %v", r.Reason, r.Err)
				}
				for range 2 {
					got, stats := read(t, tg, home, catalog.Slow, planned(facts, home, catalog.Slow))
					arrived(t, got, "roles")
					if r := reading(t, got, "roles"); r.Reason != "too_big" || stats.RoundTrips != 1 {
						t.Errorf("roles: %s, %v, %d round trips", r.Reason, r.Err, stats.RoundTrips)
					}
				}
			})
		}
	})
}

// No password, and no URL, in errors and logs.
func TestNothingShowsThePassword(t *testing.T) {
	const secret = "zauberwort/17"
	escaped := url.QueryEscape(secret)
	for _, raw := range []string{
		"postgres://u:" + escaped + "@127.0.0.1:1/d", "postgres://u:" + secret + "@127.0.0.1:1/d", "postgres://u:" + escaped + "@127.0.0.1:x/d",
		"postgres://u@127.0.0.1:1/d?password=" + escaped, "postgres://u:" + escaped + "@127.0.0.1:1/d?sslmode=never", "postgres://u:" + escaped + "@h1,h2/d",
		"postgres://u:" + escaped + "@127.0.0.1:1/d?options=x", "u:" + secret + "@h", "host=h password=" + secret, "postgres://u:" + escaped + "@127.0.0.1:1/d#" + secret,
		"postgres://u:" + escaped + "@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=/nowhere", "postgres://u:" + escaped + "@127.0.0.1:1/%zz",
	} {
		log := &bytes.Buffer{}
		cfg := target.Config{Name: "i", URL: target.Secret(raw), Password: target.Secret(secret)}
		tg, err := target.New(cfg, slogTo(log))
		if err == nil {
			_, err = tg.Contact(t.Context())
			tg.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", raw)
			continue
		}
		for what, shown := range map[string]string{"error": err.Error(), "error, in full": fmt.Sprintf("%+v %#v", err, err), "log": log.String(), "config": fmt.Sprintf("%v %+v %#v %s %q", cfg, cfg, cfg, cfg.URL, cfg.Password)} {
			if strings.Contains(shown, "zauberwort") {
				t.Errorf("%s: %s shows it: %s", raw, what, shown)
			}
		}
	}
}
