package main

import "fmt"

// collectorsDashboard shows what collecting costs: of all collectors, and of one.
func collectorsDashboard() *dashboard {
	d := newDashboard(uidCollectors, "pgAnalytics / Collectors", "What collecting costs and how well it goes, by collector.",
		query("collector", "Collector", "SELECT name FROM fleet_collector c WHERE EXISTS (SELECT FROM fleet_instance i WHERE i.collector_id = c.id) GROUP BY 1 ORDER BY 1"))
	const one = " AND c.name = ${collector:sqlstring}"
	only := "(SELECT c.id, c.name FROM fleet_collector c WHERE c.name = ${collector:sqlstring} AND EXISTS (SELECT FROM fleet_instance i WHERE i.collector_id = c.id)) c"
	gauge := func(title, doc, unit, column, divide string) *panel {
		return chart(title, doc, unit, false, fmt.Sprintf(gaugeSeries, steps, column, divide, only, one))
	}
	rate := func(title, doc, unit, column, factor string) *panel {
		return chart(title, doc, unit, false, fmt.Sprintf(rateSeries, steps, column, factor, only, one))
	}
	d.row("All collectors")
	d.add(8, list("Collectors", "All that hold an instance; silent: nothing pushed for three intervals (at least a minute).", collectorsSQL,
		field("state", property{"mappings", []any{map[string]any{"type": "value", "options": map[string]any{
			"reporting": map[string]any{"text": "✔ reporting", "color": colorOK, "index": 0},
			"silent":    map[string]any{"text": "? silent", "color": colorNoData, "index": 1},
		}}}}, colored), field("last_push", unitOf("dateTimeFromNow")), field("cpu_percent", unitOf("percent")), field("memory", unitOf("bytes")),
		field("memory_peak", unitOf("bytes")), field("cycle", unitOf("s")), field("spool", unitOf("bytes")), field("success", unitOf("percent"))))
	d.row("$collector")
	d.add(8,
		rate("CPU", keyMetrics[0].doc, "percent", "cpu_time", " / 10000").limit(keyMetrics[0].thresholds()),
		gauge("Memory", keyMetrics[2].doc, "bytes", "memory", "").limit(keyMetrics[2].thresholds()),
		gauge("Cycle time", keyMetrics[1].doc, "s", "cycle_time", " / 1000000.0").limit(keyMetrics[1].thresholds()))
	d.add(8,
		rate("Workers at work", "Time of rounds, summed over workers: how many are at work on average.", "short", "busy_time", " / 1000000"),
		gauge("Rounds in overflow", "Rounds that hold no worker: slow or unreachable servers.", "short", "overflow", ""),
		gauge("Spool", "Size of the spool on disk.", "bytes", "spool_bytes", ""),
		gauge("Oldest in the spool", "Age of the oldest batch that is not acknowledged.", "s", "spool_oldest_age", ""))
	d.add(8,
		ticksChart("", " WHERE a.instance_id IN (SELECT i.id FROM fleet_instance i JOIN fleet_collector c ON c.id = i.collector_id WHERE c.name = ${collector:sqlstring})"),
		list("Its instances", "cost: time between the first and the last statement of each round on the watched server's clock, in ms per second of the window.", costSQL,
			field("status", statusColors, colored), field("instance", toInstance()), field("cost", unitOf("suffix: ms/s")), field("round", unitOf("ms")), field("acquire", unitOf("ms"))))
	return d
}

// collectorsSQL: now, from the inventory.
var collectorsSQL = `SELECT c.name AS collector, CASE WHEN coalesce(c.last_push, '-infinity') < now() - ` + recent + ` THEN 'silent' ELSE 'reporting' END AS state, c.last_push,
	n.instances, p.value AS cpu_percent, r.memory, r.memory_peak, r.cycle_time / 1000000.0 AS cycle, r.spool_bytes AS spool, 100 * a.stored / nullif(a.due, 0) AS success, c.version, c.hostname
FROM fleet_collector c
CROSS JOIN LATERAL (SELECT count(*) AS instances FROM fleet_instance i WHERE i.collector_id = c.id) n
LEFT JOIN (` + keyMetrics[0].read("NULL::numeric") + `) p ON p.collector = c.name AND p.id = left(c.id::text, 8)
LEFT JOIN LATERAL (SELECT r.* FROM fleet_instance i CROSS JOIN LATERAL (
		SELECT x.* FROM collector_raw x WHERE x.instance_id = i.id AND x.time > now() - interval '1 hour' AND x.time <= now() ORDER BY x.time DESC LIMIT 1) r
	WHERE i.collector_id = c.id ORDER BY r.time DESC LIMIT 1) r ON true
LEFT JOIN (SELECT i.collector_id, sum(x.stored) AS stored, sum(x.planned - x.pending) AS due
	FROM ledger_account(now() - interval '15 minutes', now()) x JOIN fleet_instance i ON i.id = x.instance_id GROUP BY 1) a ON a.collector_id = c.id
WHERE n.instances > 0 ORDER BY 2 DESC, 1`

// costSQL: over the window, by instance.
var costSQL = `WITH i AS MATERIALIZED (
	SELECT i.id, i.name FROM fleet_instance i JOIN fleet_collector c ON c.id = i.collector_id WHERE c.name = ${collector:sqlstring}),
f AS (
	SELECT l.instance_id, sum(l.since_ms[least(p.n, cardinality(l.since_ms))]) / 1000.0 AS seconds
	FROM i JOIN ledger l ON l.instance_id = i.id, array_position(l.families, (SELECT id FROM ledger_family WHERE name = 'collector')) p (n)
	WHERE l.time > $__timeFrom() AND l.time <= $__timeTo() AND l.lane = 'slow' AND p.n IS NOT NULL GROUP BY 1),
r AS (
	SELECT r.instance_id, sum(server_time) AS server_time, sum(round_time) AS round_time, sum(rounds) AS rounds, sum(acquire_time) AS acquire_time, sum(acquires) AS acquires,
		sum(round_trips) AS round_trips, sum(connects) AS connects
	FROM i JOIN collector_raw r ON r.instance_id = i.id WHERE r.time > $__timeFrom() AND r.time <= $__timeTo() GROUP BY 1)
SELECT s.status, i.name AS instance, (r.server_time / 1000.0 / nullif(f.seconds, 0))::double precision AS cost, (r.round_time / 1000.0 / nullif(r.rounds, 0))::double precision AS round,
	(r.acquire_time / 1000.0 / nullif(r.acquires, 0))::double precision AS acquire, (r.round_trips / nullif(r.rounds, 0))::double precision AS round_trips, coalesce(r.connects, 0)::bigint AS connects
FROM i LEFT JOIN ledger_status() s ON s.instance_id = i.id LEFT JOIN f ON f.instance_id = i.id LEFT JOIN r ON r.instance_id = i.id
ORDER BY 3 DESC NULLS LAST, 2`
