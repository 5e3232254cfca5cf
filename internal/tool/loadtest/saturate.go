package loadtest

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/tool/check"
	"github.com/pganalytics/pganalytics/internal/tool/measure"
)

// Saturation is how much of the calls is reported statement by statement at the highest
// rate that a server reaches with 1,000 different statements.
type Saturation struct {
	Rate       float64 `json:"calls_per_second"`
	Statements int     `json:"statements"`
	Coverage   float64 `json:"coverage_percent"`      // of calls
	Time       float64 `json:"coverage_time_percent"` // of execution time
	Ran        int64   `json:"calls_run"`             // by the workload
	Total      int64   `json:"calls_stored"`          // of its user, sums included
	Naive      float64 `json:"naive_coverage_percent"`
	Limit      int     `json:"query_stats_limit"`
}

const (
	manyStatements    = 1000
	saturationDrivers = 4
)

// saturation is how often the saturated server is read.
func (t *test) saturation() time.Duration {
	if t.Quick {
		return time.Second
	}
	return 5 * time.Second
}

// saturate runs statements as fast as a server of its own can, beside a collector.
func (t *test) saturate(ctx context.Context) (*Saturation, error) {
	t.progress("coverage at the highest rate of %d different statements", manyStatements)
	interval := t.saturation()
	k, err := t.newBackend(ctx, "saturation")
	if err != nil {
		return nil, err
	}
	defer t.place.Stop(k.process)
	settings := measure.WatchedSettings(50)
	hot, err := t.place.Copies(ctx, "template", []string{"saturated"}, settings)
	if err != nil {
		return nil, err
	}
	defer func() { _ = hot[0].Stop() }() // Close tells
	target := hot[0].URLAs(measure.Monitor, t.password)
	config, err := t.writeConfig("saturation", k.url, k.tokenFile, interval, []watched{{"saturated", target}})
	if err != nil {
		return nil, err
	}
	var urls []string
	for range saturationDrivers {
		urls = append(urls, hot[0].URL("postgres"))
	}
	statements := measure.Reads(manyStatements)
	// Once, so that baselines hold every statement.
	load := measure.StartLoad(ctx, urls[:1], statements, time.Second)
	defer func() { _ = load.Stop() }()
	collector, err := t.place.Spawn("saturation", nil, t.Binary, "collector", "--config", config)
	if err != nil {
		return nil, err
	}
	defer t.place.Stop(collector)
	if err := t.place.Watch(ctx, 2*interval+5*time.Second); err != nil {
		return nil, err
	}
	if err := load.Stop(); err != nil {
		return nil, err
	}
	// What that ran is read before the window.
	if err := t.place.Watch(ctx, interval+2*time.Second); err != nil {
		return nil, err
	}
	start := time.Now()
	load = measure.StartLoad(ctx, urls, statements, 0)
	err = t.place.Watch(ctx, 2*interval)
	took := time.Since(start)
	if err != nil {
		return nil, err
	}
	if err := load.Stop(); err != nil {
		return nil, err
	}
	out := &Saturation{Rate: float64(load.Ran()) / took.Seconds(), Statements: manyStatements, Limit: t.Limit}
	// The next tick still belongs to it.
	if err := t.place.Watch(ctx, interval+3*time.Second); err != nil {
		return nil, err
	}
	facts, err := check.Gather(ctx, check.Options{URL: k.url, Token: k.token, From: start, To: time.Now(), Requests: 10})
	if err != nil {
		return nil, err
	}
	if len(facts.Instances) != 1 || facts.Instances[0].Calls == nil || facts.Instances[0].Calls.Total == 0 {
		return nil, fmt.Errorf("no statements of the saturated server are stored (%v)", facts.Unread)
	}
	calls := facts.Instances[0].Calls
	out.Coverage = 100 * calls.Stored / calls.Total
	if calls.TotalTime > 0 {
		out.Time = 100 * calls.StoredTime / calls.TotalTime
	}
	// Nobody but the workload ran as this user.
	var driven struct{ Total struct{ Calls float64 } }
	q := url.Values{"from": {seconds(start)}, "to": {seconds(time.Now())}, "user": {"postgres"}, "limit": {"1"}}
	if err := k.get(ctx, "/api/v1/instances/"+facts.Instances[0].ID+"/statements", q, &driven); err != nil {
		return nil, err
	}
	out.Ran, out.Total = load.Ran(), int64(driven.Total.Calls)
	return out, t.naiveCoverage(ctx, hot[0], target, out)
}

// naiveCoverage is what the naive design reports of the same server.
func (t *test) naiveCoverage(ctx context.Context, s *measure.Server, target string, out *Saturation) error {
	r, err := t.naiveProcess(ctx, &naiveTask{URLs: []string{target}, Cycles: 1})
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var all float64
	if err := conn.QueryRow(ctx, "SELECT sum(calls)::float8 FROM pg_stat_statements").Scan(&all); err != nil {
		return err
	}
	out.Naive = 100 * r.Calls / all
	return nil
}
