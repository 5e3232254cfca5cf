package loadtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/tool/measure"
)

// fleet is the simulated collectors of a scenario.
type fleet struct {
	members  []*member
	wires    []*wire
	begin    time.Time // tick of the first member
	end      time.Time // no tick is later
	interval time.Duration

	mu       sync.Mutex // guards what follows
	acked    int64      // ticks in batches that are stored
	batches  int64
	rows     int64
	texts    int64 // statement rows
	bytes    int64
	requests int64
	failed   int64           // requests without a 200
	repeated int64           // batches sent again
	wrong    map[string]int  // verdicts that should not be
	took     []time.Duration // of pushes
	cycles   []time.Duration // from the planned tick until the batch is confirmed
	late     int64           // ticks that began more than a second late: the generator's own fault
	why      string          // of the first failure
}

// repeatEvery: one request in so many is sent again although it was answered, as a
// collector does whose connection broke before the answer.
const repeatEvery = 20

const atOnce = 32 // registrations in flight

// newFleet registers n collectors.
func (t *test) newFleet(ctx context.Context, k *backend, n int) (*fleet, error) {
	var raw [3]byte
	_, _ = rand.Read(raw[:])
	run := hex.EncodeToString(raw[:])
	f := &fleet{interval: t.Interval, wrong: map[string]int{}}
	// Registrations of 10,000 take some seconds; the first tick is behind them.
	f.begin = time.Now().Add(time.Second + time.Duration(n)*4*time.Millisecond).Truncate(time.Millisecond)
	for i := range n {
		f.members = append(f.members, newMember(t.recording, memberName(run, i), f.begin.Add(spread(i, n, t.Interval)), t.Interval))
		f.wires = append(f.wires, newWire(k.url, i))
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, m := range f.members {
		group.Go(func() error { return m.register(gctx, f.wires[i], k.registration, "loadtest", t.Interval) })
	}
	if err := group.Wait(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *fleet) close() {
	for _, w := range f.wires {
		w.close()
	}
}

// run lets all members push from begin to end, and then say farewell.
func (f *fleet) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, m := range f.members {
		group.Go(func() error { return f.member(ctx, m, f.wires[i]) })
	}
	return group.Wait()
}

func (f *fleet) member(ctx context.Context, m *member, w *wire) error {
	last := int64(0)
	for tick := m.next(0); tick <= f.end.UnixMicro(); tick = m.next(tick) {
		planned := time.UnixMicro(tick)
		// A round takes some ms before its batch leaves.
		if err := measure.Sleep(ctx, time.Until(planned.Add(10*time.Millisecond))); err != nil {
			return err
		}
		late := time.Since(planned) > time.Second
		list := m.batches(tick)
		if err := f.push(ctx, m, w, list, planned, late); err != nil {
			return err
		}
		last = tick
	}
	if last == 0 {
		return nil
	}
	bye := []*frame.Batch{m.farewell(last, f.end.UnixMicro())}
	return f.push(ctx, m, w, bye, time.Time{}, false)
}

// push sends batches until they have a verdict. Only a ctx that ended is an error:
// all else is counted, since it is what is measured.
func (f *fleet) push(ctx context.Context, m *member, w *wire, list []*frame.Batch, planned time.Time, late bool) error {
	body := encode(list)
	var said verdicts
	attempts := 0
	err := patiently(ctx, f.interval+time.Minute, func() (err error) {
		attempts++
		start := time.Now()
		said, err = m.push(ctx, w, body, len(list))
		f.note(err, time.Since(start))
		if err == nil && said["unavailable"] > 0 {
			err = &refused{status: 503, text: "a batch is unavailable"}
		}
		return err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if attempts > 1 && said["duplicate"] > 0 { // stored, and the answer was lost
		said["stored"] += said["duplicate"]
		delete(said, "duplicate")
	}
	if err == nil && (m.random+m.seq)%repeatEvery == 0 {
		again, err := m.push(ctx, w, body, len(list))
		f.repeat(again, err, len(list))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes += int64(len(body))
	if late {
		f.late++
	}
	if err != nil {
		f.wrong[fmt.Sprintf("no verdict: %v", err)]++
		return nil
	}
	for word, n := range said {
		if word != "stored" {
			f.wrong[word] += n
		}
	}
	if said["stored"] < len(list) {
		return nil
	}
	f.batches += int64(len(list))
	for _, b := range list {
		all, statements := rowsOf(b)
		f.rows, f.texts, f.acked = f.rows+int64(all), f.texts+int64(statements), f.acked+int64(len(b.Outcomes))
	}
	if !planned.IsZero() {
		f.cycles = append(f.cycles, time.Since(planned))
	}
	return nil
}

func (f *fleet) note(err error, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	if err == nil {
		f.took = append(f.took, took)
		return
	}
	if errors.Is(err, context.Canceled) {
		return
	}
	if f.failed++; f.why == "" {
		f.why = err.Error()
	}
}

// repeat counts what became of batches that were sent a second time: each must be
// known already.
func (f *fleet) repeat(said verdicts, err error, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	f.repeated += int64(n)
	if err != nil {
		f.failed++
		return
	}
	for word, k := range said {
		if word != "duplicate" {
			f.wrong["sent again: "+word] += k
		}
	}
}
