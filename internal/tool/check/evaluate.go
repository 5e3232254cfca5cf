package check

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Evaluate judges facts, beside those of before when that is not nil. It is pure.
func Evaluate(f *Facts, before *Report) *Report {
	r := &Report{Format: format, URL: f.URL, Version: f.Version, At: f.Now, From: f.From, To: f.To, Collectors: len(f.Collectors), Instances: len(f.Instances),
		Passed: true, Failed: []string{}, Unjudged: []string{}, Monitored: []string{}, Own: []string{}, Unread: f.Unread, Backend: f.Backend}
	for i := range f.Collectors {
		if s := f.Collectors[i].Interval.Seconds(); r.Interval == 0 || s < r.Interval {
			r.Interval = s
		}
	}
	for i := range f.Instances {
		r.Families = append(r.Families, f.Instances[i].Families...)
	}
	for i := range criteria {
		row := criteria[i].judge(f, before)
		r.Rows = append(r.Rows, row)
		switch {
		case row.Must && row.Verdict == Elsewhere:
			r.Unjudged = append(r.Unjudged, row.ID)
		case row.Must && row.Verdict != Pass:
			r.Passed = false
			r.Failed = append(r.Failed, row.ID)
		case !row.Must && (row.Verdict == Fail || row.Verdict == NoData):
			r.Monitored = append(r.Monitored, row.ID)
		}
		if row.OursVerdict == Fail || row.OursVerdict == NoData {
			r.Own = append(r.Own, row.ID)
		}
	}
	return r
}

func (c *criterion) judge(f *Facts, before *Report) Row {
	row := Row{ID: c.id, Measure: c.measure, Must: c.must, Unit: c.unit, Target: c.target.text(c.unit), Ours: c.ours.text(c.unit), Verdict: None, OursVerdict: None,
		NumeratorIs: c.numerator, DenominatorIs: c.denominator, Source: c.source}
	if before != nil {
		for i := range before.Rows {
			if b := &before.Rows[i]; b.ID == c.id && b.Value != nil {
				row.Before = value(*b.Value, c.unit)
			}
		}
	}
	if c.elsewhere != "" {
		row.Measured, row.Note, row.Verdict, row.OursVerdict = "-", c.elsewhere, Elsewhere, Elsewhere
		return row
	}
	found := c.find(f, before)
	if found.unasked != "" {
		row.Measured, row.Note, row.Verdict = "-", found.unasked, Elsewhere
		return row
	}
	ours := c.ours
	if found.ours != nil {
		ours = found.ours
		row.Ours = ours.text(c.unit)
	}
	row.Parts, row.Note, row.Window = found.parts, found.note, found.window
	if row.Window == "" {
		row.Window = window(f.From, f.To)
	}
	direction := c.target
	if direction == nil {
		direction = ours
	}
	worst, silent := worstOf(found.parts, direction.lower())
	switch {
	case worst == nil && len(silent) == 0:
		row.Measured = found.missing
		if row.Measured == "" {
			row.Measured = "nothing to measure"
		}
	case worst == nil:
		row.Measured = "no data of " + strings.Join(clipped(silent), ", ")
	default:
		row.Value = worst.Value
		row.Measured = value(*worst.Value, c.unit)
		if worst.Name != "" {
			row.Measured += " (" + worst.Name + ")"
		}
	}
	if found.measured != "" && worst != nil {
		row.Measured = found.measured
	}
	if found.count != nil && worst != nil {
		row.Value = found.count
	}
	if worst != nil && len(silent) > 0 {
		row.Note = strings.TrimPrefix(row.Note+"; no data of "+strings.Join(clipped(silent), ", "), "; ")
	}
	row.Verdict, row.OursVerdict = verdict(c.target, worst, silent), verdict(ours, worst, silent)
	return row
}

// worstOf gives the part with the worst value (nil: none has one), and the names of
// those without a value.
func worstOf(parts []Part, lower bool) (worst *Part, silent []string) {
	for i := range parts {
		p := &parts[i]
		switch {
		case p.Value == nil || math.IsNaN(*p.Value):
			silent = append(silent, p.Name)
		case worst == nil, lower && *p.Value < *worst.Value, !lower && *p.Value > *worst.Value:
			worst = p
		}
	}
	return worst, silent
}

// verdict: what is bad is bad, whoever else is silent; what is silent is not good.
func verdict(b *bound, worst *Part, silent []string) Verdict {
	switch {
	case b == nil:
		return None
	case worst != nil && !b.holds(*worst.Value):
		return Fail
	case worst == nil || len(silent) > 0:
		return NoData
	}
	return Pass
}

const maxNames = 5

// clipped gives the first few of many names.
func clipped(names []string) []string {
	if len(names) <= maxNames {
		return names
	}
	return append(slices.Clone(names[:maxNames]), fmt.Sprintf("%d more", len(names)-maxNames))
}

func clip(s string, n int) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "?")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func window(from, to time.Time) string {
	return from.UTC().Format("2006-01-02 15:04:05") + " to " + to.UTC().Format("15:04:05") + " UTC (" + to.Sub(from).Round(time.Second).String() + ")"
}

// ratio is a part whose value is factor x num / den; without a denominator it has
// no data.
func ratio(name string, num, den, factor float64) Part {
	p := Part{Name: name, Numerator: &num, Denominator: &den}
	if den > 0 {
		v := factor * num / den
		p.Value = &v
	}
	return p
}

// number is a part that is counted, not divided.
func number(name string, v float64) Part { return Part{Name: name, Value: &v} }

// perCollector makes a part of each collector that should report.
func perCollector(f *Facts, part func(*Collector) Part) finding {
	found := finding{missing: noCollectors(f)}
	for i := range f.Collectors {
		p := part(&f.Collectors[i])
		p.Name = f.Collectors[i].Name
		if slices.ContainsFunc(f.Collectors, func(o Collector) bool { return o.Name == p.Name && o.ID != f.Collectors[i].ID }) {
			p.Name += " " + clip(f.Collectors[i].ID, 8)
		}
		found.parts = append(found.parts, p)
	}
	return found
}

func noCollectors(f *Facts) string {
	if !f.Listed {
		return "the collectors could not be listed"
	}
	return "no collector holds an instance"
}
