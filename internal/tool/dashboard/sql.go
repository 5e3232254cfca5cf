package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// A query of a dashboard is PostgreSQL's SQL with macros and variables, which
// Grafana replaces: $__timeFrom() and $__timeTo() by quoted times, $__interval_ms
// by a number, ${name:sqlstring} by a quoted string.
const (
	instanceName = "${instance:sqlstring}"
	instanceID   = "(SELECT id FROM fleet_instance WHERE name = " + instanceName + ")"
	inRange      = "time > $__timeFrom() AND time <= $__timeTo()"
	ofInstance   = "instance_id = " + instanceID + " AND " + inRange
	maxLines     = 50 // of a split, the greatest ones
)

// panelSQL gives the query of a catalog's panel: what the API's `series` answers
// for each of its lines.
func panelSQL(f *catalog.Family, p *catalog.Panel) (string, error) {
	if f.Shape != catalog.Sample {
		return "", fmt.Errorf("panel %q: a family of shape %s has no series", p.Title, f.Shape)
	}
	q := &panelQuery{f: f, p: p, counter: p.Fn == "rate" || p.Fn == "ratio"}
	switch {
	case q.counter, f.Full:
		return q.counted()
	default:
		return q.carried()
	}
}

// panelQuery is the making of one query. Its parts: b, the buckets and the ticks
// that count in them; d, what each line had at each tick.
type panelQuery struct {
	f       *catalog.Family
	p       *catalog.Panel
	counter bool
}

func (q *panelQuery) buckets() string {
	return fmt.Sprintf("series_buckets(%s, '%s', $__timeFrom(), $__timeTo(), $__interval_ms, %t)", instanceName, q.f.Name, !q.counter)
}

// perDatabase says whether each database has frames of its own.
func (q *panelQuery) perDatabase() bool { return q.f.Scope == catalog.Database }

func (q *panelQuery) datid() string {
	if q.perDatabase() {
		return "datid"
	}
	return "0::bigint"
}

// names joins the database of a row to that of a frame.
func (q *panelQuery) names(tick string) (join, on string) {
	if !q.perDatabase() {
		return "", ""
	}
	return fmt.Sprintf("\nJOIN series_databases(%s) n ON n.oid = d.datid AND %s >= n.valid_from AND %[2]s < n.valid_to", instanceID, tick), " AND n.name = b.database"
}

// split gives the expression of a row's label, ” without a split.
func (q *panelQuery) split() (string, error) {
	if q.p.By == "" {
		return "''", nil
	}
	c := q.f.Column(q.p.By)
	switch {
	case c.Kind == catalog.Label:
		on := []string{"l.instance_id = r.instance_id", "l.valid_from <= r.time"}
		for _, k := range q.f.OfKind(catalog.Key) {
			on = append(on, fmt.Sprintf("l.%[1]s = r.%[1]s", ident(k.Name)))
		}
		return fmt.Sprintf("coalesce((SELECT l.%s FROM %s l WHERE %s ORDER BY l.valid_from DESC LIMIT 1), '')", ident(c.Name), ident(q.f.Name+"_label"), strings.Join(on, " AND ")), nil
	case c.Name == "wait_event_type":
		return "coalesce(nullif(r.wait_event_type, ''), 'CPU')", nil // who waits for nothing runs
	case c.Name == "datid" || c.Name == "dbid" || c.Name == "userid":
		return "", fmt.Errorf("panel %q of %s: split by %s is not written yet: it needs its names", q.p.Title, q.f.Name, c.Name)
	}
	return "coalesce(r." + ident(c.Name) + "::text, '')", nil
}

// condition gives the rows of a line, "" for all.
func condition(l *catalog.Line) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(l.Where)) {
		all = append(all, fmt.Sprintf("r.%s = %s", ident(k), literal(l.Where[k])))
	}
	return strings.Join(all, " AND ")
}

// only leaves out the rows that the one line of a split does not take, whose labels
// would be lines of their own.
func (q *panelQuery) only() string {
	if where := condition(&q.p.Of[0]); where != "" && q.p.By != "" {
		return " AND " + where
	}
	return ""
}

// tables gives where rows come from. Sums of what was cut or dropped count with
// them, unless a line asks for what sums don't keep apart.
func (q *panelQuery) tables() []string {
	out := []string{q.f.Name + "_raw"}
	if !q.counter || !q.f.HasCounters() {
		return out
	}
	for i := range q.p.Of {
		for k := range q.p.Of[i].Where {
			if !slices.Contains(q.f.Sums, k) {
				return out
			}
		}
	}
	if q.p.By != "" && !slices.Contains(q.f.Sums, q.p.By) {
		return out
	}
	return append(out, q.f.Name+"_sum")
}

// combine puts rows of one tick together: ages do not add up.
func combine(c *catalog.Column) string {
	if c.Kind == catalog.Gauge && c.Agg == catalog.Max && c.Unit == catalog.Seconds {
		return "max"
	}
	return "sum"
}

// counted is for counters, and for gauges that are stored whole: no row is 0.
func (q *panelQuery) counted() (string, error) {
	by, err := q.split()
	if err != nil {
		return "", err
	}
	var parts []string
	for _, table := range q.tables() {
		var values []string
		for i := range q.p.Of {
			l := &q.p.Of[i]
			c := q.f.Column(l.Column)
			v := fmt.Sprintf("%s(r.%s)", combine(c), ident(c.Name))
			if where := condition(l); where != "" && q.p.By == "" {
				v += " FILTER (WHERE " + where + ")"
			}
			values = append(values, fmt.Sprintf("%s AS v%d", v, i))
		}
		parts = append(parts, fmt.Sprintf("SELECT r.time AS tick, %s AS datid, %s AS label, %s\n\tFROM %s r WHERE r.%s%s GROUP BY 1, 2, 3",
			q.datid(), by, strings.Join(values, ", "), ident(table), strings.ReplaceAll(ofInstance, "AND time", "AND r.time"), q.only()))
	}
	join, on := q.names("d.tick")
	source := "d"
	if join != "" {
		source = "(d" + join + ")"
	}
	var values []string
	for i := range q.p.Of {
		values = append(values, fmt.Sprintf("sum(d.v%d) AS v%[1]d", i))
	}
	rows := fmt.Sprintf("d AS (\n\t%s),\n", strings.Join(parts, "\n\tUNION ALL "))
	return fmt.Sprintf(`WITH b AS MATERIALIZED (SELECT * FROM %s),
%sl AS (SELECT label FROM %s),
t AS (
	SELECT b.time, b.database, b.tick, b.seconds, b.absent, l.label, %s
	FROM b CROSS JOIN l LEFT JOIN %s ON d.tick = b.tick AND d.label = l.label%s
	GROUP BY 1, 2, 3, 4, 5, 6)
%s`, q.buckets(), rows, q.labels("d"), strings.Join(values, ", "), source, on, q.result("t")), nil
}

// labels gives the lines of a split.
func (q *panelQuery) labels(from string) string {
	if q.p.By == "" {
		return "(VALUES ('')) x (label)"
	}
	return fmt.Sprintf("(SELECT label FROM %s GROUP BY 1 ORDER BY sum(v0) DESC NULLS LAST, 1 LIMIT %d) x", from, maxLines)
}

// carried is for gauges whose rows are stored when they change: a row holds until
// the next of its keys, or for an hour. Each adds its value when it comes and
// takes it away when it ends; what has summed up by a tick is the tick's.
func (q *panelQuery) carried() (string, error) {
	by, err := q.split()
	if err != nil {
		return "", err
	}
	keys := q.f.OfKind(catalog.Key)
	over := "(ORDER BY r.time)"
	if len(keys) > 0 {
		var names []string
		for _, k := range keys {
			names = append(names, "r."+ident(k.Name))
		}
		over = "(PARTITION BY " + strings.Join(names, ", ") + " ORDER BY r.time)"
	}
	n := len(q.p.Of)
	values, plain, minus, sums, running := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for i := range q.p.Of {
		l := &q.p.Of[i]
		c := q.f.Column(l.Column)
		if combine(c) == "max" && len(keys) > 0 {
			return "", fmt.Errorf("panel %q of %s: ages of rows that are stored on change are not written yet", q.p.Title, q.f.Name)
		}
		v := "coalesce(r." + ident(c.Name) + ", 0)"
		if where := condition(l); where != "" && q.p.By == "" {
			v = "CASE WHEN " + where + " THEN " + v + " ELSE 0 END"
		}
		values[i], plain[i], minus[i] = fmt.Sprintf("%s AS v%d", v, i), fmt.Sprintf("v%d", i), fmt.Sprintf("-v%d", i)
		sums[i], running[i] = fmt.Sprintf("sum(v%d) AS v%[1]d", i), fmt.Sprintf("sum(v%d) OVER w AS v%[1]d", i)
	}
	nothing := strings.TrimSuffix(strings.Repeat("0, ", n), ", ")
	pairs, on := "b CROSS JOIN (SELECT DISTINCT datid, label FROM r) d", ""
	if q.perDatabase() {
		join, where := q.names("b.tick")
		pairs += strings.ReplaceAll(join, "\n", " ")
		on = where
	}
	return fmt.Sprintf(`WITH b AS MATERIALIZED (SELECT * FROM %s),
r AS MATERIALIZED (
	SELECT r.time, %s AS datid, %s AS label, coalesce(lead(r.time) OVER %s, 'infinity') AS next, %s
	FROM %s r WHERE r.instance_id = %s AND r.time > $__timeFrom()::timestamptz - interval '1 hour' - (SELECT max(b.every) FROM b) AND r.time <= $__timeTo()%s),
e AS (
	SELECT time AS at, datid, label, %s FROM r
	UNION ALL SELECT least(next, time + interval '1 hour 1 microsecond' + (SELECT max(b.every) FROM b)), datid, label, %s FROM r),
k AS (
	SELECT DISTINCT b.tick, b.database, d.datid, d.label FROM %s WHERE b.tick IS NOT NULL%s),
s AS (
	SELECT at, datid, label, asked, %s FROM (
		SELECT at, datid, label, false AS asked, %s FROM e GROUP BY 1, 2, 3
		UNION ALL SELECT tick, datid, label, true, %s FROM k) x
	WINDOW w AS (PARTITION BY datid, label ORDER BY at RANGE UNBOUNDED PRECEDING)),
d AS (
	SELECT k.tick, k.database, k.label, %s FROM k JOIN s ON s.asked AND s.at = k.tick AND s.datid = k.datid AND s.label = k.label GROUP BY 1, 2, 3),
l AS (SELECT label FROM %s),
t AS (
	SELECT b.time, b.database, b.tick, b.seconds, b.absent, l.label, %s
	FROM b CROSS JOIN l LEFT JOIN d ON d.tick = b.tick AND d.database = b.database AND d.label = l.label)
%s`, q.buckets(), q.datid(), by, over, strings.Join(values, ", "), ident(q.f.Name+"_raw"), instanceID, q.only(),
		strings.Join(plain, ", "), strings.Join(minus, ", "), pairs, on, strings.Join(running, ", "), strings.Join(sums, ", "), nothing,
		strings.Join(sums, ", "), q.labels("d"), strings.Join(plain, ", "), q.result("t")), nil
}

// result puts ticks into buckets, and databases together: a rate is Σ delta / Σ
// seconds of each database's frames, and databases add up.
func (q *panelQuery) result(from string) string {
	var inner, outer []string
	for i := range q.p.Of {
		l := &q.p.Of[i]
		c := q.f.Column(l.Column)
		v := fmt.Sprintf("coalesce(v%d, 0)", i)
		var value string
		switch q.p.Fn {
		case "rate":
			value = fmt.Sprintf("sum(%s)::double precision / nullif(sum(seconds), 0)", v)
		case "ratio":
			value = fmt.Sprintf("sum(%s)::double precision", v)
		case "last":
			value = fmt.Sprintf("(array_agg(%s ORDER BY tick DESC))[1]::double precision", v)
		default:
			value = fmt.Sprintf("%s(%s)::double precision", q.p.Fn, v)
		}
		if c.Scale() != 1 {
			value += fmt.Sprintf(" / %d", c.Scale())
		}
		inner = append(inner, fmt.Sprintf("CASE WHEN count(tick) > 0 AND NOT coalesce('%s' = ANY (absent), false) THEN %s END AS v%d", c.Name, value, i))
		outer = append(outer, fmt.Sprintf("sum(v%d) AS %s", i, ident(lineLabel(l))))
	}
	if q.p.Fn == "ratio" {
		all := make([]string, len(q.p.Of))
		for i := range q.p.Of {
			all[i] = fmt.Sprintf("sum(v%d)", i)
		}
		outer = []string{fmt.Sprintf("100 * sum(v0) / nullif(%s, 0) AS %s", strings.Join(all, " + "), ident(lineLabel(&q.p.Of[0])))}
	}
	label, order := "", "1"
	if q.p.By != "" {
		label, order = "label AS metric, ", "1, 2"
		outer[0] = "sum(v0) AS value"
	}
	return fmt.Sprintf(`SELECT time, %s%s FROM (
	SELECT time, database, label, %s
	FROM %s GROUP BY time, database, label, absent) v
GROUP BY %s ORDER BY %s`, label, strings.Join(outer, ", "), strings.Join(inner, ",\n\t\t"), from, order, order)
}

func lineLabel(l *catalog.Line) string {
	if l.Label != "" {
		return l.Label
	}
	return l.Column
}

func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
