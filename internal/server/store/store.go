// Package store opens the backend's databases: connections, the checks that a
// store must pass before anything is promised on it, the migrations of
// hand-written tables, which each package embeds for its own, and the days of
// tables that are cut by time: partitions, or TimescaleDB's hypertables.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

const (
	// Minimum is the oldest server_version_num that the store runs on.
	Minimum = 140000
	// MetricsTable and AppTable hold the versions of the two databases' migrations. They
	// differ since both may be one database.
	MetricsTable = "pganalytics_migration"
	AppTable     = "pganalytics_app_migration"
)

// ErrUnfit is what an error of Check wraps when no retry will mend it.
var ErrUnfit = errors.New("this server cannot be the store")

// Options are what callers may change of a pool.
type Options struct {
	MaxConns int32
	// AllowFsyncOff accepts a server with fsync = off, for tests: such a store
	// forgets what it promised when the machine stops.
	AllowFsyncOff bool
}

// Open makes a pool for url; it connects when first used. The error never holds
// the URL, which may hold a password.
func Open(url string, o Options) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
			return nil, errors.New("database URL: want postgres://USER:PASSWORD@HOST:PORT/DATABASE")
		}
		return nil, fmt.Errorf("database URL: %w", err)
	}
	if o.MaxConns > 0 {
		cfg.MaxConns = o.MaxConns
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	set := func(name, value string) {
		if _, given := cfg.ConnConfig.RuntimeParams[name]; !given {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	set("application_name", "pganalytics backend")
	set("TimeZone", "UTC")
	// A backend that is stopped in a transaction must not hold its locks for ever.
	set("idle_in_transaction_session_timeout", "60000")
	return pgxpool.NewWithConfig(context.Background(), cfg)
}

// Check verifies that the server can keep a promise: new enough, writable, and
// with fsync on.
func Check(ctx context.Context, pool *pgxpool.Pool, o Options) error {
	var version int
	var fsync, encoding string
	var recovery bool
	err := pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('fsync'), current_setting('server_encoding'), pg_is_in_recovery()`).Scan(&version, &fsync, &encoding, &recovery)
	switch {
	case err != nil:
		return fmt.Errorf("check the store: %w", err)
	case version < Minimum:
		return fmt.Errorf("%w: server_version_num %d, want %d or newer", ErrUnfit, version, Minimum)
	case fsync != "on" && !o.AllowFsyncOff:
		return fmt.Errorf("%w: fsync is %s, so a crash of its machine would lose what was confirmed", ErrUnfit, fsync)
	case encoding != "UTF8":
		return fmt.Errorf("%w: the database's encoding is %s, want UTF8", ErrUnfit, encoding)
	case recovery:
		return errors.New("check the store: it is a standby, which cannot be written")
	}
	return nil
}

// Migrate applies the migrations in the folder migrations/ of each source, in the order
// of their numbers, which are unique over all sources. Two backends may call it at once.
func Migrate(ctx context.Context, pool *pgxpool.Pool, table string, sources ...fs.FS) error {
	all := fstest.MapFS{}
	for _, source := range sources {
		names, err := fs.Glob(source, "migrations/*.sql")
		if err != nil {
			return fmt.Errorf("list migrations: %w", err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(source, name)
			if err != nil {
				return fmt.Errorf("read migration %s: %w", name, err)
			}
			all[name[len("migrations/"):]] = &fstest.MapFile{Data: text, Mode: 0o444}
		}
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60), lock.WithUnlockTimeout(1, 5))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func(db *sql.DB) { _ = db.Close() }(db) // the pool stays open
	p, err := goose.NewProvider(goose.DialectPostgres, db, all, goose.WithTableName(table), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// Quote quotes an identifier.
func Quote(name string) string { return pgx.Identifier{name}.Sanitize() }
