package measure

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A watched server has 20 tables with two indexes each.
const (
	tables    = 20
	tableRows = 200
)

// Monitor is the role that watches.
const Monitor = "monitor"

// Fill makes what watched servers hold: the tables, pg_stat_statements and the role.
func Fill(ctx context.Context, url, password string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to the template: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE EXTENSION pg_stat_statements; CREATE ROLE %s LOGIN PASSWORD '%s'; GRANT pg_monitor TO %[1]s;", Monitor, password)
	for t := range tables {
		fmt.Fprintf(&b, `CREATE TABLE t%[1]d (id int PRIMARY KEY, k int NOT NULL, note text NOT NULL);
			CREATE INDEX t%[1]d_k ON t%[1]d (k);
			INSERT INTO t%[1]d SELECT i, i %% 20, 'a row of table ' || %[1]d FROM generate_series(1, %[2]d) i;`, t, tableRows)
	}
	b.WriteString("ANALYZE; SELECT pg_stat_statements_reset();")
	if _, err := conn.Exec(ctx, b.String(), pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("fill the template: %w", err)
	}
	return nil
}

// WatchedSettings are those of the watched servers: small, and quiet when nobody asks.
func WatchedSettings(connections int) map[string]string {
	return map[string]string{
		"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "off", "shared_buffers": "8MB",
		"max_connections": fmt.Sprint(connections), "max_wal_senders": "0", "wal_level": "minimal", "max_logical_replication_workers": "0",
		"max_wal_size": "64MB", "min_wal_size": "32MB", "autovacuum_naptime": "1h", "bgwriter_delay": "10s", "wal_writer_delay": "10s", "checkpoint_timeout": "1h", "jit": "off",
	}
}

// Statements are n that pg_stat_statements tells apart; none grows a table.
func Statements(n int) []string {
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

// Reads are n statements that only read a row, so that many connections at once wait for
// nobody.
func Reads(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("SELECT k%s FROM t%d WHERE id = 5", strings.Repeat(" + 1", i/tables), i%tables)
	}
	return out
}

// Load runs statements on servers, in one pipeline each time.
type Load struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
	ran    atomic.Int64
	mu     sync.Mutex
	err    error
}

// StartLoad runs every statement on each URL once per interval, the URLs spread over
// it; an interval of 0 means again at once.
func StartLoad(ctx context.Context, urls, statements []string, interval time.Duration) *Load {
	l := &Load{}
	ctx, l.cancel = context.WithCancel(ctx)
	for i, url := range urls {
		l.wait.Go(func() {
			if Sleep(ctx, interval*time.Duration(i)/time.Duration(len(urls))) != nil {
				return
			}
			if err := l.drive(ctx, url, statements, interval); err != nil && ctx.Err() == nil {
				l.mu.Lock()
				l.err = errors.Join(l.err, fmt.Errorf("workload: %w", err))
				l.mu.Unlock()
			}
		})
	}
	return l
}

// Ran says how many statements have run.
func (l *Load) Ran() int64 { return l.ran.Load() }

// Stop ends it, and says what went wrong.
func (l *Load) Stop() error {
	l.cancel()
	l.wait.Wait()
	return l.err
}

func (l *Load) drive(ctx context.Context, url string, statements []string, interval time.Duration) error {
	conn, err := pgconn.Connect(ctx, url+"&application_name=shop")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for i, q := range statements {
		if _, err := conn.Prepare(ctx, fmt.Sprint("q", i), q, nil); err != nil {
			return err
		}
	}
	tick := time.NewTicker(max(interval, 1))
	defer tick.Stop()
	for {
		if err := l.round(ctx, conn, len(statements)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// round runs all statements once. It is not cut short by the end of ctx, so that what
// has run is known exactly.
func (l *Load) round(ctx context.Context, conn *pgconn.PgConn, n int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	p := conn.StartPipeline(ctx)
	for i := range n {
		p.SendQueryPrepared(fmt.Sprint("q", i), nil, nil, nil)
	}
	if err := discard(p); err != nil {
		return err
	}
	l.ran.Add(int64(n))
	return nil
}

// discard sends what is in a pipeline and reads all answers, keeping nothing.
func discard(p *pgconn.Pipeline) error {
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
			return p.Close()
		}
	}
}
