package main

import (
	"bytes"
	stdcmp "cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

const root = "../../.."

// TestCurrent: the committed files are what `make gen` writes, and there are no others.
func TestCurrent(t *testing.T) {
	files, err := generate(catalog.All())
	if err != nil {
		t.Fatal(err)
	}
	again, err := generate(catalog.All())
	if err != nil {
		t.Fatal(err)
	}
	var want, have []string
	for i, f := range files {
		want = append(want, f.Path)
		if !bytes.Equal(f.Content, again[i].Content) {
			t.Errorf("%s: written anew it differs", f.Path)
		}
		committed, err := os.ReadFile(filepath.Join(root, f.Path))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(committed, f.Content) {
			t.Errorf("%s is not current: run `make gen`\n%s", f.Path, cmp.Diff(string(committed), string(f.Content)))
		}
	}
	err = filepath.WalkDir(filepath.Join(root, "grafana"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, path)
			have = append(have, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	slices.Sort(have)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("files in grafana/ (- written by make gen, + there):\n%s", diff)
	}
}

// TestRules: what every dashboard must hold to.
func TestRules(t *testing.T) {
	list, err := dashboards(catalog.All())
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]bool{}
	for _, d := range list {
		if uids[d.UID] {
			t.Errorf("two dashboards have the uid %s", d.UID)
		}
		uids[d.UID] = true
		ids := map[int]bool{}
		for i, p := range d.Panels {
			if ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: panel id %d twice", d.UID, p.ID)
			}
			ids[p.ID] = true
			g := p.GridPos
			if g.X < 0 || g.W <= 0 || g.X+g.W > columns {
				t.Errorf("%s / %s lies outside of the grid: %+v", d.UID, p.Title, g)
			}
			for _, o := range d.Panels[:i] {
				if h := o.GridPos; g.X < h.X+h.W && h.X < g.X+g.W && g.Y < h.Y+h.H && h.Y < g.Y+g.H {
					t.Errorf("%s: %s lies over %s", d.UID, p.Title, o.Title)
				}
			}
			if p.Type == "row" {
				continue
			}
			if len(p.Targets) != 1 || p.Datasource == nil || *p.Datasource != source || p.Targets[0].Datasource != source || !p.Targets[0].RawQuery {
				t.Errorf("%s / %s: not one query of our data source", d.UID, p.Title)
			}
			if custom, _ := p.FieldConfig.Defaults.Custom.(map[string]any); p.Type == "timeseries" && (custom["spanNulls"] != false || p.Targets[0].Format != "time_series") {
				t.Errorf("%s / %s joins lines over gaps, or is no time series", d.UID, p.Title)
			}
			if p.FieldConfig.Defaults.NoValue == "" {
				t.Errorf("%s / %s says nothing when there is nothing", d.UID, p.Title)
			}
		}
	}
	for _, uid := range []string{uidOverview, uidInstance, uidQueries, uidCollectors} {
		if !uids[uid] {
			t.Errorf("no dashboard %s", uid)
		}
	}
}

// TestNewFamily: a family that is added to the catalog shows up, whatever the kinds
// of its columns (invariant I6).
func TestNewFamily(t *testing.T) {
	f := &catalog.Family{
		Name: "locks", Scope: catalog.Database, Shape: catalog.Sample, Sums: []string{"datid"},
		Columns: []catalog.Column{
			{Name: "datid", Kind: catalog.Key, Type: catalog.Int}, {Name: "mode", Kind: catalog.Key, Type: catalog.Text}, {Name: "relname", Kind: catalog.Label, Type: catalog.Text},
			{Name: "waits", Kind: catalog.Counter, Type: catalog.Int, Unit: catalog.Count}, {Name: "held", Kind: catalog.Gauge, Type: catalog.Int, Unit: catalog.Count},
		},
		Panels: []catalog.Panel{
			{Title: "Waits for locks", Unit: catalog.Count, Fn: "rate", By: "relname", Of: []catalog.Line{{Column: "waits"}}},
			{Title: "Locks held", Unit: catalog.Count, Fn: "last", By: "mode", Of: []catalog.Line{{Column: "held", Where: map[string]string{"mode": "it's"}}}},
		},
	}
	list, err := dashboards(append(catalog.All(), f))
	if err != nil {
		t.Fatal(err)
	}
	for _, title := range []string{"Waits for locks", "Locks held"} {
		sql := targetOf(t, list, uidInstance, title)
		if !strings.Contains(sql, `"locks_raw"`) || !strings.Contains(sql, "series_buckets(${instance:sqlstring}, 'locks'") {
			t.Errorf("%s reads something else:\n%s", title, sql)
		}
	}
}

type ruleFile struct {
	Groups []struct {
		Folder, Interval string
		Rules            []struct {
			UID, Title, Condition, DashboardUID string `yaml:",omitempty"`
			PanelID                             int    `yaml:"panelId"`
			NoDataState                         string `yaml:"noDataState"`
			ExecErrState                        string `yaml:"execErrState"`
			For                                 string
			Annotations, Labels                 map[string]string
			Data                                []struct {
				RefID         string         `yaml:"refId"`
				DatasourceUID string         `yaml:"datasourceUid"`
				Model         map[string]any `yaml:"model"`
			}
		}
	}
}

// TestProvisioning reads the YAML as Grafana does, and looks for what must be there.
func TestProvisioning(t *testing.T) {
	files, err := provisioning()
	if err != nil {
		t.Fatal(err)
	}
	byPath := map[string]string{}
	for _, f := range files {
		byPath[f.Path] = string(f.Content)
		// Environment variables are put in: an unintended $ would lose what is behind it.
		for _, found := range regexp.MustCompile(`\$\S+`).FindAllString(string(f.Content), -1) {
			if !slices.Contains([]string{"$__file{" + passwordFile + "}", "$GRAFANA_DB_URL", "$GRAFANA_DB_SSLMODE"}, found) {
				t.Errorf("%s: Grafana would replace %s", f.Path, found)
			}
		}
	}
	if s := byPath["grafana/provisioning/datasources/pganalytics.yaml"]; !strings.Contains(s, "uid: pganalytics\n") || !strings.Contains(s, "url: $GRAFANA_DB_URL\n") {
		t.Errorf("data source:\n%s", s)
	}
	var rules ruleFile
	if err := yaml.Unmarshal([]byte(byPath["grafana/provisioning/alerting/pganalytics.yaml"]), &rules); err != nil {
		t.Fatal(err)
	}
	limits := map[string][2]any{ // evaluator and what stands for silence
		"pganalytics-cpu": {"gt", 30}, "pganalytics-cycle": {"gt", 15}, "pganalytics-memory": {"gt", 200 * 1024 * 1024}, "pganalytics-errors": {"gt", 1}, "pganalytics-coverage": {"lt", 5},
	}
	if len(rules.Groups) != 1 || len(rules.Groups[0].Rules) != len(limits) || rules.Groups[0].Interval != "1m" {
		t.Fatalf("groups of rules: %+v", rules.Groups)
	}
	overview := map[int]string{}
	for _, p := range overviewDashboard().Panels {
		overview[p.ID] = p.Type
	}
	for i, r := range rules.Groups[0].Rules {
		m := keyMetrics[i]
		if r.NoDataState != "Alerting" || r.ExecErrState != "Alerting" {
			t.Errorf("%s: no data is %s, an error %s: absent is not well", m.uid, r.NoDataState, r.ExecErrState)
		}
		if overview[r.PanelID] != "timeseries" {
			t.Errorf("%s: panel %d is no chart of the overview", m.uid, r.PanelID)
		}
		for _, part := range []string{"What it means:", "Look at:", "Command:", "Mend:"} {
			if !strings.Contains(r.Annotations["runbook"], part) {
				t.Errorf("%s: its runbook does not say %q", m.uid, part)
			}
		}
		if want := stdcmp.Or(map[string]string{"cpu": "5m"}[m.uid], "1m"); r.For != want {
			t.Errorf("%s: for %s, want %s", m.uid, r.For, want)
		}
		if r.Condition != "C" || len(r.Data) != 3 {
			t.Errorf("%s: condition %s of %d nodes", m.uid, r.Condition, len(r.Data))
			continue
		}
		if got := r.Data[0].Model["rawSql"]; got != m.now || r.Data[0].DatasourceUID != sourceUID {
			t.Errorf("%s: YAML changed its query to %q", m.uid, got)
		}
		settings, _ := r.Data[1].Model["settings"].(map[string]any)
		limit := limits["pganalytics-"+m.uid]
		text, err := json.Marshal(r.Data[2].Model["conditions"])
		if err != nil {
			t.Fatal(err)
		}
		number, err := json.Marshal(limit[1])
		if err != nil {
			t.Fatal(err)
		}
		if want := `"evaluator":{"params":[` + string(number) + `],"type":"` + limit[0].(string) + `"}`; !strings.Contains(string(text), want) {
			t.Errorf("%s: conditions %s, want %s", m.uid, text, want)
		}
		// Whatever Grafana makes of null, silence is beyond the limit.
		silence, ok := settings["replaceWithValue"].(int)
		if settings["mode"] != "replaceNN" || !ok || (limit[0] == "gt") != (float64(silence) > m.limit) {
			t.Errorf("%s: silence is %v, which would be well", m.uid, settings)
		}
	}
}

// TestMacros: the test's own expansion says what it can't do.
func TestMacros(t *testing.T) {
	e := &expander{variables: map[string]string{"instance": "it's"}, interval: 15_000_000_000}
	for sql, want := range map[string]string{
		"${instance:sqlstring}":       "'it''s'",
		"$__timeGroup(time, '1m')":    "floor(extract(epoch from time)/60)*60",
		"$__timeFilter(time)":         "time BETWEEN '0001-01-01T00:00:00Z' AND '0001-01-01T00:00:00Z'",
		"$__interval_ms, $__interval": "15000, 15000ms",
		"$__nonsense(x)":              "",
		"${other:sqlstring}":          "",
		"${instance:pipe}":            "",
		"$__timeGroup(time)":          "",
	} {
		got, err := e.expand(sql)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v, want %q", sql, got, err, want)
		}
	}
}
