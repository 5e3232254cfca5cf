package target

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// step is one statement of a Sync group, and what became of it.
type step struct {
	*stmt
	params [][]byte
	row    func(values [][]byte) error // called for each row; an error ends the connection
	only   bool                        // parse it, don't run it

	parse bool // it is prepared in this exchange
	state state
	err   error
}

type state uint8

const (
	pending state = iota // nothing was heard of it: the connection broke
	done
	failed
	skipped // an earlier step of its group failed
)

var binaryFormat = []int16{1}

// exchange sends all groups and reads what comes back: one network round trip,
// whatever fails in it. Each group is a transaction of its own, ended by a Sync.
// An error means that the connection is lost; steps not reached are pending then.
// pooled: statements have no names, since another server process may serve the
// next transaction. Each step gets limit to answer: the server's own limits are
// below it, so more is a dead connection.
func exchange(c *conn, groups [][]*step, pooled bool, limit time.Duration) error {
	// The context of a pipeline costs a watching goroutine; deadlines do the same.
	p := c.pg.StartPipeline(context.Background())
	defer func() { _ = p.Close() }()
	for i, g := range groups {
		for _, s := range g {
			s.send(p, c, pooled)
		}
		if i < len(groups)-1 {
			p.SendPipelineSync()
		}
	}
	c.wait(limit)
	if err := p.Sync(); err != nil {
		return err
	}
	for _, g := range groups {
		bad := false
		for _, s := range g {
			if bad {
				s.state = skipped
				if s.parse {
					delete(c.prepared, s.name)
				}
				continue
			}
			c.wait(limit)
			err := s.receive(p, c)
			if err == nil {
				s.state = done
				continue
			}
			s.state, s.err = failed, err
			if c.pg.IsClosed() || !isServer(err) {
				return err
			}
			bad = true
		}
		if err := endOfGroup(p, c, limit); err != nil {
			return err
		}
	}
	return nil
}

func (s *step) send(p *pgconn.Pipeline, c *conn, pooled bool) {
	name := s.name
	if pooled {
		name = ""
	}
	_, known := c.prepared[s.name]
	switch {
	case s.only:
		s.parse = true
		p.SendPrepare(name, s.sql, s.args)
	case pooled:
		p.SendQueryParams(s.sql, s.params, s.args, binaryFormat, binaryFormat)
	default:
		if !known {
			// Counted as there until we hear otherwise: another group of this very
			// exchange may use it.
			s.parse = true
			c.prepared[s.name] = struct{}{}
			p.SendPrepare(name, s.sql, s.args)
		}
		p.SendQueryStatement(s.sd, s.params, binaryFormat, binaryFormat)
	}
}

func (s *step) receive(p *pgconn.Pipeline, c *conn) error {
	if s.parse {
		got, err := p.GetResults()
		if err != nil {
			delete(c.prepared, s.name)
			return err
		}
		d, ok := got.(*pgconn.StatementDescription)
		if !ok {
			return protocol(c)
		}
		if len(d.Fields) != len(s.sd.Fields) {
			return protocol(c)
		}
		for i := range d.Fields {
			if want := s.sd.Fields[i].DataTypeOID; d.Fields[i].DataTypeOID != want {
				return protocol(c)
			}
		}
		if s.only {
			return nil
		}
	}
	got, err := p.GetResults()
	if err != nil {
		return err
	}
	r, ok := got.(*pgconn.ResultReader)
	if !ok {
		return protocol(c)
	}
	for r.NextRow() {
		if s.row == nil {
			continue
		}
		if err := s.row(r.Values()); err != nil {
			_ = c.pg.Conn().Close() // it may go on without end: there is no polite way out
			_, _ = r.Close()
			return err
		}
	}
	_, err = r.Close()
	return err
}

// endOfGroup reads the end of a group.
func endOfGroup(p *pgconn.Pipeline, c *conn, limit time.Duration) error {
	c.wait(limit)
	for {
		got, err := p.GetResults()
		if err != nil && (c.pg.IsClosed() || !isServer(err)) {
			return err
		}
		if err != nil {
			continue // an error at the end of the transaction; the Sync is still to come
		}
		if _, ok := got.(*pgconn.PipelineSync); ok {
			return nil
		}
		if got == nil {
			return protocol(c)
		}
	}
}

// protocol is the error for what no PostgreSQL sends; the connection is of no use.
func protocol(c *conn) error {
	_ = c.pg.Conn().Close()
	return failf(reasonLost, "read", "unexpected answer from the server")
}

// isServer: the server told it, and the connection goes on.
func isServer(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && !isFatal(pg)
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// Values of small results. A value of another length than its type's is NULL.

func int8Of(v []byte) (int64, bool) {
	if len(v) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(v)), true
}

func timeOf(v []byte) int64 {
	t, ok := int8Of(v)
	if !ok {
		return 0
	}
	return t + postgresEpoch
}

func boolOf(v []byte) bool { return len(v) == 1 && v[0] == 1 }

// int8Array is the binary form of a bigint[].
func int8Array(items []int64) []byte {
	b := make([]byte, 0, 20+12*len(items))
	if len(items) == 0 {
		b = binary.BigEndian.AppendUint32(b, 0) // no dimensions
		b = binary.BigEndian.AppendUint32(b, 0)
		return binary.BigEndian.AppendUint32(b, oidInt8)
	}
	for _, x := range []int{1, 0, oidInt8, len(items), 1} {
		b = binary.BigEndian.AppendUint32(b, uint32(x))
	}
	for _, x := range items {
		b = binary.BigEndian.AppendUint32(b, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(x))
	}
	return b
}
