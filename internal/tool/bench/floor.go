package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// runFloor is the floor: the least that a collector in Go could do. For each server
// and lane it keeps a connection, and at each tick sends the prepared SQL of the
// product's rounds, all of it, in one pipeline of the same Sync groups, in binary,
// and reads the answer with NextRow. It keeps no row and checks nothing.
//
// With -bare it sends the SQL of the families alone, with one Sync: no limits, no
// second proof, no watch, no tail.
//
// Standard input names the servers, a URL a line.
func runFloor(args []string) error {
	f := flag.NewFlagSet("floor", flag.ContinueOnError)
	interval := f.Duration("interval", 10*time.Second, "time between two readings")
	workers := f.Int("workers", 4, "pipelines at work at the same time")
	phase := f.Duration("phase", 0, "ticks are so long after those of the product")
	bare := f.Bool("bare", false, "the families' SQL alone")
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
				if err := (&reader{url: url, lane: lane, slots: slots, bare: *bare}).run(ctx, *interval, *phase); err != nil && ctx.Err() == nil {
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
	url    string
	lane   catalog.Lane
	slots  chan struct{}
	bare   bool
	conn   *pgconn.PgConn
	groups [][]*pgconn.StatementDescription // each ended by a Sync
}

func (r *reader) run(ctx context.Context, interval, phase time.Duration) error {
	r.slots <- struct{}{} // not all servers at once
	err := r.prepare(ctx)
	<-r.slots
	if err != nil {
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
	for i, g := range r.groups {
		for _, q := range g {
			p.SendQueryStatement(q, nil, nil, inBinary)
		}
		if i < len(r.groups)-1 { // discard sends the last one
			p.SendPipelineSync()
		}
	}
	return discard(p, len(r.groups))
}

var inBinary = []int16{1}

// prepare connects and prepares the SQL for the server's version.
func (r *reader) prepare(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, r.url)
	if err != nil {
		return err
	}
	r.conn = conn.PgConn()
	groups, err := r.sql(ctx, conn)
	if err != nil {
		return fmt.Errorf("look at the server: %w", err)
	}
	prepared := map[string]*pgconn.StatementDescription{}
	for _, g := range groups {
		var group []*pgconn.StatementDescription
		for _, sql := range g {
			d := prepared[sql]
			if d == nil {
				if d, err = r.conn.Prepare(ctx, fmt.Sprint("q", len(prepared)), sql, nil); err != nil {
					return fmt.Errorf("prepare %s: %w", sql, err)
				}
				prepared[sql] = d
			}
			group = append(group, d)
		}
		r.groups = append(r.groups, group)
	}
	return nil
}

// sql is what is sent at each tick, by Sync group.
func (r *reader) sql(ctx context.Context, conn *pgx.Conn) ([][]string, error) {
	if !r.bare {
		t, err := target.New(target.Config{Name: "floor", URL: target.Secret(r.url)}, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		defer t.Close()
		facts, err := t.Contact(ctx)
		if err != nil {
			return nil, err
		}
		var plans []target.Plan
		for _, p := range facts.Plans {
			if p.Reason == "" && p.Via == facts.Database && p.Lane == r.lane && everyTick(p.Family) {
				plans = append(plans, p)
			}
		}
		return t.Statements(facts.Database, r.lane, plans), nil
	}
	var number int
	var schema, version string
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int / 10000, n.nspname, e.extversion
		FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'`).Scan(&number, &schema, &version); err != nil {
		return nil, err
	}
	ext, err := catalog.ParseExtVersion(version)
	if err != nil {
		return nil, err
	}
	return [][]string{familySQL(r.lane, catalog.Version(number), ext, schema)}, nil
}

// everyTick says that a family is read by SQL at every tick of its lane.
func everyTick(f *catalog.Family) bool { return f.Reader == "" && f.TextsOf == "" && f.Every == 0 }

// familySQL is the SQL of all families that are read at every tick of a lane.
func familySQL(lane catalog.Lane, server, ext catalog.Version, schema string) (out []string) {
	for _, f := range catalog.All() {
		v, s := server, ""
		if f.Of != "" {
			v, s = ext, schema
		}
		if f.Lane != lane || !everyTick(f) || !f.Available(v) {
			continue
		}
		out = append(out, f.Query(v, s).SQL)
		if proof := f.ProofQuery(v, s); proof != "" {
			out = append(out, proof)
		}
	}
	return out
}
