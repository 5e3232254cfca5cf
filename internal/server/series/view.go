package series

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// viewDef is the view <family>: the documented SQL interface.
type viewDef struct {
	name, doc string
	columns   []viewColumn
	from      string
}

type viewColumn struct{ name, expr, doc string }

// view gives a family's view. existing names the columns of the view that is
// there, which keep their order, since CREATE OR REPLACE VIEW can only append.
func view(f *catalog.Family, existing []string) viewDef {
	v := viewDef{name: f.Name, doc: f.Doc, from: store.Quote(rawTable(f)) + " r JOIN fleet_instance i ON i.id = r.instance_id"}
	v.columns = []viewColumn{
		{"time", "r.time", "planned time of the reading"},
		{"instance", "i.name", "name of the instance"},
		{"instance_id", "r.instance_id", "id of the instance"},
	}
	if f.Shape == catalog.State {
		v.columns[0].doc = "from when on the row holds"
	}
	for i := range f.Columns {
		c := &f.Columns[i]
		if expr := viewExpr(f, c); expr != "" {
			v.columns = append(v.columns, viewColumn{c.Name, expr, columnDoc(c)})
		}
	}
	if f.Shape == catalog.Dictionary {
		v.from += " JOIN " + store.Quote(textTable(f)) + " t USING (hash)"
	}
	pos := func(c viewColumn) int {
		if i := slices.Index(existing, c.name); i >= 0 {
			return i
		}
		return len(existing)
	}
	slices.SortStableFunc(v.columns, func(a, b viewColumn) int { return pos(a) - pos(b) })
	return v
}

// viewExpr gives a column's expression, "" when the view has no such column.
func viewExpr(f *catalog.Family, c *catalog.Column) string {
	q := "r." + store.Quote(c.Name)
	switch {
	case c.Kind == catalog.Reset:
		return ""
	case f.Shape == catalog.Dictionary && c.Kind != catalog.Key:
		return "t.text"
	case f.Shape == catalog.State:
	case c.Kind == catalog.Label:
		return labelExpr(f, c)
	case c.Kind == catalog.Counter:
		// NULL is 0, unless the server has no such column. The subquery runs only
		// for NULLs of columns that a query selects.
		q = fmt.Sprintf("CASE WHEN %s IS NULL AND NOT coalesce(%s = ANY (%s), false) THEN 0 ELSE %s END", q, literal(c.Name), absentExpr(f), q)
		if c.Unit == catalog.Ms {
			return "(" + q + ")::double precision / 1000"
		}
		return q
	}
	if c.Unit == catalog.Ms {
		return q + "::double precision / 1000"
	}
	return q
}

func labelExpr(f *catalog.Family, c *catalog.Column) string {
	var where strings.Builder
	where.WriteString("l.instance_id = r.instance_id")
	for _, k := range f.OfKind(catalog.Key) {
		where.WriteString(fmt.Sprintf(" AND l.%[1]s = r.%[1]s", store.Quote(k.Name)))
	}
	return fmt.Sprintf("(SELECT l.%s FROM %s l WHERE %s AND l.valid_from <= r.time ORDER BY l.valid_from DESC LIMIT 1)",
		store.Quote(c.Name), store.Quote(labelTable(f)), where.String())
}

// absentExpr gives the columns that the server lacked at the row's time.
func absentExpr(f *catalog.Family) string {
	return fmt.Sprintf("(SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = %s AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]",
		literal(f.Name))
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func (v viewDef) create() []string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE OR REPLACE VIEW %s AS SELECT", store.Quote(v.name))
	for i, c := range v.columns {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n    %s AS %s", c.expr, store.Quote(c.name))
	}
	b.WriteString("\nFROM " + v.from)
	out := []string{b.String(), fmt.Sprintf("COMMENT ON VIEW %s IS %s", store.Quote(v.name), literal(v.comment(b.String())))}
	for _, c := range v.columns {
		out = append(out, fmt.Sprintf("COMMENT ON COLUMN %s.%s IS %s", store.Quote(v.name), store.Quote(c.name), literal(c.doc)))
	}
	return out
}

// comment gives the view's comment, by which Reconcile sees that it is up to date.
func (v viewDef) comment(create string) string {
	sum := sha256.Sum256([]byte(create))
	return v.doc + " [" + hex.EncodeToString(sum[:6]) + "]"
}

func columnDoc(c *catalog.Column) string {
	switch c.Unit {
	case catalog.None, catalog.Count, catalog.Calls, catalog.Rows:
		return c.Doc
	default:
		return c.Doc + ", in " + string(c.Unit)
	}
}
