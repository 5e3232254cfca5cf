package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// watched is one server as the collector is told of it.
type watched struct{ name, url string }

// collector measures the collector: first on many servers of 120 statements, then
// on one of 1,000 under many names.
func (b *bench) collector(ctx context.Context) error {
	b.log.Info("starting servers", "n", b.instances+1)
	template, err := b.template(ctx, fill)
	if err != nil {
		return err
	}
	few, err := b.copies(ctx, template, b.instances)
	if err != nil {
		return err
	}
	// Two connections of the collector and two of each floor for each name.
	many, err := b.copies(ctx, template, 1, fmt.Sprint("max_connections=", 30+10*b.names))
	if err != nil {
		return err
	}
	back, err := b.newBackend(ctx, "metrics")
	if err != nil {
		return err
	}
	pass, err := newTap(back.url())
	if err != nil {
		return err
	}
	defer pass.close()

	var list []watched
	for _, s := range few {
		list = append(list, watched{"server-" + strconv.Itoa(s.port), s.url("pganalytics")})
	}
	work := startLoad(ctx, few, fewQueries, b.interval)
	p := &phase{bench: b, name: fmt.Sprintf("%d statements", fewQueries), slug: "few", back: back, tap: pass, list: list, outage: b.outage}
	if err := p.run(ctx); err != nil {
		return err
	}
	b.recorded = pass.bodies
	if err := work.stop(); err != nil {
		return err
	}
	if b.names == 0 {
		return nil
	}
	// A store of its own: the ledger of the other one goes on waiting for a collector
	// that has ended.
	back.process.stop()
	b.children = without(b.children, back.process)
	pass.close()
	if back, err = b.newBackend(ctx, "dense"); err != nil {
		return err
	}
	if pass, err = newTap(back.url()); err != nil {
		return err
	}
	defer pass.close()
	list = nil
	for i := range b.names {
		list = append(list, watched{fmt.Sprintf("dense-%d", i), many[0].url("pganalytics")})
	}
	work = startLoad(ctx, many, manyQueries, b.interval)
	p = &phase{bench: b, name: "1,000 statements", slug: "many", back: back, tap: pass, list: list}
	if err := p.run(ctx); err != nil {
		return err
	}
	return work.stop()
}

// phase is a collector and two floors on the same servers at the same time.
type phase struct {
	*bench
	name, slug string
	back       *backend
	tap        *tap
	list       []watched
	outage     time.Duration

	collector, floor, bare *child
}

func (p *phase) run(ctx context.Context) error {
	began := time.Now()
	if err := p.start(); err != nil {
		return err
	}
	defer func() { p.collector.stop(); p.floor.stop(); p.bare.stop() }()
	p.log.Info("warming up", "phase", p.name, "instances", len(p.list), "duration", p.warmup)
	if err := p.watch(ctx, p.warmup); err != nil {
		return err
	}
	if err := p.measure(ctx); err != nil {
		return err
	}
	if p.outage > 0 {
		if err := p.away(ctx, began); err != nil {
			return err
		}
	}
	for _, c := range []*child{p.collector, p.floor, p.bare} {
		if err := c.alive(); err != nil {
			return err
		}
	}
	p.collector.stop()
	p.floor.stop()
	p.bare.stop()
	p.children = without(p.children, p.collector, p.floor, p.bare)
	return nil
}

func without(list []*child, gone ...*child) (out []*child) {
next:
	for _, c := range list {
		for _, g := range gone {
			if c == g {
				continue next
			}
		}
		out = append(out, c)
	}
	return out
}

func (p *phase) start() (err error) {
	config := p.path("collector-" + p.slug + ".toml")
	var b strings.Builder
	fmt.Fprintf(&b, "[collector]\nname = %q\ninterval = %d\ndata_dir = %q\n[backend]\nurl = %q\ntoken_file = %q\n[postgresql]\nquery_stats_limit = %d\n",
		"bench "+p.slug, p.interval/time.Second, p.path("collector-"+p.slug), p.tap.addr, p.back.registration(), p.limit)
	for _, w := range p.list {
		fmt.Fprintf(&b, "[[instances]]\nname = %q\nurl = %q\n", w.name, w.url)
	}
	if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, env := p.binary, []string(nil)
	if p.profile != "" {
		dir, err := filepath.Abs(filepath.Join(p.profile, p.slug))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		program, env = self, []string{profileFolder + "=" + dir}
	}
	if p.collector, err = p.spawn("collector-"+p.slug, env, program, "collector", "--config", config); err != nil {
		return err
	}
	urls := p.path("floor-" + p.slug + ".urls")
	b.Reset()
	for _, w := range p.list {
		fmt.Fprintln(&b, w.url)
	}
	if err := os.WriteFile(urls, []byte(b.String()), 0o600); err != nil {
		return err
	}
	// Parts of an interval apart, none waits for another's rounds.
	floor := func(name string, phase time.Duration, more ...string) (*child, error) {
		args := []string{"-c", `exec "$@" <"$0"`, urls, self, "floor", "-interval", p.interval.String(), "-phase", phase.String()}
		return p.spawn(name+"-"+p.slug, nil, "/bin/sh", append(args, more...)...)
	}
	if p.floor, err = floor("floor", p.interval/2); err != nil {
		return err
	}
	p.bare, err = floor("bare", p.interval*3/4, "-bare")
	return err
}

// measure takes CPU over whole intervals, and what the collector says of itself.
func (p *phase) measure(ctx context.Context) error {
	startUp, err := memory(p.collector.pid(), "VmHWM")
	if err != nil {
		return err
	}
	// Between the rounds of the product and those of the floor.
	until := time.Until(time.Now().Truncate(p.interval).Add(p.interval + p.interval*45/100))
	if err := p.watch(ctx, until); err != nil {
		return err
	}
	cycles := int(p.options.measure / p.interval)
	p.log.Info("measuring", "phase", p.name, "cycles", cycles)
	p.signal(syscall.SIGUSR1)
	from := time.Now()
	before, err := p.usage()
	if err != nil {
		return err
	}
	p.tap.record(p.slug == "few")
	if err := p.watch(ctx, 3*p.interval/2); err != nil {
		return err
	}
	p.tap.record(false)
	if err := p.watch(ctx, time.Until(from.Add(time.Duration(cycles)*p.interval))); err != nil {
		return err
	}
	after, err := p.usage()
	if err != nil {
		return err
	}
	to := time.Now()
	p.signal(syscall.SIGUSR2)
	rounds := float64(cycles * len(p.list))
	each := func(i int) float64 { return (after[i] - before[i]).Seconds() * 1000 / rounds }
	p.report.judge(row{What: "collector CPU per instance-cycle, " + p.name, Ours: each(0), Reference: each(1), Of: "floor", Unit: "ms",
		Note: fmt.Sprintf("%d instances, %d cycles", len(p.list), cycles)}, true, 2)
	p.report.add(row{What: "the same beside the families' SQL alone", Ours: each(0), Reference: each(3), Of: "bare floor", Unit: "ms"})
	p.log.Info("measured", "phase", p.name, "collector_ms", number(each(0)), "floor_ms", number(each(1)), "ratio", number(each(0)/each(1)), "bare_ms", number(each(3)), "bare_ratio", number(each(0)/each(3)))
	p.report.add(row{What: "backend CPU per instance-cycle, " + p.name, Ours: each(2), Unit: "ms"})
	if err := p.ownWords(ctx, from, to); err != nil {
		return err
	}
	if p.slug == "few" {
		p.report.judge(row{What: "collector VmHWM, start-up", Ours: mb(startUp), Unit: "MB"}, true, 60)
	}
	return nil
}

func (p *phase) signal(s syscall.Signal) {
	if p.profile != "" {
		_ = p.collector.cmd.Process.Signal(s)
	}
}

// usage is the CPU time of collector, floor, backend and bare floor.
func (p *phase) usage() (out [4]time.Duration, err error) {
	for i, c := range []*child{p.collector, p.floor, p.back.process, p.bare} {
		if out[i], err = cpu(c.pid()); err != nil {
			return out, err
		}
	}
	return out, nil
}

// ownWords reports what the collector says of itself, as the store has it, and what
// the ledger says of the window.
func (p *phase) ownWords(ctx context.Context, from, to time.Time) error {
	// The last rounds are on their way.
	if err := p.watch(ctx, 2*time.Second); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, p.storeURL(p.back.database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var rounds, trips, longest, middle, server *float64
	err = conn.QueryRow(ctx, `SELECT sum(rounds)::float8, sum(round_trips)::float8, max(cycle_time), percentile_cont(0.5) WITHIN GROUP (ORDER BY cycle_time), sum(server_time)::float8
		FROM collector WHERE instance = ANY ($1) AND time > $2 AND time <= $3`, p.instanceNames(), from, to).Scan(&rounds, &trips, &longest, &middle, &server)
	if err != nil {
		return fmt.Errorf("read what the collector says of itself: %w", err)
	}
	if rounds == nil || trips == nil || longest == nil || *rounds == 0 {
		return fmt.Errorf("the store has no rows of the family collector from %s to %s", from, to)
	}
	// Fetching texts takes one of its own, at most every 5 minutes for an instance.
	fetches := float64(len(p.list)) * math.Ceil(to.Sub(from).Minutes()/5)
	p.report.judge(row{What: "round trips per round, " + p.name, Ours: *trips / *rounds,
		Note: fmt.Sprintf("%.0f round trips in %.0f rounds; up to %.0f may have fetched texts", *trips, *rounds, fetches)}, true, 1 + fetches / *rounds)
	if p.slug == "few" {
		p.report.judge(row{What: fmt.Sprintf("longest cycle over all %d", len(p.list)), Ours: *longest / 1000, Unit: "s", Note: fmt.Sprintf("median %s ms", number(*middle))}, true, 1)
	}
	p.report.add(row{What: "time of a round on the watched server, " + p.name, Ours: *server / *rounds, Unit: "ms"})
	return p.success(ctx, "ticks stored, "+p.name, from, to)
}

func (p *phase) success(ctx context.Context, what string, from, to time.Time) error {
	a, err := p.back.ledger(ctx, from, to)
	if err != nil {
		return err
	}
	if a.Planned-a.Pending == 0 {
		return fmt.Errorf("the ledger has nothing planned from %s to %s", from, to)
	}
	var note strings.Builder
	fmt.Fprintf(&note, "%d planned, %d stored, %d failed, %d skipped, %d dropped, %d pending, %d missing", a.Planned, a.Stored, a.Failed, a.Skipped, a.Dropped, a.Pending, a.Missing)
	for _, i := range a.Items {
		fmt.Fprintf(&note, "; %v %s %s: %s(%s)", i.Time, i.Instance, i.Family, i.Outcome, i.Reason)
	}
	p.report.judge(row{What: what, Ours: 100 * float64(a.Stored) / float64(a.Planned-a.Pending), Unit: "%", Note: note.String()}, false, 99.9)
	return nil
}

func (p *phase) instanceNames() (out []string) {
	for _, w := range p.list {
		out = append(out, w.name)
	}
	return out
}

// away kills the backend for a while; then the backlog must arrive.
func (p *phase) away(ctx context.Context, began time.Time) error {
	p.log.Info("backend is away", "duration", p.outage)
	start := time.Now()
	p.back.kill()
	if err := p.watch(ctx, p.outage); err != nil {
		return err
	}
	if err := p.back.start(ctx); err != nil {
		return err
	}
	back := time.Now()
	for {
		a, err := p.back.ledger(ctx, start, back)
		if err != nil {
			return err
		}
		if a.Planned > 0 && a.Pending+a.Missing == 0 {
			break
		}
		if time.Since(back) > 3*time.Minute+p.outage/2 {
			p.log.Warn("the backlog has not arrived", "pending", a.Pending, "missing", a.Missing)
			break
		}
		if err := p.watch(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	took := time.Since(back)
	peak, err := memory(p.collector.pid(), "VmHWM")
	if err != nil {
		return err
	}
	p.report.judge(row{What: fmt.Sprintf("collector VmHWM, %s outage included", p.outage), Ours: mb(peak), Unit: "MB"}, true, 60)
	p.report.add(row{What: "backlog stored after", Ours: took.Seconds(), Unit: "s"})
	return p.success(ctx, "ticks of the outage stored", start, back)
}

func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }
