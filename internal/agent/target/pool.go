package target

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// pool holds the connections to one instance, to whichever databases: one puddle,
// which enforces the bound over all of them, also while one is being opened. Its
// resources differ by database, so an idle one is looked for first, and a new one
// is made by CreateResource; when there is no room, the idle one that was not used
// for longest is closed.
type pool struct {
	Pool
	puddle *puddle.Pool[*conn]
	// work holds a token for each connection that may be taken: two, or fewer when
	// Max is smaller. So whoever has one finds room: what is open and not taken is
	// idle.
	work chan struct{}

	mu     sync.Mutex // held while idle connections are looked through
	reaped time.Time
}

type taken = puddle.Resource[*conn]

type wanted struct{} // context key: the database that a new connection is for

func newPool(base *pgconn.Config, bounds Pool, limit time.Duration) (*pool, error) {
	p, err := puddle.NewPool(&puddle.Config[*conn]{
		MaxSize: int32(bounds.Max),
		Constructor: func(ctx context.Context) (*conn, error) {
			cfg := base.Copy()
			cfg.Database = ctx.Value(wanted{}).(string)
			return connect(ctx, cfg, limit)
		},
		Destructor: (*conn).close,
	})
	if err != nil {
		return nil, err
	}
	return &pool{Pool: bounds, puddle: p, work: make(chan struct{}, min(2, bounds.Max))}, nil
}

// acquire takes a connection to a database. fresh: those that are idle may all be
// dead, they are closed and a new one is opened.
func (p *pool) acquire(ctx context.Context, database string, fresh bool) (r *taken, opened bool, err error) {
	select {
	case p.work <- struct{}{}:
	case <-ctx.Done():
		return nil, false, fail(reasonConnect, "wait for a connection", context.Cause(ctx))
	}
	defer func() {
		if err != nil {
			<-p.work
		}
	}()
	ctx = context.WithValue(ctx, wanted{}, database)
	for {
		if r := p.idle(database, fresh); r != nil {
			return r, opened, nil
		}
		fresh = false
		err = p.puddle.CreateResource(ctx)
		switch {
		case err == nil:
			opened = true
		case errors.Is(err, puddle.ErrNotAvailable) && ctx.Err() == nil:
			// The other lane opened one in the room that was just made.
		case ReasonOf(err) != reasonFailed:
			return nil, false, err
		default:
			return nil, false, fail(reasonConnect, "open a connection", err)
		}
	}
}

// idle takes an idle connection to the database, nil when there is none; then
// there is room for one.
func (p *pool) idle(database string, fresh bool) (found *taken) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var oldest *taken
	for _, r := range p.puddle.AcquireAllIdle() {
		switch {
		case r.Value().database == database && (fresh || !r.Value().usable()):
			discard(r)
		case r.Value().database == database && found == nil:
			found = r
		case oldest == nil || r.IdleDuration() > oldest.IdleDuration():
			if oldest != nil {
				oldest.ReleaseUnused()
			}
			oldest = r
		default:
			r.ReleaseUnused()
		}
	}
	if oldest != nil {
		if found == nil && int(p.puddle.Stat().TotalResources()) >= p.Max {
			discard(oldest)
		} else {
			oldest.ReleaseUnused()
		}
	}
	return found
}

// release gives a connection back, or closes it when it is of no use any more.
func (p *pool) release(r *taken) {
	if r.Value().usable() {
		r.Release()
	} else {
		discard(r)
	}
	<-p.work
	p.reap(time.Now())
}

// discard closes a connection before puddle may count it as gone: its own Destroy
// does it the other way round.
func discard(r *taken) {
	r.Value().close()
	r.Hijack()
}

// reap closes those that are idle for too long, as long as more than Min are open.
func (p *pool) reap(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.reaped) < min(p.IdleTimeout/4, 10*time.Second) {
		return
	}
	p.reaped = now
	for _, r := range p.puddle.AcquireAllIdle() {
		if int(p.puddle.Stat().TotalResources()) > p.Min && r.IdleDuration() >= p.IdleTimeout {
			discard(r)
		} else {
			r.ReleaseUnused()
		}
	}
}

// keep closes the idle connections to databases that keep doesn't want: else they
// are in the way of DROP DATABASE.
func (p *pool) keep(want func(database string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.puddle.AcquireAllIdle() {
		if want(r.Value().database) {
			r.ReleaseUnused()
		} else {
			discard(r)
		}
	}
}

// warm reports whether an idle connection to the database is there.
func (p *pool) warm(database string) (found bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.puddle.AcquireAllIdle() {
		found = found || r.Value().database == database
		r.ReleaseUnused()
	}
	return found
}

// counts gives the connections open, and those taken.
func (p *pool) counts() (open, busy int) {
	s := p.puddle.Stat()
	return int(s.TotalResources()), int(s.AcquiredResources())
}

// close waits for the connections that are taken.
func (p *pool) close() { p.puddle.Close() }
