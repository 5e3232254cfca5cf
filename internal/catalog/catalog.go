package catalog

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// Version is what a By is keyed on: the major version of a server (12 … 18), or
// for a family that lives in an extension the extension's version as
// major*100+minor (pg_stat_statements 1.10 is 110). A pg_upgraded server keeps
// its old extension, so the server's version says nothing about the extension.
type Version int

// ParseExtVersion turns pg_extension.extversion ("1.10") into a Version (110).
func ParseExtVersion(s string) (Version, error) {
	var major, minor int
	if _, err := fmt.Sscanf(s, "%d.%d", &major, &minor); err != nil || minor > 99 || major < 0 || minor < 0 {
		return 0, fmt.Errorf("extension version %q: want MAJOR.MINOR", s)
	}
	return Version(major*100 + minor), nil
}

// By chooses a piece of SQL by version: the entry with the greatest key not
// above the version holds. No entry, or an empty one, means "not available
// there". An unknown newer version runs with the nearest lower declaration.
type By map[Version]string

// Always is a By that holds for every version.
func Always(sql string) By { return By{0: sql} }

// At gives the piece of SQL for a version, "" where it is not available.
func (b By) At(v Version) string {
	best := Version(-1)
	for k := range b {
		if k <= v && k > best {
			best = k
		}
	}
	if best < 0 {
		return ""
	}
	return b[best]
}

// Scope says how often a family is read: once for an instance, or in each of its
// databases.
type Scope string

// Shape chooses one of four storage templates with their dedupe and ledger rules.
type Shape string

// Lane is the connection that a family is read on: the fast lane must never wait
// behind the slow one.
type Lane string

// Kind is what a column does in a row.
type Kind string

// Type is the type of a column as the views <family> and the API give it.
type Type string

// Unit is the unit of a column as the views <family> and the API give it.
type Unit string

// Agg says how a column is put together over rows and time in rollups.
type Agg string

// The values of the enumerations above.
const (
	Instance Scope = "instance"
	Database Scope = "database"

	Sample     Shape = "sample"     // numbers at a tick; rows that did not change are not sent
	State      Shape = "state"      // what is so until it changes; stored on change
	Event      Shape = "event"      // what happened, once
	Dictionary Shape = "dictionary" // long texts, stored once per fleet

	Fast Lane = "fast"
	Slow Lane = "slow"

	Key     Kind = "key"     // identity of a row
	Label   Kind = "label"   // a name that may change; sent when new or changed
	Counter Kind = "counter" // only grows until it is reset; sent as the delta between two reads
	Gauge   Kind = "gauge"   // a value at a moment
	Reset   Kind = "reset"   // when it changes, the row's counters began again at 0; never sent

	Int   Type = "int"
	Float Type = "float"
	Text  Type = "text"
	Time  Type = "time" // microseconds since the Unix epoch, UTC, in a frame
	Bool  Type = "bool" // 0 or 1 in a frame

	None    Unit = ""
	Ms      Unit = "ms" // microseconds, as an integer, in frames and <family>_raw
	Seconds Unit = "s"
	Bytes   Unit = "bytes"
	Blocks  Unit = "blocks" // of block_size, 8 kB
	Rows    Unit = "rows"
	Calls   Unit = "calls"
	Count   Unit = "count"
	Percent Unit = "%"

	Sum  Agg = "sum"
	Max  Agg = "max"
	Last Agg = "last"
)

var units = []Unit{None, Ms, Seconds, Bytes, Blocks, Rows, Calls, Count, Percent}

// Column is one value of a family's rows.
type Column struct {
	Name string // PostgreSQL's own name where there is one
	Doc  string
	Kind Kind
	Type Type
	Unit Unit
	Agg  Agg
	// Expr is the SQL expression that gives the column, in the column's
	// documented unit. "" at a version: NULL there.
	Expr By
	// ResetBy names the Reset column that governs this counter; "" the first one.
	ResetBy string
	// Hint, of a Reset column: it may change though nothing began again, so that it
	// is believed only when counters fell.
	Hint bool
	// Redact: the collector masks passwords in the value before it leaves.
	Redact bool
}

// Wire is the type of the column in a frame and in <family>_raw. Times in ms
// travel as integer microseconds, because sums of doubles are not exact.
func (c *Column) Wire() Type {
	if c.Unit == Ms {
		return Int
	}
	return c.Type
}

// Scale is the number of wire units in one documented unit: 1000 for ms.
func (c *Column) Scale() int64 {
	if c.Unit == Ms {
		return 1000
	}
	return 1
}

// Cut says that only the most important rows of a tick are sent one by one;
// what the others counted is sent as sums per Family.Sums.
type Cut struct {
	By    []string // counters to rank by, in turn
	Limit string   // the configuration key that gives the number of rows
}

// Line is one series of a panel.
type Line struct {
	Column string
	Label  string
	// Where filters rows by key: {"state", "active"}; nil takes all.
	Where map[string]string
}

// Panel is one chart, in the UI and in Grafana.
type Panel struct {
	Title string
	Doc   string
	Unit  Unit   // of the plotted values, before "/s"
	Fn    string // rate | avg | max | last | ratio (of the first line to the sum of all, in %)
	Of    []Line
	By    string // split the one line by this key
	Stack bool
}

// Family is a declared group of columns that are read together.
type Family struct {
	Name  string
	Doc   string // what it is, and the manual's view it comes from
	Scope Scope
	Shape Shape
	Lane  Lane
	Every time.Duration // 0: every interval
	Of    string        // the extension that it lives in; "" the server itself
	// From is the FROM clause; "{ext}" stands for the extension's schema. "" at a
	// version: the family does not exist there and is not planned.
	From  By
	Where By
	Group string // GROUP BY clause
	// Proof is a query of one row (stats_reset timestamptz, dealloc int8) that
	// tells what the server itself forgot of this family.
	Proof By
	// Reader names who makes the frames where SQL can't: "collector".
	Reader string
	// Apart: a Sync group of its own, because reading can be slow or blocked.
	Apart bool
	// Full: stored whole at every tick; a row that is absent is 0, not "as before".
	Full bool
	// TextsOf: a Dictionary holds the texts of this family's keys; its query takes
	// the keys without a text as $1 (bigint[]).
	TextsOf string
	Cut     *Cut
	// Sums are the key columns that cut and dropped sums keep apart.
	Sums    []string
	Columns []Column
	Panels  []Panel
}

var families = map[string]*Family{}

// add is called from package variables of this package only: the registry is
// complete before main, and never changes.
func add(f Family) *Family {
	if err := f.validate(); err != nil {
		panic(fmt.Sprintf("BUG: family %q: %v", f.Name, err))
	}
	if _, dup := families[f.Name]; dup {
		panic(fmt.Sprintf("BUG: family %q is declared twice", f.Name))
	}
	families[f.Name] = &f
	return &f
}

// All gives every family, sorted by name.
func All() []*Family {
	return slices.SortedFunc(maps.Values(families), func(a, b *Family) int { return strings.Compare(a.Name, b.Name) })
}

// Lookup gives a family by name, nil when there is none.
func Lookup(name string) *Family { return families[name] }

// Column gives a column by name, nil when there is none.
func (f *Family) Column(name string) *Column {
	for i := range f.Columns {
		if f.Columns[i].Name == name {
			return &f.Columns[i]
		}
	}
	return nil
}

// Of kind: the family's columns of the given kinds, in order.
func (f *Family) OfKind(kinds ...Kind) []*Column {
	var out []*Column
	for i := range f.Columns {
		if slices.Contains(kinds, f.Columns[i].Kind) {
			out = append(out, &f.Columns[i])
		}
	}
	return out
}

// HasCounters reports whether the family has anything to conserve (I2).
func (f *Family) HasCounters() bool { return len(f.OfKind(Counter)) > 0 }

// Available reports whether the family can be read at a version.
func (f *Family) Available(v Version) bool { return f.Reader != "" || f.From.At(v) != "" }

// Query is a family's SQL for one version.
type Query struct {
	SQL     string
	Columns []*Column // what the result's columns are, in order: all of the family's
	Absent  []string  // columns that are NULL there
}

// Query builds the family's SQL for a version. schema is the schema of the
// family's extension (unquoted; "" for the server's own); missing names columns
// that the server turned out not to have: they become NULL. All results are of
// int8, float8, text, timestamptz or bool, to be read in binary.
func (f *Family) Query(v Version, schema string, missing ...string) Query {
	q := Query{}
	var b strings.Builder
	b.WriteString("SELECT ")
	from := f.From.At(v)
	for i := range f.Columns {
		c := &f.Columns[i]
		expr := c.Expr.At(v)
		if from == "" || slices.Contains(missing, c.Name) {
			expr = ""
		}
		if expr == "" {
			q.Absent = append(q.Absent, c.Name)
		}
		if i > 0 {
			b.WriteString(",\n  ")
		}
		b.WriteString(c.sql(expr))
		b.WriteString(` AS "` + c.Name + `"`)
		q.Columns = append(q.Columns, c)
	}
	b.WriteString("\nFROM " + from)
	if w := f.Where.At(v); w != "" {
		b.WriteString("\nWHERE " + w)
	}
	if f.Group != "" {
		b.WriteString("\nGROUP BY " + f.Group)
	}
	q.SQL = strings.ReplaceAll(b.String(), "{ext}", quoteIdent(schema))
	return q
}

// ProofQuery is the family's Proof for a version, "" where there is none.
func (f *Family) ProofQuery(v Version, schema string) string {
	return strings.ReplaceAll(f.Proof.At(v), "{ext}", quoteIdent(schema))
}

// sql gives the column's expression with the cast of its wire type. Everything is
// qualified: the watched database may hold traps (reliability.md §5).
func (c *Column) sql(expr string) string {
	typ := map[Type]string{Int: "int8", Float: "float8", Text: "text", Time: "timestamptz", Bool: "bool"}[c.Wire()]
	switch {
	case expr == "":
		return "NULL::pg_catalog." + typ
	case c.Unit == Ms:
		return "pg_catalog.round((" + expr + ")::pg_catalog.float8 OPERATOR(pg_catalog.*) 1000::pg_catalog.float8)::pg_catalog.int8"
	default:
		return "(" + expr + ")::pg_catalog." + typ
	}
}

func quoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// Names gives the sorted names of all families.
func Names() []string {
	names := slices.Collect(maps.Keys(families))
	sort.Strings(names)
	return names
}
