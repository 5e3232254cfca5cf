package agent_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/ship"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// receiver is a small backend: it decodes what is pushed and keeps it by id.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	batches  map[frame.ID]*frame.Batch
	gaps     map[frame.ID]*frame.Envelope
	order    []*frame.Batch // each once, as they came
	newest   map[string]frame.ID
	tokens   map[string]string // to collector
	holder   map[string]string // of instances: another collector's name
	down     bool
	pushes   int
	problems []string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{batches: map[frame.ID]*frame.Batch{}, gaps: map[frame.ID]*frame.Envelope{}, newest: map[string]frame.ID{}, tokens: map[string]string{}, holder: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/collectors/register", r.register)
	mux.HandleFunc("GET /api/v1/collectors/self/newest", func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		id := r.newest[r.tokens[strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer ")]]
		reply(w, 200, map[string]string{"epoch": fmt.Sprintf("%016x", id.Epoch), "seq": fmt.Sprint(id.Seq)})
	})
	mux.HandleFunc("POST /api/v1/metrics/push", r.push)
	r.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		r.Close()
		for _, p := range r.problems {
			t.Error(p)
		}
	})
	return r
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (r *receiver) register(w http.ResponseWriter, q *http.Request) {
	var in ship.Registration
	err := json.NewDecoder(q.Body).Decode(&in)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.down:
		reply(w, 503, map[string]string{"title": "down"})
		return
	case err != nil || q.Header.Get("Authorization") != "Bearer registration":
		reply(w, 401, map[string]string{"title": "no"})
		return
	}
	token := fmt.Sprintf("token-%s-%d", in.ID, len(r.tokens))
	r.tokens[token] = in.ID
	var granted []map[string]string
	var conflicts []map[string]any
	for i, n := range in.Instances {
		if h := r.holder[n.Name]; h != "" {
			conflicts = append(conflicts, map[string]any{"instance": n.Name, "holder": h, "silent_seconds": 1})
			continue
		}
		granted = append(granted, map[string]string{"name": n.Name, "id": fmt.Sprint(i)})
	}
	status := 200
	if conflicts != nil {
		status = 409
	}
	reply(w, status, map[string]any{"token": token, "instances": granted, "conflicts": conflicts})
}

func (r *receiver) push(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pushes++
	collector := r.tokens[strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer ")]
	switch {
	case r.down:
		reply(w, 503, map[string]string{"title": "down"})
		return
	case collector == "":
		reply(w, 401, map[string]string{"title": "no"})
		return
	}
	var results []map[string]string
	for in := bufio.NewReader(bytes.NewReader(body)); ; {
		e, err := frame.ReadEnvelope(in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.problems = append(r.problems, err.Error())
			reply(w, 400, map[string]string{"title": "malformed"})
			return
		}
		status := "stored"
		_, have := r.batches[e.ID]
		switch {
		case e.ID.Collector.String() != collector:
			status = "refused"
		case have || r.gaps[e.ID] != nil:
			status = "duplicate"
		case e.Kind == frame.KindGap:
			g, err := e.Gap()
			if err != nil {
				r.problems = append(r.problems, err.Error())
				status = "refused"
				break
			}
			r.gaps[e.ID] = e
			r.order = append(r.order, g.Batches...)
			for seq := e.FirstSeq; seq < e.ID.Seq; seq++ {
				id := e.ID
				if id.Seq = seq; r.batches[id] != nil || r.gaps[id] != nil {
					r.problems = append(r.problems, fmt.Sprintf("gap %s..%d claims what came", e.ID, e.FirstSeq))
				}
				r.gaps[id] = e
			}
		default:
			b, err := e.Batch()
			if err != nil {
				r.problems = append(r.problems, err.Error())
				status = "refused"
				break
			}
			r.batches[e.ID] = b
			r.order = append(r.order, b)
			r.newest[collector] = e.ID
		}
		results = append(results, map[string]string{"epoch": fmt.Sprintf("%016x", e.ID.Epoch), "seq": fmt.Sprint(e.ID.Seq), "status": status})
	}
	reply(w, 200, map[string]any{"results": results})
}

func (r *receiver) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// all gives what came, in the order of ticks.
func (r *receiver) all() []*frame.Batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.order)
	slices.SortStableFunc(out, func(a, b *frame.Batch) int { return cmp.Compare(a.Tick, b.Tick) })
	return out
}

// newestStored is the newest stored tick of a family of an instance, 0: none.
func (r *receiver) newestStored(instance, family string) (tick int64) {
	for _, b := range r.all() {
		for _, o := range b.Outcomes {
			if b.Instance == instance && o.Family == family && o.Code == frame.Stored {
				tick = max(tick, o.Last)
			}
		}
	}
	return tick
}

// waitStored waits until a family of an instance has a stored tick after some time.
func (r *receiver) waitStored(t *testing.T, instance, family string, after time.Time) {
	t.Helper()
	waitFor(t, 60*time.Second, fmt.Sprintf("a tick of %s on %s", family, instance), func() bool {
		return r.newestStored(instance, family) > after.UnixMicro()
	})
}

func waitFor(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

type seriesKey struct{ instance, database, family string }

// account is the ledger that a backend would make of what came.
type account struct {
	schedules map[seriesKey][]frame.Schedule
	outcomes  map[seriesKey]map[int64][]frame.Outcome // by tick
}

func (r *receiver) account() account {
	a := account{map[seriesKey][]frame.Schedule{}, map[seriesKey]map[int64][]frame.Outcome{}}
	for _, b := range r.all() {
		for _, s := range b.Schedules {
			k := seriesKey{b.Instance, s.Database, s.Family}
			if !slices.ContainsFunc(a.schedules[k], func(x frame.Schedule) bool { return x.From == s.From }) {
				a.schedules[k] = append(a.schedules[k], s)
			}
		}
		for _, o := range b.Outcomes {
			k := seriesKey{b.Instance, o.Database, o.Family}
			if a.outcomes[k] == nil {
				a.outcomes[k] = map[int64][]frame.Outcome{}
			}
			step := int64(0)
			if o.N > 1 {
				step = (o.Last - o.First) / (o.N - 1)
			}
			for i := range o.N {
				tick := o.First + i*step
				a.outcomes[k][tick] = append(a.outcomes[k][tick], o)
			}
		}
	}
	return a
}

// balance checks that planned = outcomes, tick by tick, up to the newest outcome of
// each family, and counts outcomes by code.
func (a account) balance(t *testing.T) map[seriesKey]map[string]int {
	t.Helper()
	counts := map[seriesKey]map[string]int{}
	for k, outcomes := range a.outcomes {
		counts[k] = map[string]int{}
		newest := slices.Max(slices.Collect(maps.Keys(outcomes)))
		planned := map[int64]bool{}
		for _, tick := range plannedTicks(a.schedules[k], newest) {
			planned[tick] = true
			if len(outcomes[tick]) == 0 {
				t.Errorf("%v: tick %s is planned and has no outcome", k, stamp(tick))
			}
		}
		for tick, list := range outcomes {
			if !planned[tick] {
				t.Errorf("%v: tick %s has outcome %+v and is not planned", k, stamp(tick), list[0])
			}
			if len(list) > 1 {
				t.Errorf("%v: tick %s has %d outcomes: %+v", k, stamp(tick), len(list), list)
			}
			word := list[0].Code.String()
			if list[0].Reason != "" {
				word += "(" + list[0].Reason + ")"
			}
			counts[k][word]++
		}
	}
	return counts
}

func stamp(us int64) string { return time.UnixMicro(us).UTC().Format("15:04:05.000000") }

func plannedTicks(rows []frame.Schedule, upto int64) (out []int64) {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b frame.Schedule) int { return cmp.Compare(a.From, b.From) })
	for i, r := range rows {
		if r.Reason != "" {
			continue
		}
		for t := r.From; t <= upto && (r.Until == 0 || t <= r.Until) && (i+1 == len(rows) || t < rows[i+1].From); t += r.Every {
			out = append(out, t)
		}
	}
	return out
}

// sums adds up a counter of a family over all frames: rows by key (the values of the
// key columns named), and cut.
func (r *receiver) sums(instance, family, counter string, where map[string]int64, by ...string) (rows map[string]int64, cut int64) {
	rows = map[string]int64{}
	for _, b := range r.all() {
		for i := range b.Frames {
			f := &b.Frames[i]
			if b.Instance != instance || f.Family != family {
				continue
			}
			c := f.Column(counter)
			for n := range f.N {
				match := c != nil && !c.IsNull(n)
				for k, v := range where {
					match = match && f.Column(k) != nil && f.Column(k).Ints[n] == v
				}
				if !match {
					continue
				}
				if f.Part != frame.Rows {
					cut += c.Ints[n]
					continue
				}
				var key []string
				for _, k := range by {
					key = append(key, fmt.Sprint(f.Column(k).Ints[n]))
				}
				rows[strings.Join(key, ",")] += c.Ints[n]
			}
		}
	}
	return rows, cut
}
