package ship_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pganalytics/pganalytics/internal/agent/ship"
	"github.com/pganalytics/pganalytics/internal/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queue is a spool in memory.
type queue struct {
	mu      sync.Mutex
	kept    []*frame.Envelope
	acked   []uint64
	refused map[uint64]string
	made    uint64 // the greatest number ever
	signal  chan struct{}
}

const epoch = 0xfeed

func newQueue(n int) *queue {
	q := &queue{refused: map[uint64]string{}, signal: make(chan struct{}, 1)}
	for range n {
		q.append()
	}
	return q
}

func (q *queue) append() {
	q.mu.Lock()
	q.made++
	q.kept = append(q.kept, frame.NewEnvelope(&frame.Batch{
		ID: frame.ID{Collector: collector, Epoch: epoch, Seq: q.made}, Instance: "db1", Lane: "slow", Tick: int64(q.made) * 1_000_000,
	}))
	q.mu.Unlock()
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

func (q *queue) Pending(_ context.Context, limit, bytes int, skip func(frame.ID) bool) ([]*frame.Envelope, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all, out []*frame.Envelope
	for _, e := range q.kept {
		if !skip(e.ID) {
			all = append(all, e)
		}
	}
	if n := len(all); n > 0 {
		all = append([]*frame.Envelope{all[n-1]}, all[:n-1]...)
	}
	for _, e := range all {
		if len(out) == limit || len(out) > 0 && bytes < len(e.Data) {
			break
		}
		bytes -= len(e.Data)
		out = append(out, e)
	}
	return out, nil
}

func (q *queue) Ack(ids ...frame.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		q.acked = append(q.acked, id.Seq)
		q.kept = slices.DeleteFunc(q.kept, func(e *frame.Envelope) bool { return e.ID == id })
	}
}

func (q *queue) Refuse(id frame.ID, reason string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refused[id.Seq] = reason
	for i, e := range q.kept {
		if e.ID == id {
			gap := *e
			gap.Kind, gap.Reason = frame.KindGap, reason
			q.kept[i] = &gap
		}
	}
	return nil
}

func (q *queue) Oldest() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.kept) == 0 {
		return 0
	}
	return q.kept[0].Tick
}

func (q *queue) Appended() <-chan struct{} { return q.signal }

func (q *queue) Made(e, seq uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return e == epoch && seq <= q.made
}

func (q *queue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.kept)
}

var collector = frame.CollectorID{1, 2, 3}

// identity remembers.
type identity struct {
	mu           sync.Mutex
	token        string
	registration string
	granted      []string
	conflicts    []ship.Conflict
	grants       int
}

func (i *identity) Registration() ship.Registration {
	return ship.Registration{ID: collector.String(), Name: "test", Version: "dev", Instances: []ship.Instance{{Name: "db1"}}}
}
func (i *identity) RegistrationToken() (string, error) {
	return cmp.Or(i.registration, "registration"), nil
}
func (i *identity) Token() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.token
}

func (i *identity) SaveToken(t string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.token = t
	return nil
}

func (i *identity) Granted(granted []string, conflicts []ship.Conflict) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.granted, i.conflicts = granted, conflicts
	i.grants++
}

// backend is a real HTTP server whose push can be told to misbehave.
type backend struct {
	*httptest.Server
	mu       sync.Mutex
	stored   map[uint64]int
	order    []uint64
	sizes    []int
	oldest   []string
	gaps     map[uint64]string
	newest   string
	tokens   map[string]bool
	conflict bool
	// misbehave answers a push itself and says so.
	misbehave func(w http.ResponseWriter, envelopes []*frame.Envelope) bool
	// verdict overrides the status of one batch.
	verdict func(e *frame.Envelope) (ship.Ruling, string)
}

func newBackend(t *testing.T) *backend {
	b := &backend{stored: map[uint64]int{}, gaps: map[uint64]string{}, tokens: map[string]bool{}, newest: `{"epoch":"0000000000000000","seq":"0"}`}
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, kind string, status int, body string) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
	mux.HandleFunc("POST /api/v1/collectors/register", func(w http.ResponseWriter, r *http.Request) {
		var in ship.Registration
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("Authorization") != "Bearer registration" || in.ID != collector.String() {
			reply(w, "application/problem+json", 401, `{"title":"no","status":401,"detail":"no"}`)
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.tokens["own"] = true
		if b.conflict {
			reply(w, "application/problem+json", 409, `{"title":"held","status":409,"detail":"held","token":"own","instances":[],"conflicts":[{"instance":"db1","holder":"other","silent_seconds":5}]}`)
			return
		}
		reply(w, "application/json", 200, `{"token":"own","instances":[{"name":"db1","id":"1"}]}`)
	})
	mux.HandleFunc("GET /api/v1/collectors/self/newest", func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		reply(w, "application/json", 200, b.newest)
	})
	mux.HandleFunc("POST /api/v1/metrics/push", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var envelopes []*frame.Envelope
		for in := bufio.NewReader(bytes.NewReader(body)); ; {
			e, err := frame.ReadEnvelope(in)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("envelope: %v", err)
				return
			}
			envelopes = append(envelopes, e)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); !b.tokens[token] {
			reply(w, "application/problem+json", 401, `{"title":"unknown token"}`)
			return
		}
		b.sizes = append(b.sizes, len(envelopes))
		b.oldest = append(b.oldest, r.Header.Get(ship.HeaderOldest))
		if b.misbehave != nil && b.misbehave(w, envelopes) {
			return
		}
		var results []string
		for _, e := range envelopes {
			status, reason := ship.Stored, ""
			if b.verdict != nil {
				status, reason = b.verdict(e)
			}
			switch {
			case status == "":
				continue
			case status == ship.Stored && b.stored[e.ID.Seq] > 0:
				status = ship.Duplicate
			case status == ship.Stored:
				b.stored[e.ID.Seq]++
				b.order = append(b.order, e.ID.Seq)
				if e.Kind == frame.KindGap {
					b.gaps[e.ID.Seq] = e.Reason
				}
			}
			results = append(results, fmt.Sprintf(`{"epoch":"%016x","seq":"%d","status":%q,"reason":%q}`, e.ID.Epoch, e.ID.Seq, status, reason))
		}
		reply(w, "application/json", 200, `{"results":[`+strings.Join(results, ",")+`]}`)
	})
	b.Server = httptest.NewServer(mux)
	t.Cleanup(b.Close)
	return b
}

// run ships until done says so, then ends the Shipper in order.
func run(t *testing.T, b *backend, q *queue, id *identity, done func() bool) *ship.Shipper {
	t.Helper()
	s, wait := start(t, b, q, id)
	until(t, done)
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t *testing.T, b *backend, q *queue, id *identity) (*ship.Shipper, func() error) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s := ship.New(ship.Config{
		URL: b.URL, Client: &http.Client{Transport: transport}, Queue: q, Identity: id,
		Log: slog.New(slog.DiscardHandler), Linger: 10 * time.Millisecond, Backoff: 50 * time.Millisecond, Grace: time.Second,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s, sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			t.Fatal("Run goes on 10 s after its context")
			return nil
		}
	})
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not done after 30 s")
		}
	}
}

func (b *backend) storedOnce(t *testing.T, n int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.stored) != n {
		t.Errorf("%d batches stored, want %d", len(b.stored), n)
	}
	for seq, times := range b.stored {
		if times != 1 {
			t.Errorf("batch %d stored %d times", seq, times)
		}
	}
}

func TestRegistersAndShipsNewestFirst(t *testing.T) {
	b, q, id := newBackend(t), newQueue(20), &identity{}
	s := run(t, b, q, id, func() bool { return q.left() == 0 })
	b.storedOnce(t, 20)
	want := []uint64{20}
	for i := range uint64(19) {
		want = append(want, i+1)
	}
	if !slices.Equal(b.order, want) {
		t.Errorf("order %v, want the newest, then the oldest first", b.order)
	}
	if len(b.sizes) != 1 || b.oldest[0] != "1000000" {
		t.Errorf("requests of %v batches, oldest %v, want one of 20 with 1000000", b.sizes, b.oldest)
	}
	if id.Token() != "own" || !slices.Equal(id.granted, []string{"db1"}) {
		t.Errorf("token %q, granted %v", id.Token(), id.granted)
	}
	if st := s.Status(); st.Acknowledged != 20 || st.Requests != 1 || st.Failures != 0 || !st.Checked || st.LastSuccess.IsZero() {
		t.Errorf("status %+v", st)
	}
}

// Nothing but a well-formed list of verdicts lets a batch go, and each kind of
// answer is got over.
func TestNoVerdictKeepsBatches(t *testing.T) {
	cut := func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}
	answer := func(status int, kind, body string, header ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter)
	}{
		{"a proxy's page with 200", answer(200, "text/html", "<html>ok</html>")},
		{"a page that claims to be JSON", answer(200, "application/json", "<html>ok</html>")},
		{"a proxy's page with 502", answer(502, "text/html", "<html>bad gateway</html>")},
		{"another JSON", answer(200, "application/json", `{"ok":true}`)},
		{"a JSON array", answer(200, "application/json", `[]`)},
		{"verdicts of strangers", answer(200, "application/json", `{"results":[{"epoch":"00000000000000aa","seq":"1","status":"stored"}]}`)},
		{"an unknown verdict", answer(200, "application/json", fmt.Sprintf(`{"results":[{"epoch":"%016x","seq":"1","status":"maybe"}]}`, epoch))},
		{"half an answer", answer(200, "application/json", `{"results":[{"epoch":"000000000000feed","seq":"1","status":"sto`)},
		{"accepted", answer(202, "application/json", `{"results":[]}`)},
		{"a redirect", answer(307, "text/plain", "", "Location", "http://192.0.2.1/")},
		{"a problem", answer(500, "application/problem+json", `{"title":"x","status":500,"detail":"y"}`)},
		{"too big", answer(413, "application/problem+json", `{"title":"x"}`)},
		{"cut", cut},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, q, id := newBackend(t), newQueue(1), &identity{}
			calls := 0
			b.misbehave = func(w http.ResponseWriter, _ []*frame.Envelope) bool {
				if calls++; calls == 1 {
					c.answer(w)
					return true
				}
				return false
			}
			s := run(t, b, q, id, func() bool { return q.left() == 0 })
			b.storedOnce(t, 1)
			if st := s.Status(); st.Failures == 0 || len(q.refused) != 0 {
				t.Errorf("status %+v, refused %v", st, q.refused)
			}
		})
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	for _, status := range []int{429, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			b, q, id := newBackend(t), newQueue(3), &identity{}
			var first, second time.Time
			b.misbehave = func(w http.ResponseWriter, _ []*frame.Envelope) bool {
				if first.IsZero() {
					first = time.Now()
					w.Header().Set("Retry-After", "2")
					w.WriteHeader(status)
					return true
				}
				if second.IsZero() {
					second = time.Now()
				}
				return false
			}
			run(t, b, q, id, func() bool { return q.left() == 0 })
			b.storedOnce(t, 3)
			if d := second.Sub(first); d < 2*time.Second || d > 4*time.Second { // whatever Backoff says
				t.Errorf("asked again after %s, want 2 s and a little", d)
			}
			if b.sizes[len(b.sizes)-1] != 3 {
				t.Errorf("requests of %v batches: an overload is no reason to doubt them", b.sizes)
			}
		})
	}
}

// A batch that breaks every request that it is in does not stop the others, and
// becomes a gap after its fifth failure alone.
func TestPoisonIsPutAside(t *testing.T) {
	b, q, id := newBackend(t), newQueue(12), &identity{}
	b.misbehave = func(w http.ResponseWriter, envelopes []*frame.Envelope) bool {
		for _, e := range envelopes {
			if e.ID.Seq == 5 && e.Kind == frame.KindBatch {
				w.WriteHeader(500)
				return true
			}
		}
		return false
	}
	stop := make(chan struct{})
	var feed sync.WaitGroup
	feed.Go(func() { // others go on passing
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				q.append()
			}
		}
	})
	s, wait := start(t, b, q, id)
	for deadline := time.Now().Add(3 * time.Minute); s.Status().Refused == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	close(stop)
	feed.Wait()
	until(t, func() bool { return q.left() == 0 })
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if len(q.refused) != 1 || q.refused[5] != "poison" || b.gaps[5] != "poison" {
		t.Errorf("refused %v, gaps %v, want batch 5 for poison", q.refused, b.gaps)
	}
	b.storedOnce(t, int(q.made))
}

// An outage, however long, condemns nothing.
func TestOutageRefusesNothing(t *testing.T) {
	b, q, id := newBackend(t), newQueue(40), &identity{}
	calls := 0
	b.misbehave = func(w http.ResponseWriter, _ []*frame.Envelope) bool {
		if calls++; calls <= 9 {
			w.WriteHeader(503)
			return true
		}
		return false
	}
	run(t, b, q, id, func() bool { return q.left() == 0 })
	b.storedOnce(t, 40)
	if len(q.refused) != 0 {
		t.Errorf("refused %v", q.refused)
	}
}

func TestVerdictsOneByOne(t *testing.T) {
	b, q, id := newBackend(t), newQueue(6), &identity{}
	seen := map[uint64]int{}
	b.verdict = func(e *frame.Envelope) (ship.Ruling, string) {
		seen[e.ID.Seq]++
		switch {
		case e.Kind == frame.KindGap:
			return ship.Stored, ""
		case e.ID.Seq == 1:
			return ship.Refused, "clock"
		case e.ID.Seq == 2:
			return ship.Refused, "undecodable: …"
		case e.ID.Seq == 3 && seen[3] == 1:
			return ship.Unavailable, "deadlock"
		case e.ID.Seq == 4 && seen[4] == 1:
			return "", "" // forgotten
		}
		return ship.Stored, ""
	}
	run(t, b, q, id, func() bool { return q.left() == 0 })
	b.storedOnce(t, 6)
	if len(q.refused) != 2 || q.refused[1] != "clock" || q.refused[2] != "poison" || b.gaps[1] != "clock" || b.gaps[2] != "poison" {
		t.Errorf("refused %v, gaps %v", q.refused, b.gaps)
	}
	if seen[3] != 2 || seen[4] != 2 {
		t.Errorf("sent %v: what got no verdict is sent again once", seen)
	}
}

func TestUnauthorizedRegistersAgain(t *testing.T) {
	b, q, id := newBackend(t), newQueue(1), &identity{}
	calls := 0
	b.misbehave = func(w http.ResponseWriter, _ []*frame.Envelope) bool {
		if calls++; calls == 1 {
			w.WriteHeader(401)
			return true
		}
		return false
	}
	run(t, b, q, id, func() bool { return q.left() == 0 })
	b.storedOnce(t, 1)
	if id.Token() != "own" || id.grants != 2 {
		t.Errorf("token %q after %d registrations", id.Token(), id.grants)
	}
}

// A registration token that was taken away stops nobody who has a token.
func TestOwnTokenOutlivesTheRegistrationToken(t *testing.T) {
	b, q, id := newBackend(t), newQueue(1), &identity{token: "own", registration: "withdrawn"}
	b.tokens["own"] = true
	run(t, b, q, id, func() bool { return q.left() == 0 })
	b.storedOnce(t, 1)
}

func TestConflictKeepsGoing(t *testing.T) {
	b, q, id := newBackend(t), newQueue(2), &identity{}
	b.conflict = true
	s := run(t, b, q, id, func() bool { return q.left() == 0 })
	b.storedOnce(t, 2)
	if len(id.conflicts) != 1 || id.conflicts[0].Holder != "other" || len(s.Status().Conflicts) != 1 {
		t.Errorf("conflicts %v", id.conflicts)
	}
}

// A backend that holds what our spool never made: the disk was restored or cloned.
func TestForeignBatchIsNoticed(t *testing.T) {
	for _, newest := range []string{`{"epoch":"00000000000000aa","seq":"1"}`, `{"epoch":"000000000000feed","seq":"77"}`} {
		b, q, id := newBackend(t), newQueue(2), &identity{}
		b.newest = newest
		s, wait := start(t, b, q, id)
		until(t, func() bool { return s.Status().Registered })
		time.Sleep(50 * time.Millisecond)
		if err := wait(); !errors.Is(err, ship.ErrForeign) {
			t.Errorf("newest %s: %v", newest, err)
		}
		if len(b.stored) != 0 {
			t.Errorf("%d batches pushed under a doubtful identity", len(b.stored))
		}
	}
	b, q, id := newBackend(t), newQueue(2), &identity{}
	b.verdict = func(*frame.Envelope) (ship.Ruling, string) { return ship.Cloned, "" }
	s, wait := start(t, b, q, id)
	until(t, func() bool { return s.Status().Requests > 0 })
	time.Sleep(50 * time.Millisecond)
	if err := wait(); !errors.Is(err, ship.ErrForeign) {
		t.Errorf("cloned: %v", err)
	}
}

// What was appended just before the end is still sent, but the end does not wait
// for a backend that hangs.
func TestEndSendsWhatIsLeftWithinTheGrace(t *testing.T) {
	b, q, id := newBackend(t), newQueue(0), &identity{}
	s, wait := start(t, b, q, id)
	until(t, func() bool { return s.Status().Checked })
	q.append()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	b.storedOnce(t, 1)

	b, q = newBackend(t), newQueue(0)
	hang := make(chan struct{})
	b.misbehave = func(http.ResponseWriter, []*frame.Envelope) bool { <-hang; return true }
	s, wait = start(t, b, q, &identity{})
	until(t, func() bool { return s.Status().Checked })
	q.append()
	until(t, func() bool { return s.Status().Requests > 0 })
	begun := time.Now()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begun); d > 3*time.Second {
		t.Errorf("the end took %s, the grace is 1 s", d)
	}
	close(hang)
	if q.left() != 1 {
		t.Error("a batch without a verdict is gone")
	}
}
