package target

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// conn is one connection, with what it was prepared for.
type conn struct {
	pg       *pgconn.PgConn
	database string
	prepared map[string]struct{} // names of statements that the server has
	systemID uint64              // of the server behind it, 0 unknown
	opening  time.Duration       // what it took to open
	rounds   int                 // that it served

	mu    sync.Mutex // guards ended and the order of deadlines
	ended bool
}

// connect opens a connection within limit.
func connect(ctx context.Context, cfg *pgconn.Config, limit time.Duration) (*conn, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, dialing{}, true), limit)
	defer cancel()
	pg, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fail(connectReason(err), "connect to database "+quoteIdent(cfg.Database), err)
	}
	return &conn{pg: pg, database: cfg.Database, prepared: map[string]struct{}{}, opening: time.Since(start)}, nil
}

// wait gives the server so long to send the next thing.
func (c *conn) wait(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		_ = c.pg.Conn().SetDeadline(time.Now().Add(d))
	}
}

// during makes what waits on the connection end with ctx; the connection is lost
// then. The function it returns ends that.
func (c *conn) during(ctx context.Context) (done func()) {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended = true
		_ = c.pg.Conn().SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if stop() {
			_ = c.pg.Conn().SetDeadline(time.Time{})
		}
	}
}

// usable: nothing is amiss, and no transaction is open.
func (c *conn) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ended && !c.pg.IsClosed() && c.pg.TxStatus() == 'I'
}

// close ends the connection at once, with a goodbye where that doesn't block.
func (c *conn) close() {
	if c.pg.IsClosed() {
		// pgconn drains it in a goroutine for up to 15 s; nothing of that is wanted.
		_ = c.pg.Conn().Close()
		<-c.pg.CleanupDone()
		return
	}
	_ = c.pg.Conn().SetDeadline(time.Now().Add(time.Second))
	_ = c.pg.Close(context.Background())
}

// version is the server's version as it told at the start of the session.
func (c *conn) version() string { return c.pg.ParameterStatus("server_version") }
