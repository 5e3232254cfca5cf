package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/server/snapshot"
)

// Frame is when a family was read at a stored tick. Times are microseconds since
// the Unix epoch; Since == At when the read only set baselines.
type Frame struct {
	Database        string
	Tick, Since, At int64
}

const framesSQL = `
SELECT database, time, at_ms[least(i, cardinality(at_ms))], since_ms[least(i, cardinality(since_ms))]
FROM ledger, array_position(families, (SELECT id FROM ledger_family WHERE name = $2)) i
WHERE instance_id = $1 AND time > $3 AND time <= $4 AND i IS NOT NULL
ORDER BY time, database`

// Frames gives the stored frames of a family of an instance in the window, by tick.
func Frames(ctx context.Context, tx pgx.Tx, instance int64, family string, w Window) ([]Frame, error) {
	rows, err := tx.Query(ctx, framesSQL, instance, family, snapshot.Micros(w.From), snapshot.Micros(w.To))
	if err != nil {
		return nil, fmt.Errorf("read frames: %w", err)
	}
	var (
		out       []Frame
		f         Frame
		tick      snapshot.Micros
		at, since int64
	)
	_, err = pgx.ForEachRow(rows, []any{&f.Database, &tick, &at, &since}, func() error {
		f.Tick = int64(tick)
		f.At = f.Tick + at*1000
		f.Since = f.At - since*1000
		out = append(out, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read frames: %w", err)
	}
	return out, nil
}

// Spans gives for each of the instances, and for every family of scope instance
// in the slow lane, Σ (at − since) of the stored frames in the window, in
// microseconds: what a rate over the window divides by.
func Spans(ctx context.Context, tx pgx.Tx, instances []int64, w Window) (map[int64]map[string]int64, error) {
	rows, err := tx.Query(ctx, `
SELECT l.instance_id, n.name, l.span * 1000 FROM (
	SELECT instance_id, u.id, sum(since_ms[least(u.i, cardinality(since_ms))])::bigint AS span
	FROM ledger, unnest(families) WITH ORDINALITY u(id, i)
	WHERE instance_id = ANY ($1) AND time > $2 AND time <= $3 AND lane = 'slow' AND database = '' GROUP BY 1, 2) l
JOIN ledger_family n USING (id)`, instances, snapshot.Micros(w.From), snapshot.Micros(w.To))
	if err != nil {
		return nil, fmt.Errorf("read spans: %w", err)
	}
	out := map[int64]map[string]int64{}
	var (
		id, span int64
		family   string
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &family, &span}, func() error {
		if out[id] == nil {
			out[id] = map[string]int64{}
		}
		out[id][family] = span
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read spans: %w", err)
	}
	return out, nil
}
