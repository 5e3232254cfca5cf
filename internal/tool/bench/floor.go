package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// runFloor is the floor: the least that a collector in Go could do. For each server
// and lane it keeps a connection, and at each tick sends the prepared SQL of the
// same families as the product in one pipeline with one Sync, in binary, and reads
// the answer with NextRow. It keeps no row, sets no limits, checks nothing.
// Standard input names the servers, a URL a line.
func runFloor(args []string) error {
	f := flag.NewFlagSet("floor", flag.ContinueOnError)
	interval := f.Duration("interval", 10*time.Second, "time between two readings")
	workers := f.Int("workers", 4, "pipelines at work at the same time")
	phase := f.Duration("phase", 0, "ticks are so long after those of the product")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	slots := make(chan struct{}, *workers)
	var wait sync.WaitGroup
	failed := make(chan error, 1)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		url := lines.Text()
		for _, lane := range []catalog.Lane{catalog.Fast, catalog.Slow} {
			wait.Go(func() {
				if err := (&reader{url: url, lane: lane, slots: slots}).run(ctx, *interval, *phase); err != nil && ctx.Err() == nil {
					select {
					case failed <- err:
						stop()
					default:
					}
				}
			})
		}
	}
	wait.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// reader is one server's lane.
type reader struct {
	url     string
	lane    catalog.Lane
	slots   chan struct{}
	conn    *pgconn.PgConn
	queries []*pgconn.StatementDescription
}

func (r *reader) run(ctx context.Context, interval, phase time.Duration) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	defer r.conn.Close(context.WithoutCancel(ctx))
	// As the product spreads its rounds.
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.url))
	offset := phase + time.Duration(h.Sum64()%uint64(min(interval/4, 5*time.Second)))
	for {
		now := time.Now()
		next := now.Truncate(interval).Add(offset)
		for !next.After(now) {
			next = next.Add(interval)
		}
		if err := sleep(ctx, next.Sub(now)); err != nil {
			return nil //nolint:nilerr // told to end
		}
		r.slots <- struct{}{}
		err := r.round()
		<-r.slots
		if err != nil {
			return fmt.Errorf("round: %w", err)
		}
	}
}

func (r *reader) round() error {
	p := r.conn.StartPipeline(context.Background())
	for _, q := range r.queries {
		p.SendQueryStatement(q, nil, nil, inBinary)
	}
	return discard(p)
}

var inBinary = []int16{1}

// prepare connects and prepares the families' SQL for the server's version.
func (r *reader) prepare(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, r.url)
	if err != nil {
		return err
	}
	var number int
	var schema, version string
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int / 10000, n.nspname, e.extversion
		FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'`).Scan(&number, &schema, &version); err != nil {
		return fmt.Errorf("look at the server: %w", err)
	}
	ext, err := catalog.ParseExtVersion(version)
	if err != nil {
		return err
	}
	r.conn = conn.PgConn()
	for _, sql := range familySQL(r.lane, catalog.Version(number), ext, schema) {
		d, err := r.conn.Prepare(ctx, fmt.Sprint("q", len(r.queries)), sql, nil)
		if err != nil {
			return fmt.Errorf("prepare %s: %w", sql, err)
		}
		r.queries = append(r.queries, d)
	}
	return nil
}

// familySQL is the SQL of all families that are read at every tick of a lane.
func familySQL(lane catalog.Lane, server, ext catalog.Version, schema string) (out []string) {
	for _, f := range catalog.All() {
		v, s := server, ""
		if f.Of != "" {
			v, s = ext, schema
		}
		if f.Lane != lane || f.Reader != "" || f.TextsOf != "" || f.Every != 0 || !f.Available(v) {
			continue
		}
		out = append(out, f.Query(v, s).SQL)
		if proof := f.ProofQuery(v, s); proof != "" {
			out = append(out, proof)
		}
	}
	return out
}
