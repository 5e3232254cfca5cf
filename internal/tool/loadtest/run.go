package loadtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/measure"
)

// test is one run.
type test struct {
	Options
	place     *measure.Place
	store     *measure.Server // nil with --url
	servers   []*measure.Server
	password  string // of the role that watches
	recording *recording
}

// spec is what a scenario has.
type spec struct{ collectors, instances int }

// suite are the scenarios of make loadtest.
var (
	suite      = []spec{{10, 10}, {50, 50}, {100, 100}}
	quickSuite = []spec{{9, 6}}
)

func (o *Options) specs() []spec {
	switch {
	case o.Suite && o.Quick:
		return quickSuite
	case o.Suite:
		return suite
	}
	return []spec{{o.Collectors, o.Instances}}
}

const fewStatements = 120 // of a watched server

// Run measures. The error says what kept it from measuring; whether the criteria are
// met is in the report.
func Run(ctx context.Context, opt Options) (r *Report, err error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	t := &test{Options: opt, password: rand.Text()}
	if t.place, err = measure.NewPlace(opt.PostgreSQL, "pganalytics-loadtest-"); err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, t.place.Close())
		if ctx.Err() != nil {
			err = errors.New("interrupted; what was started is stopped")
		}
	}()
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	r = t.newReport()
	for i, s := range t.specs() {
		done, err := t.scenario(ctx, i, s)
		if err != nil {
			return nil, fmt.Errorf("scenario of %d collectors and %d instances: %w", s.collectors, s.instances, err)
		}
		r.Scenarios = append(r.Scenarios, done)
	}
	if t.URL == "" && t.needsServers() > 0 {
		if r.Saturation, err = t.saturate(ctx); err != nil {
			return nil, fmt.Errorf("measure coverage: %w", err)
		}
	}
	r.judge(t)
	return r, r.write(t)
}

func (t *test) progress(format string, args ...any) {
	if t.Progress != nil {
		t.Progress(format, args...)
	}
}

// needsServers is for how many instances servers are watched.
func (t *test) needsServers() int {
	most := 0
	for _, s := range t.specs() {
		most = max(most, s.instances)
	}
	return most
}

// prepare starts the store and the watched servers, and records.
func (t *test) prepare(ctx context.Context) (err error) {
	watched := t.needsServers()
	n := max(1, min(maxServers, watched))
	t.progress("starting the store and %d watched servers, PostgreSQL %s", n, t.place.Binaries.Version)
	if t.URL == "" {
		// Durable, as the product demands, with the settings of `pganalytics up`.
		t.store, err = t.place.Start(ctx, "store", true, map[string]string{"max_connections": "50", "shared_buffers": "128MB", "max_wal_size": "1GB", "wal_compression": "on"})
		if err != nil {
			return err
		}
	}
	// Two connections of the collector for each name, and one at a time of the naive design.
	settings := measure.WatchedSettings(30 + 5*(watched+n-1)/n)
	template, err := t.place.Start(ctx, "template", false, settings)
	if err != nil {
		return err
	}
	if err := measure.Fill(ctx, template.URL("postgres"), t.password); err != nil {
		return err
	}
	if err := template.Stop(); err != nil {
		return err
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("server-%02d", i+1)
	}
	if t.servers, err = t.place.Copies(ctx, "template", names, settings); err != nil {
		return err
	}
	t.recording, err = t.record(ctx, t.servers[0])
	return err
}

// onBackend gives a phase a backend and a database of its own: what it uses and holds is
// that phase's.
func (t *test) onBackend(ctx context.Context, name string, phase func(*backend) error) error {
	k, err := t.newBackend(ctx, name)
	if err != nil {
		return err
	}
	if k.process != nil {
		defer t.place.Stop(k.process)
	}
	return phase(k)
}

// scenario runs both phases of a scenario.
func (t *test) scenario(ctx context.Context, i int, s spec) (_ *Scenario, err error) {
	out := &Scenario{Collectors: s.collectors, Instances: s.instances}
	if s.collectors > 0 {
		t.progress("%d simulated collectors push every %s for %s", s.collectors, t.Interval, t.Duration)
		err = t.onBackend(ctx, fmt.Sprintf("simulated%d", i+1), func(k *backend) error {
			out.Simulated, err = t.simulate(ctx, k, s.collectors)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if s.instances > 0 {
		t.progress("a real collector watches %d instances every %s for %s", s.instances, t.Interval, t.Duration)
		err = t.onBackend(ctx, fmt.Sprintf("real%d", i+1), func(k *backend) error {
			out.Real, err = t.watch(ctx, k, s.instances)
			return err
		})
		if err != nil {
			return nil, err
		}
		t.progress("the naive design reads the same")
		if out.Naive, err = t.runNaive(ctx, s.instances); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Simulated is what was measured under simulated collectors.
type Simulated struct {
	Seconds   float64  `json:"seconds"`
	Ticks     int64    `json:"ticks_pushed"`
	Ledger    counts   `json:"ledger"`
	Different []string `json:"different,omitempty"` // where ledger or store are not what was pushed
	Repeated  int64    `json:"batches_sent_twice"`
	Batches   int64    `json:"batches"`
	Rows      int64    `json:"rows"`
	RowRate   float64  `json:"rows_per_second"`
	Bytes     int64    `json:"bytes"`
	Requests  int64    `json:"requests"`
	Failed    int64    `json:"requests_failed"`
	Why       string   `json:"first_failure,omitempty"`
	Late      int64    `json:"late"` // ticks that the generator itself began more than 1 s late
	Push      Latency  `json:"push"`
	Cycle     Latency  `json:"cycle"` // planned tick to verdict
	API       Latency  `json:"api"`
	APIFailed int64    `json:"api_failed"`
	Backend   Used     `json:"backend"`
	Store     Used     `json:"store"`
	Itself    Used     `json:"load_test_itself"`
	Growth    float64  `json:"store_growth_mb"`
}

// settle is how long after the first tick of the last member its first pushes, which
// also bring settings and texts, are over.
const settle = 2 * time.Second

func (t *test) simulate(ctx context.Context, k *backend, n int) (*Simulated, error) {
	if err := enoughFiles(n); err != nil {
		return nil, err
	}
	f, err := t.newFleet(ctx, k, n)
	if err != nil {
		return nil, err
	}
	defer f.close()
	from := f.begin.Add(min(t.Interval/4, 5*time.Second) + settle)
	f.end = from.Add(t.Duration)
	pctx, stop := context.WithCancel(ctx)
	defer stop()
	pushed := make(chan error, 1)
	go func() { pushed <- f.run(pctx) }()
	before, after, api, err := t.window(ctx, k, f, from)
	if err != nil {
		stop()
	}
	if ended := <-pushed; err == nil {
		err = ended
	}
	if err != nil {
		return nil, err
	}
	out := &Simulated{Seconds: after.at.Sub(before.at).Seconds(), Repeated: f.repeated, Batches: f.batches, Rows: f.rows, Bytes: f.bytes, Requests: f.requests, Failed: f.failed, Why: f.why,
		Late: f.late, Push: latency(f.took), Cycle: latency(f.cycles), API: latency(api.took), APIFailed: api.failed, Ticks: f.acked}
	if out.Why == "" {
		out.Why = api.why
	}
	cycles := float64(n) * out.Seconds / t.Interval.Seconds()
	out.Backend, out.Store, out.Itself = used(after.backend-before.backend, before.usage, after.usage, cycles), used(after.store-before.store, before.usage, after.usage, cycles), used(after.itself-before.itself, before.usage, after.usage, cycles)
	out.RowRate = float64(f.rows) / f.end.Sub(f.begin).Seconds()
	if k.process != nil {
		high, err := measure.Memory(k.process.PID(), "VmHWM")
		if err != nil {
			return nil, err
		}
		out.Backend.Memory, out.Store.Memory = mb(high), mb(after.peak)
		out.Growth = mb(after.size - before.size)
	}
	return out, f.verify(ctx, k, out)
}

// moment is usage with what else is read at the ends of a measurement.
type moment struct {
	usage
	size, peak int64
}

// window measures from a moment on for the duration, while requests of readers are timed.
func (t *test) window(ctx context.Context, k *backend, f *fleet, from time.Time) (before, after moment, api *reader, err error) {
	if err := t.place.Watch(ctx, time.Until(from)); err != nil {
		return before, after, nil, err
	}
	var ids []string
	for _, m := range f.members[:min(len(f.members), 100)] {
		ids = append(ids, m.instance)
	}
	if k.process != nil {
		if before.size, err = k.size(ctx); err != nil {
			return before, after, nil, err
		}
	}
	memory := k.peak(ctx)
	api = k.read(ctx, ids, 15*time.Minute)
	defer api.end()
	if before.usage, err = k.use(nil); err == nil {
		if err = t.place.Watch(ctx, t.Duration); err == nil {
			after.usage, err = k.use(nil)
		}
	}
	after.peak = memory.end()
	if err == nil && k.process != nil {
		after.size, err = k.size(ctx)
	}
	return before, after, api, err
}

// verify compares what was pushed with what ledger and store hold.
func (f *fleet) verify(ctx context.Context, k *backend, out *Simulated) error {
	for word, n := range f.wrong {
		out.Different = append(out.Different, fmt.Sprintf("%d batches: %s", n, word))
	}
	accounts, err := k.accounts(ctx, f.begin.Add(-time.Second), f.end)
	if err != nil {
		return err
	}
	shown := 0
	for _, m := range f.members {
		c := accounts[m.instance]
		out.Ledger.add(c)
		if (c.Planned != m.ticks || c.Stored != m.ticks) && shown < 5 {
			shown++
			out.Different = append(out.Different, fmt.Sprintf("%s: %d ticks pushed, ledger: %+v", m.name, m.ticks, c))
		}
	}
	if out.Ledger.Stored != f.acked {
		out.Different = append(out.Different, fmt.Sprintf("%d ticks confirmed, %d in the ledger", f.acked, out.Ledger.Stored))
	}
	if k.process == nil {
		return nil
	}
	for _, x := range []struct {
		what, table string
		want        int64
	}{{"batches", "ingest_batch", f.batches}, {"rows of statements", "statements_raw", f.texts}} {
		have, err := k.one(ctx, "SELECT count(*) FROM "+x.table)
		if err != nil {
			return err
		}
		if have != x.want {
			out.Different = append(out.Different, fmt.Sprintf("%d %s pushed, %d in the store", x.want, x.what, have))
		}
	}
	return nil
}

func removeAll(paths ...string) {
	for _, p := range paths {
		os.RemoveAll(p)
	}
}
