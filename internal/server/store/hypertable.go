package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// columnstoreAfter is the age at which a chunk is compressed: what collectors kept in their
	// spools through an outage mostly comes before.
	columnstoreAfter = 24 * time.Hour
	// policyEvery is how often TimescaleDB's jobs look at a table.
	policyEvery = time.Hour
	// policyApart spreads the jobs, so that they don't all want a background worker at once.
	policyApart = 30 * time.Second
	// policyLate is how long after their time old chunks may still be there before we drop them,
	// policies or not.
	policyLate = 24 * time.Hour
)

// literal quotes a string for SQL.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Configure brings the tables' columnstore and policies to what they should be. It does nothing
// where TimescaleDB does not compress and expire.
func (p *Partitions) Configure(ctx context.Context, retention time.Duration) error {
	if !p.layout.Columnstore {
		return nil
	}
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockPartitions)); err != nil {
			return fmt.Errorf("configure hypertables: %w", err)
		}
		// The first time asks for locks that wait for readers and make others wait behind.
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '5s'"); err != nil {
			return fmt.Errorf("configure hypertables: %w", err)
		}
		for i, t := range p.tables {
			if err := configure(ctx, tx, t, retention, time.Duration(i+1)*policyApart); err != nil {
				return fmt.Errorf("configure hypertable %s: %w", t.Name, err)
			}
		}
		return nil
	})
}

func configure(ctx context.Context, tx pgx.Tx, t Table, retention, wait time.Duration) error {
	var columnstore, compress bool
	var keep *time.Duration
	err := tx.QueryRow(ctx, `SELECT h.compression_enabled,
			EXISTS (SELECT FROM timescaledb_information.jobs j WHERE j.proc_name IN ('policy_compression', 'policy_columnstore')
				AND (j.hypertable_schema, j.hypertable_name) = (h.hypertable_schema, h.hypertable_name)),
			(SELECT make_interval(secs => extract(epoch FROM (j.config->>'drop_after')::interval)) FROM timescaledb_information.jobs j
				WHERE j.proc_name = 'policy_retention' AND (j.hypertable_schema, j.hypertable_name) = (h.hypertable_schema, h.hypertable_name))
		FROM timescaledb_information.hypertables h WHERE format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass = to_regclass($1)`,
		Quote(t.Name)).Scan(&columnstore, &compress, &keep)
	if err != nil {
		return err
	}
	table := literal(Quote(t.Name))
	var todo []string
	if !columnstore {
		// Rows of one key behind one another differ little: 9 bytes a row of statements, against
		// 32 in the order of time.
		order := make([]string, 0, len(t.Keys)+1)
		for _, k := range t.Keys {
			order = append(order, Quote(k))
		}
		order = append(order, "time DESC")
		todo = append(todo, fmt.Sprintf("ALTER TABLE %s SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'instance_id', timescaledb.orderby = %s)",
			Quote(t.Name), literal(strings.Join(order, ", "))))
	}
	if !compress {
		todo = append(todo, fmt.Sprintf("CALL add_columnstore_policy(%s, after => %s, if_not_exists => true, schedule_interval => %s, initial_start => now() + %s)",
			table, sqlInterval(columnstoreAfter), sqlInterval(policyEvery), sqlInterval(wait+policyApart/2)))
	}
	if keep != nil && *keep != retention {
		todo = append(todo, fmt.Sprintf("SELECT remove_retention_policy(%s)", table))
	}
	if keep == nil || *keep != retention {
		todo = append(todo, fmt.Sprintf("SELECT add_retention_policy(%s, drop_after => %s, schedule_interval => %s, initial_start => now() + %s)",
			table, sqlInterval(retention), sqlInterval(policyEvery), sqlInterval(wait)))
	}
	for _, sql := range todo {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

func sqlInterval(d time.Duration) string {
	return fmt.Sprintf("interval '%d seconds'", int64(d/time.Second))
}

// dropChunks drops the chunks that hold nothing younger than the cutoff. With policies these are
// only what the policies should have dropped a day ago. Whoever reads an old chunk keeps it until
// the next time, since others would have to wait behind us.
func (p *Partitions) dropChunks(ctx context.Context, cutoff int64) ([]string, error) {
	if p.layout.Columnstore {
		cutoff -= policyLate.Microseconds()
	}
	var dropped []string
	for _, t := range p.tables {
		var chunks []string
		err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '1s'"); err != nil {
				return err
			}
			rows, err := tx.Query(ctx, "SELECT drop_chunks($1::text::regclass, older_than => "+SQLTime("$2::bigint")+")", Quote(t.Name), cutoff)
			if err != nil {
				return err
			}
			chunks, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if err != nil && !isLockTimeout(err) {
			return dropped, fmt.Errorf("drop old chunks of %s: %w", t.Name, err)
		}
		if err == nil {
			dropped = append(dropped, chunks...)
		}
	}
	return dropped, nil
}

// RunJobs runs the policies of our hypertables that TimescaleDB's own workers fail to run, or have
// not run for a day, and names them: without workers to spare nothing would be compressed, and those
// of 2.28.3 do nothing on PostgreSQL 15.20, which refuses what they do with portals. A job that was
// unscheduled is left alone.
func (p *Partitions) RunJobs(ctx context.Context) ([]string, error) {
	if !p.layout.Columnstore {
		return nil, nil
	}
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at TimescaleDB's jobs: %w", err)
	}
	defer conn.Release()
	rows, err := conn.Query(ctx, `SELECT j.job_id, j.hypertable_name || ' (' || j.proc_name || ')'
		FROM timescaledb_information.jobs j LEFT JOIN timescaledb_information.job_stats s USING (job_id)
		WHERE j.hypertable_schema = (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass($1)) AND j.hypertable_name = ANY ($2)
		AND j.scheduled AND s.job_status IS DISTINCT FROM 'Running'
		AND (s.last_run_status = 'Failed' OR greatest(s.last_successful_finish, j.initial_start) < now() - interval '1 day') ORDER BY 2`,
		Quote(firstTable), p.names())
	if err != nil {
		return nil, fmt.Errorf("look at TimescaleDB's jobs: %w", err)
	}
	type job struct {
		id   int32
		name string
	}
	jobs, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (x job, err error) {
		err = r.Scan(&x.id, &x.name)
		return x, err
	})
	if err != nil || len(jobs) == 0 {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "SET lock_timeout = '5s'"); err != nil { // others wait behind us
		return nil, fmt.Errorf("run TimescaleDB's jobs: %w", err)
	}
	defer func() {
		if _, err := conn.Exec(context.WithoutCancel(ctx), "RESET lock_timeout"); err != nil {
			_ = conn.Conn().Close(context.WithoutCancel(ctx))
		}
	}()
	var ran []string
	var errs []error
	for _, j := range jobs {
		if _, err := conn.Exec(ctx, fmt.Sprintf("CALL run_job(%d)", j.id)); err != nil {
			errs = append(errs, fmt.Errorf("run TimescaleDB's job %d of %s: %w", j.id, j.name, err))
			continue
		}
		ran = append(ran, j.name)
	}
	return ran, errors.Join(errs...)
}

func (p *Partitions) names() []string {
	out := make([]string, len(p.tables))
	for i := range p.tables {
		out[i] = p.tables[i].Name
	}
	return slices.Clip(out)
}
