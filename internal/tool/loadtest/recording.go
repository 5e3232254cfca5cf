package loadtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/tool/measure"
)

// recording is what a real collector pushed of one real instance.
type recording struct {
	planned []frame.Schedule                // what goes on, without what ended
	steady  map[catalog.Lane][]*frame.Batch // rounds that came after first contact
	initial []frame.Frame                   // of states and dictionaries: sent at first contact
}

// receiver takes what a collector pushes and confirms it, as a backend does.
type receiver struct {
	server *http.Server
	url    string
	mu     sync.Mutex
	bodies [][]byte
}

func newReceiver() (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/collectors/register", func(w http.ResponseWriter, req *http.Request) {
		var in struct{ Instances []struct{ Name string } }
		if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		granted := []map[string]string{}
		for i, x := range in.Instances {
			granted = append(granted, map[string]string{"name": x.Name, "id": fmt.Sprint(i + 1)})
		}
		reply(w, map[string]any{"token": "recorder-recorder-recorder-recorder", "instances": granted})
	})
	mux.HandleFunc("GET /api/v1/collectors/self/newest", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"epoch": "0000000000000000", "seq": "0"})
	})
	mux.HandleFunc("POST "+pathPush, r.push)
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(l) }()
	return r, nil
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who no longer listens asks again
}

func (r *receiver) push(w http.ResponseWriter, req *http.Request) {
	var body sink
	list, err := envelopes(io.TeeReader(req.Body, &body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	results := []map[string]any{}
	for _, e := range list {
		results = append(results, map[string]any{"epoch": fmt.Sprintf("%016x", e.ID.Epoch), "seq": fmt.Sprint(e.ID.Seq), "status": "stored"})
	}
	r.mu.Lock()
	r.bodies = append(r.bodies, body)
	r.mu.Unlock()
	reply(w, map[string]any{"results": results})
}

// sink keeps what is written.
type sink []byte

func (s *sink) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}

func envelopes(r io.Reader) (out []*frame.Envelope, err error) {
	for b := bufio.NewReader(r); ; {
		e, err := frame.ReadEnvelope(b)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
}

// steadyRounds of the slow lane are recorded: each has all statements, as the workload
// runs as often as they are read.
const (
	steadyRounds = 3
	recordLimit  = 40 * time.Second
)

// pace is how often the recorded server is read.
func (t *test) pace() time.Duration {
	if t.Quick {
		return time.Second
	}
	return 2 * time.Second
}

// record lets a collector of the program watch a server until it has what is needed.
func (t *test) record(ctx context.Context, server *measure.Server) (*recording, error) {
	r, err := newReceiver()
	if err != nil {
		return nil, err
	}
	defer r.server.Close()
	token := t.place.Path("recorder.token")
	if err := writeSecret(token, "recorder-recorder-recorder-recorder"); err != nil {
		return nil, err
	}
	url := server.URLAs(measure.Monitor, t.password)
	config, err := t.writeConfig("recorder", r.url, token, t.pace(), []watched{{"recorded", url}})
	if err != nil {
		return nil, err
	}
	load := measure.StartLoad(ctx, []string{server.URL("postgres")}, measure.Statements(fewStatements), t.pace())
	defer func() { _ = load.Stop() }()
	collector, err := t.place.Spawn("recorder", nil, t.Binary, "collector", "--config", config)
	if err != nil {
		return nil, err
	}
	defer t.place.Stop(collector)
	for deadline := time.Now().Add(recordLimit); ; {
		if err := t.place.Watch(ctx, 500*time.Millisecond); err != nil {
			return nil, err
		}
		out, err := r.recording()
		if err != nil {
			return nil, err
		}
		if out.complete() {
			t.progress("recorded %d slow and %d fast rounds of a real server", len(out.steady[catalog.Slow]), len(out.steady[catalog.Fast]))
			return out, load.Stop()
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("record a real server: after %s only %d slow and %d fast steady rounds; see its log, or give the machine less to do",
				recordLimit, len(out.steady[catalog.Slow]), len(out.steady[catalog.Fast]))
		}
	}
}

func (r *recording) complete() bool {
	return len(r.steady[catalog.Slow]) >= steadyRounds && len(r.steady[catalog.Fast]) >= steadyRounds && len(r.initial) > 0
}

// recording makes a recording of what has come so far.
func (r *receiver) recording() (*recording, error) {
	r.mu.Lock()
	bodies := slices.Clone(r.bodies)
	r.mu.Unlock()
	var batches []*frame.Batch
	for _, body := range bodies {
		list, err := envelopes(bytesReader(body))
		if err != nil {
			return nil, fmt.Errorf("read what was recorded: %w", err)
		}
		for _, e := range list {
			if e.Kind != frame.KindBatch {
				continue
			}
			b, err := e.Batch()
			if err != nil {
				return nil, fmt.Errorf("read what was recorded: %w", err)
			}
			batches = append(batches, b)
		}
	}
	slices.SortStableFunc(batches, func(a, b *frame.Batch) int { return int(min(1, max(-1, a.Tick-b.Tick))) })
	return newRecording(batches), nil
}

type familyKey struct{ family, database string }

// newRecording sorts batches, the oldest first, into what begins and what goes on.
func newRecording(batches []*frame.Batch) *recording {
	out := &recording{steady: map[catalog.Lane][]*frame.Batch{}}
	plan := map[familyKey]frame.Schedule{}
	states := map[familyKey]frame.Frame{}
	for _, b := range batches {
		for _, s := range b.Schedules {
			key := familyKey{s.Family, s.Database}
			if have, ok := plan[key]; s.Reason != frame.Closed && s.Until == 0 && (!ok || s.From >= have.From) {
				plan[key] = s
			}
		}
		for _, f := range b.Frames {
			if family := catalog.Lookup(f.Family); family != nil && family.Shape != catalog.Sample && f.N > states[familyKey{f.Family, f.Database}].N {
				states[familyKey{f.Family, f.Database}] = f
			}
		}
		if steady(b) {
			out.steady[b.Lane] = append(out.steady[b.Lane], b)
		}
	}
	// The first ones still see the server's own start and ours.
	for lane, list := range out.steady {
		out.steady[lane] = list[min(1, len(list)):]
	}
	for _, s := range plan {
		out.planned = append(out.planned, s)
	}
	slices.SortFunc(out.planned, func(a, b frame.Schedule) int {
		return compareKeys(familyKey{a.Family, a.Database}, familyKey{b.Family, b.Database})
	})
	for _, f := range states {
		out.initial = append(out.initial, f)
	}
	return out
}

// steady: each of its outcomes is stored, and counters were counted.
func steady(b *frame.Batch) bool {
	for _, o := range b.Outcomes {
		if o.Code != frame.Stored || o.N != 1 {
			return false
		}
	}
	if b.Lane == catalog.Fast {
		return len(b.Frames) > 0
	}
	return slices.ContainsFunc(b.Frames, func(f frame.Frame) bool {
		return f.Family == "statements" && f.Part == frame.Rows && f.N >= fewStatements && f.Since < f.At
	})
}
