package main

import (
	"fmt"
	"slices"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

var instanceVariable = query("instance", "Instance", "SELECT name FROM fleet_instance ORDER BY name")

// waitColors in the order that they are stacked in, as on the product's own page.
var waitColors = []struct{ name, color string }{
	{"CPU", "#74c88f"}, {"IO", "#3070e4"}, {"Lock", "#db1f11"}, {"LWLock", "#a85884"}, {"BufferPin", "#ca93f9"}, {"IPC", "#85fbf6"},
	{"Client", "#fde755"}, {"Timeout", "#de8900"}, {"Extension", "#827761"}, {"Other", "#a5abb1"},
}

// grafanaUnit gives Grafana's name of a unit, of a rate of it when perSecond.
func grafanaUnit(u catalog.Unit, perSecond bool) string {
	if !perSecond {
		switch u {
		case catalog.Ms:
			return "ms"
		case catalog.Seconds:
			return "s"
		case catalog.Bytes:
			return "bytes" // of 1024
		case catalog.Percent:
			return "percent"
		}
		return "short"
	}
	switch u {
	case catalog.Bytes:
		return "binBps"
	case catalog.Count, catalog.None:
		return "suffix:/s"
	}
	return "suffix: " + string(u) + "/s"
}

// instanceDashboard shows every panel of the catalog, a section for each family.
func instanceDashboard(families []*catalog.Family) (*dashboard, error) {
	d := newDashboard(uidInstance, "pgAnalytics / Instance", "One instance: every panel of the catalog.", instanceVariable)
	d.row("State")
	d.add(5, list("Now", "", "SELECT status, version, collector, \"time\", detail FROM ledger_status() WHERE instance = "+instanceName,
		field("status", statusColors, colored), field("time", unitOf("dateTimeFromNow"))),
		ticksChart(", "+instanceID, " WHERE a.instance_id = "+instanceID)) // an unknown instance is none, not all
	d.Panels[len(d.Panels)-1].MaxPoints = 100
	for _, f := range families {
		if len(f.Panels) == 0 {
			continue
		}
		d.row(f.Name)
		var charts []*panel
		for i := range f.Panels {
			p := &f.Panels[i]
			sql, err := panelSQL(f, p)
			if err != nil {
				return nil, fmt.Errorf("dashboard %s: %w", d.UID, err)
			}
			c := chart(p.Title, p.Doc, grafanaUnit(p.Unit, p.Fn == "rate"), p.Stack, sql)
			if p.Fn == "ratio" {
				c.FieldConfig.Defaults.Max = new(100.0)
			}
			if p.By == "wait_event_type" {
				for _, w := range waitColors {
					c.FieldConfig.Overrides = append(c.FieldConfig.Overrides, fixed(w.name, w.color))
				}
			}
			charts = append(charts, c)
		}
		for part := range slices.Chunk(charts, 3) {
			d.add(8, part...)
		}
	}
	return d, nil
}
