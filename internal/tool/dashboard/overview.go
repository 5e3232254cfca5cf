package main

import (
	"fmt"
	"strings"
)

const uidOverview, uidInstance, uidQueries, uidCollectors = "pganalytics-overview", "pganalytics-instance", "pganalytics-queries", "pganalytics-collectors"

// outcomes of planned ticks, worst last, with their colours.
var outcomes = []struct{ name, color string }{
	{"stored", colorOK}, {"pending", "#90949b"}, {"skipped", colorWarning}, {"failed", colorCritical}, {"dropped", "#a85884"}, {"missing", colorNoData},
}

// statSuccess: of the fleet, as the deployment counts it.
const statSuccess = `SELECT (100 * sum(stored) / nullif(sum(planned - pending), 0))::double precision AS value FROM ledger_account(now() - interval '15 minutes', now())`

func overviewDashboard() *dashboard {
	d := newDashboard(uidOverview, "pgAnalytics / Overview", "Whether collecting is well: the five key metrics with the limits of their alerts, and the fleet.")
	d.row("Key metrics")
	var stats, charts []*panel
	for _, m := range keyMetrics {
		doc := m.doc + " The worst one now; the alert's limit is drawn."
		s := stat(m.title, doc, m.unit, m.thresholds(), m.worst)
		c := chart(m.title, m.doc, m.unit, false, m.chart).limit(m.thresholds())
		switch m.uid {
		case "errors": // shown as what succeeds, as the criteria count it
			t := below(100 - m.limit)
			s = stat("Collection success", "stored / (planned - pending) of all instances in the last 15 minutes.", m.unit, t, statSuccess)
			c = chart("Collection success", "stored / (planned - pending) of all instances.", m.unit, false, m.chart).limit(t)
			fallthrough
		case "coverage":
			c.FieldConfig.Defaults.Max = new(100.0)
		}
		stats, charts = append(stats, s), append(charts, c)
	}
	d.add(4, stats...)
	d.add(8, charts[0], charts[1], charts[2])
	d.add(8, charts[3], charts[4])

	d.row("Fleet")
	one := func(title, doc, where string, t *thresholds) *panel {
		return stat(title, doc, "short", t, "SELECT count(*) AS value FROM ledger_status()"+where)
	}
	none := &thresholds{"absolute", []step{{colorOK, nil}}}
	d.add(4,
		one("Instances", "Registered instances.", "", none),
		one("Up", "The newest read of the fast lane was stored.", " WHERE status = 'up'", none),
		one("Down", "The newest read could not connect.", " WHERE status = 'down'", above(1)),
		one("Unknown", "Nothing was heard of them for three intervals (at least 30 s).", " WHERE status = 'unknown'", &thresholds{"absolute", []step{{colorOK, nil}, {colorNoData, new(1.0)}}}),
		stat("Silent collectors", "Collectors that hold instances and have pushed nothing for three intervals (at least a minute).", "short", above(1),
			fmt.Sprintf("SELECT count(*) AS value FROM fleet_collector WHERE coalesce(last_push, '-infinity') < now() - %s AND EXISTS (SELECT FROM fleet_instance i WHERE i.collector_id = fleet_collector.id)", recent)))
	d.add(9, ticksChart("", ""), instancesTable())
	return d
}

// ticksChart shows what became of planned ticks; only and where narrow instances down.
func ticksChart(only, where string) *panel {
	var sums strings.Builder
	for _, o := range outcomes {
		fmt.Fprintf(&sums, ", sum(v.%s)::double precision AS %[1]s", o.name)
	}
	sql := fmt.Sprintf(`WITH %s,
v AS (SELECT a.* FROM s, ledger_outcomes($__timeFrom(), $__timeTo(), s.step%s) a%s)
SELECT g.time%s FROM g LEFT JOIN v USING (time) GROUP BY 1 ORDER BY 1`, steps, only, where, sums.String())
	p := chart("Ticks by outcome", "What became of the reads that were planned; missing: nothing was heard of them.", "short", true, sql)
	for _, o := range outcomes {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, fixed(o.name, o.color))
	}
	p.FieldConfig.Defaults.Custom.(map[string]any)["drawStyle"] = "bars"
	return p
}

var statusColors = property{"mappings", []any{map[string]any{"type": "value", "options": map[string]any{
	"up":      map[string]any{"text": "✔ up", "color": colorOK, "index": 0},
	"down":    map[string]any{"text": "✖ down", "color": colorCritical, "index": 1},
	"unknown": map[string]any{"text": "? unknown", "color": colorNoData, "index": 2},
}}}}

var colored = property{"custom.cellOptions", map[string]any{"type": "color-text"}}

func toInstance() property {
	return property{"links", []dataLink{{"Open the instance", "/d/" + uidInstance + "?var-instance=${__value.raw:percentencode}&${__url_time_range}"}}}
}

func instancesTable() *panel {
	return list("Instances", "All registered instances, the worst first.", `SELECT status, instance, version, collector, "time", detail FROM ledger_status()
ORDER BY CASE status WHEN 'down' THEN 1 WHEN 'unknown' THEN 2 ELSE 3 END, instance`,
		field("status", statusColors, colored), field("instance", toInstance()), field("time", unitOf("dateTimeFromNow")))
}
