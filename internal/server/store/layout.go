package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Layout is how a metrics database keeps the tables that are cut by time. The first migrations
// decide it for good: hypertables where the database has TimescaleDB by then, else our own daily
// partitions. What TimescaleDB a database gets later changes nothing that lies in it.
type Layout struct {
	Hypertables bool
	// Columnstore: TimescaleDB compresses and expires by policies. Its Apache build
	// (timescaledb.license = apache) does neither, so we drop old chunks ourselves.
	Columnstore bool
	// Detail says it for logs and health.
	Detail string
}

// firstTable is the table by which a database's layout is known. The migration that makes it
// decides, under the lock of migrations; all later tables follow.
const firstTable = "ledger"

// querier is what a pool and a transaction have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// FindLayout reads the layout of a database that has been migrated; one that has not has
// partitions. An error that wraps ErrUnfit is a database whose TimescaleDB was taken away.
func FindLayout(ctx context.Context, db querier) (Layout, error) {
	var kind, installed, available, license string
	err := db.QueryRow(ctx, `SELECT coalesce((SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)), ''),
		coalesce((SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'), ''),
		coalesce((SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'), ''),
		coalesce(current_setting('timescaledb.license', true), '')`, Quote(firstTable)).Scan(&kind, &installed, &available, &license)
	if err != nil {
		return Layout{}, fmt.Errorf("find the store's layout: %w", err)
	}
	if kind != "r" {
		switch {
		case installed != "":
			return Layout{Detail: "daily partitions, made before the database had TimescaleDB " + installed + " (2.18 or newer is used)"}, nil
		case available != "":
			return Layout{Detail: "daily partitions; TimescaleDB " + available + " is installed on the server, but not in this database"}, nil
		}
		return Layout{Detail: "daily partitions"}, nil
	}
	var hypertable bool
	if installed != "" {
		if err := db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM timescaledb_information.hypertables
			WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = to_regclass($1))`, Quote(firstTable)).Scan(&hypertable); err != nil {
			return Layout{}, fmt.Errorf("find the store's layout: %w", err)
		}
	}
	switch {
	case !hypertable:
		return Layout{}, fmt.Errorf("%w: table %s has no partitions and is no hypertable: the extension timescaledb was dropped", ErrUnfit, firstTable)
	case license == "apache":
		return Layout{Hypertables: true, Detail: "TimescaleDB " + installed + ", hypertables without columnstore: timescaledb.license is apache"}, nil
	}
	return Layout{Hypertables: true, Columnstore: true, Detail: "TimescaleDB " + installed + ", hypertables with columnstore"}, nil
}

// PartitionBy is the end of CREATE TABLE for a table that is cut by its column time.
func (l Layout) PartitionBy() string {
	if l.Hypertables {
		return ""
	}
	return " PARTITION BY RANGE (time)"
}

// Cut gives the statements that follow CREATE TABLE.
func (l Layout) Cut(table string) []string {
	if !l.Hypertables {
		return nil
	}
	return []string{fmt.Sprintf("SELECT create_hypertable(%s, by_range('time', interval '1 day'), create_default_indexes => false)", literal(Quote(table)))}
}

// isLockTimeout says that a statement gave up waiting for a lock.
func isLockTimeout(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "55P03"
}
