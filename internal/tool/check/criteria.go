package check

import (
	"fmt"
	"strconv"
)

// bound is a target. When says under what circumstances it is meant.
type bound struct {
	op    string // < <= > >= =
	limit float64
	when  string
}

func (b *bound) text(unit string) string {
	if b == nil {
		return ""
	}
	sign := map[string]string{"<=": "≤", ">=": "≥"}[b.op]
	if sign == "" {
		sign = b.op
	}
	s := strconv.FormatFloat(b.limit, 'f', -1, 64)
	if b.op != "=" {
		s = sign + " " + s
	}
	if unit != "" {
		s += " " + unit
	}
	if b.when != "" {
		s += " " + b.when
	}
	return s
}

func (b *bound) holds(v float64) bool {
	switch b.op {
	case "<":
		return v < b.limit
	case "<=":
		return v <= b.limit
	case ">":
		return v > b.limit
	case ">=":
		return v >= b.limit
	case "=":
		return v == b.limit
	}
	panic("BUG: bound of kind " + b.op)
}

// lower: low values are the bad ones.
func (b *bound) lower() bool { return b.op == ">" || b.op == ">=" }

// criterion is one row of the success criteria.
type criterion struct {
	id, measure string
	must        bool
	unit        string
	target      *bound // the deployment's, nil for none
	ours        *bound
	// By numerator / denominator in the window, of source.
	numerator, denominator, source string
	find                           func(*Facts, *Report) finding
	elsewhere                      string // what measures it, when that can't be here
}

// finding is what a criterion found.
type finding struct {
	parts    []Part
	missing  string   // why there are no parts
	measured string   // "" for the worst part's value
	count    *float64 // of problems, in place of the worst part's value
	note     string
	window   string // "" for the facts' own
	unasked  string // why it was not even asked for; no verdict then
	ours     *bound // in place of the criterion's, when it depends on the facts
}

// criteria are the rows in the order in which they are printed.
var criteria = []criterion{
	{id: "cpu", must: true, measure: "collector CPU", unit: "%", target: &bound{"<", 40, ""}, numerator: cpuIs, denominator: observedIs, source: cpuSource, find: cpu},
	{id: "cycle", must: true, measure: "longest cycle", unit: "s", target: &bound{"<", 10, ""}, ours: &bound{"<=", 1, "over 100 instances"},
		numerator: "longest (last frame spooled - planned start of its round) among the instances that answered", source: "collectors: cycle_trend", find: cycle},
	{id: "starts", must: true, measure: "starts without errors", target: &bound{"=", 0, "signs"},
		numerator: "steps of the backend's start that failed + batches refused for good since its start + ticks of the window failed(failed) or without any outcome + lines with \"error\" in the logs given",
		source:    "startup, /metrics, ledger, --log", find: starts},
	{id: "pool", must: true, measure: "connection pool active", target: &bound{"=", 0, "inactive"},
		numerator: "collectors without an open connection, or that took none, or that opened one for every use", source: "series collector: acquires, connects; collectors: pool_open", find: pool},
	{id: "services", must: true, measure: "all services healthy", target: &bound{"=", 0, "ill"},
		numerator: "components of health that are not ok + collectors that have not pushed for 3 rounds of the fast lane (at least 15 s) + instances that are not up + services given that do not answer 2xx",
		source:    "health, collectors, instances, --service; at the moment of the check", find: services},
	{id: "regressions", must: true, measure: "zero regressions", target: &bound{"=", 0, ""},
		numerator: "families no longer read + columns no longer read + families read less often + families of which more than one tick more was lost than before",
		source:    "instances, ledger/grid; --against", find: regressions},

	{id: "cpu_monitored", measure: "collector CPU", unit: "%", target: &bound{"<", 20, ""}, numerator: cpuIs, denominator: observedIs, source: cpuSource, find: cpu},
	{id: "cpu_held", measure: "collector CPU held for 5 min", unit: "%", target: &bound{"<=", 30, "else alert"},
		numerator: "least of the CPU rates of five minutes without a gap; the highest of these", source: cpuSource, find: cpuHeld},
	{id: "cpu_cycle", measure: "collector CPU per instance-cycle", unit: "ms", ours: &bound{"<=", 1.5, "at 120 statements"},
		numerator: cpuIs + " per second x interval", denominator: "instances of the collector", source: cpuSource, find: cpuPerCycle},
	{id: "cpu_floor", measure: "collector CPU beside the floor", ours: &bound{"<=", 2, "x"}, elsewhere: "make bench: needs the floor in the same run"},
	{id: "backend_cpu", measure: "backend CPU", unit: "%", ours: &bound{"<=", 5, "under 100 collectors"},
		numerator: "CPU time of the backend's process", denominator: "time since its start, or since the report of --against", source: "/metrics: process_cpu_seconds_total", find: backendCPU},
	{id: "store_cpu", measure: "store CPU under 100 collectors", elsewhere: "pganalytics loadtest: the backend does not see its store's processes"},
	{id: "cycle_alert", measure: "longest cycle", unit: "s", target: &bound{"<=", 15, "else alert"}, numerator: "as above", source: "collectors: cycle_trend", find: cycle},
	{id: "memory", measure: "collector memory (VmHWM)", unit: "MB", target: &bound{"<", 150, ""}, numerator: "highest peak of resident memory, 1 MB = 2^20 bytes", source: "series collector: memory_peak", find: memoryBySize},
	{id: "memory_alert", measure: "collector memory (VmHWM)", unit: "MB", target: &bound{"<=", 200, "else alert"}, numerator: "as above", source: "series collector: memory_peak", find: memory},
	{id: "overhead", measure: "connection overhead", unit: "ms", target: &bound{"<", 50, "(5-10)"},
		numerator: "time until a connection was there, opening included", denominator: "connections taken", source: "series collector: acquire_time, acquires", find: overhead},
	{id: "acquire_p99", measure: "pooled acquire, p99", unit: "ms", ours: &bound{"<=", 1, ""}, elsewhere: "pganalytics loadtest: the collector keeps sums of times, no distribution"},
	{id: "round_trips", measure: "round trips per round", ours: &bound{"<=", 1, "+ texts"},
		numerator: "network round trips, less one per instance and 5 minutes for texts", denominator: "rounds", source: "series collector: round_trips, rounds", find: roundTrips},
	{id: "coverage", measure: "query sampling, calls", unit: "%", target: &bound{">", 5, "else alert"}, ours: &bound{">=", 99, "at limit 1,000"},
		numerator: "calls stored statement by statement", denominator: "all calls", source: "statements: total - cut - dropped, total", find: coverageOf(func(c *Calls) (float64, float64) { return c.Stored, c.Total })},
	{id: "coverage_time", measure: "query sampling, time", unit: "%", ours: &bound{">=", 99, "at limit 1,000"},
		numerator: "execution time stored statement by statement, ms", denominator: "all execution time, ms", source: "statements: total - cut - dropped, total", find: coverageOf(func(c *Calls) (float64, float64) { return c.StoredTime, c.TotalTime })},
	{id: "coverage_qps", measure: "query sampling at 10,000 QPS", unit: "%", target: &bound{">", 5, ""}, elsewhere: "pganalytics loadtest: needs that load"},
	{id: "success", measure: "collection success", unit: "%", target: &bound{">", 99, ""}, ours: &bound{">=", 99.9, ""},
		numerator: "ticks stored", denominator: "ticks planned - pending", source: "collectors: counts", find: success},
	{id: "errors_alert", measure: "collection errors", unit: "%", target: &bound{"<=", 1, "else alert"},
		numerator: "ticks failed, skipped, dropped, missing", denominator: "ticks planned - pending", source: "collectors: counts", find: collectionErrors},
	{id: "failed_rounds", measure: "error rate, readings", unit: "%", target: &bound{"<", 0.1, ""},
		numerator: "ticks failed", denominator: "ticks planned - pending", source: "collectors: counts", find: failedRounds},
	{id: "failed_requests", measure: "error rate, requests", unit: "%", target: &bound{"<", 0.1, ""},
		numerator: "requests answered with 5xx, and pushes with 4xx", denominator: "requests answered", source: "/metrics: pganalytics_http_requests_total", find: failedRequests},
	{id: "unexplained", measure: "errors without a reason", ours: &bound{"=", 0, "ticks"},
		numerator: "ticks failed(failed), missing", source: "ledger: reasons", find: unexplained},
	{id: "lost", measure: "ticks lost", ours: &bound{"=", 0, "ticks"},
		numerator: "ticks dropped, missing", source: "ledger", find: lost},
	{id: "api", measure: "API response, p99", unit: "ms", target: &bound{"<", 100, ""}, ours: &bound{"<=", 100, "under 100 collectors"},
		numerator: "99th of 100 answers in the order of their time: fleet, collectors, ledger, statements, series in turn", source: "requests timed by the check, one after another", find: apiLatency},
	{id: "chart", measure: "24-h chart, p99", unit: "ms", ours: &bound{"<=", 300, ""},
		numerator: "slowest of 10 answers", source: "requests timed by the check", find: chartLatency},
	{id: "cost", measure: "cost on a watched server", unit: "%", ours: &bound{"<=", 1, "of a core"},
		numerator: "time between the first and the last statement of each round, an upper bound of the CPU time of our backends", denominator: observedIs, source: "collectors: cost_percent", find: cost},
	{id: "cost_pgwatch", measure: "cost beside pgwatch", elsewhere: "a run beside pgwatch on the same server (docs/benchmarks.md)"},
	{id: "naive", measure: "relative to the naive design", elsewhere: "pganalytics loadtest: needs the naive design in the same run"},
	{id: "viable", measure: "viable collectors", target: &bound{">=", 25, "(25-100)"}, ours: &bound{">=", 2000, "on 2 cores at 60 s"}, elsewhere: "pganalytics loadtest"},
	{id: "ingest", measure: "ingest beside COPY", ours: &bound{">=", 0.7, "x"}, elsewhere: "make bench: needs the COPY in the same run"},
	{id: "store", measure: "store per instance-day", unit: "MB", ours: &bound{"<=", 3, ""}, elsewhere: "make bench: the API tells no sizes of tables"},
	{id: "wire", measure: "wire form beside JSON + zstd", ours: &bound{">=", 2, "x fewer bytes, 5x less CPU"}, elsewhere: "make bench: needs both forms of the same frames"},
	{id: "doubled", measure: "rows lost or doubled by kills", ours: &bound{"=", 0, ""}, elsewhere: "make test: needs the kills; ids of batches are unique in the store"},
	{id: "rollback", measure: "rollback", unit: "s", target: &bound{"<", 300, ""}, ours: &bound{"<", 60, ""}, elsewhere: "pganalytics deploy rollback: prints its time"},
}

const (
	cpuIs      = "CPU time of the process, user and system, ms"
	observedIs = "time observed, ms"
	cpuSource  = "series collector: cpu_time"
)

// value writes a number with its unit.
func value(v float64, unit string) string {
	s := strconv.FormatFloat(v, 'f', decimals(v, unit), 64)
	if unit == "" {
		return s
	}
	return s + " " + unit
}

func decimals(v float64, unit string) int {
	switch {
	case v == float64(int64(v)) && unit == "":
		return 0
	case unit == "MB":
		return 1
	case unit == "s", v != 0 && v < 1, unit == "":
		return 3
	}
	return 2
}

func plural(n int, one string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", one)
	}
	return fmt.Sprintf("%d %ss", n, one)
}
