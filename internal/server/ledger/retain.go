package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Retain deletes what lies wholly before the cutoff (microseconds): exceptions, and schedules that
// ended, by themselves or because another began. Partitions are dropped by store.Partitions.
func (l *Ledger) Retain(ctx context.Context, pool *pgxpool.Pool, cutoff int64) error {
	before := store.SQLTime("$1::bigint")
	return errors.Join(
		deleteAll(ctx, pool, "exceptions", `DELETE FROM ledger_exception WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM ledger_exception WHERE last < `+before+` LIMIT 10000))`, cutoff),
		deleteAll(ctx, pool, "schedules", `DELETE FROM ledger_schedule WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM ledger_schedule s WHERE valid_from < `+before+` AND (valid_to < `+before+` OR valid_to IS NULL AND EXISTS (
				SELECT FROM ledger_schedule n WHERE (n.instance_id, n.database, n.family) = (s.instance_id, s.database, s.family)
				AND n.valid_to IS NULL AND n.valid_from > s.valid_from AND n.valid_from < `+before+`)) LIMIT 10000))`, cutoff))
}

// deleteAll repeats a DELETE of at most 10,000 rows until it finds fewer.
func deleteAll(ctx context.Context, pool *pgxpool.Pool, what, sql string, args ...any) error {
	for {
		tag, err := pool.Exec(ctx, sql, args...)
		if err != nil {
			return fmt.Errorf("delete old %s: %w", what, err)
		}
		if tag.RowsAffected() < 10000 {
			return nil
		}
	}
}
