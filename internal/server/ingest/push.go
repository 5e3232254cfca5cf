package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/pganalytics/pganalytics/internal/frame"
)

// Limits of requests and of memory.
const (
	MaxBody      = 32 << 20  // compressed, of a request
	MaxRequest   = 256 << 20 // raw, of a request
	maxEnvelopes = 10_000
	totalBody    = 128 << 20 // of all requests
	totalRaw     = 256 << 20 // decoded or encoded and waiting, of all requests

	chunkRows  = 5_000 // a request with more is committed in chunks while the next is decoded
	chunkBytes = 8 << 20
	chunksOpen = 2
)

// ContentType of a push: envelopes one after another, nothing else.
const ContentType = "application/vnd.pganalytics.envelopes"

// HeaderOldest carries the tick of the oldest batch that the collector still keeps, microseconds.
const HeaderOldest = "Pganalytics-Oldest-Tick"

// RequestError is a request that cannot be answered by verdicts.
type RequestError struct {
	Status           int // of HTTP
	Parameter, Value string
	Detail           string
	RetryAfter       time.Duration // 0: don't say
}

func (e *RequestError) Error() string { return e.Detail }

// Result is the verdict on one envelope of a push.
type Result struct {
	Epoch, Seq uint64
	Verdict
}

// Pushed is the answer to a push.
type Pushed struct {
	Results []Result // in the order of the envelopes
	Unknown []string // families and family.columns that were ignored, sorted
}

// budget bounds the memory of all requests.
type budget struct {
	body, raw, decoding *semaphore.Weighted
}

func newBudget(raw int64) *budget {
	return &budget{semaphore.NewWeighted(totalBody), semaphore.NewWeighted(raw), semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0)))}
}

// Push stores the envelopes of a request of an authenticated collector, and answers when their
// COMMIT has. length is the body's length, -1 when it is not known. The error is a
// *RequestError, with nothing stored (unless Status is 503: then nobody knows), or ctx's.
func (in *Ingest) Push(ctx context.Context, collector frame.CollectorID, body io.Reader, length int64, oldest string) (*Pushed, error) {
	oldestTick, err := parseOldest(oldest)
	if err != nil {
		return nil, err
	}
	if length > MaxBody {
		return nil, tooLarge("body", MaxBody)
	}
	if length < 0 {
		length = MaxBody
	}
	if err := in.budget.body.Acquire(ctx, length); err != nil {
		return nil, err
	}
	defer in.budget.body.Release(length)
	envelopes, err := readEnvelopes(body)
	if err != nil {
		return nil, err
	}
	r := &request{in: in, collector: collector, oldest: oldestTick}
	defer r.release()
	for _, e := range envelopes {
		if err := r.add(ctx, e); err != nil {
			return nil, err
		}
	}
	if err := r.finish(ctx); err != nil {
		return nil, err
	}
	out := r.answer()
	if len(out.Results) > 0 && !slices.ContainsFunc(out.Results, func(r Result) bool { return r.Status != Unavailable }) {
		return nil, &RequestError{Status: http.StatusServiceUnavailable, Detail: "the store did not confirm: push again", RetryAfter: 5 * time.Second}
	}
	if oldestTick != 0 {
		in.prune(ctx, collector, oldestTick)
	}
	return out, nil
}

func parseOldest(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	us, err := strconv.ParseInt(s, 10, 64)
	if err != nil || !sane(us) {
		return 0, &RequestError{Status: http.StatusBadRequest, Parameter: HeaderOldest, Value: s[:min(len(s), 50)], Detail: "want microseconds since 1970"}
	}
	return us, nil
}

func tooLarge(what string, limit int) error {
	return &RequestError{Status: http.StatusRequestEntityTooLarge, Parameter: what, Detail: fmt.Sprintf("the %s may have %d bytes", what, limit)}
}

// readEnvelopes reads all or nothing: of a damaged request nothing is stored.
func readEnvelopes(body io.Reader) ([]*frame.Envelope, error) {
	// One byte beyond the limit tells a body that is too large.
	data, err := io.ReadAll(io.LimitReader(body, MaxBody+1))
	if err != nil {
		return nil, &RequestError{Status: http.StatusBadRequest, Parameter: "body", Detail: "the body could not be read to its end"}
	}
	if len(data) > MaxBody {
		return nil, tooLarge("body", MaxBody)
	}
	var out []*frame.Envelope
	raw := 0
	for r := bufio.NewReader(bytes.NewReader(data)); ; {
		e, err := frame.ReadEnvelope(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, &RequestError{Status: http.StatusBadRequest, Parameter: "body", Detail: fmt.Sprintf("envelope %d: %v", len(out)+1, err)}
		}
		if raw += e.RawLen; raw > MaxRequest {
			return nil, tooLarge("batches, uncompressed,", MaxRequest)
		}
		if out = append(out, e); len(out) > maxEnvelopes {
			return nil, &RequestError{Status: http.StatusRequestEntityTooLarge, Parameter: "body", Detail: fmt.Sprintf("at most %d envelopes", maxEnvelopes)}
		}
	}
	if len(out) == 0 {
		return nil, &RequestError{Status: http.StatusBadRequest, Parameter: "body", Detail: "there is no envelope in it"}
	}
	return out, nil
}

// request is a push on its way: units that are decoded, in chunks that are committed.
type request struct {
	in        *Ingest
	collector frame.CollectorID
	oldest    int64 // that it may still bring, 0 unknown
	units     []*unit
	unknown   []string

	chunk       []*unit
	rows, bytes int
	held        int64 // of the budget, by the chunk
	open        []openJob
}

type openJob struct {
	*job
	held int64
}

// add decodes an envelope into the current chunk.
func (r *request) add(ctx context.Context, e *frame.Envelope) error {
	need := int64(2*e.RawLen + len(e.Data) + 4096)
	if !r.in.budget.raw.TryAcquire(need) {
		// Never wait with something in hand: others may wait for it.
		if err := r.flush(ctx); err != nil {
			return err
		}
		if err := r.drain(ctx, 0); err != nil {
			return err
		}
		if err := r.in.budget.raw.Acquire(ctx, need); err != nil {
			return err
		}
	}
	r.held += need
	if err := r.in.budget.decoding.Acquire(ctx, 1); err != nil {
		return err
	}
	u, unknown, err := r.in.prepare(ctx, r.collector, e)
	r.in.budget.decoding.Release(1)
	u.oldest = r.oldest
	r.units = append(r.units, u)
	r.unknown = append(r.unknown, unknown...)
	var no *refusal
	switch {
	case errors.As(err, &no):
		u.verdict = Verdict{Status: Refused, Reason: no.reason, Detail: no.detail}
		r.in.log.Warn("batch refused", "collector", r.collector.String(), "batch", u.id.String(), "reason", no.reason, "detail", no.detail)
		r.in.count.verdict(u)
		return nil
	case err != nil:
		r.in.fail(u, err)
		r.in.count.verdict(u)
		return ctx.Err()
	}
	r.chunk = append(r.chunk, u)
	r.rows, r.bytes = r.rows+u.rows, r.bytes+u.bytes
	if r.rows >= chunkRows || r.bytes >= chunkBytes {
		return r.flush(ctx)
	}
	return nil
}

// flush hands the chunk to the committer.
func (r *request) flush(ctx context.Context) error {
	if len(r.chunk) == 0 {
		return nil
	}
	if err := r.drain(ctx, chunksOpen-1); err != nil {
		return err
	}
	j := &job{units: r.chunk, done: make(chan struct{})}
	select {
	case r.in.queue <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.in.ended:
		return stopping()
	}
	r.open = append(r.open, openJob{j, r.held})
	r.chunk, r.rows, r.bytes, r.held = nil, 0, 0, 0
	return nil
}

func stopping() error {
	return &RequestError{Status: http.StatusServiceUnavailable, Detail: "this backend is stopping", RetryAfter: time.Second}
}

// drain waits until at most left chunks are open.
func (r *request) drain(ctx context.Context, left int) error {
	for len(r.open) > left {
		select {
		case <-r.open[0].done:
		case <-ctx.Done():
			return ctx.Err()
		case <-r.in.ended:
			select {
			case <-r.open[0].done:
			default:
				return stopping()
			}
		}
		r.in.budget.raw.Release(r.open[0].held)
		r.open = r.open[1:]
	}
	return nil
}

func (r *request) finish(ctx context.Context) error {
	if err := r.flush(ctx); err != nil {
		return err
	}
	return r.drain(ctx, 0)
}

// release gives back what an aborted request holds; chunks that are still being committed keep
// theirs until then.
func (r *request) release() {
	if r.held > 0 {
		r.in.budget.raw.Release(r.held)
		r.held = 0
	}
	for _, j := range r.open {
		r.in.orphans.Go(func() {
			select {
			case <-j.done:
			case <-r.in.ended:
			}
			r.in.budget.raw.Release(j.held)
		})
	}
	r.open = nil
}

func (r *request) answer() *Pushed {
	out := &Pushed{Results: make([]Result, len(r.units))}
	for i, u := range r.units {
		out.Results[i] = Result{Epoch: u.id.Epoch, Seq: u.id.Seq, Verdict: u.verdict}
	}
	slices.Sort(r.unknown)
	out.Unknown = slices.Compact(r.unknown)
	if len(out.Unknown) > 1000 {
		out.Unknown = out.Unknown[:1000]
	}
	return out
}
