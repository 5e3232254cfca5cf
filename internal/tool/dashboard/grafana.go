package main

import (
	"bytes"
	"encoding/json"
)

const (
	sourceType    = "grafana-postgresql-datasource"
	sourceUID     = "pganalytics"
	schemaVersion = 39 // of Grafana 11; newer ones migrate it when they load it
)

// What Grafana calls the parts of a dashboard; fields are those that we set.
type (
	dashboard struct {
		UID           string     `json:"uid"`
		Title         string     `json:"title"`
		Description   string     `json:"description"`
		Tags          []string   `json:"tags"`
		Editable      bool       `json:"editable"`
		GraphTooltip  int        `json:"graphTooltip"` // 1: one crosshair for all panels
		Links         []link     `json:"links"`
		Panels        []*panel   `json:"panels"`
		Refresh       string     `json:"refresh"`
		SchemaVersion int        `json:"schemaVersion"`
		Templating    templating `json:"templating"`
		Time          timeRange  `json:"time"`
		Timezone      string     `json:"timezone"`
		Version       int        `json:"version"`
	}
	timeRange struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	link struct {
		Type        string   `json:"type"`
		Title       string   `json:"title"`
		Tags        []string `json:"tags"`
		AsDropdown  bool     `json:"asDropdown"`
		IncludeVars bool     `json:"includeVars"`
		KeepTime    bool     `json:"keepTime"`
	}
	templating struct {
		List []variable `json:"list"`
	}
	variable struct {
		Name       string     `json:"name"`
		Label      string     `json:"label"`
		Type       string     `json:"type"`
		Datasource datasource `json:"datasource"`
		Query      string     `json:"query"`
		Definition string     `json:"definition"`
		Refresh    int        `json:"refresh"` // 2: with the time range
		IncludeAll bool       `json:"includeAll"`
		Multi      bool       `json:"multi"`
		Sort       int        `json:"sort"`
	}
	datasource struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
	panel struct {
		ID          int          `json:"id"`
		Type        string       `json:"type"`
		Title       string       `json:"title"`
		Description string       `json:"description,omitempty"`
		Datasource  *datasource  `json:"datasource,omitempty"`
		GridPos     gridPos      `json:"gridPos"`
		Targets     []target     `json:"targets,omitempty"`
		FieldConfig *fieldConfig `json:"fieldConfig,omitempty"`
		Options     any          `json:"options,omitempty"`
		Collapsed   *bool        `json:"collapsed,omitempty"`
		Panels      []*panel     `json:"panels,omitempty"`
		MaxPoints   int          `json:"maxDataPoints,omitempty"`
	}
	gridPos struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	}
	target struct {
		RefID      string     `json:"refId"`
		Datasource datasource `json:"datasource"`
		EditorMode string     `json:"editorMode"`
		Format     string     `json:"format"` // time_series | table
		RawQuery   bool       `json:"rawQuery"`
		RawSQL     string     `json:"rawSql"`
	}
	fieldConfig struct {
		Defaults  defaults   `json:"defaults"`
		Overrides []override `json:"overrides"`
	}
	defaults struct {
		Unit       string      `json:"unit,omitempty"`
		Decimals   *int        `json:"decimals,omitempty"`
		Min        *float64    `json:"min,omitempty"`
		Max        *float64    `json:"max,omitempty"`
		NoValue    string      `json:"noValue,omitempty"`
		Color      *color      `json:"color,omitempty"`
		Thresholds *thresholds `json:"thresholds,omitempty"`
		Mappings   []any       `json:"mappings,omitempty"`
		Links      []dataLink  `json:"links,omitempty"`
		Custom     any         `json:"custom,omitempty"`
	}
	dataLink struct {
		Title string `json:"title"`
		URL   string `json:"url"`
	}
	color struct {
		Mode       string `json:"mode"`
		FixedColor string `json:"fixedColor,omitempty"`
	}
	thresholds struct {
		Mode  string `json:"mode"`
		Steps []step `json:"steps"`
	}
	step struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"` // null: from minus infinity
	}
	override struct {
		Matcher    matcher    `json:"matcher"`
		Properties []property `json:"properties"`
	}
	matcher struct {
		ID      string `json:"id"`
		Options string `json:"options"`
	}
	property struct {
		ID    string `json:"id"`
		Value any    `json:"value"`
	}
)

// Colours of states, as the product's own page has them on dark ground.
const (
	colorOK       = "#5ad1a0"
	colorWarning  = "#ffc857"
	colorCritical = "#f2554f"
	colorNoData   = "#b3a1e6"
)

var source = datasource{Type: sourceType, UID: sourceUID}

func newDashboard(uid, title, description string, variables ...variable) *dashboard {
	return &dashboard{
		UID: uid, Title: title, Description: description, Tags: []string{"pganalytics"}, GraphTooltip: 1, Editable: false,
		Links:   []link{{Type: "dashboards", Title: "pgAnalytics", Tags: []string{"pganalytics"}, AsDropdown: true, IncludeVars: true, KeepTime: true}},
		Refresh: "30s", SchemaVersion: schemaVersion, Time: timeRange{"now-1h", "now"}, Timezone: "browser", Version: 1,
		Panels: []*panel{}, Templating: templating{List: append([]variable{}, variables...)},
	}
}

func query(name, label, sql string) variable {
	return variable{Name: name, Label: label, Type: "query", Datasource: source, Query: sql, Definition: sql, Refresh: 2}
}

const columns = 24 // of Grafana's grid

// add puts panels below what is there, from left to right; number is counted up
// over the dashboard, so that ids stay when panels are added at the end.
func (d *dashboard) add(height int, panels ...*panel) {
	y := d.bottom()
	width := columns / len(panels)
	for i, p := range panels {
		p.GridPos = gridPos{H: height, W: width, X: i * width, Y: y}
		d.append(p)
	}
}

// row begins a section.
func (d *dashboard) row(title string) {
	d.append(&panel{Type: "row", Title: title, GridPos: gridPos{H: 1, W: columns, X: 0, Y: d.bottom()}, Collapsed: new(bool)})
}

func (d *dashboard) append(p *panel) {
	p.ID = len(d.Panels) + 1
	d.Panels = append(d.Panels, p)
}

func (d *dashboard) bottom() int {
	y := 0
	for _, p := range d.Panels {
		y = max(y, p.GridPos.Y+p.GridPos.H)
	}
	return y
}

func (d *dashboard) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(d)
	return b.Bytes(), err
}

func newPanel(kind, title, doc, format, sql string) *panel {
	return &panel{
		Type: kind, Title: title, Description: doc, Datasource: &source,
		Targets:     []target{{RefID: "A", Datasource: source, EditorMode: "code", Format: format, RawQuery: true, RawSQL: sql}},
		FieldConfig: &fieldConfig{Overrides: []override{}},
	}
}

// chart is a panel over time. Nothing is drawn where nothing was observed.
func chart(title, doc, unit string, stack bool, sql string) *panel {
	p := newPanel("timeseries", title, doc, "time_series", sql)
	p.MaxPoints = 400
	fill, mode := 0, "none"
	if stack {
		fill, mode = 60, "normal"
	}
	p.FieldConfig.Defaults = defaults{Unit: unit, Min: new(0.0), NoValue: "no data", Color: &color{Mode: "palette-classic"}, Custom: map[string]any{
		"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": fill, "showPoints": "auto", "pointSize": 4,
		"spanNulls": false, "insertNulls": false, "axisPlacement": "auto", "axisSoftMin": 0, "stacking": map[string]any{"mode": mode, "group": "A"},
	}}
	p.Options = map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	return p
}

// limit draws the threshold of an alert into a chart.
func (p *panel) limit(t *thresholds) *panel {
	p.FieldConfig.Defaults.Thresholds = t
	if custom, ok := p.FieldConfig.Defaults.Custom.(map[string]any); ok {
		custom["thresholdsStyle"] = map[string]any{"mode": "dashed"}
	}
	return p
}

// stat is one number.
func stat(title, doc, unit string, t *thresholds, sql string) *panel {
	p := newPanel("stat", title, doc, "table", sql)
	p.FieldConfig.Defaults = defaults{Unit: unit, NoValue: "no data", Color: &color{Mode: "thresholds"}, Thresholds: t}
	p.Options = map[string]any{
		"reduceOptions": map[string]any{"calcs": []string{"last"}, "fields": "", "values": false}, "colorMode": "value", "graphMode": "none",
		"justifyMode": "auto", "orientation": "auto", "textMode": "value", "wideLayout": true,
	}
	return p
}

// list is a table.
func list(title, doc string, sql string, overrides ...override) *panel {
	p := newPanel("table", title, doc, "table", sql)
	p.FieldConfig.Defaults = defaults{NoValue: "–", Custom: map[string]any{"align": "auto", "cellOptions": map[string]any{"type": "auto"}, "filterable": false}}
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, overrides...)
	p.Options = map[string]any{"cellHeight": "sm", "showHeader": true, "footer": map[string]any{"show": false, "reducer": []string{"sum"}, "countRows": false}}
	return p
}

// field gives properties to a column or series by its name.
func field(name string, properties ...property) override {
	return override{matcher{"byName", name}, properties}
}

func unitOf(unit string) property { return property{"unit", unit} }

func fixed(name, hex string) override {
	return field(name, property{"color", color{Mode: "fixed", FixedColor: hex}})
}

// above is critical from a value on, below under it.
func above(limit float64) *thresholds {
	return &thresholds{"absolute", []step{{colorOK, nil}, {colorCritical, &limit}}}
}

func below(limit float64) *thresholds {
	return &thresholds{"absolute", []step{{colorCritical, nil}, {colorOK, &limit}}}
}
