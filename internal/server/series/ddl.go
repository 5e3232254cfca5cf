package series

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Kinds of rows in <family>_sum.
const (
	KindCut     = 1
	KindDropped = 2
)

// column is a column of a table that a family needs.
type column struct {
	name, typ string
	notNull   bool
}

// table is a table that a family needs.
type table struct {
	name        string
	columns     []column
	partitioned bool
	keys        []string // of partitioned tables: what tells rows of one instance and time apart
	primary     []string // primary key, none for partitioned tables
	index       []string // of columns, with DESC where wanted
	parts       []partIndex
}

// partIndex holds just the rows of a panel that splits a filter of a family stored
// whole: a tenth of them, read for a whole fleet at once.
type partIndex struct {
	include []string
	where   string
}

// DDL gives the statements that create a family's tables and view in an empty
// database without TimescaleDB: what Reconcile executes there, and the golden files show.
func DDL(f *catalog.Family) []string {
	var out []string
	for _, t := range tables(f) {
		out = append(out, t.create(store.Layout{})...)
	}
	return append(out, view(f, nil).create()...)
}

func sqlType(t catalog.Type) string {
	switch t {
	case catalog.Float:
		return "double precision"
	case catalog.Text:
		return "text"
	case catalog.Time:
		return "timestamptz"
	case catalog.Bool:
		return "boolean"
	default:
		return "bigint"
	}
}

func columnsOf(f *catalog.Family, kinds ...catalog.Kind) []column {
	var out []column
	for _, c := range f.OfKind(kinds...) {
		out = append(out, column{name: c.Name, typ: sqlType(c.Wire())})
	}
	return out
}

func notNull(cols []column) []column {
	for i := range cols {
		cols[i].notNull = true
	}
	return cols
}

func names(cols []column) []string {
	out := make([]string, len(cols))
	for i := range cols {
		out[i] = cols[i].name
	}
	return out
}

// Names of a family's tables.
func rawTable(f *catalog.Family) string   { return f.Name + "_raw" }
func labelTable(f *catalog.Family) string { return f.Name + "_label" }
func sumTable(f *catalog.Family) string   { return f.Name + "_sum" }
func textTable(f *catalog.Family) string  { return f.Name + "_text" }
func totalTable(f *catalog.Family) string { return f.Name + "_total" }

var timeAndInstance = []column{{"time", "timestamptz", true}, {"instance_id", "bigint", true}}

// tables gives the tables of a family, by its shape.
func tables(f *catalog.Family) []table {
	keys := columnsOf(f, catalog.Key)
	switch f.Shape {
	case catalog.State:
		return []table{{
			name:    rawTable(f),
			columns: append(slices.Clone(timeAndInstance), columnsOf(f, catalog.Key, catalog.Counter, catalog.Gauge, catalog.Label)...),
			index:   append(append([]string{"instance_id"}, names(keys)...), "time DESC"),
		}}
	case catalog.Dictionary:
		return []table{
			{name: textTable(f), columns: []column{{"hash", "uuid", true}, {"text", "text", true}}, primary: []string{"hash"}},
			{
				name:    rawTable(f),
				columns: slices.Concat([]column{{"instance_id", "bigint", true}}, notNull(keys), []column{{"hash", "uuid", true}, {"time", "timestamptz", true}}),
				primary: append([]string{"instance_id"}, names(keys)...),
			},
		}
	}
	out := []table{{
		name:        rawTable(f),
		columns:     append(slices.Clone(timeAndInstance), columnsOf(f, catalog.Key, catalog.Counter, catalog.Gauge)...),
		partitioned: true,
		keys:        names(keys),
		index:       []string{"instance_id", "time"},
		parts:       partIndexes(f),
	}}
	if labels := columnsOf(f, catalog.Label); len(labels) > 0 {
		out = append(out, table{
			name:    labelTable(f),
			columns: slices.Concat([]column{{"instance_id", "bigint", true}}, notNull(columnsOf(f, catalog.Key)), []column{{"valid_from", "timestamptz", true}}, labels),
			primary: slices.Concat([]string{"instance_id"}, names(keys), []string{"valid_from"}),
		})
	}
	if f.HasCounters() {
		out = append(out, table{
			name: sumTable(f),
			columns: slices.Concat(timeAndInstance, []column{{"kind", "smallint", true}, {"since", "timestamptz", true}, {"at", "timestamptz", true}},
				sumKeys(f), columnsOf(f, catalog.Counter)),
			partitioned: true,
			keys:        append([]string{"kind"}, f.Sums...),
			index:       []string{"instance_id", "time"},
		})
	}
	if f.Cut != nil {
		// Sums over the rows of each tick, so that the coverage of a fleet reads one row
		// a tick instead of a hundred.
		out = append(out, table{name: totalTable(f), columns: slices.Concat(timeAndInstance, totalColumns(f)), partitioned: true, index: []string{"instance_id", "time"}})
	}
	return out
}

func totalColumns(f *catalog.Family) []column {
	var out []column
	for _, name := range f.Cut.By {
		out = append(out, column{name: name, typ: sqlType(f.Column(name).Wire())})
	}
	return out
}

func partIndexes(f *catalog.Family) []partIndex {
	var out []partIndex
	for _, p := range f.Panels {
		if !f.Full || p.By == "" || len(p.Of) != 1 || len(p.Of[0].Where) == 0 {
			continue
		}
		var where []string
		for _, k := range slices.Sorted(maps.Keys(p.Of[0].Where)) {
			where = append(where, store.Quote(k)+" = "+literal(p.Of[0].Where[k]))
		}
		out = append(out, partIndex{[]string{p.By, p.Of[0].Column}, strings.Join(where, " AND ")})
	}
	return out
}

func sumKeys(f *catalog.Family) []column {
	var out []column
	for _, name := range f.Sums {
		out = append(out, column{name: name, typ: sqlType(f.Column(name).Wire())})
	}
	return out
}

func (c column) sql() string {
	s := store.Quote(c.name) + " " + c.typ
	if c.notNull {
		s += " NOT NULL"
	}
	return s
}

func (t table) create(layout store.Layout) []string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (", store.Quote(t.name))
	for i, c := range t.columns {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    " + c.sql())
	}
	if len(t.primary) > 0 {
		b.WriteString(",\n    PRIMARY KEY (" + quoteList(t.primary) + ")")
	}
	b.WriteString("\n)")
	if t.partitioned {
		b.WriteString(layout.PartitionBy())
	}
	out := []string{b.String()}
	if t.partitioned {
		out = append(out, layout.Cut(t.name)...)
	}
	if len(t.index) > 0 {
		out = append(out, fmt.Sprintf("CREATE INDEX ON %s (%s)", store.Quote(t.name), quoteList(t.index)))
	}
	for _, p := range t.parts {
		out = append(out, fmt.Sprintf("CREATE INDEX ON %s (%s) INCLUDE (%s) WHERE %s", store.Quote(t.name), quoteList(t.index), quoteList(p.include), p.where))
	}
	return out
}

// quoteList quotes names; "x DESC" keeps its direction.
func quoteList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		name, desc := strings.CutSuffix(s, " DESC")
		quoted[i] = store.Quote(name)
		if desc {
			quoted[i] += " DESC"
		}
	}
	return strings.Join(quoted, ", ")
}
