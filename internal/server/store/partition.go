package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// lockPartitions is the advisory lock under which backends make partitions.
const lockPartitions = 0x70676132

// lockExpire is held by the backend that drops old ones.
const lockExpire = 0x70676133

// day is the width of a partition, in microseconds; days are those of UTC.
const day = int64(24 * time.Hour / time.Microsecond)

// Table is a table that is cut by its column time.
type Table struct {
	Name string
	// Keys tell the rows of one instance and time apart.
	Keys []string
}

// Partitions makes and drops the days of tables that are cut by a column time: partitions
// <table>_pYYYYMMDD, or TimescaleDB's chunks, which need no making.
type Partitions struct {
	pool   *pgxpool.Pool
	layout Layout
	tables []Table

	mu   sync.Mutex // guards have
	have map[int64]bool
}

// NewPartitions is for tables that exist.
func NewPartitions(ctx context.Context, pool *pgxpool.Pool, tables []Table) (*Partitions, error) {
	layout, err := FindLayout(ctx, pool)
	if err != nil {
		return nil, err
	}
	tables = slices.SortedFunc(slices.Values(tables), func(a, b Table) int { return strings.Compare(a.Name, b.Name) })
	return &Partitions{pool: pool, layout: layout, tables: tables, have: map[int64]bool{}}, nil
}

// Layout is that of the database.
func (p *Partitions) Layout() Layout { return p.layout }

// Ensure makes the partitions of the days that hold the given times (microseconds).
// What this process made before costs nothing.
func (p *Partitions) Ensure(ctx context.Context, times ...int64) error {
	if p.layout.Hypertables {
		return nil // whoever inserts the first row of a day makes its chunk
	}
	var days []int64
	p.mu.Lock()
	for _, us := range times {
		d := floorDiv(us, day)
		if !p.have[d] && !slices.Contains(days, d) {
			days = append(days, d)
		}
	}
	p.mu.Unlock()
	for _, d := range days {
		if err := p.make(ctx, d); err != nil {
			return fmt.Errorf("make partitions of %s: %w", dayName(d), err)
		}
		p.mu.Lock()
		p.have[d] = true
		p.mu.Unlock()
	}
	return nil
}

// Forget drops what Ensure remembers: another backend may have dropped a partition.
func (p *Partitions) Forget() {
	p.mu.Lock()
	clear(p.have)
	p.mu.Unlock()
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func dayName(d int64) string { return time.UnixMicro(d * day).UTC().Format("20060102") }

func (p *Partitions) make(ctx context.Context, d int64) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockPartitions)); err != nil {
			return err
		}
		from, to := time.UnixMicro(d*day).UTC().Format(time.RFC3339), time.UnixMicro((d+1)*day).UTC().Format(time.RFC3339)
		for _, t := range p.names() {
			name := t + "_p" + dayName(d)
			var exists, attached bool
			err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL, EXISTS (SELECT FROM pg_inherits
				WHERE inhrelid = to_regclass($1) AND inhparent = to_regclass($2) AND NOT inhdetachpending)`, Quote(name), Quote(t)).Scan(&exists, &attached)
			if err != nil {
				return err
			}
			if attached {
				continue
			}
			// PARTITION OF would lock the parent against readers and writers; ATTACH does not.
			if !exists {
				if _, err := tx.Exec(ctx, fmt.Sprintf("CREATE TABLE %s (LIKE %s INCLUDING ALL)", Quote(name), Quote(t))); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')", Quote(t), Quote(name), from, to)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Expire drops the partitions or chunks that hold nothing younger than the cutoff (microseconds), and
// gives their names. A reader of an old partition delays it, and is not delayed by it.
func (p *Partitions) Expire(ctx context.Context, cutoff int64) ([]string, error) {
	last := floorDiv(cutoff, day) - 1 // the youngest day to go
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("expire partitions: %w", err)
	}
	defer conn.Release()
	var ours bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(lockExpire)).Scan(&ours); err != nil {
		return nil, fmt.Errorf("expire partitions: %w", err)
	}
	if !ours {
		return nil, nil // another backend is at it
	}
	defer func() {
		if _, err := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(lockExpire)); err != nil {
			_ = conn.Conn().Close(context.WithoutCancel(ctx)) // the lock goes with the session
		}
	}()
	var dropped []string
	if p.layout.Hypertables {
		return p.dropChunks(ctx, cutoff)
	}
	for _, t := range p.names() {
		rows, err := conn.Query(ctx, `SELECT c.relname, i.inhrelid IS NOT NULL, coalesce(i.inhdetachpending, false)
			FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
			WHERE c.relkind = 'r' AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass($1))
			AND c.relname ~ ('^' || $2 || '_p[0-9]{8}$') ORDER BY 1`, Quote(t), t)
		if err != nil {
			return dropped, fmt.Errorf("list partitions of %s: %w", t, err)
		}
		type partition struct {
			name              string
			attached, pending bool
		}
		list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (x partition, err error) {
			return x, r.Scan(&x.name, &x.attached, &x.pending)
		})
		if err != nil {
			return dropped, fmt.Errorf("list partitions of %s: %w", t, err)
		}
		for _, x := range list {
			at, err := time.Parse("20060102", x.name[len(x.name)-8:])
			if err != nil || floorDiv(at.UnixMicro(), day) > last {
				continue
			}
			var steps []string
			switch {
			case x.pending: // a detach that a crash cut short
				steps = append(steps, fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s FINALIZE", Quote(t), Quote(x.name)))
			case x.attached:
				steps = append(steps, fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s CONCURRENTLY", Quote(t), Quote(x.name)))
			}
			for _, sql := range append(steps, "DROP TABLE "+Quote(x.name)) {
				if _, err := conn.Exec(ctx, sql); err != nil {
					return dropped, fmt.Errorf("%s: %w", strings.SplitN(sql, " (", 2)[0], err)
				}
			}
			dropped = append(dropped, x.name)
		}
	}
	if len(dropped) > 0 {
		p.Forget()
	}
	return dropped, nil
}
