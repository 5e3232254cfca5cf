package target

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// step is one statement of a Sync group, and what became of it.
type step struct {
	*stmt
	params [][]byte
	row    func(values [][]byte) error // called for each row; an error ends the connection
	only   bool                        // parse it, don't run it

	parse     bool // it is prepared in this exchange
	described bool // and its types are told
	state     state
	err       error
}

type state uint8

const (
	pending state = iota // nothing was heard of it: the connection broke
	done
	failed
	skipped // an earlier step of its group failed
)

var outs = sync.Pool{New: func() any { return new([]byte) }}

// exchange sends all groups and reads what comes back: one network round trip,
// whatever fails in it. Each group is a transaction of its own, ended by a Sync.
// An error means that the connection is lost; steps not reached are pending then.
// pooled: statements have no names, since another server process may serve the
// next transaction. Each read gets limit: the server's own limits are below it, so
// more is a dead connection.
//
// All is sent before anything is read. That can't block for good: what a server
// doesn't take in while it waits for us to read fits its socket's buffer (a first
// round is 40 kB), and the write has a deadline.
func exchange(c *conn, groups [][]*step, pooled bool, limit time.Duration) error {
	c.limit, c.expect = limit, 0
	out := outs.Get().(*[]byte)
	b := (*out)[:0]
	for _, g := range groups {
		for _, s := range g {
			b = s.send(b, c, pooled)
			c.expect += c.sizes[s.name]
		}
		b = append(b, 'S', 0, 0, 0, 4)
		c.expect += len("Z....I")
	}
	err := c.write(b)
	*out = b
	outs.Put(out)
	if err != nil {
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
			from := c.took
			if s.err = s.receive(c); s.err == nil {
				s.state = done
				if !s.parse && c.low.works() {
					c.sizes[s.name] = c.took - from
				}
				continue
			}
			s.state = failed
			if c.broken {
				return s.err
			}
			bad = true
		}
		if err := c.endOfGroup(); err != nil {
			return err
		}
	}
	return nil
}

// send appends the messages of a step.
func (s *step) send(b []byte, c *conn, pooled bool) []byte {
	name := s.name
	if pooled {
		name = ""
	}
	_, known := c.prepared[s.name]
	if s.only || pooled || !known {
		s.parse = true
		b = encode(b, &pgproto3.Parse{Name: name, Query: s.sql, ParameterOIDs: s.args})
		if !pooled || s.only {
			// Types are looked at once: the casts make them.
			s.described = true
			b = encode(b, &pgproto3.Describe{ObjectType: 'S', Name: name})
		}
		if !pooled && !s.only {
			// Counted as there until we hear otherwise: another group of this very
			// exchange may use it.
			c.prepared[s.name] = struct{}{}
		}
	}
	if s.only {
		return b
	}
	b = encode(b, &pgproto3.Bind{PreparedStatement: name, ParameterFormatCodes: binaryFormat[:min(1, len(s.params))], Parameters: s.params, ResultFormatCodes: binaryFormat})
	return append(b, execute...)
}

var (
	binaryFormat = []int16{1}
	execute      = encode(nil, &pgproto3.Execute{})
)

func encode(b []byte, m pgproto3.FrontendMessage) []byte {
	b, err := m.Encode(b)
	if err != nil {
		panic("BUG: encode a message: " + err.Error()) // too long: ours are not
	}
	return b
}

// receive reads the answers to a step, up to its end or its error.
func (s *step) receive(c *conn) error {
	if s.parse {
		if err := s.parsed(c); err != nil {
			delete(c.prepared, s.name)
			return err
		}
		if s.only {
			return nil
		}
	}
	kind, _, err := c.next()
	if err != nil {
		return err
	}
	if kind != '2' {
		return c.protocol(kind)
	}
	for {
		var body []byte
		if kind, body, err = c.next(); err != nil {
			return err
		}
		switch kind {
		case 'D':
			values, ok := c.split(body)
			if !ok || len(values) != len(s.results) {
				return c.protocol(kind)
			}
			if s.row == nil {
				continue
			}
			if err := s.row(values); err != nil {
				c.broken = true // it may go on without end: there is no polite way out
				return err
			}
		case 'C':
			return nil
		default:
			return c.protocol(kind)
		}
	}
}

// parsed reads the answers to Parse and Describe.
func (s *step) parsed(c *conn) error {
	kind, _, err := c.next()
	if err != nil {
		return err
	}
	if kind != '1' {
		return c.protocol(kind)
	}
	if !s.described {
		return nil
	}
	if kind, _, err = c.next(); err != nil {
		return err
	}
	if kind != 't' {
		return c.protocol(kind)
	}
	kind, body, err := c.next()
	if err != nil {
		return err
	}
	var d pgproto3.RowDescription
	if kind != 'T' || d.Decode(body) != nil || len(d.Fields) != len(s.results) {
		return c.protocol(kind)
	}
	for i, f := range d.Fields {
		if f.DataTypeOID != s.results[i] {
			return c.protocol(kind)
		}
	}
	return nil
}

// endOfGroup reads up to the answer to a Sync. What fails at the end of a
// transaction of ours fails nothing: it only read.
func (c *conn) endOfGroup() error {
	for {
		kind, _, err := c.next()
		switch {
		case err != nil && c.broken:
			return err
		case err != nil:
		case kind == 'Z':
			return nil
		default:
			return c.protocol(kind)
		}
	}
}

func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
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
