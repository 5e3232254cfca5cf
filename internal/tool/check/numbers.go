package check

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// process reads what a collector's process used, as the instance id saw it.
func (g *gatherer) process(ctx context.Context, c *Collector, id string) error {
	if id == "" {
		return nil
	}
	step := stepFor(g.facts.From, g.facts.To, c.Interval)
	read := func(column, fn string) ([][2]*float64, error) {
		return g.points(ctx, id, "collector", column, fn, step, g.span)
	}
	counted, err := read("cpu_time", "delta")
	if err != nil {
		return err
	}
	rates, err := read("cpu_time", "rate")
	if err != nil {
		return err
	}
	memory, err := read("memory_peak", "max")
	if err != nil {
		return err
	}
	c.CPU = observed(counted, rates)
	c.Held = sustained(rates, step, g.facts.From, g.facts.To)
	for _, p := range memory {
		c.Memory = greater(c.Memory, p[1])
	}
	return nil
}

// stepFor is a minute or more: so many that a frame fits in, and that a series of
// the window is short.
func stepFor(from, to time.Time, interval time.Duration) int64 {
	step := max(minute, int64(interval/time.Second), int64(to.Sub(from)/time.Second)/maxSteps)
	return (step + minute - 1) / minute * minute
}

// observed gives the ms of CPU that were counted, and over how many ms. A bucket
// with frames of its own shows Σ delta, and as a rate Σ delta / Σ (at - since): so
// both sums can be had, exactly.
func observed(deltas, rates [][2]*float64) *Ratio {
	var r Ratio
	for i, d := range deltas {
		if i < len(rates) && d[1] != nil && rates[i][1] != nil && *rates[i][1] > 0 {
			r.Num += *d[1]
			r.Den += *d[1] / *rates[i][1] * 1000
		}
	}
	if r.Den == 0 {
		return nil
	}
	return &r
}

const held = 5 * time.Minute

// sustained gives the highest percentage that the rate did not fall below for five
// minutes without a gap; nil when no five minutes were observed.
func sustained(rates [][2]*float64, step int64, from, to time.Time) *float64 {
	n := max(1, (int64(held/time.Second)+step-1)/step)
	var (
		best *float64
		run  []float64
	)
	for _, p := range rates {
		if p[0] == nil {
			continue
		}
		start := fromUnix(p[0])
		if start.Before(from) || start.Add(time.Duration(step)*time.Second).After(to) {
			continue // only a part of it lies in the window
		}
		if p[1] == nil {
			run = run[:0]
			continue
		}
		run = append(run, *p[1]/10) // ms per s are tenths of a percent
		if int64(len(run)) >= n {
			low := slices.Min(run[int64(len(run))-n:])
			best = greater(best, &low)
		}
	}
	return best
}

var workColumns = []string{"rounds", "round_trips", "acquires", "acquire_time", "connects", "connect_time"}

func (g *gatherer) instance(ctx context.Context, in *Instance, counts map[key]Counts) error {
	if counts[key{"", "collector"}].Stored > 0 {
		sums := make([]float64, len(workColumns))
		step := max(1, int64(g.facts.To.Sub(g.facts.From)/time.Second)/20)
		for i, column := range workColumns {
			points, err := g.points(ctx, in.ID, "collector", column, "delta", step, g.span)
			if err != nil {
				return err
			}
			for _, p := range points {
				if p[1] != nil {
					sums[i] += *p[1]
				}
			}
		}
		in.Work = &Work{sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]}
	}
	if in.Statements = counts[key{"", "statements"}]; in.Statements.Stored > 0 {
		var a struct {
			Seconds             float64
			Total, Cut, Dropped map[string]float64
		}
		if err := g.get(ctx, &a, "/api/v1/instances/"+url.PathEscape(in.ID)+"/statements", g.with("limit", "1")); err != nil {
			return err
		}
		in.Calls = &Calls{Seconds: a.Seconds,
			Total: a.Total["calls"], Stored: a.Total["calls"] - a.Cut["calls"] - a.Dropped["calls"],
			TotalTime: a.Total["total_exec_time"], StoredTime: a.Total["total_exec_time"] - a.Cut["total_exec_time"] - a.Dropped["total_exec_time"]}
	}
	if g.opt.Inventory {
		return g.families(ctx, in, counts)
	}
	return nil
}

// families reads what is planned of an instance. Its columns are those of this
// program's catalog that the server has.
func (g *gatherer) families(ctx context.Context, in *Instance, counts map[key]Counts) error {
	var d struct {
		Families []struct {
			Family, Database string
			Every            float64
			Planned          bool
			Absent           []string
		}
	}
	if err := g.get(ctx, &d, "/api/v1/instances/"+url.PathEscape(in.ID), g.span); err != nil {
		return err
	}
	in.Families = []Family{}
	for _, f := range d.Families {
		declared := catalog.Lookup(f.Family)
		if !f.Planned || declared == nil {
			continue
		}
		out := Family{Instance: in.Name, Database: f.Database, Family: f.Family, Every: f.Every, Columns: []string{}, Counts: counts[key{f.Database, f.Family}]}
		for i := range declared.Columns {
			if name := declared.Columns[i].Name; !slices.Contains(f.Absent, name) {
				out.Columns = append(out.Columns, name)
			}
		}
		in.Families = append(in.Families, out)
	}
	return nil
}

// sum adds up what a collector's instances have.
func (c *Collector) sum(instances []Instance) {
	for i := range instances {
		in := &instances[i]
		if in.Collector != c.ID {
			continue
		}
		if in.Work != nil {
			if c.Work == nil {
				c.Work = &Work{}
			}
			c.Work.add(in.Work)
		}
		if in.Calls != nil {
			if c.Calls == nil {
				c.Calls = &Calls{}
			}
			c.Calls.Stored += in.Calls.Stored
			c.Calls.Total += in.Calls.Total
			c.Calls.StoredTime += in.Calls.StoredTime
			c.Calls.TotalTime += in.Calls.TotalTime
			c.Calls.Seconds = max(c.Calls.Seconds, in.Calls.Seconds)
		}
	}
}
