package check

import (
	"fmt"
	"math"
	"slices"
	"time"
)

func cpu(f *Facts, _ *Report) finding {
	found := perCollector(f, func(c *Collector) Part {
		if c.CPU == nil {
			return Part{}
		}
		return ratio("", c.CPU.Num, c.CPU.Den, 100)
	})
	found.note = scale(f)
	return found
}

// scale says beside which load the criterion was made.
func scale(f *Facts) string {
	if len(f.Collectors) == 0 {
		return ""
	}
	most, interval := 0, time.Duration(0)
	for i := range f.Collectors {
		if c := &f.Collectors[i]; c.Instances > most {
			most, interval = c.Instances, c.Interval
		}
	}
	note := fmt.Sprintf("meant at 100 instances and 60 s, here at most %s and %s", plural(most, "instance"), interval)
	if f.OneProcess {
		note += "; collector and backend are one process"
	}
	return note
}

func cpuHeld(f *Facts, _ *Report) finding {
	found := perCollector(f, func(c *Collector) Part { return Part{Value: c.Held} })
	if f.To.Sub(f.From) < held+2*minute*time.Second {
		found.note = "the window holds no five whole minutes"
	}
	return found
}

func cpuPerCycle(f *Facts, _ *Report) finding {
	found := perCollector(f, func(c *Collector) Part {
		if c.CPU == nil || c.CPU.Den == 0 {
			return Part{}
		}
		return ratio("", c.CPU.Num/c.CPU.Den*1000*c.Interval.Seconds(), float64(c.Instances), 1)
	})
	found.note = "dearer with few instances, which share the process's own work"
	return found
}

func cycle(f *Facts, _ *Report) finding {
	return perCollector(f, func(c *Collector) Part { return Part{Value: c.Cycle} })
}

// memoryBySize is memory with our own target for as many instances.
func memoryBySize(f *Facts, before *Report) finding {
	found := memory(f, before)
	found.ours = &bound{"<=", 60, "at 100 instances"}
	if slices.ContainsFunc(f.Collectors, func(c Collector) bool { return c.Instances > 100 }) {
		found.ours = &bound{"<=", 150, "at 1,000 instances"}
	}
	return found
}

func memory(f *Facts, _ *Report) finding {
	return perCollector(f, func(c *Collector) Part {
		if c.Memory == nil {
			return Part{}
		}
		return ratio("", *c.Memory, 1<<20, 1)
	})
}

func overhead(f *Facts, _ *Report) finding {
	return perCollector(f, func(c *Collector) Part {
		if c.Work == nil {
			return Part{}
		}
		p := ratio("", c.Work.AcquireTime, c.Work.Acquires, 1)
		if pooled := c.Work.Acquires - c.Work.Connects; pooled > 0 {
			p.Note = fmt.Sprintf("%.0f opened in %.1f ms; the mean of the %.0f others is %.3f ms", c.Work.Connects, c.Work.ConnectTime, pooled,
				max(0, c.Work.AcquireTime-c.Work.ConnectTime)/pooled)
		}
		return p
	})
}

func roundTrips(f *Facts, _ *Report) finding {
	free := math.Floor(f.To.Sub(f.From).Minutes()/5) + 1
	return perCollector(f, func(c *Collector) Part {
		if c.Work == nil {
			return Part{}
		}
		texts := min(free*float64(c.Instances), max(0, c.Work.RoundTrips-c.Work.Rounds))
		p := ratio("", c.Work.RoundTrips-texts, c.Work.Rounds, 1)
		p.Note = fmt.Sprintf("%.0f round trips, %.0f left out", c.Work.RoundTrips, texts)
		return p
	})
}

// pool: active means open, in use, and used again.
func pool(f *Facts, _ *Report) finding {
	text := ""
	found := perCollector(f, func(c *Collector) Part {
		if c.Work == nil || c.PoolOpen == nil {
			return Part{}
		}
		p := number("", 0)
		p.Note = fmt.Sprintf("%.0f open, %.0f taken, %.0f of them opened anew", *c.PoolOpen, c.Work.Acquires, c.Work.Connects)
		if text == "" {
			text = p.Note
		}
		if *c.PoolOpen < 1 || c.Work.Acquires <= c.Work.Connects {
			p = Part{Value: new(1.0), Note: p.Note}
			text = c.Name + ": " + p.Note
		}
		return p
	})
	found.measured = text
	return found
}

// coverageOf: an instance whose statements are planned but were never stored has no
// data; one where nothing was called leaves nothing out.
func coverageOf(of func(*Calls) (stored, total float64)) func(*Facts, *Report) finding {
	return func(f *Facts, _ *Report) finding {
		rate := 0.0
		found := perCollector(f, func(c *Collector) Part {
			if c.Calls == nil {
				return Part{}
			}
			if c.Calls.Seconds > 0 {
				rate += c.Calls.Total / c.Calls.Seconds
			}
			stored, total := of(c.Calls)
			if total == 0 {
				return Part{Numerator: &stored, Denominator: &total, Note: "nothing was called"}
			}
			return ratio("", stored, total, 100)
		})
		for i := range f.Instances {
			if in := &f.Instances[i]; in.Statements.Due() > 0 && in.Statements.Stored == 0 {
				found.parts = append(found.parts, Part{Name: "instance " + in.Name})
			}
		}
		if rate > 0 {
			found.note = fmt.Sprintf("at %.1f calls/s", rate)
		}
		return found
	}
}

func success(f *Facts, _ *Report) finding {
	found := perCollector(f, func(c *Collector) Part { return ratio("", float64(c.Counts.Stored), float64(c.Counts.Due()), 100) })
	if f.Ledger != nil {
		found.note = fmt.Sprintf("%d of %d due ticks in all, %d pending", f.Ledger.Stored, f.Ledger.Due(), f.Ledger.Pending)
	}
	return found
}

func collectionErrors(f *Facts, _ *Report) finding {
	return perCollector(f, func(c *Collector) Part {
		return ratio("", float64(c.Counts.Due()-c.Counts.Stored), float64(c.Counts.Due()), 100)
	})
}

func failedRounds(f *Facts, _ *Report) finding {
	found := perCollector(f, func(c *Collector) Part { return ratio("", float64(c.Counts.Failed), float64(c.Counts.Due()), 100) })
	if f.Ledger == nil {
		return found
	}
	for _, r := range f.Ledger.Reasons {
		if r.Outcome == "failed" {
			found.note = fmt.Sprintf("most: failed(%s), %s", r.Reason, plural(int(r.Ticks), "tick"))
			break // the ledger has the most frequent first
		}
	}
	return found
}

// withoutReason counts the ticks that nothing explains.
func (l *Ledger) withoutReason() int64 {
	n := l.Missing
	for _, r := range l.Reasons {
		if r.Outcome == "failed" && (r.Reason == "failed" || r.Reason == "") {
			n += r.Ticks
		}
	}
	return n
}

// ledgerCount is a count of ticks; of a ledger without a decided tick it says
// nothing.
func ledgerCount(f *Facts, n func(*Ledger) int64) finding {
	switch {
	case f.Ledger == nil:
		return finding{missing: "the ledger could not be read"}
	case f.Ledger.Due() == 0:
		return finding{missing: "no tick was due"}
	}
	return finding{parts: []Part{number("", float64(n(f.Ledger)))}}
}

func unexplained(f *Facts, _ *Report) finding { return ledgerCount(f, (*Ledger).withoutReason) }

func lost(f *Facts, _ *Report) finding {
	return ledgerCount(f, func(l *Ledger) int64 { return l.Dropped + l.Missing })
}

// since gives what a backend counted, and since when: since its start, or since the
// report before when it is the same process.
func since(f *Facts, before *Report) (counted Backend, from float64, ok bool) {
	if f.Backend == nil {
		return counted, 0, false
	}
	b := *f.Backend
	if before == nil || before.Backend == nil || before.Backend.Start != b.Start || before.Backend.At >= b.At {
		return b, b.Start, true
	}
	old := before.Backend
	return Backend{Start: b.Start, At: b.At, CPU: b.CPU - old.CPU, Requests: b.Requests - old.Requests, Failed: b.Failed - old.Failed, Refused: b.Refused - old.Refused}, old.At, true
}

func ofBackend(f *Facts, before *Report, part func(b Backend, seconds float64) Part) finding {
	b, from, ok := since(f, before)
	if !ok {
		return finding{missing: "/metrics could not be read"}
	}
	found := finding{parts: []Part{part(b, b.At-from)}, window: window(fromUnix(&from), fromUnix(&b.At))}
	if from > float64(f.From.UnixMicro())/1e6 {
		found.note = "the backend started in the window: only since then"
		if from != b.Start {
			found.note = "only since the report before"
		}
	}
	return found
}

func failedRequests(f *Facts, before *Report) finding {
	return ofBackend(f, before, func(b Backend, _ float64) Part { return ratio("", b.Failed, b.Requests, 100) })
}

const settled = 60 // seconds of which a start is no longer most

func backendCPU(f *Facts, before *Report) finding {
	if before != nil && before.Backend != nil && f.Backend != nil && f.Backend.At-before.Backend.At < settled {
		before = nil // too short to say anything: since the start
	}
	found := ofBackend(f, before, func(b Backend, seconds float64) Part {
		if seconds < settled {
			return Part{Note: "it has not run for a minute"}
		}
		return ratio("", b.CPU, seconds, 100)
	})
	if len(found.parts) > 0 && found.parts[0].Value == nil {
		return finding{missing: found.parts[0].Note}
	}
	return found
}

func cost(f *Facts, _ *Report) finding {
	found := finding{missing: noCollectors(f)}
	for i := range f.Instances {
		found.parts = append(found.parts, Part{Name: f.Instances[i].Name, Value: f.Instances[i].Cost})
	}
	return found
}

func apiLatency(f *Facts, _ *Report) finding   { return latency(f, f.Requests) }
func chartLatency(f *Facts, _ *Report) finding { return latency(f, f.Charts) }

func latency(f *Facts, took []time.Duration) finding {
	if len(f.Refused) > 0 {
		return finding{missing: fmt.Sprintf("%s not answered: %s", plural(len(f.Refused), "request"), f.Refused[0])}
	}
	if len(took) == 0 {
		return finding{missing: "nothing was timed"}
	}
	p := number("", percentile(took, 99))
	p.Note = fmt.Sprintf("%d requests, median %.2f ms, longest %.2f ms", len(took), percentile(took, 50), percentile(took, 100))
	return finding{parts: []Part{p}, note: fmt.Sprintf("of %s", plural(len(took), "request")), window: "during the check"}
}

// percentile gives the nearest rank in ms.
func percentile(took []time.Duration, p float64) float64 {
	sorted := slices.Sorted(slices.Values(took))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return float64(sorted[max(1, rank)-1]) / float64(time.Millisecond)
}
