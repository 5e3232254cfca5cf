package main

import (
	"fmt"
	"strings"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

const topStatements = 50

var statements = catalog.Lookup("statements")

// additive columns of the table of statements, with their unit in Grafana.
var additive = []struct{ column, unit string }{
	{"calls", "short"}, {"total_exec_time", "ms"}, {"rows", "short"}, {"shared_blks_hit", "short"}, {"shared_blks_read", "short"}, {"temp_blks_written", "short"}, {"wal_bytes", "bytes"},
}

// sumOf gives a sum of a column in its documented unit.
func sumOf(column string) string {
	c := statements.Column(column)
	if c.Scale() == 1 {
		return fmt.Sprintf("coalesce(sum(%s), 0)::bigint", ident(column))
	}
	return fmt.Sprintf("coalesce(sum(%s), 0)::double precision / %d", ident(column), c.Scale())
}

// statementsRate is a panel over all statements: rows, cut and dropped.
func statementsRate(title, doc, unit string, fn string, lines ...catalog.Line) *panel {
	p := &catalog.Panel{Title: title, Fn: fn, Of: lines}
	sql, err := panelSQL(statements, p)
	if err != nil {
		panic("BUG: " + err.Error()) // counters of a Sample always have a query
	}
	return chart(title, doc, unit, false, sql)
}

func queriesDashboard() *dashboard {
	d := newDashboard(uidQueries, "pgAnalytics / Queries", "What statements did in the window; items, rest, cut and dropped add up to the total.",
		instanceVariable,
		query("database", "Database", choice("series_databases")), query("user", "User", choice("series_roles")))
	d.row("Load")
	d.add(8,
		statementsRate("Calls", "Executions of all statements.", "suffix:/s", "rate", catalog.Line{Column: "calls", Label: "calls"}),
		statementsRate("Execution time", "Time spent executing, per second: 1,000 ms/s is one session at work.", "suffix: ms/s", "rate", catalog.Line{Column: "total_exec_time", Label: "time"}),
		statementsRate("Rows", "Rows retrieved or affected.", "suffix:/s", "rate", catalog.Line{Column: "rows", Label: "rows"}),
		chart("Coverage", "Share of calls and of time that is stored statement by statement.", "percent", false, coverageSeries()).limit(below(5)))
	d.Panels[len(d.Panels)-1].FieldConfig.Defaults.Max = new(100.0)
	d.row("Statements")
	d.add(16, statementsTable())
	d.row("Account")
	d.add(7, accountTable(),
		list("Unobserved", "What the server itself forgot: beside every total. upper: no more than this was lost.",
			"SELECT reason, since, until, family, database, detail, upper::text AS upper FROM series_unobserved WHERE instance_id = "+instanceID+
				" AND tick > $__timeFrom() AND tick <= $__timeTo() AND family IN ('statements', '') ORDER BY tick DESC LIMIT 100"))
	return d
}

// choice gives all names, after one that stands for all.
func choice(function string) string {
	return "SELECT 'All' AS __text, '*' AS __value UNION ALL (SELECT DISTINCT name, name FROM " + function + "(" + instanceID + ") WHERE name <> '' ORDER BY 1)"
}

// filtered narrows rows of statements down to the database and user chosen.
const filtered = `(${database:sqlstring} IN ('', '*') OR coalesce(b.name, 'oid:' || r.dbid) = ${database:sqlstring})
	AND (${user:sqlstring} IN ('', '*') OR coalesce(u.name, 'oid:' || r.userid) = ${user:sqlstring})`

// named joins the names of databases and users to rows, as they are at the end of the window.
const named = `LEFT JOIN series_databases(` + instanceID + `) b ON b.oid = r.dbid AND $__timeTo()::timestamptz >= b.valid_from AND $__timeTo()::timestamptz < b.valid_to
LEFT JOIN series_roles(` + instanceID + `) u ON u.oid = r.userid AND $__timeTo()::timestamptz >= u.valid_from AND $__timeTo()::timestamptz < u.valid_to`

func statementsTable() *panel {
	var inner, outer []string
	overrides := []override{field("query", property{"custom.width", 520}), field("share", unitOf("percent"), property{"decimals", 1}), field("mean_exec_time", unitOf("ms"))}
	for _, a := range additive {
		inner = append(inner, "sum("+ident(a.column)+") AS "+ident(a.column))
		outer = append(outer, strings.Replace(sumOf(a.column), "sum(", "sum(r.", 1)+" AS "+ident(a.column))
		overrides = append(overrides, field(a.column, unitOf(a.unit)))
	}
	sql := fmt.Sprintf(`WITH r AS (
	SELECT dbid, userid, queryid, %s
	FROM statements_raw WHERE %s GROUP BY 1, 2, 3),
i AS (
	SELECT r.queryid, coalesce(b.name, 'oid:' || r.dbid) AS database, coalesce(u.name, 'oid:' || r.userid) AS "user", %s
	FROM r
%s
	WHERE r.queryid IS NOT NULL AND %s GROUP BY 1, 2, 3)
SELECT coalesce((SELECT left(t.query, 2000) FROM statement_texts t WHERE t.instance_id = %s AND t.queryid = i.queryid ORDER BY t.time DESC LIMIT 1), '') AS query,
	i.database, i."user", i.total_exec_time, 100 * i.total_exec_time / nullif(sum(i.total_exec_time) OVER (), 0) AS share, i.calls,
	i.total_exec_time / nullif(i.calls, 0) AS mean_exec_time, %s, i.queryid::text AS queryid
FROM i ORDER BY i.total_exec_time DESC, i.calls DESC, i.queryid LIMIT %d`, strings.Join(inner, ", "), ofInstance, strings.Join(outer, ", "), named, filtered, instanceID, rest(), topStatements)
	return list("Statements by time", "The greatest by execution time. share is of all stored statements under the filter; a mean is of the window.", sql, overrides...)
}

func rest() string {
	var out []string
	for _, a := range additive[2:] {
		out = append(out, "i."+ident(a.column))
	}
	return strings.Join(out, ", ")
}

// accountTable: what adds up. Statements that we may not tell apart (no queryid) are cut.
func accountTable() *panel {
	sql := fmt.Sprintf(`WITH r AS (
	SELECT CASE WHEN queryid IS NULL THEN 'cut' ELSE 'items' END AS part, dbid, userid, calls, total_exec_time, rows FROM statements_raw WHERE %[1]s
	UNION ALL SELECT CASE kind WHEN 1 THEN 'cut' ELSE 'dropped' END, dbid, userid, calls, total_exec_time, rows FROM statements_sum WHERE %[1]s),
v AS (
	SELECT r.part, %[2]s AS calls, %[3]s AS total_exec_time, %[4]s AS rows FROM r
%[5]s
	WHERE %[6]s GROUP BY ROLLUP (1))
SELECT p.part, coalesce(v.calls, 0) AS calls, coalesce(v.total_exec_time, 0) AS total_exec_time, coalesce(v.rows, 0) AS rows
FROM unnest(ARRAY['items', 'cut', 'dropped', 'total']) WITH ORDINALITY p (part, n) LEFT JOIN v ON coalesce(v.part, 'total') = p.part ORDER BY p.n`,
		ofInstance, strings.Replace(sumOf("calls"), "sum(", "sum(r.", 1), strings.Replace(sumOf("total_exec_time"), "sum(", "sum(r.", 1), strings.Replace(sumOf("rows"), "sum(", "sum(r.", 1), named, filtered)
	return list("Account", "items: stored one by one; cut: beyond query_stats_limit; dropped: sums of ticks that were not stored.", sql, field("total_exec_time", unitOf("ms")))
}

func coverageSeries() string {
	return fmt.Sprintf(`WITH b AS MATERIALIZED (SELECT * FROM series_buckets(%s, 'statements', $__timeFrom(), $__timeTo(), $__interval_ms)),
r AS (
	SELECT time AS tick, true AS kept, calls, total_exec_time FROM statements_total WHERE %[2]s
	UNION ALL SELECT time, false, calls, total_exec_time FROM statements_sum WHERE %[2]s)
SELECT b.time, (100 * coalesce(sum(r.calls) FILTER (WHERE r.kept), 0) / nullif(sum(r.calls), 0))::double precision AS calls,
	(100 * coalesce(sum(r.total_exec_time) FILTER (WHERE r.kept), 0) / nullif(sum(r.total_exec_time), 0))::double precision AS time_spent
FROM b LEFT JOIN r ON r.tick = b.tick GROUP BY 1 ORDER BY 1`, instanceName, ofInstance)
}
