package catalog

import (
	"strings"
	"testing"
)

// TestValidate: each mistake in a declaration is told at once, by name.
func TestValidate(t *testing.T) {
	good := func() Family {
		return Family{
			Name: "good", Doc: "x", Scope: Instance, Shape: Sample, Lane: Slow, From: Always("x"), Sums: []string{"k"},
			Columns: []Column{
				{Name: "k", Doc: "x", Kind: Key, Type: Int, Expr: Always("k")},
				{Name: "r", Kind: Reset, Type: Time, Expr: Always("r")},
				{Name: "c", Doc: "x", Kind: Counter, Type: Float, Unit: Ms, Agg: Sum, ResetBy: "r", Expr: Always("c")},
				{Name: "g", Doc: "x", Kind: Gauge, Type: Float, Agg: Max, Expr: Always("g")},
			},
			Panels: []Panel{{Title: "x", Unit: Ms, Fn: "rate", By: "k", Of: []Line{{Column: "c", Where: map[string]string{"k": "1"}}}}},
		}
	}
	f := good()
	if err := f.validate(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(f *Family)
		want   string
	}{
		"name":             {func(f *Family) { f.Name = "Bad" }, "name"},
		"no doc":           {func(f *Family) { f.Doc = "" }, "Doc"},
		"scope":            {func(f *Family) { f.Scope = "cluster" }, `scope "cluster"`},
		"shape":            {func(f *Family) { f.Shape = "" }, `shape ""`},
		"lane":             {func(f *Family) { f.Lane = "x" }, `lane "x"`},
		"no source":        {func(f *Family) { f.From = nil }, "From or Reader"},
		"two sources":      {func(f *Family) { f.Reader = "collector" }, "From or Reader"},
		"column name":      {func(f *Family) { f.Columns[0].Name = "K" }, `column "K"`},
		"reserved name":    {func(f *Family) { f.Columns[0].Name = "time" }, `column "time"`},
		"double name":      {func(f *Family) { f.Columns[3].Name = "c" }, `column "c"`},
		"column doc":       {func(f *Family) { f.Columns[0].Doc = "" }, `column "k" has no Doc`},
		"no expr":          {func(f *Family) { f.Columns[0].Expr = nil }, `column "k" has no Expr`},
		"kind":             {func(f *Family) { f.Columns[3].Kind = "x" }, `kind "x"`},
		"type":             {func(f *Family) { f.Columns[3].Type = "x" }, `type "x"`},
		"unit":             {func(f *Family) { f.Columns[3].Unit = "x" }, `unit "x"`},
		"no agg":           {func(f *Family) { f.Columns[3].Agg = "" }, `column "g": counters and gauges have an Agg`},
		"agg of a key":     {func(f *Family) { f.Columns[0].Agg = Sum }, `column "k"`},
		"float counter":    {func(f *Family) { f.Columns[2].Unit = Seconds }, "integers end to end"},
		"reset by":         {func(f *Family) { f.Columns[2].ResetBy = "k" }, "ResetBy"},
		"reset type":       {func(f *Family) { f.Columns[1].Type = Int }, `column "r": a Reset is a time`},
		"counter in full":  {func(f *Family) { f.Full = true }, "counters need shape sample"},
		"counter in state": {func(f *Family) { f.Shape = State }, "counters need shape sample"},
		"sums":             {func(f *Family) { f.Sums = []string{"c"} }, `"c", which is no key`},
		"cut by":           {func(f *Family) { f.Columns = f.Columns[:3]; f.Cut = &Cut{By: []string{"k"}} }, `Cut: "k" is no counter`},
		"cut gauges":       {func(f *Family) { f.Cut = &Cut{By: []string{"c"}} }, "Cut: needs Sums"},
		"cut sums":         {func(f *Family) { f.Columns = f.Columns[:3]; f.Sums = nil; f.Cut = &Cut{By: []string{"c"}} }, "Cut: needs Sums"},
		"panel title":      {func(f *Family) { f.Panels[0].Title = "" }, "panel"},
		"panel fn":         {func(f *Family) { f.Panels[0].Fn = "sum" }, `Fn ("sum")`},
		"panel unit":       {func(f *Family) { f.Panels[0].Unit = "x" }, `Unit ("x")`},
		"panel column":     {func(f *Family) { f.Panels[0].Of[0].Column = "x" }, `no column "x"`},
		"rate of a gauge":  {func(f *Family) { f.Panels[0].Of[0].Column = "g" }, `rate of "g", which is a gauge`},
		"panel where":      {func(f *Family) { f.Panels[0].Of[0].Where = map[string]string{"g": "1"} }, `"g" is no key`},
		"panel by":         {func(f *Family) { f.Panels[0].By = "g" }, `By "g" is no key`},
		"panel by two":     {func(f *Family) { f.Panels[0].Of = append(f.Panels[0].Of, f.Panels[0].Of[0]) }, "By splits one line"},
	} {
		f := good()
		tt.change(&f)
		if err := f.validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestAddTwice(t *testing.T) {
	defer func() {
		if r, _ := recover().(string); !strings.Contains(r, "declared twice") {
			t.Errorf("recovered %v", r)
		}
	}()
	add(*Lookup("wal"))
}
