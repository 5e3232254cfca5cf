package series

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// lockDDL is the advisory lock that all DDL of backends is done under.
const lockDDL = 0x70676131

// prefixes that hand-written relations use: no family may be called so.
var reserved = []string{"fleet_", "ledger", "ingest_", "series_", "metrics", "pganalytics_"}

// Reconcile makes the tables and views of families as the catalog has them:
// creates, adds columns, never drops, never changes a type. It may run in several
// backends at once, also of different versions, and while others read and write.
// A table that has one of our columns with another type is an error.
func Reconcile(ctx context.Context, pool *pgxpool.Pool, families []*catalog.Family) error {
	layout, err := store.FindLayout(ctx, pool)
	if err != nil {
		return err
	}
	for _, f := range families {
		for _, p := range reserved {
			if strings.HasPrefix(f.Name, p) {
				return fmt.Errorf("family %q: names beginning with %q belong to the store", f.Name, p)
			}
		}
		// ADD COLUMN wants a lock that waits for readers and makes others wait behind it:
		// ask briefly, and again.
		var err error
		for range 50 {
			err = reconcile(ctx, pool, layout, f)
			var pe *pgconn.PgError
			if !errors.As(err, &pe) || pe.Code != "55P03" && pe.Code != "40P01" {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
		}
		if err != nil {
			return fmt.Errorf("reconcile family %s: %w", f.Name, err)
		}
	}
	return nil
}

func reconcile(ctx context.Context, pool *pgxpool.Pool, layout store.Layout, f *catalog.Family) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockDDL)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '1s'"); err != nil {
			return err
		}
		var todo []string
		for _, t := range tables(f) {
			have, err := existing(ctx, tx, t.name)
			if err != nil {
				return err
			}
			if len(have) == 0 {
				todo = append(todo, t.create(layout)...)
				continue
			}
			for _, c := range t.columns {
				i := slices.IndexFunc(have, func(h column) bool { return h.name == c.name })
				switch {
				case i < 0 && c.notNull:
					return fmt.Errorf("table %s lacks column %s, which cannot be added: the family's keys changed", t.name, c.name)
				case i < 0:
					todo = append(todo, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s", store.Quote(t.name), c.sql()))
				case have[i].typ != c.typ:
					return fmt.Errorf("table %s: column %s is %s, the catalog says %s", t.name, c.name, have[i].typ, c.typ)
				}
			}
		}
		for _, sql := range todo {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return reconcileView(ctx, tx, f)
	})
}

// reconcileView replaces the view unless it is up to date, or is a newer
// backend's, with columns that we don't know.
func reconcileView(ctx context.Context, tx pgx.Tx, f *catalog.Family) error {
	have, err := existing(ctx, tx, f.Name)
	if err != nil {
		return err
	}
	v := view(f, names(have))
	for _, h := range have {
		if !slices.ContainsFunc(v.columns, func(c viewColumn) bool { return c.name == h.name }) {
			return nil
		}
	}
	sql := v.create()
	if len(have) > 0 {
		var comment string
		if err := tx.QueryRow(ctx, "SELECT coalesce(obj_description($1::regclass, 'pg_class'), '')", store.Quote(f.Name)).Scan(&comment); err != nil {
			return err
		}
		if comment == v.comment(sql[0]) {
			return nil
		}
	}
	for _, s := range sql {
		if _, err := tx.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// existing gives the columns of a relation in the search path, nil when there is none.
func existing(ctx context.Context, tx pgx.Tx, name string) ([]column, error) {
	rows, err := tx.Query(ctx, `SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
		FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, store.Quote(name))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (column, error) {
		var c column
		err := r.Scan(&c.name, &c.typ, &c.notNull)
		if c.typ == "timestamp with time zone" {
			c.typ = "timestamptz"
		}
		return c, err
	})
}
