package catalog

import (
	"fmt"
	"slices"
)

// fnKinds are the functions of panels, and what they are of: a rate of a gauge
// means nothing.
var fnKinds = map[string]Kind{"rate": Counter, "ratio": Counter, "avg": Gauge, "max": Gauge, "last": Gauge}

func (f *Family) validate() error {
	if !isName(f.Name) {
		return fmt.Errorf("a name is [a-z][a-z0-9_]*")
	}
	if f.Doc == "" {
		return fmt.Errorf("has no Doc")
	}
	if !slices.Contains([]Scope{Instance, Database}, f.Scope) || !slices.Contains([]Shape{Sample, State, Event, Dictionary}, f.Shape) || !slices.Contains([]Lane{Fast, Slow}, f.Lane) {
		return fmt.Errorf("scope %q, shape %q, lane %q: one of them is none", f.Scope, f.Shape, f.Lane)
	}
	if (f.Reader == "") == (len(f.From) == 0) {
		return fmt.Errorf("needs From or Reader, one of them")
	}
	seen := map[string]bool{"time": true, "instance_id": true, "at": true, "since": true, "kind": true}
	for i := range f.Columns {
		c := &f.Columns[i]
		if !isName(c.Name) || seen[c.Name] {
			return fmt.Errorf("column %q: bad, reserved or double name", c.Name)
		}
		seen[c.Name] = true
		if !slices.Contains([]Kind{Key, Label, Counter, Gauge, Reset}, c.Kind) || !slices.Contains([]Type{Int, Float, Text, Time, Bool}, c.Type) || !slices.Contains(units, c.Unit) {
			return fmt.Errorf("column %q: kind %q, type %q, unit %q: one of them is none", c.Name, c.Kind, c.Type, c.Unit)
		}
		if (c.Kind == Counter || c.Kind == Gauge) != (c.Agg != "") {
			return fmt.Errorf("column %q: counters and gauges have an Agg, others none", c.Name)
		}
		if c.Kind == Reset && c.Type != Time {
			return fmt.Errorf("column %q: a Reset is a time", c.Name)
		}
		if c.Kind == Counter && c.Wire() != Int {
			return fmt.Errorf("column %q: counters are integers end to end", c.Name)
		}
		if c.Doc == "" && c.Kind != Reset {
			return fmt.Errorf("column %q has no Doc", c.Name)
		}
		if f.Reader == "" && len(c.Expr) == 0 {
			return fmt.Errorf("column %q has no Expr", c.Name)
		}
		if c.ResetBy != "" && (f.Column(c.ResetBy) == nil || f.Column(c.ResetBy).Kind != Reset) {
			return fmt.Errorf("column %q: ResetBy names no Reset column", c.Name)
		}
	}
	if f.HasCounters() && (f.Shape != Sample || f.Full) {
		return fmt.Errorf("counters need shape sample, and not Full: else there is nothing to count from")
	}
	for _, s := range f.Sums {
		if c := f.Column(s); c == nil || c.Kind != Key {
			return fmt.Errorf("a sum is kept by %q, which is no key", s)
		}
	}
	if f.Cut != nil {
		if len(f.Sums) == 0 || len(f.Cut.By) == 0 || len(f.OfKind(Label, Gauge)) > 0 {
			return fmt.Errorf("Cut: needs Sums and By, and rows that are keys and counters alone: what is cut is gone but for its sums")
		}
		for _, s := range f.Cut.By {
			if c := f.Column(s); c == nil || c.Kind != Counter {
				return fmt.Errorf("Cut: %q is no counter", s)
			}
		}
	}
	for _, p := range f.Panels {
		if p.Title == "" || fnKinds[p.Fn] == "" || len(p.Of) == 0 || !slices.Contains(units, p.Unit) {
			return fmt.Errorf("panel %q needs a Title, a Fn (%q), a Unit (%q) and Of", p.Title, p.Fn, p.Unit)
		}
		if p.By != "" && len(p.Of) != 1 {
			return fmt.Errorf("panel %q: By splits one line, there are %d", p.Title, len(p.Of))
		}
		for _, l := range p.Of {
			c := f.Column(l.Column)
			if c == nil {
				return fmt.Errorf("panel %q: no column %q", p.Title, l.Column)
			}
			if want := fnKinds[p.Fn]; c.Kind != want {
				return fmt.Errorf("panel %q: %s of %q, which is a %s", p.Title, p.Fn, l.Column, c.Kind)
			}
			for k := range l.Where {
				if c := f.Column(k); c == nil || (c.Kind != Key && c.Kind != Label) {
					return fmt.Errorf("panel %q: %q is no key", p.Title, k)
				}
			}
		}
		if p.By != "" {
			if c := f.Column(p.By); c == nil || (c.Kind != Key && c.Kind != Label) {
				return fmt.Errorf("panel %q: By %q is no key", p.Title, p.By)
			}
		}
	}
	return nil
}

func isName(s string) bool {
	for i, r := range s {
		if r >= 'a' && r <= 'z' || r == '_' || i > 0 && r >= '0' && r <= '9' {
			continue
		}
		return false
	}
	return s != ""
}
