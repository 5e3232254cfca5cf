package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// problems is a finding of things that are well or not: a part for each, 1 when it
// is not.
type problems struct {
	parts []Part
	bad   []string
	well  int
}

// ok notes one thing; problem says what is wrong with it.
func (p *problems) ok(name, problem string) {
	if problem == "" {
		p.well++
		p.parts = append(p.parts, number(name, 0))
		return
	}
	p.bad = append(p.bad, name+": "+problem)
	p.parts = append(p.parts, Part{Name: name, Value: new(1.0), Note: problem})
}

// unknown notes a thing of which there is no data.
func (p *problems) unknown(name string) { p.parts = append(p.parts, Part{Name: name}) }

func (p *problems) finding(well string) finding {
	f := finding{parts: p.parts, measured: fmt.Sprintf("%d %s", p.well, well), count: new(float64(len(p.bad)))}
	if len(p.bad) > 0 {
		f.measured = strings.Join(clipped(p.bad), "; ")
	}
	return f
}

const (
	leastSilence = 15 * time.Second
	fastest      = 10 * time.Second // interval of the fast lane, when the collector's is longer
)

// services: what is there at the moment of the check.
func services(f *Facts, _ *Report) finding {
	var p problems
	if f.Health == nil {
		p.ok("backend", "no answer")
	} else {
		for _, name := range slices.Sorted(maps.Keys(f.Health.Components)) {
			c := f.Health.Components[name]
			p.ok(name, unless(c.Status == "ok", strings.TrimSpace(c.Status+" "+c.Detail)))
		}
		if len(p.bad) == 0 && f.Health.Status != "ok" {
			p.ok("backend", f.Health.Status)
		}
	}
	if !f.Listed || len(f.Collectors) == 0 {
		p.unknown("collectors: " + noCollectors(f))
	}
	for i := range f.Collectors {
		c := &f.Collectors[i]
		silence, limit := f.Now.Sub(c.LastPush), max(leastSilence, 3*min(c.Interval, fastest))
		problem := fmt.Sprintf("silent for %s", silence.Round(time.Second))
		if c.LastPush.IsZero() {
			problem = "has never pushed"
		}
		p.ok("collector "+c.Name, unless(silence <= limit, problem))
	}
	for i := range f.Instances {
		in := &f.Instances[i]
		p.ok("instance "+in.Name, unless(in.Status == "up", strings.TrimSuffix(in.Status+", "+in.Reason, ", ")))
	}
	for _, s := range f.Services {
		p.ok(s.Name, s.Problem)
	}
	found := p.finding("healthy")
	found.window = "at " + f.Now.UTC().Format("15:04:05") + " UTC"
	if len(f.Retired) > 0 {
		found.note = "not asked of, since they hold no instance: " + strings.Join(clipped(f.Retired), ", ")
	}
	return found
}

func unless(well bool, problem string) string {
	if well {
		return ""
	}
	return problem
}

// starts counts signs of errors since the start.
func starts(f *Facts, before *Report) finding {
	var p problems
	if f.Health == nil {
		p.unknown("backend")
	} else {
		p.ok("start of the backend", strings.Join(f.Startup, "; "))
	}
	b, _, ok := since(f, before)
	if !ok {
		p.unknown("/metrics")
	} else {
		p.ok("batches", unless(b.Refused == 0, fmt.Sprintf("%.0f refused for good", b.Refused)))
	}
	if f.Ledger == nil || f.Ledger.Due() == 0 {
		p.unknown("ledger: no tick was due")
	} else {
		n := f.Ledger.withoutReason()
		p.ok("ledger", unless(n == 0, fmt.Sprintf("%s failed(failed) or missing", plural(int(n), "tick"))))
	}
	for _, l := range f.Logs {
		if l.Lines == 0 {
			p.unknown("log " + l.Name)
		} else {
			p.ok("log "+l.Name, unless(l.Errors == 0, fmt.Sprintf("%s with \"error\" of %d, first: %s", plural(l.Errors, "line"), l.Lines, l.First)))
		}
	}
	found := p.finding("sources without a sign")
	if len(f.Logs) == 0 {
		found.note = "no log was searched (--log)"
	}
	return found
}

// regressions compares what is read with what was read.
func regressions(f *Facts, before *Report) finding {
	if before == nil {
		return finding{unasked: "needs --against FILE, a report saved before the update with --save"}
	}
	type where struct{ instance, database, family string }
	now := map[where]*Family{}
	known := map[string]*Instance{}
	for i := range f.Instances {
		in := &f.Instances[i]
		known[in.Name] = in
		for j := range in.Families {
			now[where{in.Name, in.Families[j].Database, in.Families[j].Family}] = &in.Families[j]
		}
	}
	var p problems
	for i := range before.Families {
		was := &before.Families[i]
		name := was.Family + " of " + was.Instance
		if was.Database != "" {
			name += " (" + was.Database + ")"
		}
		in, is := known[was.Instance], now[where{was.Instance, was.Database, was.Family}]
		switch {
		case !f.Listed, in != nil && in.Families == nil:
			p.unknown(name)
		case in == nil:
			p.ok(name, "the instance is not watched any more")
		case is == nil:
			p.ok(name, "not read any more")
		case is.Counts.Due() == 0 && f.To.Sub(f.From).Seconds() >= 2*is.Every:
			p.unknown(name) // ticks should have been due by now
		default:
			p.ok(name, worse(was, is))
		}
	}
	return p.finding("families as before")
}

// worse says what is less than before, "" when nothing is. What an interval plans is
// arithmetic, so ticks are fewer when the interval is longer or when more are lost:
// one more is the window's edge, or the swap itself.
func worse(was, is *Family) string {
	var gone []string
	for _, c := range was.Columns {
		if !slices.Contains(is.Columns, c) {
			gone = append(gone, c)
		}
	}
	switch {
	case len(gone) > 0:
		return "without " + strings.Join(clipped(gone), ", ")
	case is.Every > was.Every:
		return fmt.Sprintf("every %g s, was %g s", is.Every, was.Every)
	}
	due, lost := is.Counts.Due(), is.Counts.Due()-is.Counts.Stored
	allowed := int64(1)
	if d := was.Counts.Due(); d > 0 {
		allowed += (due*(d-was.Counts.Stored) + d - 1) / d
	}
	if lost > allowed {
		return fmt.Sprintf("%d of %d ticks not stored, before %d of %d", lost, due, was.Counts.Due()-was.Counts.Stored, was.Counts.Due())
	}
	return ""
}
