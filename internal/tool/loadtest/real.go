package loadtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/tool/check"
	"github.com/pganalytics/pganalytics/internal/tool/measure"
)

// Real is what was measured of a real collector on real servers.
type Real struct {
	Servers   int           `json:"servers"` // fewer than instances: these are names on them
	Seconds   float64       `json:"seconds"`
	Collector Used          `json:"collector"`
	Backend   Used          `json:"backend"`
	Store     Used          `json:"store"`
	Watched   float64       `json:"watched_cpu_percent"` // of a core, our backends on the watched servers, per instance
	Acquire   *float64      `json:"acquire_p99_ms"`      // pooled
	Acquires  int64         `json:"acquires"`
	Cold      *float64      `json:"cold_connect_ms"` // mean of the collector's own
	RoundTime float64       `json:"round_time_ms"`   // of an instance in an interval
	Check     *check.Report `json:"check"`

	name string // of the collector
}

// watched is an instance as the collector is told of it.
type watched struct{ name, url string }

// writeConfig writes a collector's configuration.
func (t *test) writeConfig(name, backend, tokenFile string, interval time.Duration, list []watched) (string, error) {
	path := t.place.Path(name + ".toml")
	var b strings.Builder
	fmt.Fprintf(&b, "[collector]\nname = %q\ninterval = %d\ndata_dir = %q\n[backend]\nurl = %q\ntoken_file = %q\n[postgresql]\nquery_stats_limit = %d\n",
		name, interval/time.Second, t.place.Path(name), backend, tokenFile, t.Limit)
	for _, w := range list {
		fmt.Fprintf(&b, "[[instances]]\nname = %q\nurl = %q\ndatabases = [\"postgres\"]\n", w.name, w.url)
	}
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}

// watch lets a real collector watch n instances.
func (t *test) watch(ctx context.Context, k *backend, n int) (*Real, error) {
	name := fmt.Sprintf("loadtest-%d-%d", n, time.Now().Unix())
	var list []watched
	for i := range n {
		list = append(list, watched{fmt.Sprintf("%s-%05d", name, i+1), t.servers[i%len(t.servers)].URLAs(measure.Monitor, t.password)})
	}
	config, err := t.writeConfig(name, k.url, k.tokenFile, t.Interval, list)
	if err != nil {
		return nil, err
	}
	servers := t.servers[:min(n, len(t.servers))]
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.URL("postgres"))
	}
	load := measure.StartLoad(ctx, urls, measure.Statements(fewStatements), min(t.Interval, 10*time.Second))
	defer func() { _ = load.Stop() }()
	// What the backend counted before is not ours: it answers 503 while it starts.
	before, err := check.Gather(ctx, check.Options{URL: k.url, Token: k.token, Window: time.Second})
	if err != nil {
		return nil, err
	}
	collector, err := t.place.Spawn(name, nil, t.Binary, "collector", "--config", config)
	if err != nil {
		return nil, err
	}
	defer removeAll(t.place.Path(name))
	defer t.place.Stop(collector)

	// First contact reads at once and 5 s later; then the grid.
	if err := t.place.Watch(ctx, 8*time.Second+time.Duration(n)*10*time.Millisecond); err != nil {
		return nil, err
	}
	m := &measurement{test: t, k: k, collector: collector, servers: servers, name: name, n: n, before: &check.Report{Backend: before.Backend}}
	out, err := m.run(ctx)
	if err != nil {
		return nil, err
	}
	return out, errors.Join(collector.Alive(), load.Stop())
}

// measurement is the window in which a real collector is measured.
type measurement struct {
	*test
	k         *backend
	collector *measure.Child
	servers   []*measure.Server
	name      string
	n         int
	before    *check.Report // what the backend had counted before
}

func (m *measurement) run(ctx context.Context) (*Real, error) {
	memory := m.k.peak(ctx)
	before, err := m.k.use(m.collector)
	if err != nil {
		memory.end()
		return nil, err
	}
	costBefore := m.watchedCPU(ctx)
	err = m.place.Watch(ctx, m.Duration)
	high := memory.end()
	if err != nil {
		return nil, err
	}
	after, err := m.k.use(m.collector)
	if err != nil {
		return nil, err
	}
	cost := time.Duration(0)
	for pid, end := range m.watchedCPU(ctx) { // those that were opened meanwhile began with 0
		cost += end - costBefore[pid]
	}
	out := &Real{name: m.name, Servers: len(m.servers), Seconds: after.at.Sub(before.at).Seconds()}
	cycles := float64(m.n) * out.Seconds / m.Interval.Seconds()
	out.Collector = used(after.collector-before.collector, before, after, cycles)
	out.Backend = used(after.backend-before.backend, before, after, cycles)
	out.Store = used(after.store-before.store, before, after, cycles)
	out.Watched = 100 * cost.Seconds() / out.Seconds / float64(m.n)
	hwm, err := measure.Memory(m.collector.PID(), "VmHWM")
	if err != nil {
		return nil, err
	}
	out.Collector.Memory = mb(hwm)
	if m.k.process != nil {
		if hwm, err = measure.Memory(m.k.process.PID(), "VmHWM"); err != nil {
			return nil, err
		}
		out.Backend.Memory, out.Store.Memory = mb(hwm), mb(high)
	}
	// The last rounds are on their way.
	if err := m.place.Watch(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	return out, errors.Join(m.criteria(ctx, out, before.at, after.at), m.ownWords(ctx, out, before.at, after.at))
}

// watchedCPU is the CPU time of our backends on the watched servers.
func (m *measurement) watchedCPU(ctx context.Context) map[int]time.Duration {
	out := map[int]time.Duration{}
	for _, s := range m.servers {
		for _, pid := range ourBackends(ctx, s) {
			if d, err := measure.CPU(pid); err == nil { // else it has just ended
				out[pid] = d
			}
		}
	}
	return out
}

func ourBackends(ctx context.Context, s *measure.Server) (pids []int) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return nil
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, "SELECT pid FROM pg_stat_activity WHERE usename = $1", measure.Monitor)
	if err != nil {
		return nil
	}
	pids, _ = pgx.CollectRows(rows, pgx.RowTo[int]) // without them the cost is 0 and says so
	return pids
}

// criteria are those of `pganalytics check`, for this collector alone: CPU and memory
// by our own clocks, the rest as the backend has it.
func (m *measurement) criteria(ctx context.Context, out *Real, from, to time.Time) error {
	facts, err := check.Gather(ctx, check.Options{URL: m.k.url, Token: m.k.token, From: from, To: to, Requests: 20})
	if err != nil {
		return err
	}
	facts.Collectors = slices.DeleteFunc(facts.Collectors, func(c check.Collector) bool { return c.Name != m.name })
	if len(facts.Collectors) != 1 {
		return fmt.Errorf("the backend lists %d collectors of the name %s", len(facts.Collectors), m.name)
	}
	c := &facts.Collectors[0]
	facts.Instances = slices.DeleteFunc(facts.Instances, func(i check.Instance) bool { return i.Collector != c.ID })
	facts.Retired, facts.Ledger = nil, &check.Ledger{Counts: c.Counts}
	window := out.Seconds * 1000
	c.CPU = &check.Ratio{Num: out.Collector.CPU / 100 * window, Den: window}
	bytes := out.Collector.Memory * (1 << 20)
	c.Memory = &bytes
	out.Check = check.Evaluate(facts, m.before)
	return nil
}

// ownWords reads what the collector says of itself, from the store when it is ours.
func (m *measurement) ownWords(ctx context.Context, out *Real, from, to time.Time) error {
	if m.k.store == nil {
		return nil
	}
	conn, err := pgx.Connect(ctx, m.k.store.URL(m.k.database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var roundTime *float64
	err = conn.QueryRow(ctx, `SELECT sum(round_time)::float8 / count(*),
			percentile_disc(0.99) WITHIN GROUP (ORDER BY acquire_time / acquires) FILTER (WHERE acquires > 0 AND connects = 0), coalesce(sum(acquires), 0)::int8
		FROM collector WHERE instance LIKE $1 AND time > $2 AND time <= $3`, m.name+"-%", from, to).Scan(&roundTime, &out.Acquire, &out.Acquires)
	if err != nil {
		return fmt.Errorf("read what the collector says of itself: %w", err)
	}
	if roundTime != nil {
		out.RoundTime = *roundTime
	}
	// Connections are opened before the window.
	err = conn.QueryRow(ctx, `SELECT (sum(connect_time) / nullif(sum(connects), 0))::float8 FROM collector WHERE instance LIKE $1`, m.name+"-%").Scan(&out.Cold)
	if err != nil {
		return fmt.Errorf("read what the collector says of itself: %w", err)
	}
	if out.Cold != nil && math.IsNaN(*out.Cold) {
		out.Cold = nil
	}
	return nil
}
