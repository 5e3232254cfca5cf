//go:build linux

package target

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// served is a connection whose server sends the next answer at each request.
func served(t *testing.T, answers ...[]byte) *conn {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		s, err := l.Accept()
		if err != nil {
			return
		}
		defer s.Close()
		for b := make([]byte, 4096); ; answers = answers[1:] {
			if _, err := s.Read(b); err != nil || len(answers) == 0 {
				_, _ = s.Read(b) // hold it open until the client leaves
				return
			}
			for rest := answers[0]; len(rest) > 0; {
				n, _ := s.Write(rest[:min(8192, len(rest))])
				rest = rest[n:]
			}
		}
	}()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &conn{net: c, from: c, params: map[string]string{}, prepared: map[string]struct{}{}, tx: 'I', low: newLowWater(c), sizes: map[string]int{}}
}

// An answer that is shorter than the last one is not waited for longer than guard,
// and one that does not come is given as long as ever.
func TestLowWater(t *testing.T) {
	stmt := newStmt("SELECT 1", nil, oidInt8)
	rows := func(n int) []byte {
		ms := []pgproto3.BackendMessage{&pgproto3.BindComplete{}}
		for range n {
			ms = append(ms, &pgproto3.DataRow{Values: [][]byte{make([]byte, 8)}})
		}
		return messages(t, append(ms, &pgproto3.CommandComplete{CommandTag: []byte("SELECT")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})...)
	}
	sizes := []int{4000, 4000, 100, 20000, 4000}
	for range 20 { // of these one or the other comes within guard
		sizes = append(sizes, 1000)
	}
	var answers [][]byte
	for _, n := range sizes {
		answers = append(answers, rows(n))
	}
	c := served(t, answers...)
	c.prepared[stmt.name] = struct{}{}
	round := func(limit time.Duration) (got int, took time.Duration, err error) {
		end := c.begin(t.Context())
		defer end()
		start := time.Now()
		err = exchange(c, [][]*step{{{stmt: stmt, row: func([][]byte) error { got++; return nil }}}}, false, limit)
		return got, time.Since(start), err
	}
	told := false
	for i, n := range sizes {
		before := c.sizes[stmt.name]
		got, took, err := round(10 * time.Second)
		if err != nil || got != n {
			t.Fatalf("answer %d: %d rows, %v; want %d", i, got, err, n)
		}
		if took > 2*time.Second {
			t.Errorf("answer %d of %d bytes after one of %d took %s", i, len(answers[i]), before, took)
		}
		told = told || c.low.now > 1
	}
	if !told {
		t.Error("the kernel was never told what to wait for")
	}
	_, took, err := round(100 * time.Millisecond)
	if !errors.Is(err, os.ErrDeadlineExceeded) || took < 100*time.Millisecond {
		t.Errorf("no answer: %v after %s; want a timeout after the limit", err, took)
	}
}
