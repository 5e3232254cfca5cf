package demo

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Superuser is the role the demo server must be made with: `pganalytics`, the usual one of a
// private server, is here the collector's monitoring role.
const Superuser = "postgres"

// monitor is the collector's role, as the documentation tells users to make it.
const monitor = "pganalytics"

// Settings are those the demo server needs. A function, so that nobody shares a map.
func Settings() map[string]string {
	return map[string]string{
		"shared_preload_libraries": "pg_stat_statements",
		"max_connections":          "60",
		"shared_buffers":           "64MB",
		"max_wal_size":             "256MB",
		"track_io_timing":          "on",
		"track_wal_io_timing":      "on",
		"track_functions":          "all",
		"autovacuum_naptime":       "5s", // so that vacuums are seen within half a minute
	}
}

// Shop is a prepared demo server.
type Shop struct {
	admin     *url.URL
	log       *slog.Logger
	passwords map[string]string // by role, new at every start and kept in memory only
}

var roles = []string{"admin", "web", "checkout", "worker", "billing", "reporting", monitor}

//go:embed shop.sql
var shopSQL string

//go:embed billing.sql
var billingSQL string

//go:embed analytics.sql
var analyticsSQL string

var databases = []struct{ name, sql string }{{"shop", shopSQL}, {"billing", billingSQL}, {"analytics", analyticsSQL}}

// made marks a database that was filled to the end; another number makes it anew.
const made = "pganalytics demo 1"

// Prepare makes roles, databases and data on a server where they are missing, in some seconds.
// adminURL is the Superuser's.
func Prepare(ctx context.Context, adminURL string, log *slog.Logger) (*Shop, error) {
	admin, err := url.Parse(adminURL)
	if err != nil {
		return nil, fmt.Errorf("prepare the demo: the address is no URL") // err would print the password
	}
	s := &Shop{admin: admin, log: log, passwords: map[string]string{}}
	began := time.Now()
	if err := s.makeRoles(ctx); err != nil {
		return nil, fmt.Errorf("prepare the demo: %w", err)
	}
	var wg sync.WaitGroup
	errs := make([]error, len(databases))
	for i, d := range databases {
		wg.Go(func() { errs[i] = s.makeDatabase(ctx, d.name, d.sql) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("prepare the demo's database %s: %w", databases[i].name, err)
		}
	}
	log.Info("demo shop ready", "duration", time.Since(began).Round(time.Millisecond))
	return s, nil
}

// URL addresses the server as the monitoring role: what the collector watches.
func (s *Shop) URL() string { return s.url(monitor, "postgres").String() }

func (s *Shop) url(role, database string) *url.URL {
	u := *s.admin
	if role != "" {
		u.User = url.UserPassword(role, s.passwords[role])
	}
	u.Path = "/" + database
	return &u
}

// connectAdmin opens a superuser session that pg_stat_statements does not count: the screens are
// to show the shop, not its making, and no statement with a password.
func (s *Shop) connectAdmin(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, s.url("", database).String())
	if err != nil {
		return nil, err
	}
	for _, set := range []string{"SET pg_stat_statements.track = 'none'", "SET log_statement = 'none'", "SET log_min_error_statement = 'panic'", "SET client_min_messages = 'warning'"} {
		if _, err := conn.Exec(ctx, set); err != nil {
			conn.Close(ctx)
			return nil, err
		}
	}
	return conn, nil
}

func (s *Shop) makeRoles(ctx context.Context) error {
	conn, err := s.connectAdmin(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var user string
	if err := conn.QueryRow(ctx, "SELECT current_user").Scan(&user); err != nil {
		return err
	}
	if user != Superuser {
		return fmt.Errorf("the server belongs to %s, not %s", user, Superuser)
	}
	for _, role := range roles {
		var there bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role).Scan(&there); err != nil {
			return err
		}
		verb := "ALTER"
		if !there {
			verb = "CREATE"
		}
		s.passwords[role] = rand.Text() // letters and digits: nothing to quote
		limit := 20
		if role == monitor {
			limit = 10
		}
		if _, err := conn.Exec(ctx, fmt.Sprintf("%s ROLE %s LOGIN NOSUPERUSER CONNECTION LIMIT %d PASSWORD '%s'", verb, role, limit, s.passwords[role])); err != nil {
			return fmt.Errorf("make role %s: %w", role, err)
		}
	}
	for _, sql := range []string{
		"GRANT pg_monitor TO " + monitor,
		// Nothing the shop does may hang for long.
		"ALTER ROLE web SET statement_timeout = '5s'",
		"ALTER ROLE checkout SET lock_timeout = '8s'",
		"ALTER ROLE reporting SET work_mem = '256kB'", // too little: the reports spill into temporary files
		"ALTER ROLE reporting SET jit = off",
		"CREATE EXTENSION IF NOT EXISTS pg_stat_statements",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

func (s *Shop) makeDatabase(ctx context.Context, name, sql string) error {
	conn, err := s.connectAdmin(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var comment *string
	err = conn.QueryRow(ctx, "SELECT (SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1)", name).Scan(&comment)
	if err != nil {
		return err
	}
	if comment != nil && *comment == made {
		return nil
	}
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + name, "CREATE DATABASE " + name + " OWNER admin"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	in, err := s.connectAdmin(ctx, name)
	if err != nil {
		return err
	}
	defer in.Close(context.WithoutCancel(ctx))
	if _, err := in.Exec(ctx, sql); err != nil { // one transaction: many statements in one message
		return err
	}
	if _, err := in.Exec(ctx, giveAway); err != nil {
		return err
	}
	if _, err := in.Exec(ctx, "VACUUM (ANALYZE)"); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("COMMENT ON DATABASE %s IS '%s'", name, made))
	return err
}

// giveAway makes admin the owner, and reporting that of what it refreshes.
const giveAway = `
DO $$
DECLARE r record;
BEGIN
	FOR r IN SELECT c.oid::regclass AS name, c.relkind FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'm') LOOP
		IF r.relkind = 'm' THEN
			EXECUTE format('ALTER MATERIALIZED VIEW %s OWNER TO reporting', r.name);
		ELSE
			EXECUTE format('ALTER TABLE %s OWNER TO admin', r.name);
		END IF;
	END LOOP;
END $$;
GRANT USAGE, CREATE ON SCHEMA public TO admin, reporting;
`
