package target

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// script is a server that sends what it is told to, in pieces, then hangs up.
type script struct {
	io.Reader
	piece int
}

func (s *script) Read(p []byte) (int, error) {
	if s.piece > 0 && len(p) > s.piece {
		p = p[:s.piece]
	}
	return s.Reader.Read(p)
}
func (*script) Write(b []byte) (int, error)      { return len(b), nil }
func (*script) Close() error                     { return nil }
func (*script) LocalAddr() net.Addr              { return nil }
func (*script) RemoteAddr() net.Addr             { return nil }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

func scripted(answer []byte, piece int) *conn {
	s := &script{bytes.NewReader(answer), piece}
	return &conn{net: s, from: s, params: map[string]string{}, prepared: map[string]struct{}{}, tx: 'I', low: newLowWater(s), sizes: map[string]int{}}
}

func messages(t testing.TB, ms ...pgproto3.BackendMessage) (b []byte) {
	t.Helper()
	for _, m := range ms {
		var err error
		if b, err = m.Encode(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

var (
	parsed    = []pgproto3.BackendMessage{&pgproto3.ParseComplete{}, &pgproto3.ParameterDescription{}, &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{DataTypeOID: oidTimestamptz}}}}
	ready     = &pgproto3.ReadyForQuery{TxStatus: 'I'}
	completed = &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}
)

// What may come between any two messages is let pass, and messages may come in any
// pieces.
func TestExchangeInPieces(t *testing.T) {
	moment := binary.BigEndian.AppendUint64(nil, 42)
	notice, status := &pgproto3.NoticeResponse{Severity: "NOTICE", Message: "x"}, &pgproto3.ParameterStatus{Name: "TimeZone", Value: "UTC"}
	row := &pgproto3.DataRow{Values: [][]byte{moment}}
	long := &pgproto3.NoticeResponse{Severity: "NOTICE", Message: string(bytes.Repeat([]byte("x"), 3*bulkSize))}
	answer := messages(t, notice, parsed[0], status, parsed[1], parsed[2], &pgproto3.BindComplete{}, notice, row, long, row, completed, status, ready,
		&pgproto3.BindComplete{}, &pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "55P03", Message: "m"}, ready,
		&pgproto3.BindComplete{}, row, completed, ready)
	for _, piece := range []int{1, 2, 3, 7, 4096, 0} {
		c := scripted(answer, piece)
		end := c.begin(t.Context())
		var times []int64
		note := func(v [][]byte) error { times = append(times, timeOf(v[0])); return nil }
		groups := [][]*step{{{stmt: tailStmt, row: note}}, {{stmt: tailStmt, row: note}, {stmt: tailStmt, row: note}}, {{stmt: tailStmt, row: note}}}
		if err := exchange(c, groups, false, time.Second); err != nil {
			t.Fatalf("in pieces of %d: %v", piece, err)
		}
		states := [4]state{groups[0][0].state, groups[1][0].state, groups[1][1].state, groups[2][0].state}
		if states != [4]state{done, failed, skipped, done} || roundReason(groups[1][0].err) != reasonLock || len(times) != 3 || times[0] != 42+postgresEpoch {
			t.Errorf("in pieces of %d: %v, %v, %v", piece, states, groups[1][0].err, times)
		}
		end()
		if !c.usable() || c.params["TimeZone"] != "UTC" || c.in != nil {
			t.Errorf("in pieces of %d: not usable any more", piece)
		}
	}
}

// What ends a connection is told apart from what fails a statement.
func TestExchangeEnds(t *testing.T) {
	fatal := &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01", Message: "m"}
	for name, c := range map[string]struct {
		answer []byte
		reason string
	}{
		"closed":             {nil, reasonLost},
		"closed in a header": {[]byte{'1', 0}, reasonLost},
		"fatal":              {messages(t, fatal), reasonLost},
		"fatal at the end":   {append(messages(t, append(parsed, &pgproto3.BindComplete{}, completed)...), messages(t, fatal)...), reasonLost},
		"giant":              {[]byte{'D', 0x7f, 0xff, 0xff, 0xff}, reasonTooBig},
		"negative":           {[]byte{'D', 0, 0, 0, 1}, reasonTooBig},
		"other columns":      {messages(t, append(parsed, &pgproto3.BindComplete{}, &pgproto3.DataRow{Values: [][]byte{nil, nil}})...), reasonLost},
		"other types":        {messages(t, parsed[0], parsed[1], &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{DataTypeOID: oidText}}}), reasonLost},
		"copy":               {messages(t, append(parsed, &pgproto3.CopyInResponse{})...), reasonLost},
	} {
		conn := scripted(c.answer, 0)
		end := conn.begin(t.Context())
		err := exchange(conn, [][]*step{{{stmt: tailStmt}}}, false, time.Second)
		end()
		if err == nil || roundReason(err) != c.reason || conn.usable() {
			t.Errorf("%s: %v (%s), usable %t", name, err, roundReason(err), conn.usable())
		}
	}
}

// Whatever a server sends, reading it ends, within bounds, and never panics.
func FuzzAnswers(f *testing.F) {
	q := compile(catalog.Lookup("activity"), source{version: 18}, settingsSQL(Limits{}))
	fields := make([]pgproto3.FieldDescription, len(q.rows.results))
	values := make([][]byte, len(fields))
	for i, oid := range q.rows.results {
		fields[i].DataTypeOID = oid
		values[i] = make([]byte, map[uint32]int{oidText: 3, oidInt8: 8, oidFloat8: 8}[oid])
	}
	good := messages(f, parsed[0], parsed[1], &pgproto3.RowDescription{Fields: fields}, &pgproto3.BindComplete{}, &pgproto3.DataRow{Values: values}, completed, ready)
	f.Add(good, 0)
	f.Add(good[:len(good)-9], 1)
	f.Add(messages(f, &pgproto3.ErrorResponse{Severity: "ERROR", Code: "42703"}, ready), 5)
	f.Fuzz(func(t *testing.T, answer []byte, piece int) {
		c := scripted(answer, piece)
		end := c.begin(t.Context())
		r := newRows(q)
		s := &step{stmt: q.rows, row: r.add}
		err := exchange(c, [][]*step{{s}}, false, time.Second)
		end()
		frame := r.done("", 1)
		for i := range frame.Columns {
			col := &frame.Columns[i]
			n := len(col.Ints) + len(col.Floats) + len(col.Texts)
			if s.state == done && (n != frame.N || col.Null != nil && len(col.Null) != n) {
				t.Errorf("column %s: %d values of %d rows", col.Name, n, frame.N)
			}
		}
		if err == nil && s.state != done && s.state != failed {
			t.Errorf("state %d without an error", s.state)
		}
		if err != nil && errors.Is(err, io.EOF) && c.usable() {
			t.Error("usable after its end")
		}
		r.buffer.free(q.family)
	})
}
