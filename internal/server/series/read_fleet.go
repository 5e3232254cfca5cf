package series

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/snapshot"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Total is what an instance counted of a family in a window: sums of columns in
// documented units, and the seconds that a rate divides by.
type Total struct {
	Sums    []float64
	Seconds float64
}

// Rate gives column i per second, false when nothing was observed.
func (t *Total) Rate(i int) (float64, bool) {
	if t == nil || t.Seconds <= 0 {
		return 0, false
	}
	return t.Sums[i] / t.Seconds, true
}

// Totals gives for each of the instances the sums of counters of a family of scope
// instance in the window: rows, cut and dropped. spans is what ledger.Spans gives of
// the window.
func Totals(ctx context.Context, tx pgx.Tx, family string, instances []int64, w ledger.Window, spans map[int64]map[string]int64, columns ...string) (map[int64]*Total, error) {
	f := catalog.Lookup(family)
	out := map[int64]*Total{}
	of := func(id int64) *Total {
		t := out[id]
		if t == nil {
			t = &Total{Sums: make([]float64, len(columns))}
			out[id] = t
		}
		return t
	}
	for id, span := range spans {
		if us, read := span[family]; read {
			of(id).Seconds = float64(us) / 1e6
		}
	}
	// A double holds every sum below 2^53 exactly, and overflows never.
	var sums []string
	for _, c := range columns {
		sums = append(sums, fmt.Sprintf("COALESCE(sum(%s), 0)::float8", store.Quote(c)))
	}
	list := strings.Join(sums, ", ")
	rows, err := tx.Query(ctx, fmt.Sprintf(`
SELECT instance_id, 0::float8, ARRAY[%s] FROM %s WHERE instance_id = ANY ($3) AND time > $1 AND time <= $2 GROUP BY 1
UNION ALL
SELECT instance_id, 0::float8, ARRAY[%[1]s] FROM %[3]s WHERE instance_id = ANY ($3) AND time > $1 AND time <= $2 GROUP BY 1
UNION ALL
SELECT instance_id, sum(extract(epoch FROM at - since))::float8, NULL FROM (SELECT DISTINCT instance_id, time, since, at FROM %[3]s
	WHERE instance_id = ANY ($3) AND time > $1 AND time <= $2 AND kind = 2) d GROUP BY 1`,
		list, store.Quote(rawTable(f)), store.Quote(sumTable(f))), snapshot.Micros(w.From), snapshot.Micros(w.To), instances)
	if err != nil {
		return nil, fmt.Errorf("read totals of %s: %w", family, err)
	}
	var (
		id      int64
		seconds float64
		values  []float64
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &seconds, &values}, func() error {
		t := of(id)
		t.Seconds += seconds
		for i, v := range values {
			t.Sums[i] += v / float64(f.Column(columns[i]).Scale())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read totals of %s: %w", family, err)
	}
	return out, nil
}

// Sessions are client sessions at a tick.
type Sessions struct{ All, Active float64 }

// SessionsAt gives for each instance its client sessions at its tick (ticks runs
// beside instances).
func SessionsAt(ctx context.Context, tx pgx.Tx, instances, ticks []int64) (map[int64]Sessions, error) {
	at := make([]snapshot.Micros, len(ticks))
	for i, t := range ticks {
		at[i] = snapshot.Micros(t)
	}
	rows, err := tx.Query(ctx, `SELECT i.id, COALESCE(s.n, 0)::float8, COALESCE(s.active, 0)::float8 FROM unnest($1::bigint[], $2::timestamptz[]) i(id, tick)
CROSS JOIN LATERAL (SELECT sum(sessions) AS n, sum(sessions) FILTER (WHERE state = 'active') AS active FROM activity_raw
	WHERE instance_id = i.id AND time = i.tick AND backend_type = 'client backend') s`, instances, at)
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	out := map[int64]Sessions{}
	var (
		id int64
		s  Sessions
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &s.All, &s.Active}, func() error {
		out[id] = s
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	return out, nil
}

// ActiveTrend gives for each instance the sum of active client sessions over the
// ticks of each of n buckets of the window; a bucket's mean divides by its stored
// ticks, which the ledger knows.
func ActiveTrend(ctx context.Context, tx pgx.Tx, instances []int64, w ledger.Window, step int64, n int) (map[int64][]float64, error) {
	return bucketed(ctx, tx, `SELECT instance_id, date_bin($4::interval, time - interval '1 microsecond', $2), sum(sessions)::float8 FROM activity_raw
WHERE instance_id = ANY ($1) AND time > $2 AND time <= $3 AND state = 'active' AND backend_type = 'client backend' GROUP BY 1, 2`, instances, w, step, n)
}

// CycleTrend gives for each instance the longest cycle of its collector, in
// seconds, in each of n buckets of the window; 0 where there is none.
func CycleTrend(ctx context.Context, tx pgx.Tx, instances []int64, w ledger.Window, step int64, n int) (map[int64][]float64, error) {
	return bucketed(ctx, tx, `SELECT instance_id, date_bin($4::interval, time - interval '1 microsecond', $2), max(cycle_time)::float8 / 1000000 FROM collector_raw
WHERE instance_id = ANY ($1) AND time > $2 AND time <= $3 AND cycle_time IS NOT NULL GROUP BY 1, 2`, instances, w, step, n)
}

func bucketed(ctx context.Context, tx pgx.Tx, sql string, instances []int64, w ledger.Window, step int64, n int) (map[int64][]float64, error) {
	rows, err := tx.Query(ctx, sql, instances, snapshot.Micros(w.From), snapshot.Micros(w.To), time.Duration(step)*time.Microsecond)
	if err != nil {
		return nil, fmt.Errorf("read trends: %w", err)
	}
	out := map[int64][]float64{}
	var (
		id    int64
		start snapshot.Micros
		value float64
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &start, &value}, func() error {
		if out[id] == nil {
			out[id] = make([]float64, n)
		}
		if i := (int64(start) - w.From) / step; i >= 0 && i < int64(n) {
			out[id][i] += value
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read trends: %w", err)
	}
	return out, nil
}

// Row is the gauges of a row of the family collector.
type Row struct {
	Time   int64
	Values []*float64 // in documented units and the order asked for, nil for NULL
}

// Newest gives for each instance the newest row of the family collector at most an
// hour before now.
func Newest(ctx context.Context, tx pgx.Tx, instances []int64, now int64, columns ...string) (map[int64]Row, error) {
	f := catalog.Lookup("collector")
	var list []string
	for _, c := range columns {
		list = append(list, fmt.Sprintf("%s::float8 / %d", store.Quote(c), f.Column(c).Scale()))
	}
	rows, err := tx.Query(ctx, `SELECT i.id, c.time, c.v FROM unnest($1::bigint[]) i(id)
CROSS JOIN LATERAL (SELECT time, ARRAY[`+strings.Join(list, ", ")+`] AS v FROM collector_raw WHERE instance_id = i.id AND time > $2 AND time <= $3 ORDER BY time DESC LIMIT 1) c`,
		instances, snapshot.Micros(now-lookBack), snapshot.Micros(now))
	if err != nil {
		return nil, fmt.Errorf("read the collectors' state: %w", err)
	}
	out := map[int64]Row{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var id int64
		var at snapshot.Micros
		var values []*float64
		err := row.Scan(&id, &at, &values)
		out[id] = Row{int64(at), values}
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the collectors' state: %w", err)
	}
	return out, nil
}

// Coverage is how much of what was called is stored statement by statement.
type Coverage struct{ storedCalls, storedTime, calls, time float64 }

// Add adds o to c.
func (c *Coverage) Add(o *Coverage) {
	c.storedCalls += o.storedCalls
	c.storedTime += o.storedTime
	c.calls += o.calls
	c.time += o.time
}

// Calls is the share of calls, false when there were none.
func (c *Coverage) Calls() (float64, bool) { return c.storedCalls / c.calls, c.calls > 0 }

// Time is the share of execution time, false when there was none.
func (c *Coverage) Time() (float64, bool) { return c.storedTime / c.time, c.time > 0 }

// Coverages gives the coverage of each of the instances in the window.
func Coverages(ctx context.Context, tx pgx.Tx, instances []int64, w ledger.Window) (map[int64]*Coverage, error) {
	rows, err := tx.Query(ctx, `
SELECT instance_id, true, COALESCE(sum(calls), 0)::float8, COALESCE(sum(total_exec_time), 0)::float8 FROM statements_total
WHERE instance_id = ANY ($3) AND time > $1 AND time <= $2 GROUP BY 1
UNION ALL
SELECT instance_id, false, COALESCE(sum(calls), 0)::float8, COALESCE(sum(total_exec_time), 0)::float8 FROM statements_sum
WHERE instance_id = ANY ($3) AND time > $1 AND time <= $2 GROUP BY 1`, snapshot.Micros(w.From), snapshot.Micros(w.To), instances)
	if err != nil {
		return nil, fmt.Errorf("read coverage: %w", err)
	}
	out := map[int64]*Coverage{}
	var (
		id          int64
		stored      bool
		calls, time float64
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &stored, &calls, &time}, func() error {
		part := Coverage{calls: calls, time: time}
		if stored {
			part.storedCalls, part.storedTime = calls, time
		}
		if out[id] == nil {
			out[id] = &Coverage{}
		}
		out[id].Add(&part)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read coverage: %w", err)
	}
	return out, nil
}
