package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// TestTwoBackends: the collector speaks to two backends at once, through a network
// that doubles, delays, cuts, damages and loses; and later all of it comes once
// more. Each batch is stored once (I1), the totals are exact (I2).
func TestTwoBackends(t *testing.T) {
	t.Parallel()
	p := newParts(t, 18)
	// Both find an empty store and prepare it, at once.
	second := &client{t: t}
	address := freeAddress(t)
	second.base = "http://" + address
	p.backend = p.backendAt(p.address)
	other := p.backendAt(address)
	p.waitHealthy(p.backend, 30*time.Second)
	second.waitHealthy(other, 30*time.Second)
	p.token = p.secret("api-token")
	second.token = p.token

	wire := newWire(t, p.base, second.base)
	p.configure(wire.URL, 1, "[postgresql]\nquery_stats_limit = 1000\n[families.statement_texts]\nevery = 3\n", instance{"watched", p.watched.URLAs("pganalytics", "postgres")})
	pgtest.Exec(t, p.watched.URL("postgres"), "CREATE ROLE shop LOGIN")
	p.startCollector()
	id := p.instance("watched")
	eventually(t, 20*time.Second, func() string {
		if n := p.sql(`SELECT count(*) FROM statements_raw`); n == 0 {
			return "no statement is stored"
		}
		return ""
	})
	from := time.Now().Add(-time.Hour)
	counts, stop, driven := map[string]int64{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(driven)
		drive(t, p.watched.URLAs("shop", "postgres"), counts, stop)
	}()
	time.Sleep(15 * time.Second)
	close(stop)
	<-driven
	var want int64
	for _, n := range counts {
		want += n
	}
	exact := func(c *client) string {
		var a account
		if _, err := c.try(&a, "/api/v1/instances/"+id+"/statements", "user", "shop", "limit", "10000", "from", strconv.FormatInt(from.Unix(), 10)); err != nil {
			return err.Error()
		}
		if got := int64(a.Total["calls"]); got != want {
			return fmt.Sprintf("total calls %d, driven %d (unobserved %+v)", got, want, a.Unobserved)
		}
		return sameCalls(&a, counts)
	}
	eventually(t, 30*time.Second, func() string { return exact(p.client) })
	eventually(t, 5*time.Second, func() string { return exact(second) })
	wire.check(t)

	// With the collector gone: all that it ever sent, once more, the last first,
	// whole and damaged, to whichever backend.
	p.collector.stop()
	rows := p.sql(`SELECT count(*) FROM statements_raw`)
	sent := wire.recorded()
	for n, push := range slices.Backward(sent) {
		base := wire.backends[n%2]
		status, reply := wire.send(base, push, push.body)
		var answer struct {
			Results []struct{ Status, Reason, Detail string }
		}
		if err := json.Unmarshal(reply, &answer); err != nil || status != http.StatusOK || len(answer.Results) == 0 {
			t.Fatalf("again: status %d, %s", status, reply)
		}
		for _, r := range answer.Results {
			if r.Status != "duplicate" {
				t.Errorf("again: %+v", r)
			}
		}
		for _, at := range []int{0, 5, 8, 12, 30, len(push.body) / 2, len(push.body) - 2} {
			damaged := bytes.Clone(push.body)
			damaged[at%len(damaged)] ^= 1 << (n % 8)
			if status, reply := wire.send(base, push, damaged); status != http.StatusBadRequest || !bytes.Contains(reply, []byte("envelope")) {
				t.Errorf("bit flipped at byte %d of %d: status %d, %s", at, len(damaged), status, reply)
			}
		}
		if t.Failed() {
			break
		}
	}
	if more := p.sql(`SELECT count(*) FROM statements_raw`) - rows; more != 0 {
		t.Errorf("%d rows more from batches that were there", more)
	}
	if problem := exact(p.client); problem != "" {
		t.Error(problem)
	}
	// Another's token, none, and the API's own push nothing.
	for _, token := range []string{"", p.token, "0000"} {
		push := sent[0]
		push.header = push.header.Clone()
		push.header.Set("Authorization", "Bearer "+token)
		if status, reply := wire.send(p.base, push, push.body); status != http.StatusUnauthorized && status != http.StatusForbidden {
			t.Errorf("token %.4q: status %d, %s", token, status, reply)
		}
	}
	checkOnce(t, p)
	newer(t, wire, sent)
}

// newer pushes what a collector of a later version might: a column and a family that
// this backend has never heard of are named and left out, the rest is stored; a
// column that it knows as another kind makes the batch refused as a whole.
func newer(t *testing.T, w *wire, sent []recordedPush) {
	t.Helper()
	var batch *frame.Batch
	var push recordedPush
	for _, push = range slices.Backward(sent) {
		e, err := frame.ReadEnvelope(bufio.NewReader(bytes.NewReader(push.body)))
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == frame.KindBatch {
			if batch, err = e.Batch(); err != nil {
				t.Fatal(err)
			}
			if len(batch.Frames) > 0 && batch.Frames[0].N > 0 {
				break
			}
		}
	}
	if batch == nil || len(batch.Frames) == 0 {
		t.Fatal("no batch with a frame was pushed")
	}
	f := &batch.Frames[0]
	try := func(want string, change func()) []byte {
		t.Helper()
		batch.ID.Seq += 1000
		batch.Tick += 1000
		for i := range batch.Outcomes {
			batch.Outcomes[i].First += 1000
			batch.Outcomes[i].Last += 1000
		}
		change()
		_, reply := w.send(w.backends[1], push, frame.AppendEnvelope(nil, frame.NewEnvelope(batch)))
		if !bytes.Contains(reply, []byte(`"status":"`+want+`"`)) {
			t.Errorf("of a later version: %s, want %s", reply, want)
		}
		return reply
	}
	reply := try("stored", func() {
		f.Columns = append(f.Columns, frame.Column{Name: "of_tomorrow", Kind: catalog.Gauge, Type: catalog.Int, Ints: make([]int64, f.N)})
		batch.Frames = append(batch.Frames, frame.Frame{Family: "families_of_tomorrow", Since: batch.Tick, At: batch.Tick, N: 1,
			Columns: []frame.Column{{Name: "n", Kind: catalog.Gauge, Type: catalog.Int, Ints: []int64{1}}}})
		f = &batch.Frames[0]
	})
	for _, unknown := range []string{`"` + f.Family + `.of_tomorrow"`, `"families_of_tomorrow"`} {
		if !bytes.Contains(reply, []byte(unknown)) {
			t.Errorf("%s is not named: %s", unknown, reply)
		}
	}
	reply = try("refused", func() {
		i := slices.IndexFunc(f.Columns, func(c frame.Column) bool { return c.Kind == catalog.Counter || c.Kind == catalog.Gauge })
		f.Columns[i] = frame.Column{Name: f.Columns[i].Name, Kind: f.Columns[i].Kind, Type: catalog.Text, Texts: make([]string, f.N)}
	})
	if !bytes.Contains(reply, []byte(f.Family+".")) {
		t.Errorf("the column is not named: %s", reply)
	}
}

// checkOnce: no tick and no row of one is stored twice.
func checkOnce(t *testing.T, p *parts) {
	t.Helper()
	for _, what := range []struct{ table, key string }{
		{"ledger", "instance_id, time, database, lane"},
		{"statements_raw", "instance_id, time, dbid, userid, queryid, toplevel"},
		{"database_raw", "instance_id, time, datid"},
		{"tables_raw", "instance_id, time, datid, relid"},
		{"wal_raw", "instance_id, time"},
	} {
		if n := p.sql(`SELECT count(*) FROM (SELECT 1 FROM ` + what.table + ` GROUP BY ` + what.key + ` HAVING count(*) > 1) d`); n != 0 {
			t.Errorf("%s: %d keys twice", what.table, n)
		}
	}
}

// wire is the network between a collector and two backends. What it does to a push
// is told by the push's number, so that each kind of trouble comes in turn and no
// batch meets one five times in a row.
type wire struct {
	*httptest.Server
	t        *testing.T
	backends [2]string
	late     sync.WaitGroup

	mu       sync.Mutex
	pushes   []recordedPush
	n        int
	random   *rand.Rand
	problems []string
	did      map[string]int
}

type recordedPush struct {
	header http.Header
	body   []byte
}

func newWire(t *testing.T, first, second string) *wire {
	w := &wire{t: t, backends: [2]string{first, second}, did: map[string]int{}, random: rand.New(rand.NewPCG(1, 2))}
	w.Server = httptest.NewServer(w)
	t.Cleanup(func() { w.Close(); w.late.Wait() })
	return w
}

func (w *wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.URL.Path != "/api/v1/metrics/push" {
		w.forward(rw, r, body)
		return
	}
	push := recordedPush{r.Header.Clone(), body}
	w.mu.Lock()
	w.pushes = append(w.pushes, push)
	n := w.n
	w.n++
	at, bit := w.random.IntN(len(body)), byte(1)<<w.random.IntN(8)
	w.mu.Unlock()
	one, two := w.backends[n%2], w.backends[(n+1)%2]
	switch kind := n % 6; kind {
	case 0: // to both at the same time
		w.done("doubled")
		var wg sync.WaitGroup
		wg.Go(func() { w.send(two, push, body) })
		status, reply := w.send(one, push, body)
		wg.Wait()
		answer(rw, status, reply)
	case 1, 2: // a damaged copy goes ahead
		damaged := body[:at]
		if kind == 2 {
			damaged = bytes.Clone(body)
			damaged[at] ^= bit
		}
		w.done("damaged")
		if status, reply := w.send(two, push, damaged); status != http.StatusBadRequest || !json.Valid(reply) {
			w.problem("a push damaged at byte %d of %d: status %d, %s", at, len(body), status, reply)
		}
		status, reply := w.send(one, push, body)
		answer(rw, status, reply)
	case 3: // stored, but the answer is lost
		w.done("answer lost")
		w.send(one, push, body)
		panic(http.ErrAbortHandler)
	case 4: // a proxy's page, and the push arrives all the same, late
		w.done("late")
		w.late.Go(func() {
			time.Sleep(2500 * time.Millisecond)
			w.send(two, push, body)
		})
		rw.Header().Set("Content-Type", "text/html")
		fmt.Fprint(rw, "<html><body>OK, said the proxy</body></html>")
	default:
		w.done("passed")
		status, reply := w.send(one, push, body)
		answer(rw, status, reply)
	}
}

func answer(rw http.ResponseWriter, status int, reply []byte) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_, _ = rw.Write(reply)
}

func (w *wire) forward(rw http.ResponseWriter, r *http.Request, body []byte) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, w.backends[0]+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		w.problem("%v", err)
		return
	}
	request.Header = r.Header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	reply, _ := io.ReadAll(response.Body)
	rw.Header().Set("Content-Type", response.Header.Get("Content-Type"))
	rw.WriteHeader(response.StatusCode)
	_, _ = rw.Write(reply)
}

// send pushes a body as the collector did; status 0 is no answer.
func (w *wire) send(base string, push recordedPush, body []byte) (int, []byte) {
	request, err := http.NewRequest(http.MethodPost, base+"/api/v1/metrics/push", bytes.NewReader(body))
	if err != nil {
		w.problem("%v", err)
		return 0, nil
	}
	request.Header = push.header.Clone()
	request.Header.Del("Content-Length")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.problem("push: %v", err)
		return 0, nil
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(response.Body)
	if err != nil {
		w.problem("push: %v", err)
	}
	return response.StatusCode, reply
}

func (w *wire) done(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did[what]++
}

func (w *wire) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// recorded gives a sample of what came through.
func (w *wire) recorded() []recordedPush {
	w.late.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.pushes)
}

func (w *wire) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.problems {
		t.Error(p)
	}
	for _, what := range []string{"doubled", "damaged", "answer lost", "late", "passed"} {
		if w.did[what] == 0 {
			t.Errorf("no push was %s in %d", what, w.n)
		}
	}
	t.Logf("%d pushes: %v", w.n, w.did)
}
