package main

import "fmt"

// keyMetric is one of the five numbers that say whether collecting itself is well:
// a stat, a chart and an alert of the same limit.
type keyMetric struct {
	uid, title, doc, unit string
	limit                 float64
	under                 bool    // critical below the limit, not above it
	silent                float64 // stands for who reports nothing: critical by any limit
	fresh                 string  // stands for who was registered so lately that nothing is due yet: well
	read                  func(fresh string) string
	now                   string // a row for each that should report: "time", labels, value; NULL when silent
	worst                 string // one number of these rows, of who has reported
	chart                 string
	hold                  string // for how long before it alerts
	labels                string // that tell the rows apart, for messages
	summary               string
	runbook               string
}

func (m *keyMetric) thresholds() *thresholds {
	if m.under {
		return below(m.limit)
	}
	return above(m.limit)
}

const mebibyte = 1 << 20

// What should report: collectors that hold an instance, and instances. Who is new
// has three intervals, at least a minute, for the first report.
const (
	recent     = "greatest(3 * interval_us, 60000000) * interval '1 microsecond'"
	reporters  = "(SELECT id, name, registered, " + recent + " AS recent FROM fleet_collector\n\tWHERE EXISTS (SELECT FROM fleet_instance i WHERE i.collector_id = fleet_collector.id)) c"
	watched    = "(SELECT id, name, registered, " + recent + " AS recent FROM fleet_instance) i"
	successNow = "15 minutes"
)

// ofProcess gives queries over the newest rows of the family collector: what the
// whole process says through any of its instances.
func ofProcess(value string) func(string) string {
	return func(fresh string) string {
		return fmt.Sprintf(`SELECT now() AS "time", c.name AS collector, left(c.id::text, 8) AS id, coalesce((
	%s), CASE WHEN c.registered > now() - c.recent THEN %s END)::double precision AS value
FROM %s ORDER BY 2, 3`, value, fresh, reporters)
	}
}

// gauge of a process: the greatest that any of its instances' rows holds.
func gaugeNow(column string, divide string) func(string) string {
	return ofProcess(fmt.Sprintf(`SELECT max(r.%s)%s FROM fleet_instance i CROSS JOIN LATERAL (
		SELECT r.* FROM collector_raw r WHERE r.instance_id = i.id AND r.time > now() - c.recent AND r.time <= now() ORDER BY r.time DESC LIMIT 1) r
	WHERE i.collector_id = c.id`, ident(column), divide))
}

// steps of a fleet's chart: at least the slowest collector's interval.
const steps = `s AS MATERIALIZED (
	SELECT greatest($__interval_ms, (SELECT coalesce(max(interval_us) / 1000, 0) FROM fleet_collector)) * interval '1 millisecond' AS step),
g AS (
	SELECT generate_series(date_bin(step, $__timeFrom()::timestamptz, timestamptz 'epoch'), least($__timeTo()::timestamptz, now()) - interval '1 microsecond', step) AS time FROM s)`

const (
	holders = "(SELECT c.id, c.name FROM fleet_collector c WHERE EXISTS (SELECT FROM fleet_instance i WHERE i.collector_id = c.id)) c"
	// aCollector: who holds the instance now. name%s filters.
	gaugeSeries = `WITH %[1]s,
v AS (
	SELECT date_bin(s.step, r.time - interval '1 microsecond', timestamptz 'epoch') AS time, i.collector_id AS id, max(r.%[2]s)%[3]s AS value
	FROM s, fleet_instance i JOIN collector_raw r ON r.instance_id = i.id WHERE r.time > $__timeFrom() AND r.time <= $__timeTo() GROUP BY 1, 2)
SELECT g.time, c.name AS metric, max(v.value)::double precision AS value
FROM g CROSS JOIN %[4]s LEFT JOIN v ON v.time = g.time AND v.id = c.id%[5]s
GROUP BY 1, 2 ORDER BY 1, 2`
	// of the counters of the process: what all its instances saw, over how long they saw it.
	rateSeries = `WITH %[1]s,
f AS (
	SELECT date_bin(s.step, l.time - interval '1 microsecond', timestamptz 'epoch') AS time, i.collector_id AS id, sum(l.since_ms[least(p.n, cardinality(l.since_ms))]) / 1000.0 AS seconds
	FROM s, fleet_instance i JOIN ledger l ON l.instance_id = i.id, array_position(l.families, (SELECT id FROM ledger_family WHERE name = 'collector')) p (n)
	WHERE l.time > $__timeFrom() AND l.time <= $__timeTo() AND l.lane = 'slow' AND p.n IS NOT NULL GROUP BY 1, 2),
v AS (
	SELECT date_bin(s.step, r.time - interval '1 microsecond', timestamptz 'epoch') AS time, i.collector_id AS id, sum(r.%[2]s)%[3]s AS used
	FROM s, fleet_instance i JOIN collector_raw r ON r.instance_id = i.id WHERE r.time > $__timeFrom() AND r.time <= $__timeTo() GROUP BY 1, 2)
SELECT g.time, c.name AS metric, (sum(coalesce(v.used, 0)) FILTER (WHERE f.seconds > 0) / nullif(sum(f.seconds), 0))::double precision AS value
FROM g CROSS JOIN %[4]s LEFT JOIN f ON f.time = g.time AND f.id = c.id LEFT JOIN v ON v.time = g.time AND v.id = c.id%[5]s
GROUP BY 1, 2 ORDER BY 1, 2`
	fleetSuccess = `WITH %s,
v AS (SELECT a.time, sum(a.stored) AS stored, sum(a.planned - a.pending) AS due FROM s, ledger_outcomes($__timeFrom(), $__timeTo(), s.step) a GROUP BY 1)
SELECT g.time, (100 * v.stored / nullif(v.due, 0))::double precision AS success FROM g LEFT JOIN v USING (time) ORDER BY 1`
	fleetCoverage = `WITH %s,
v AS (
	SELECT date_bin(s.step, r.time - interval '1 microsecond', timestamptz 'epoch') AS time, sum(r.calls) FILTER (WHERE r.kept) AS kept, sum(r.calls) AS calls
	FROM s, (SELECT time, true AS kept, calls FROM statements_total WHERE %[2]s UNION ALL SELECT time, false, calls FROM statements_sum WHERE %[2]s) r GROUP BY 1)
SELECT g.time, (100 * coalesce(v.kept, 0) / nullif(v.calls, 0))::double precision AS coverage FROM g LEFT JOIN v USING (time) ORDER BY 1`
)

// errorsNow: an instance without a plan has no success to speak of, so it is silent.
func errorsNow(fresh string) string {
	return `SELECT now() AS "time", i.name AS instance, coalesce(100 - 100 * a.stored / nullif(a.due, 0), CASE WHEN i.registered > now() - i.recent THEN ` + fresh + ` END)::double precision AS value
FROM ` + watched + `
LEFT JOIN (SELECT instance_id, sum(stored) AS stored, sum(planned - pending) AS due FROM ledger_account(now() - interval '` + successNow + `', now()) GROUP BY 1) a ON a.instance_id = i.id
ORDER BY 2`
}

// coverageNow: of instances whose statements are planned. Frames without a call leave nothing out.
func coverageNow(fresh string) string {
	return `SELECT now() AS "time", i.name AS instance,
	CASE WHEN c.calls > 0 THEN 100 * c.kept / c.calls WHEN f.frames > 0 THEN 100 WHEN i.registered > now() - i.recent THEN ` + fresh + ` END::double precision AS value
FROM ` + watched + `
CROSS JOIN LATERAL (SELECT reason FROM ledger_schedule WHERE instance_id = i.id AND family = 'statements' AND valid_from <= now()
	ORDER BY (valid_to IS NULL OR valid_to >= now()) DESC, valid_from DESC LIMIT 1) p
CROSS JOIN LATERAL (SELECT count(*) AS frames FROM ledger_frames(i.id, 'statements', now() - interval '` + successNow + `', now()) WHERE at > since) f
CROSS JOIN LATERAL (
	SELECT coalesce(sum(calls) FILTER (WHERE kept), 0) AS kept, sum(calls) AS calls FROM (
		SELECT true AS kept, calls FROM statements_total WHERE instance_id = i.id AND time > now() - interval '` + successNow + `' AND time <= now()
		UNION ALL SELECT false, calls FROM statements_sum WHERE instance_id = i.id AND time > now() - interval '` + successNow + `' AND time <= now()) r) c
WHERE p.reason = '' ORDER BY 2`
}

var keyMetrics = []*keyMetric{
	{
		uid: "cpu", title: "Collector CPU", unit: "percent", limit: 30, silent: 1e6, hold: "5m", fresh: "0", labels: "collector {{ .Labels.collector }}",
		doc: "CPU time of a collector's process, in percent of one core, over its last three intervals (at least a minute).",
		read: ofProcess(`SELECT 100 * sum(r.cpu) / nullif(sum(f.seconds), 0) FROM fleet_instance i
	CROSS JOIN LATERAL (SELECT sum(extract(epoch FROM at - since)) AS seconds FROM ledger_frames(i.id, 'collector', now() - c.recent, now()) WHERE at > since) f
	CROSS JOIN LATERAL (SELECT coalesce(sum(cpu_time), 0) / 1000000 AS cpu FROM collector_raw WHERE instance_id = i.id AND time > now() - c.recent AND time <= now()) r
	WHERE i.collector_id = c.id AND f.seconds > 0`),
		chart:   fmt.Sprintf(rateSeries, steps, "cpu_time", " / 10000", holders, ""),
		summary: "takes more than 30 % of a core",
		runbook: "What it means: the collector's process has taken more than 30 % of one core for 5 minutes; at 100 instances and 60 s it should take far less.\n" +
			"Look at: the dashboard pgAnalytics / Collectors (busy time, cycle, rounds in overflow), and whether more instances, a shorter interval or a greater query_stats_limit came with it.\n" +
			"Command: docker stats --no-stream pganalytics-collector-demo; grep -E \"thread_pool_size|query_stats_limit|interval\" collector/config.toml\n" +
			"Mend: lengthen interval, lower query_stats_limit, or give some instances to a second collector.",
	},
	{
		uid: "cycle", title: "Cycle time", unit: "s", limit: 15, silent: 1e6, hold: "1m", fresh: "0", labels: "collector {{ .Labels.collector }}",
		doc:     "Longest time from a planned read to its last frame in the spool, among the instances that answered; the last complete cycle.",
		read:    gaugeNow("cycle_time", " / 1000000.0"),
		chart:   fmt.Sprintf(gaugeSeries, steps, "cycle_time", " / 1000000.0", holders, ""),
		summary: "needs more than 15 s for a cycle",
		runbook: "What it means: reading all instances once took longer than 15 s; near the interval, ticks are skipped.\n" +
			"Look at: one slow server or all of them? The dashboard pgAnalytics / Collectors shows own cost by instance; rounds in overflow are slow or unreachable servers.\n" +
			"Command: docker logs pganalytics-collector-demo | grep \"cycle\\|duration\" | tail -20; pganalytics ledger --since 1h\n" +
			"Mend: raise thread_pool_size when all are slow, look at the server (locks, load) when one is.",
	},
	{
		uid: "memory", title: "Collector memory", unit: "bytes", limit: 200 * mebibyte, silent: 1e15, hold: "1m", fresh: "0", labels: "collector {{ .Labels.collector }}",
		doc:     "Resident memory of a collector's process (VmRSS).",
		read:    gaugeNow("memory", ""),
		chart:   fmt.Sprintf(gaugeSeries, steps, "memory", "", holders, ""),
		summary: "holds more than 200 MB of memory",
		runbook: "What it means: the collector's process is resident with more than 200 MB; the container ends at its limit (150 MB in the compose stack), and what is in the spool survives that.\n" +
			"Look at: memory over a day in the dashboard pgAnalytics / Collectors: a step is a new instance or a greater limit, a slope is a leak. Many databases or statements cost memory.\n" +
			"Command: docker stats --no-stream pganalytics-collector-demo; docker inspect pganalytics-collector-demo | grep -A 10 Memory\n" +
			"Mend: restart it (no tick is lost that is in the spool), lower query_stats_limit, split the instances; report a slope.",
	},
	{
		uid: "errors", title: "Collection errors", unit: "percent", limit: 1, silent: 100, hold: "1m", fresh: "0", labels: "instance {{ .Labels.instance }}",
		doc:     "Planned reads of an instance in the last 15 minutes that were not stored: 100 - 100 x stored / (planned - pending). Missing ones count.",
		read:    errorsNow,
		chart:   fmt.Sprintf(fleetSuccess, steps),
		summary: "has more than 1 % of its planned reads not stored",
		runbook: "What it means: of the reads that were planned in the last 15 minutes more than 1 % failed, were skipped or dropped, or nothing was heard of them (missing: the collector is silent). 100 also stands for an instance of which nothing was ever planned.\n" +
			"Look at: the reasons: the page of the collector in pgAnalytics shows each tick, the dashboard pgAnalytics / Overview shows which instances are down or unknown.\n" +
			"Command: pganalytics ledger --since 15m; docker-compose ps; docker logs pganalytics-collector-demo | tail -50\n" +
			"Mend: by reason: connect (server or network), privilege (the GRANT is on the instance's page), spool_full (the backend was away too long), collector_down (it was restarted).",
	},
	{
		uid: "coverage", title: "Query coverage", unit: "percent", limit: 5, under: true, silent: -1, hold: "1m", fresh: "100", labels: "instance {{ .Labels.instance }}",
		doc:     "Calls of statements that are stored one by one, of all calls in the last 15 minutes; the others are stored as sums.",
		read:    coverageNow,
		chart:   fmt.Sprintf(fleetCoverage, steps, inRange),
		summary: "has less than 5 % of its calls stored statement by statement",
		runbook: "What it means: most calls were of statements beyond query_stats_limit, so that only their sums are known (totals stay exact). -1 stands for an instance whose statements are planned but not stored.\n" +
			"Look at: the dashboard pgAnalytics / Queries: rest, cut and dropped beside the items; many statements that differ in their text alone?\n" +
			"Command: docker logs pganalytics-collector-demo | grep \"sampling\\|queries collected\" | tail -20; grep query_stats_limit collector/config.toml\n" +
			"Mend: raise query_stats_limit (10 to 10000), or make the application use parameters.",
	},
}

func init() {
	for _, m := range keyMetrics {
		pick := "max"
		if m.under {
			pick = "min"
		}
		m.now = m.read(m.fresh)
		m.worst = fmt.Sprintf("SELECT %s(value) AS value FROM (\n%s) x", pick, m.read("NULL::numeric"))
	}
}
