package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say what to look at. URL, Token and a window must be given.
type Options struct {
	URL, Token string
	// Window ends at To, or now when that is zero; From replaces it.
	Window   time.Duration
	From, To time.Time
	Requests int // that are timed for the API's latency
	Services []Service
	Logs     []Log
	// Inventory reads what is read of every instance, to save or to compare it.
	Inventory bool
	Progress  func(what string) // nil: nobody listens
	Client    *http.Client      // nil: the default one
}

const (
	atOnce        = 8 // requests in flight while facts are read
	chartRequests = 10
	chartWindow   = 24 * time.Hour
	minute        = 60
	maxSteps      = 5000 // of a series, where the API's limit is 10,000
)

type gatherer struct {
	client
	opt   Options
	facts *Facts
	span  url.Values // from and to
}

// Gather reads Facts. What can't be read stays without data and is named in Unread;
// an error is a token that is not accepted or a ctx that ended: then there is
// nothing to judge.
func Gather(ctx context.Context, opt Options) (*Facts, error) {
	g := &gatherer{client: client{strings.TrimRight(opt.URL, "/"), opt.Token, opt.Client}, opt: opt, facts: &Facts{URL: shown(opt.URL), Logs: opt.Logs}}
	if g.http == nil {
		g.http = http.DefaultClient
	}
	g.progress("asking " + g.facts.URL)
	g.services(ctx)
	if !g.health(ctx) {
		g.clock(time.Now().UTC()) // nobody is there to ask
		return g.facts, ctx.Err()
	}
	if err := g.session(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{g.ledger, g.collectors, g.instances, g.metrics, g.time, g.details} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return g.facts, ctx.Err()
}

// shown is an address without its password.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "***"
	}
	return u.Redacted()
}

func (g *gatherer) progress(what string) {
	if g.opt.Progress != nil {
		g.opt.Progress(what)
	}
}

// unread notes what could not be read. Only an error that leaves nothing to judge
// is given back.
func (g *gatherer) unread(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrUnauthorized) || errors.Is(err, context.Canceled) {
		return err
	}
	g.facts.Unread = append(g.facts.Unread, fmt.Sprintf("%s: %v", what, err))
	return nil
}

// health is asked without a token's help: it tells also when it says 503.
func (g *gatherer) health(ctx context.Context) (answered bool) {
	_, body, err := g.raw(ctx, "/api/v1/health", nil)
	if err != nil {
		g.facts.Unread = append(g.facts.Unread, fmt.Sprintf("health: %v", err))
		return false
	}
	var h struct {
		Health
		Version string
	}
	if err := json.Unmarshal(body, &h); err != nil || h.Status == "" {
		g.facts.Unread = append(g.facts.Unread, "health: not an answer of pgAnalytics")
		return false
	}
	g.facts.Health, g.facts.Version = &h.Health, h.Version
	return true
}

func (g *gatherer) services(ctx context.Context) {
	for _, s := range g.opt.Services {
		s.Problem = ask(ctx, g.http, s.URL)
		g.facts.Services = append(g.facts.Services, s)
	}
}

func ask(ctx context.Context, c *http.Client, target string) string {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err.Error()
	}
	response, err := c.Do(request)
	if err != nil {
		return err.Error()
	}
	response.Body.Close()
	if response.StatusCode/100 != 2 {
		return response.Status
	}
	return ""
}

// session gives the backend's clock, by which ticks are judged; without an answer
// our own has to do.
func (g *gatherer) session(ctx context.Context) error {
	var s struct{ Now *float64 }
	err := g.get(ctx, &s, "/api/v1/session", nil)
	if now := fromUnix(s.Now); !now.IsZero() {
		g.clock(now)
	} else {
		g.clock(time.Now().UTC())
	}
	if err != nil {
		return g.unread("session", err)
	}
	var start struct {
		Steps []struct{ Name, State, Detail string }
	}
	err = g.get(ctx, &start, "/api/v1/startup", nil)
	g.facts.OneProcess = len(start.Steps) > 0 // a backend alone reports none
	for _, s := range start.Steps {
		if s.State == "failed" {
			g.facts.Startup = append(g.facts.Startup, s.Name+": "+s.Detail)
		}
	}
	return g.unread("startup", err)
}

// clock sets the window.
func (g *gatherer) clock(now time.Time) {
	f := g.facts
	f.Now, f.To, f.From = now, g.opt.To, g.opt.From
	if f.To.IsZero() || f.To.After(now) {
		f.To = now
	}
	if f.From.IsZero() {
		f.From = f.To.Add(-g.opt.Window)
	}
	g.span = url.Values{"from": {unix(f.From)}, "to": {unix(f.To)}}
}

// with adds parameters to the window.
func (g *gatherer) with(parameters ...string) url.Values {
	q := maps.Clone(g.span)
	for i := 0; i+1 < len(parameters); i += 2 {
		q.Set(parameters[i], parameters[i+1])
	}
	return q
}

func (g *gatherer) ledger(ctx context.Context) error {
	var l Ledger
	if err := g.get(ctx, &l, "/api/v1/ledger", g.with("limit", "1")); err != nil {
		return g.unread("ledger", err)
	}
	g.facts.Ledger = &l
	return nil
}

func (g *gatherer) collectors(ctx context.Context) error {
	var list struct {
		Items []struct {
			ID, Name     string
			LastPush     *float64 `json:"last_push"`
			Interval     float64
			Counts       Counts
			CycleTrend   []*float64 `json:"cycle_trend"`
			PoolOpen     *float64   `json:"pool_open"`
			PoolMax      *float64   `json:"pool_max"`
			CostInstance []struct {
				ID   string
				Cost *float64 `json:"cost_percent"`
			} `json:"instances"`
		}
	}
	if err := g.get(ctx, &list, "/api/v1/collectors", g.span); err != nil {
		return g.unread("collectors", err)
	}
	g.facts.Listed = true
	for _, i := range list.Items {
		if len(i.CostInstance) == 0 {
			g.facts.Retired = append(g.facts.Retired, i.Name)
			continue
		}
		c := Collector{ID: i.ID, Name: i.Name, Interval: time.Duration(i.Interval * float64(time.Second)), LastPush: fromUnix(i.LastPush), Counts: i.Counts,
			PoolOpen: i.PoolOpen, PoolMax: i.PoolMax, Instances: len(i.CostInstance)}
		for _, v := range i.CycleTrend {
			c.Cycle = greater(c.Cycle, v)
		}
		g.facts.Collectors = append(g.facts.Collectors, c)
		for _, one := range i.CostInstance {
			g.facts.Instances = append(g.facts.Instances, Instance{ID: one.ID, Collector: i.ID, Cost: one.Cost})
		}
	}
	return nil
}

func greater(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

func (g *gatherer) instances(ctx context.Context) error {
	var list struct {
		Items []struct {
			ID, Name, Status, Reason string
			CollectorID              string `json:"collector_id"`
		}
	}
	if err := g.get(ctx, &list, "/api/v1/instances", g.span); err != nil {
		g.facts.Listed = false
		return g.unread("instances", err)
	}
	for _, i := range list.Items {
		n := slices.IndexFunc(g.facts.Instances, func(x Instance) bool { return x.ID == i.ID })
		if n < 0 { // registered since the collectors were listed
			g.facts.Instances = append(g.facts.Instances, Instance{ID: i.ID, Collector: i.CollectorID})
			n = len(g.facts.Instances) - 1
		}
		in := &g.facts.Instances[n]
		in.Name, in.Status, in.Reason = i.Name, i.Status, i.Reason
	}
	return nil
}

func (g *gatherer) metrics(ctx context.Context) error {
	body, err := g.bytes(ctx, "/metrics", nil)
	if err != nil {
		return g.unread("/metrics", err)
	}
	if g.facts.Backend = backendOf(parseMetrics(string(body)), g.facts.Now); g.facts.Backend == nil {
		g.facts.Unread = append(g.facts.Unread, "/metrics: does not tell when the process started")
	}
	return nil
}

// time asks what the pages ask, one after another, and notes how long it took.
func (g *gatherer) time(ctx context.Context) error {
	f := g.facts
	if !f.Listed || len(f.Instances) == 0 {
		return nil
	}
	type request struct {
		path string
		q    url.Values
	}
	day := url.Values{"from": {unix(f.To.Add(-chartWindow))}, "to": {unix(f.To)}, "family": {"database"}, "column": {"xact_commit"}}
	list := func(n int) request {
		instance := "/api/v1/instances/" + f.Instances[n/5%len(f.Instances)].ID
		return []request{{"/api/v1/instances", g.span}, {"/api/v1/collectors", g.span}, {"/api/v1/ledger", g.span},
			{instance + "/statements", g.span}, {instance + "/series", g.with("family", "database", "column", "xact_commit")}}[n%5]
	}
	g.progress(fmt.Sprintf("timing %d requests", g.opt.Requests+chartRequests))
	for n := range g.opt.Requests + chartRequests {
		r, into := list(n), &f.Requests
		if n >= g.opt.Requests {
			r, into = request{"/api/v1/instances/" + f.Instances[(n-g.opt.Requests)%len(f.Instances)].ID + "/series", day}, &f.Charts
		}
		start := time.Now()
		_, err := g.bytes(ctx, r.path, r.q)
		took := time.Since(start)
		if err != nil {
			if e := ctx.Err(); e != nil {
				return e
			}
			f.Refused = append(f.Refused, err.Error())
			continue
		}
		*into = append(*into, took)
	}
	return nil
}

// details reads what is kept per instance, several at once.
func (g *gatherer) details(ctx context.Context) error {
	f := g.facts
	if !f.Listed {
		return nil
	}
	keys, err := g.grid(ctx)
	if err := g.unread("ledger/grid", err); err != nil {
		return err
	}
	g.progress("reading the numbers of " + plural(len(f.Instances), "instance"))
	failed := make([]error, len(f.Instances)+len(f.Collectors))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := range f.Instances {
		in := &f.Instances[i]
		group.Go(func() error {
			failed[i] = g.instance(ctx, in, keys[in.ID])
			return nil
		})
	}
	for i := range f.Collectors {
		c := &f.Collectors[i]
		group.Go(func() error {
			failed[len(f.Instances)+i] = g.process(ctx, c, g.witness(c, keys))
			return nil
		})
	}
	_ = group.Wait() // its functions fail by failed
	for i, err := range failed {
		what := "collector"
		if i < len(f.Instances) {
			what = "instance " + f.Instances[i].Name
		}
		if err := g.unread(what, err); err != nil {
			return err
		}
	}
	for i := range f.Collectors {
		f.Collectors[i].sum(f.Instances)
	}
	return nil
}

// key is a family in a database.
type key struct{ database, family string }

// grid gives the counts of every (instance id, database, family) in the window.
func (g *gatherer) grid(ctx context.Context) (map[string]map[key]Counts, error) {
	var answer struct {
		Rows []struct {
			Instance, Database, Family string
			Counts                     Counts
		}
	}
	step := int64(g.facts.To.Sub(g.facts.From)/time.Second) + 1
	if err := g.get(ctx, &answer, "/api/v1/ledger/grid", g.with("step", strconv.FormatInt(step, 10))); err != nil {
		return nil, err
	}
	out := map[string]map[key]Counts{}
	for _, r := range answer.Rows {
		if out[r.Instance] == nil {
			out[r.Instance] = map[key]Counts{}
		}
		out[r.Instance][key{r.Database, r.Family}] = r.Counts
	}
	return out, nil
}

// witness is the instance of a collector that saw most of its process: each holds
// what the process used between its own ticks.
func (g *gatherer) witness(c *Collector, keys map[string]map[key]Counts) string {
	id, most := "", int64(0)
	for i := range g.facts.Instances {
		in := &g.facts.Instances[i]
		if n := keys[in.ID][key{"", "collector"}].Stored; in.Collector == c.ID && n > most {
			id, most = in.ID, n
		}
	}
	return id
}
