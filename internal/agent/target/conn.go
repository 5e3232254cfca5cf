package target

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// conn is one connection. pgconn opens it (TLS, authentication); from then on the
// few messages that a round needs are written and read here: pgconn's pipelines
// cost more than the answers, in lists, field descriptions, timers and a read for
// every 8 kB.
type conn struct {
	net       net.Conn
	from      io.Reader         // what net receives: see connect
	params    map[string]string // as the server reports them
	database  string
	prepared  map[string]struct{} // names of statements that the server has
	systemID  uint64              // of the server behind it, 0 unknown
	opening   time.Duration       // what it took to open
	rounds    int                 // that it served
	broken    bool                // nothing can be made of it any more
	tx        byte                // transaction status at the last ReadyForQuery
	limit     time.Duration       // that a read may take
	in        *[bulkSize]byte     // what is read lies in it, while a round is at work
	long      []byte              // in its place, for a message that is longer
	r, w      int                 // what is read and not looked at yet
	values    [][]byte            // of the row at hand
	waitsFrom time.Time           // when the read deadline was set
	low       *lowWater
	sizes     map[string]int // by name of a statement: what it was answered with, bytes
	expect    int            // that are to come in this exchange, as far as sizes tell
	took      int            // bytes of messages looked at, ever
	guarded   bool           // the read deadline is that of guard

	mu    sync.Mutex // guards ended and the order of deadlines
	ended bool
}

const (
	// bulkSize is what is read at once, when there is so much: a system call for each
	// 8 kB costs more than decoding it. The memory is shared by all rounds at work.
	bulkSize = 128 << 10
	// guard is how long an answer is waited for in one piece: it may have become
	// shorter than the last one.
	guard = 20 * time.Millisecond
	// minPiece and maxPiece bound what is waited for at once.
	minPiece, maxPiece = 1 << 10, 112 << 10
	// slack saves setting a deadline for each read: that costs more than a look at
	// the clock.
	slack = 500 * time.Millisecond
)

var bulks = sync.Pool{New: func() any { return new([bulkSize]byte) }}

// connect opens a connection within limit.
func connect(ctx context.Context, cfg *pgconn.Config, limit time.Duration) (*conn, error) {
	start := time.Now()
	doing := "connect to database " + quoteIdent(cfg.Database)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// When a write takes longer than 15 ms, on a busy machine, pgconn begins to read
	// in the background, and that reader keeps what comes next. So reading goes on
	// through it, not on the bare connection.
	var from io.Reader
	build := cfg.BuildFrontend
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		from = r
		return build(r, w)
	}
	pg, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fail(connectReason(err), doing, err)
	}
	raw, err := pg.Hijack()
	if err != nil {
		return nil, fail(reasonConnect, doing, err)
	}
	if raw.Frontend.ReadBufferLen() > 0 {
		_ = raw.Conn.Close()
		return nil, failf(reasonConnect, doing, "the server talks unasked")
	}
	_ = raw.Conn.SetDeadline(time.Time{})
	return &conn{
		net: raw.Conn, from: from, params: raw.ParameterStatuses, tx: raw.TxStatus, database: cfg.Database,
		prepared: map[string]struct{}{}, opening: time.Since(start), low: newLowWater(raw.Conn), sizes: map[string]int{},
	}, nil
}

// begin makes a round's work on the connection end with ctx; the connection is
// lost then. end must be called after it.
func (c *conn) begin(ctx context.Context) (end func()) {
	if c.in == nil {
		c.in = bulks.Get().(*[bulkSize]byte)
	}
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended = true
		_ = c.net.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			c.mu.Lock()
			c.ended = true // if it isn't yet
			c.mu.Unlock()
		}
		c.rounds++
		c.long = nil
		if !c.broken {
			_ = c.net.SetDeadline(time.Time{}) // else it wakes us some seconds later
		}
		if c.r == c.w || c.broken {
			bulks.Put(c.in)
			c.in, c.r, c.w = nil, 0, 0
		}
	}
}

// usable: nothing is amiss, and no transaction is open.
func (c *conn) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ended && !c.broken && c.tx == 'I' && c.r == c.w
}

// close ends the connection at once, with a goodbye where that doesn't block.
func (c *conn) close() {
	if !c.broken {
		_ = c.net.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.net.Write([]byte{'X', 0, 0, 0, 4})
	}
	_ = c.net.Close()
}

// version is the server's version as it told at the start of the session.
func (c *conn) version() string { return c.params["server_version"] }

// write sends a whole exchange.
func (c *conn) write(b []byte) error {
	c.mu.Lock()
	if !c.ended {
		c.waitsFrom = time.Now()
		// Reads may have a good deal longer than the write; both are bounded.
		_ = c.net.SetDeadline(c.waitsFrom.Add(c.limit + slack))
		if c.guarded = c.expect >= minPiece && c.low.works(); c.guarded {
			_ = c.net.SetReadDeadline(c.waitsFrom.Add(guard))
		}
	}
	c.mu.Unlock()
	if _, err := c.net.Write(b); err != nil {
		c.broken = true
		return err
	}
	return nil
}

// buffer is where what is read lies.
func (c *conn) buffer() []byte {
	if c.long != nil {
		return c.long
	}
	return c.in[:]
}

// fill reads until n bytes are there. It gives the server limit, and up to slack
// more, for each piece.
func (c *conn) fill(n int) error {
	for c.w-c.r < n {
		b := c.buffer()
		switch {
		case c.r == c.w && n <= bulkSize:
			c.r, c.w, c.long = 0, 0, nil
			b = c.buffer()
		case n > len(b):
			long := make([]byte, n)
			c.r, c.w = 0, copy(long, b[c.r:c.w])
			c.long, b = long, long
		case len(b)-c.r < n:
			c.r, c.w = 0, copy(b, b[c.r:c.w])
		}
		now := time.Now()
		c.mu.Lock()
		if !c.ended && now.Sub(c.waitsFrom) > slack {
			c.waitsFrom, c.guarded = now, false
			_ = c.net.SetReadDeadline(now.Add(c.limit + slack))
		}
		c.mu.Unlock()
		if c.low.works() {
			c.low.need(c.piece())
		}
		got, err := c.from.Read(b[c.w:])
		c.w += got
		if c.expect = max(0, c.expect-got); got > 0 && c.low.once() {
			c.expect = 0
		}
		if err != nil && c.unguard(err) {
			continue
		}
		if err != nil && c.w-c.r < n {
			c.broken = true
			return err
		}
	}
	return nil
}

// piece is how many bytes the next read waits for.
func (c *conn) piece() int {
	if !c.guarded {
		return 1
	}
	return max(1, min(c.expect, maxPiece, len(c.buffer())-c.w))
}

// unguard says that a read ended only because what came is less than was expected;
// the next ones take what there is.
func (c *conn) unguard(err error) bool {
	if !c.guarded || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.guarded, c.waitsFrom = false, time.Now()
	_ = c.net.SetReadDeadline(c.waitsFrom.Add(c.limit + slack))
	return true
}

// next gives the next message that matters here; body is valid until the call
// after it. An ErrorResponse is an error: fatal ones end the connection.
func (c *conn) next() (kind byte, body []byte, err error) {
	for {
		if err := c.fill(5); err != nil {
			return 0, nil, err
		}
		head := c.buffer()[c.r:]
		kind = head[0]
		n := int(binary.BigEndian.Uint32(head[1:])) - 4
		if n < 0 || n > maxMessage {
			c.broken = true
			return 0, nil, failf(reasonTooBig, "read", "a message of %d bytes, at most %d are taken", n, maxMessage)
		}
		if err := c.fill(5 + n); err != nil {
			return 0, nil, err
		}
		body = c.buffer()[c.r+5 : c.r+5+n]
		c.r += 5 + n
		c.took += 5 + n
		switch kind {
		case 'N', 'A': // notices and notifications
		case 'S':
			var p pgproto3.ParameterStatus
			if p.Decode(body) == nil && len(c.params) < 100 {
				c.params[p.Name] = p.Value
			}
		case 'E':
			var e pgproto3.ErrorResponse
			if err := e.Decode(body); err != nil {
				return 0, nil, c.protocol(kind)
			}
			pg := pgconn.ErrorResponseToPgError(&e)
			c.broken = c.broken || isFatal(pg)
			return kind, nil, pg
		case 'Z':
			if n == 1 {
				c.tx = body[0]
			}
			return kind, body, nil
		default:
			return kind, body, nil
		}
	}
}

// protocol is the error for what no PostgreSQL sends; the connection is of no use.
func (c *conn) protocol(kind byte) error {
	c.broken = true
	return failf(reasonLost, "read", "unexpected message %q from the server", kind)
}

// split gives the values of a DataRow; they are valid as long as the body is.
func (c *conn) split(body []byte) ([][]byte, bool) {
	if len(body) < 2 {
		return nil, false
	}
	n, b := int(binary.BigEndian.Uint16(body)), body[2:]
	c.values = c.values[:0]
	for range n {
		if len(b) < 4 {
			return nil, false
		}
		size := int(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if size < 0 {
			c.values = append(c.values, nil)
			continue
		}
		if len(b) < size {
			return nil, false
		}
		c.values = append(c.values, b[:size:size])
		b = b[size:]
	}
	return c.values, len(b) == 0
}
