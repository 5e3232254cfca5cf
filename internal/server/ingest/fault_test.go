package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
)

// commitCutter is a TCP proxy before a PostgreSQL that cuts a connection at the COMMIT of a
// transaction that copied rows: before it arrives, or behind it, so that its answer is lost.
type commitCutter struct {
	listener net.Listener
	to       string
	armed    atomic.Int32 // 0: off, 1: cut before, 2: cut behind
	cuts     atomic.Int32
	wg       sync.WaitGroup
}

func newCommitCutter(t *testing.T, to string) *commitCutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &commitCutter{listener: l, to: to}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); p.wg.Wait() })
	return p
}

func (p *commitCutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	var answers sync.WaitGroup
	var mute atomic.Bool
	answers.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if !mute.Load() {
				_, _ = client.Write(buf[:n])
			}
			if err != nil {
				client.Close()
				return
			}
		}
	})
	defer answers.Wait()
	defer server.Close()
	copied := false
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		data := buf[:n]
		copied = copied && !bytes.Contains(data, []byte("begin\x00")) || bytes.Contains(data, []byte(`COPY "statements_raw"`))
		if copied && p.armed.Load() != 0 && bytes.Contains(data, []byte("commit\x00")) {
			how := p.armed.Swap(0)
			p.cuts.Add(1)
			mute.Store(true)
			if how == 2 {
				_, _ = server.Write(data)
				time.Sleep(50 * time.Millisecond) // the server answers to nobody
			}
			return
		}
		if _, werr := server.Write(data); err != nil || werr != nil {
			return
		}
	}
}

// TestConnectionLostAtCommit: the verdict is never better than what the database said, and
// pushing again stores what was not, once.
func TestConnectionLostAtCommit(t *testing.T) {
	url1 := database(t)
	u, err := url.Parse(url1)
	if err != nil {
		t.Fatal(err)
	}
	proxy := newCommitCutter(t, u.Host)
	u.Host = proxy.listener.Addr().String()
	b := newBackend(t, u.String())
	t.Cleanup(b.stop) // before the proxy ends
	c := newCollector(t, b, "a")
	stored := int64(0)
	for round, x := range []struct {
		how   int32
		again ingest.Status
	}{{1, "stored"}, {2, "duplicate"}, {1, "stored"}, {2, "duplicate"}} {
		list := envelopes(c.batch("a", 10*int64(round), 50), c.batch("a", 10*int64(round)+1, 50))
		raw := body(list...)
		proxy.armed.Store(x.how)
		got, err := b.Push(t.Context(), c.id, bytes.NewReader(raw), int64(len(raw)), "")
		var re *ingest.RequestError
		if !errors.As(err, &re) || re.Status != 503 || re.RetryAfter == 0 {
			t.Fatalf("round %d: %+v, %v: want 503", round, got, err)
		}
		if int(proxy.cuts.Load()) != round+1 {
			t.Fatalf("round %d: %d cuts", round, proxy.cuts.Load())
		}
		want(t, push(t, b, c, list...), x.again, x.again)
		stored += 2
		same(t, url1, expect(stored, 50))
	}
}

// TestStoreKilled kills the store again and again under two backends and four collectors that push
// until they have a verdict.
func TestStoreKilled(t *testing.T) {
	server := pgtest.PrivateStore(t, pgtest.StoreMajor(t), "fsync=on", "full_page_writes=on")
	dsn := pgtest.Database(t, server, prepared())
	backends := []*backend{newBackend(t, dsn), newBackend(t, dsn)}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const makers, batches, queries = 4, 150, 40
	var wg sync.WaitGroup
	var pushed, refusals atomic.Int64
	for m := range makers {
		c := newCollector(t, backends[0], fmt.Sprintf("i%d", m))
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(m)))
			for k := range int64(batches) {
				e := frame.NewEnvelope(c.batch(fmt.Sprintf("i%d", m), k, queries))
				raw := body(e)
				for ctx.Err() == nil {
					got, err := backends[r.IntN(2)].Push(ctx, c.id, bytes.NewReader(raw), int64(len(raw)), "")
					if err == nil && got.Results[0].Status != ingest.Unavailable {
						if s := got.Results[0].Status; s != ingest.Stored && s != ingest.Duplicate {
							t.Errorf("batch %d: %+v", k, got.Results[0])
							return
						}
						pushed.Add(1)
						break
					}
					var re *ingest.RequestError
					if err != nil && (!errors.As(err, &re) || re.Status != 503) {
						t.Errorf("batch %d: %v", k, err)
						return
					}
					refusals.Add(1)
					time.Sleep(20 * time.Millisecond)
				}
				time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
			}
		})
	}
	kills := 0
	for ; kills < 4; kills++ {
		before := pushed.Load()
		for pushed.Load() < before+makers*batches/8 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		server.Kill(t)
		time.Sleep(50 * time.Millisecond)
		server.Start(t)
	}
	wg.Wait()
	if ctx.Err() != nil {
		t.Fatalf("only %d batches have a verdict after %d kills", pushed.Load(), kills)
	}
	if refusals.Load() == 0 {
		t.Error("no push met a dead store: the test proves nothing")
	}
	same(t, dsn, expect(makers*batches, queries))
	if got := query[int64](t, dsn, "SELECT count(*) FROM ingest_batch"); got != makers*batches {
		t.Errorf("%d ids, want %d", got, makers*batches)
	}
}

// TestAborted gives up requests in the middle: what holds memory is given back.
func TestAborted(t *testing.T) {
	dsn := database(t)
	b := newBackend(t, dsn)
	c := newCollector(t, b, "a")
	raw := body(envelopes(c.batch("a", 1, 2000), c.batch("a", 2, 2000))...)
	for d := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(d)*time.Millisecond)
		_, err := b.Push(ctx, c.id, bytes.NewReader(raw), int64(len(raw)), "")
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			var re *ingest.RequestError
			if !errors.As(err, &re) || re.Status != 503 {
				t.Errorf("aborted after %d ms: %v", d, err)
			}
		}
		cancel()
	}
	// A body that breaks off.
	broken := io.MultiReader(bytes.NewReader(raw[:1000]), errReader{})
	var re *ingest.RequestError
	if _, err := b.Push(t.Context(), c.id, broken, int64(len(raw)), ""); !errors.As(err, &re) || re.Status != 400 {
		t.Errorf("a body that breaks off: %v", err)
	}
	if _, err := b.Push(t.Context(), c.id, bytes.NewReader(raw), int64(len(raw)), ""); err != nil {
		t.Fatal(err)
	}
	same(t, dsn, expect(2, 2000))
	b.stop()
	if body, raw := b.Held(); body != 0 || raw != 0 {
		t.Errorf("held after the end: %d and %d bytes", body, raw)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestLimits refuses what is too large or not what it says.
func TestLimits(t *testing.T) {
	b := newBackend(t, database(t))
	c := newCollector(t, b, "a")
	good := body(envelopes(c.batch("a", 1, 1))...)
	for _, x := range []struct {
		name, oldest string
		body         io.Reader
		length       int64
		status       int
		parameter    string
	}{
		{"empty", "", bytes.NewReader(nil), 0, 400, "body"},
		{"JSON", "", bytes.NewReader([]byte(`{"metrics": []}`)), 15, 400, "body"},
		{"announced too long", "", bytes.NewReader(good), ingest.MaxBody + 1, 413, "body"},
		{"endless", "", endless{}, -1, 413, "body"},
		{"oldest", "yesterday", bytes.NewReader(good), int64(len(good)), 400, ingest.HeaderOldest},
		{"negative oldest", "-1", bytes.NewReader(good), int64(len(good)), 400, ingest.HeaderOldest},
	} {
		_, err := b.Push(t.Context(), c.id, x.body, x.length, x.oldest)
		var re *ingest.RequestError
		if !errors.As(err, &re) || re.Status != x.status || re.Parameter != x.parameter || re.Detail == "" {
			t.Errorf("%s: %+v", x.name, err)
		}
	}
	// More than 256 MB uncompressed in a few kilobytes.
	var many []*frame.Envelope
	for range 5 {
		id, _ := c.next()
		many = append(many, &frame.Envelope{Kind: frame.KindBatch, ID: id, FirstSeq: id.Seq, Tick: c.start, RawLen: frame.MaxRaw, Data: frame.Compress(make([]byte, frame.MaxRaw))})
	}
	raw := body(many...)
	_, err := b.Push(t.Context(), c.id, bytes.NewReader(raw), int64(len(raw)), "")
	var re *ingest.RequestError
	if !errors.As(err, &re) || re.Status != 413 {
		t.Errorf("bomb: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
