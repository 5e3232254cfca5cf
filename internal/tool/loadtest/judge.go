package loadtest

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/check"
)

// target is a bound with how it reads.
type target struct {
	op    string // < <= > >=
	limit float64
	when  string
}

func (t *target) holds(v float64) bool {
	switch t.op {
	case "<":
		return v < t.limit
	case "<=":
		return v <= t.limit
	case ">":
		return v > t.limit
	}
	return v >= t.limit
}

func (t *target) text(unit string) string {
	sign := map[string]string{"<=": "≤", ">=": "≥"}[t.op]
	if sign == "" {
		sign = t.op
	}
	return strings.TrimSpace(strings.Join([]string{sign, strconv.FormatFloat(t.limit, 'f', -1, 64), unit, t.when}, " "))
}

func verdict(t *target, v *float64) check.Verdict {
	switch {
	case t == nil:
		return check.None
	case v == nil:
		return check.NoData
	case t.holds(*v):
		return check.Pass
	}
	return check.Fail
}

// judged is a row in the form of check's. What the deployment demands (must) decides
// over the scenario; ours is the product's own, the stricter target.
func judged(id, measure, unit string, v *float64, must, ours *target, note string) check.Row {
	row := check.Row{ID: id, Measure: measure, Unit: unit, Must: must != nil, Value: v, Verdict: verdict(must, v), OursVerdict: verdict(ours, v), Note: note, Measured: "no data"}
	if v != nil {
		row.Measured = strings.TrimSpace(figure(*v) + " " + unit)
	}
	if must != nil {
		row.Target = must.text(unit)
	}
	if ours != nil {
		row.Ours = ours.text(unit)
	}
	return row
}

// figure has three significant digits.
func figure(v float64) string {
	switch {
	case v == float64(int64(v)) && v < 1e9 && v > -1e9:
		return strconv.FormatInt(int64(v), 10)
	case v >= 100 || v <= -100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func percent(part, whole int64) *float64 {
	if whole == 0 {
		return nil
	}
	return new(100 * float64(part) / float64(whole))
}

// of pushes is what is judged of the simulated collectors.
func (s *Scenario) ofPushes(interval time.Duration) []check.Row {
	p := s.Simulated
	if p == nil {
		return nil
	}
	under := fmt.Sprintf("under %d pushing collectors", s.Collectors)
	due := p.Ledger.Planned - p.Ledger.Pending
	var api, cpu *float64
	if p.API.N > 0 {
		api = &p.API.P99
	}
	note := "not ours to measure"
	if p.Store.CPU > 0 {
		cpu = new(p.Backend.CPU + p.Store.CPU)
		note = fmt.Sprintf("backend %s %%, store %s %%, at %s; meant at 100 collectors and 60 s", figure(p.Backend.CPU), figure(p.Store.CPU), interval)
	}
	late := ""
	if p.Late > 0 {
		late = fmt.Sprintf("; %d ticks began late: the load test itself lacked CPU", p.Late)
	}
	requests, failed := p.Requests+int64(p.API.N)+p.APIFailed, p.Failed+p.APIFailed
	errors := fmt.Sprintf("%d of %d requests", failed, requests)
	if p.Why != "" {
		errors += ", first: " + p.Why
	}
	return []check.Row{
		judged("exactly_once", "ticks and rows stored, not as pushed", "differences", new(float64(len(p.Different))), &target{"<=", 0, ""}, nil,
			strings.Join(append([]string{fmt.Sprintf("%d ticks, %d batches, %d rows, %d batches sent twice", p.Ticks, p.Batches, p.Rows, p.Repeated)}, p.Different...), "; ")),
		judged("pushed_success", "collection success, simulated", "%", percent(p.Ledger.Stored, due), &target{">", 99, ""}, &target{">=", 99.9, ""}, fmt.Sprintf("%d of %d due ticks", p.Ledger.Stored, due)),
		judged("request_errors", "error rate, requests", "%", percent(failed, requests), &target{"<", 0.1, ""}, &target{"<=", 0, ""}, errors),
		judged("api_load", "API response, p99", "ms", api, &target{"<", 100, ""}, nil,
			fmt.Sprintf("%s: p50 %s, p95 %s, longest %s ms of %d", under, figure(p.API.P50), figure(p.API.P95), figure(p.API.Max), p.API.N)),
		judged("push_cycle", "planned tick to stored, p99", "s", new(p.Cycle.P99/1000), &target{"<", interval.Seconds(), "(an interval)"}, nil,
			fmt.Sprintf("p50 %s, longest %s ms; push request p50 %s, p99 %s ms%s", figure(p.Cycle.P50), figure(p.Cycle.Max), figure(p.Push.P50), figure(p.Push.P99), late)),
		judged("backend_store_cpu", "backend + store CPU", "%", cpu, nil, &target{"<=", 5, "of a core"}, note),
	}
}

// fromCheck are the criteria of `pganalytics check` that a real collector is judged by.
var fromCheck = []string{"cpu", "cycle", "starts", "pool", "services", "memory", "overhead", "coverage", "success", "failed_rounds", "failed_requests",
	"unexplained", "lost", "round_trips", "cpu_cycle", "cost"}

// ofReal is what is judged of the real collector.
func (s *Scenario) ofReal(interval time.Duration) (out []check.Row) {
	if s.Real == nil {
		return nil
	}
	for _, id := range fromCheck {
		i := slices.IndexFunc(s.Real.Check.Rows, func(r check.Row) bool { return r.ID == id })
		if i < 0 {
			continue
		}
		row := s.Real.Check.Rows[i]
		row.Must = row.Target != ""
		row.Parts = nil
		row.Measured = strings.TrimSuffix(row.Measured, " ("+s.Real.name+")") // there is but one
		out = append(out, row)
	}
	var viable *float64
	note := "extrapolated from CPU and time of rounds here"
	if v := s.viable(interval); v > 0 {
		viable = &v
	}
	if s.Real.Servers < s.Instances {
		note += fmt.Sprintf("; %d names on %d servers", s.Instances, s.Real.Servers)
	}
	acquire := "not ours to read"
	if s.Real.Acquire != nil {
		acquire = fmt.Sprintf("over means of %d instance-cycles without a new connection", s.Instances)
	}
	return append(out,
		judged("acquire_p99", "pooled acquire, p99", "ms", s.Real.Acquire, nil, &target{"<=", 1, ""}, acquire),
		judged("viable", "viable collectors", "", viable, &target{">=", 25, "(25-100)"}, &target{">=", 2000, "on 2 cores at 60 s"}, note))
}

// viable is the largest number of instances whose cycle is shorter than the interval,
// extrapolated: by then either all cores or all workers are busy for the whole of it.
func (s *Scenario) viable(interval time.Duration) float64 {
	if s.Real.Collector.Cycle <= 0 {
		return 0
	}
	n := ms(interval) * float64(runtime.NumCPU()) / s.Real.Collector.Cycle
	if s.Real.RoundTime > 0 {
		n = min(n, ms(interval)*workers/s.Real.RoundTime)
	}
	return float64(int64(n))
}

const workers = 4 // thread_pool_size of the shipped configuration

// Relative is one line of before and after.
type Relative struct {
	Measure string        `json:"measure"`
	Before  float64       `json:"before"` // the naive design, in this run
	After   float64       `json:"after"`
	Unit    string        `json:"unit"`
	Gain    string        `json:"gain"`
	Target  string        `json:"target"`
	Verdict check.Verdict `json:"verdict"`
	Note    string        `json:"note,omitempty"`
}

// relative compares with the naive design.
func (s *Scenario) relative(interval time.Duration, saturation *Saturation) (out []Relative) {
	if s.Real == nil || s.Naive == nil {
		return nil
	}
	cut := func(measure, unit string, before, after, limit float64, note string) {
		r := Relative{Measure: measure, Before: before, After: after, Unit: unit, Target: fmt.Sprintf("−%g %%", limit), Verdict: check.NoData, Note: note, Gain: "-"}
		if before > 0 && after >= 0 {
			gain := 100 * (1 - after/before)
			r.Gain, r.Verdict = fmt.Sprintf("−%.1f %%", gain), verdict(&target{">=", limit, ""}, &gain)
		}
		out = append(out, r)
	}
	times := func(measure, unit string, before, after, ratio, limit float64, goal, note string) {
		r := Relative{Measure: measure, Before: before, After: after, Unit: unit, Target: goal, Verdict: check.NoData, Note: note, Gain: "-"}
		if before > 0 && after > 0 {
			r.Gain, r.Verdict = figure(ratio)+"x", verdict(&target{">=", limit, ""}, &ratio)
		}
		out = append(out, r)
	}
	n, note := s.Naive, ""
	if n.Instances < s.Instances {
		note = fmt.Sprintf("scaled up from %d instances", n.Instances)
	}
	cut("collector CPU per instance and interval", "ms", n.CPU, s.Real.Collector.Cycle, 80, note)
	cycle := 0.0
	for _, r := range s.Real.Check.Rows {
		if r.ID == "cycle" && r.Value != nil {
			cycle = *r.Value
		}
	}
	times("cycle over all instances", "s", n.Cycle, cycle, n.Cycle/cycle, 4, "4-5x", note)
	if saturation != nil {
		times("coverage of calls", "%", saturation.Naive, saturation.Coverage, saturation.Coverage/saturation.Naive, 5, "5-10x",
			fmt.Sprintf("%d statements at %s calls/s, limit %d", saturation.Statements, figure(saturation.Rate), saturation.Limit))
	}
	overhead := -1.0
	for _, r := range s.Real.Check.Rows {
		if r.ID == "overhead" && r.Value != nil {
			overhead = *r.Value
		}
	}
	cut("connection overhead", "ms", n.Connect, overhead, 95, "cold connect beside pooled acquire, means")
	viable := s.viable(interval)
	times("viable collectors", "", n.Viable, viable, viable/n.Viable, 4, "4x", "both extrapolated")
	return out
}

// judge gives every scenario its rows and its verdict.
func (r *Report) judge(t *test) {
	for i, s := range r.Scenarios {
		s.Rows = append(s.ofPushes(t.Interval), s.ofReal(t.Interval)...)
		if s.Real != nil && r.Saturation != nil {
			c := r.Saturation
			s.Rows = append(s.Rows, judged("coverage_load", "query sampling at the highest rate", "%", &c.Coverage, &target{">", 5, ""}, &target{">=", 99, fmt.Sprintf("at limit %d", c.Limit)},
				fmt.Sprintf("%d statements at %s calls/s; time %s %%", c.Statements, figure(c.Rate), figure(c.Time))),
				judged("conserved", "calls run and not stored, or the reverse", "calls", new(float64(max(c.Ran-c.Total, c.Total-c.Ran))), &target{"<=", 0, ""}, nil, fmt.Sprintf("%d run, %d stored, sums included", c.Ran, c.Total)))
		}
		s.Relative = s.relative(t.Interval, r.Saturation)
		for _, row := range s.Rows {
			if row.Must && row.Verdict != check.Pass {
				s.Failed = append(s.Failed, row.ID)
			}
			if row.OursVerdict == check.Fail || row.OursVerdict == check.NoData {
				s.Own = append(s.Own, row.ID)
			}
		}
		// The comparison is meant at the load of the largest one: a process costs something
		// of its own however few it watches.
		if i == len(r.Scenarios)-1 && !t.Quick {
			for _, x := range s.Relative {
				if x.Verdict != check.Pass {
					s.Failed = append(s.Failed, x.Measure)
				}
			}
		}
		s.Passed = len(s.Failed) == 0
		if s.Passed {
			r.Passed++
		}
	}
	r.Of = len(r.Scenarios)
	r.Extrapolation = r.extrapolate(t)
}
