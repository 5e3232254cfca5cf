package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/server/snapshot"
)

// Run is a stretch of time in which ticks of an instance were not stored, for one
// reason, over all its databases and families. Times are microseconds since the
// Unix epoch.
type Run struct {
	Instance                int64
	Outcome, Reason, Detail string
	First, Last             int64
	Ticks                   int64
	Families                []string
}

// Exceptions that overlap, or follow within 1.5 intervals of the slower one (at
// least a minute), are one run: islands, found by where a new one begins.
const runsSQL = `
WITH e AS (
	SELECT *, greatest(make_interval(secs => every_us / 1e6 * 1.5), interval '65 seconds') AS slack FROM ledger_exception
	WHERE ($1 = 0 OR instance_id = $1) AND last > $2 AND first <= $3),
begun AS (
	SELECT *, CASE WHEN first <= max(last + slack) OVER earlier THEN 0 ELSE 1 END AS new FROM e
	WINDOW earlier AS (PARTITION BY instance_id, outcome, reason ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
islands AS (
	SELECT *, sum(new) OVER (PARTITION BY instance_id, outcome, reason ORDER BY first, last) AS island FROM begun)
SELECT instance_id, outcome, reason, max(detail), min(first), max(last), sum(n)::bigint, array_agg(DISTINCT family ORDER BY family)
FROM islands GROUP BY instance_id, outcome, reason, island ORDER BY max(last) DESC, instance_id, outcome, reason LIMIT $4`

// Runs gives the newest runs of one instance or (0) all in the window, newest first.
func Runs(ctx context.Context, tx pgx.Tx, instance int64, w Window, limit int) ([]Run, error) {
	rows, err := tx.Query(ctx, runsSQL, instance, snapshot.Micros(w.From), snapshot.Micros(w.To), limit)
	if err != nil {
		return nil, fmt.Errorf("read runs of exceptions: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Run, err error) {
		var first, last snapshot.Micros
		err = row.Scan(&r.Instance, &r.Outcome, &r.Reason, &r.Detail, &first, &last, &r.Ticks, &r.Families)
		r.First, r.Last = int64(first), int64(last)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read runs of exceptions: %w", err)
	}
	return out, nil
}
