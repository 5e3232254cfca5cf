package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	tables      = 20
	tableRows   = 200
	fewQueries  = 120
	manyQueries = 1000
)

// fill makes the database of the watched servers: 20 tables with two indexes each,
// and the role that watches.
func fill(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to the template: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var b strings.Builder
	b.WriteString("CREATE EXTENSION pg_stat_statements; CREATE ROLE pganalytics LOGIN; GRANT pg_monitor TO pganalytics;")
	for t := range tables {
		fmt.Fprintf(&b, `CREATE TABLE t%[1]d (id int PRIMARY KEY, k int NOT NULL, note text NOT NULL);
			CREATE INDEX t%[1]d_k ON t%[1]d (k);
			INSERT INTO t%[1]d SELECT i, i %% 20, 'a row of table ' || %[1]d FROM generate_series(1, %[2]d) i;`, t, tableRows)
	}
	b.WriteString("ANALYZE; SELECT pg_stat_statements_reset();")
	_, err = conn.Exec(ctx, b.String(), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return fmt.Errorf("fill the template: %w", err)
	}
	return nil
}

// queries are n statements that pg_stat_statements tells apart; none grows a table.
func queries(n int) []string {
	out := make([]string, n)
	for i := range out {
		t, shape := i%tables, i/tables
		switch shape {
		case 0:
			out[i] = fmt.Sprintf("SELECT note FROM t%d WHERE id = 17", t)
		case 1:
			out[i] = fmt.Sprintf("SELECT count(*) FROM t%d WHERE k = 3", t)
		case 2:
			out[i] = fmt.Sprintf("UPDATE t%d SET note = 'a changed row' WHERE id = 11", t)
		case 3:
			out[i] = fmt.Sprintf("INSERT INTO t%d VALUES (100000, 21, 'a row that goes')", t)
		case 4:
			out[i] = fmt.Sprintf("DELETE FROM t%d WHERE id = 100000", t)
		case 5:
			out[i] = fmt.Sprintf("SELECT max(note), sum(k) FROM t%d", t)
		default: // as many terms as make it another statement
			out[i] = fmt.Sprintf("SELECT k%s FROM t%d WHERE id = 5", strings.Repeat(" + 1", shape-5), t)
		}
	}
	return out
}

// load runs every statement of each server once per interval, in one pipeline.
type load struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
	mu     sync.Mutex
	err    error
}

func startLoad(ctx context.Context, servers []*server, n int, interval time.Duration) *load {
	l := &load{}
	ctx, l.cancel = context.WithCancel(ctx)
	sql := queries(n)
	for i, s := range servers {
		l.wait.Go(func() {
			// Spread over the interval, so that it is the same load at every moment.
			if sleep(ctx, interval*time.Duration(i)/time.Duration(len(servers))) != nil {
				return
			}
			if err := drive(ctx, s.url("postgres"), sql, interval); err != nil && ctx.Err() == nil {
				l.mu.Lock()
				l.err = errors.Join(l.err, fmt.Errorf("workload on port %d: %w", s.port, err))
				l.mu.Unlock()
			}
		})
	}
	return l
}

func (l *load) stop() error {
	l.cancel()
	l.wait.Wait()
	return l.err
}

func drive(ctx context.Context, url string, sql []string, interval time.Duration) error {
	conn, err := pgconn.Connect(ctx, url+"&application_name=shop")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for i, q := range sql {
		if _, err := conn.Prepare(ctx, fmt.Sprint("q", i), q, nil); err != nil {
			return err
		}
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		p := conn.StartPipeline(ctx)
		for i := range sql {
			p.SendQueryPrepared(fmt.Sprint("q", i), nil, nil, nil)
		}
		if err := discard(p, 1); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// discard sends what is in a pipeline, with a Sync, and reads all answers, up to that
// to the last of so many Syncs, keeping nothing.
func discard(p *pgconn.Pipeline, syncs int) error {
	if err := p.Sync(); err != nil {
		return err
	}
	for {
		got, err := p.GetResults()
		if err != nil {
			_ = p.Close()
			return err
		}
		switch r := got.(type) {
		case *pgconn.ResultReader:
			for r.NextRow() {
			}
			if _, err := r.Close(); err != nil {
				_ = p.Close()
				return err
			}
		case *pgconn.PipelineSync:
			if syncs--; syncs == 0 {
				return p.Close()
			}
		}
	}
}
