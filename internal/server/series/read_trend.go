package series

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/snapshot"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Trend gives a column's rate per second of each statement in n equal buckets of
// the window; NaN is a gap.
func Trend(ctx context.Context, tx pgx.Tx, instance int64, w ledger.Window, column *catalog.Column, items []Statement, n int) ([][]float64, error) {
	out := make([][]float64, len(items))
	if n == 0 || len(items) == 0 || w.To <= w.From {
		return out, nil
	}
	frames, err := ledger.Frames(ctx, tx, instance, statements.Name, w)
	if err != nil {
		return nil, err
	}
	s := newStream(grid{start: w.From, step: (w.To - w.From + int64(n) - 1) / int64(n), n: n}, frames, 0)
	type key struct{ query, dbid, userid int64 }
	index := map[key]int{}
	var ids []int64
	for i, it := range items {
		ids = append(ids, it.QueryID)
		for _, id := range it.ids {
			index[key{it.QueryID, id[0], id[1]}] = i
		}
		out[i] = make([]float64, n)
	}
	rows, err := tx.Query(ctx, `SELECT queryid, dbid, userid, time, sum(`+store.Quote(column.Name)+`)::bigint FROM statements_raw
WHERE instance_id = $1 AND time > $2 AND time <= $3 AND queryid = ANY ($4) AND `+store.Quote(column.Name)+` IS NOT NULL GROUP BY 1, 2, 3, 4`,
		instance, snapshot.Micros(w.From), snapshot.Micros(w.To), ids)
	if err != nil {
		return nil, fmt.Errorf("read trends: %w", err)
	}
	var (
		k     key
		tick  snapshot.Micros
		delta int64
	)
	_, err = pgx.ForEachRow(rows, []any{&k.query, &k.dbid, &k.userid, &tick, &delta}, func() error {
		i, shown := index[k]
		f, known := s.index[int64(tick)]
		if !shown || !known || s.homes[f] < 0 {
			return nil
		}
		for b := s.fills[f][0]; b < s.fills[f][1]; b++ {
			out[i][b] += float64(delta)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read trends: %w", err)
	}
	for _, values := range out {
		for b := range values {
			if s.span[b] <= 0 {
				values[b] = math.NaN()
			} else {
				values[b] /= float64(s.span[b]) / 1e6 * float64(column.Scale())
			}
		}
	}
	return out, nil
}
