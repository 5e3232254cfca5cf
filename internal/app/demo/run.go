package demo

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	lastWords   = time.Second      // from the end of ctx until statements are cut off
	stepLimit   = 30 * time.Second // a step that takes longer has lost its server
	firstWait   = 200 * time.Millisecond
	longestWait = 5 * time.Second
)

// program is one application with its connections.
type program struct {
	role, name, database string
	connections          int
	pause                time.Duration // mean between two steps
	step                 func(ctx context.Context, c *client) error
}

// client is one connection of a program, with what its steps need.
type client struct {
	*pgx.Conn
	rand  *rand.Rand
	steps int           // done on this and earlier connections
	rest  time.Duration // spent in think within the step: no load
	life  context.Context
}

// think waits as a person or a payment provider makes a program wait. It is cut short when the
// demo ends.
func (c *client) think(shortest, longest time.Duration) {
	d := shortest + rand.N(longest-shortest)
	began := time.Now()
	sleep(c.life, d)
	c.rest += time.Since(began)
}

// Run lets the shop work until ctx ends, and returns nil. It never gives up on a server that is
// away.
func (s *Shop) Run(ctx context.Context) error {
	// Statements outlive ctx a little, so that transactions end in order.
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { sleep(hard, lastWords); cancel() })()

	var away atomic.Bool
	var wg sync.WaitGroup
	for _, p := range programs {
		for i := range p.connections {
			wg.Go(func() { s.work(ctx, hard, p, i, &away) })
		}
	}
	wg.Wait()
	return nil
}

// work keeps one connection of a program at work; away is shared by all and only there to say
// once what all notice.
func (s *Shop) work(ctx, hard context.Context, p program, number int, away *atomic.Bool) {
	c := &client{rand: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(number))), life: ctx}
	defer func() { c.close() }()
	wait := firstWait
	sleep(ctx, rand.N(p.pause/4+time.Millisecond)) // not all at once
	for ctx.Err() == nil {
		if c.Conn == nil || c.IsClosed() {
			conn, err := s.connect(hard, p)
			if err != nil {
				if ctx.Err() == nil && away.CompareAndSwap(false, true) {
					s.log.Warn("demo shop waits for its server", "err", err)
				}
				sleep(ctx, wait/2+rand.N(wait/2))
				wait = min(2*wait, longestWait)
				continue
			}
			if away.CompareAndSwap(true, false) {
				s.log.Info("demo shop is back at work")
			}
			c.close()
			c.Conn, wait = conn, firstWait
		}
		began := time.Now()
		c.rest = 0
		step, cancel := context.WithTimeout(hard, stepLimit)
		err := p.step(step, c)
		cancel()
		c.steps++
		if err != nil && ctx.Err() == nil {
			// Part of any shop's day: a lock_timeout, a cancelled query. A broken connection shows
			// as closed above.
			s.log.Debug("demo step failed", "program", p.name, "database", p.database, "err", err)
			c.settle(hard)
		}
		busy := time.Since(began) - c.rest
		sleep(ctx, p.pause/2+rand.N(p.pause)+4*busy)
	}
}

func (s *Shop) connect(ctx context.Context, p program) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(s.url(p.role, p.database).String())
	if err != nil {
		return nil, errors.New("the demo server's address is not understood")
	}
	cfg.RuntimeParams["application_name"] = p.name
	cfg.ConnectTimeout = 3 * time.Second
	return pgx.ConnectConfig(ctx, cfg)
}

// settle leaves no transaction open behind a failed step.
func (c *client) settle(ctx context.Context) {
	if c.IsClosed() || c.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, _ = c.Exec(ctx, "ROLLBACK") // if it fails the connection is closed and made anew
}

func (c *client) close() {
	if c.Conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_ = c.Close(ctx)
}

// all runs statements without parameters one after another.
func (c *client) all(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if _, err := c.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// read runs a query and takes all its rows.
func (c *client) read(ctx context.Context, sql string, args ...any) error {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	for rows.Next() { //nolint:revive // the rows themselves are of no interest
	}
	return rows.Err()
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
