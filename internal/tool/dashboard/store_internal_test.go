package main

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// limit for one query of a dashboard. The best of ten runs counts, since other
// programs share the machine; the race detector slows nothing in the server.
const limit = 300 * time.Millisecond

// rewrite changes user and database of a URL.
func rewrite(t testing.TB, raw string, change func(*pgx.ConnConfig) (user, database string)) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	user, database := change(cfg)
	u.Path = "/" + database
	if user != cfg.User {
		u.User = url.UserPassword(user, "it's secret")
	}
	return u.String()
}

// makeRole runs deploy/grafana-role.sql as psql would, and gives the role's URL.
func makeRole(t testing.TB, raw string) string {
	t.Helper()
	text, err := os.ReadFile("../../../deploy/grafana-role.sql")
	if err != nil {
		t.Fatal(err)
	}
	var database, owner string
	as := rewrite(t, raw, func(c *pgx.ConnConfig) (string, string) {
		database, owner = c.Database, c.User
		return "grafana", c.Database
	})
	var lines []string
	skip := false
	for line := range strings.Lines(string(text)) {
		switch word := strings.Fields(line + " x")[0]; {
		case word == `\if` || word == `\else`:
			skip = word == `\else` // owner is given
		case word == `\endif`:
			skip = false
		case !skip:
			lines = append(lines, line)
		}
	}
	sql := strings.NewReplacer(":'grafana_password'", "'it''s secret'", `:"owner"`, ident(owner), `:"DBNAME"`, ident(database)).Replace(strings.Join(lines, ""))
	conn := pgtest.Connect(t, raw)
	if _, err := conn.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
		t.Fatalf("deploy/grafana-role.sql: %v", err)
	}
	return as
}

// answer is what a query gave.
type answer struct {
	columns []string
	rows    [][]any
	took    time.Duration
}

func ask(t testing.TB, conn *pgx.Conn, sql string) *answer {
	t.Helper()
	begun := time.Now()
	rows, err := conn.Query(context.Background(), sql)
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	a := &answer{}
	for _, f := range rows.FieldDescriptions() {
		a.columns = append(a.columns, f.Name)
	}
	a.rows, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) ([]any, error) { return r.Values() })
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	a.took = time.Since(begun)
	return a
}

// column gives the values of a column, by time and metric ("" without one).
func (a *answer) series(t testing.TB, name string) map[string]map[int64]*float64 {
	t.Helper()
	at, metric, value := slices.Index(a.columns, "time"), slices.Index(a.columns, "metric"), slices.Index(a.columns, name)
	if at < 0 || value < 0 {
		t.Fatalf("no columns time and %s in %v", name, a.columns)
	}
	out := map[string]map[int64]*float64{}
	for _, r := range a.rows {
		label := ""
		if metric >= 0 {
			label = r[metric].(string)
		}
		if out[label] == nil {
			out[label] = map[int64]*float64{}
		}
		when := r[at].(time.Time).UnixMicro()
		if _, twice := out[label][when]; twice {
			t.Fatalf("%s: two rows at %s", label, r[at])
		}
		out[label][when] = number(r[value])
	}
	return out
}

func number(v any) *float64 {
	switch n := v.(type) {
	case nil:
		return nil
	case float64:
		return &n
	case int64:
		return new(float64(n))
	case int32:
		return new(float64(n))
	}
	f, err := v.(pgtype.Numeric).Float64Value()
	if err != nil || !f.Valid {
		panic(fmt.Sprintf("BUG: %v is no number", v))
	}
	return &f.Float64
}

func same(a, b *float64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return math.Abs(*a-*b) <= 1e-9*max(1, math.Abs(*a), math.Abs(*b))
}

func show(v *float64) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprint(*v)
}

// TestQueries runs every query that Grafana would run, as Grafana's role, and holds
// panels of the catalog against the API, bucket by bucket.
func TestQueries(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		as := makeRole(t, url) // before the first migration, as the compose stack does
		b := newBed(t, url)
		w := fill(t, b)
		conn := pgtest.Connect(t, as)
		base := &expander{from: w.from(), to: w.to(), interval: 15 * time.Second, timescale: strings.HasSuffix(t.Name(), "/timescale"),
			variables: map[string]string{"instance": instance, "collector": "alpha", "database": "*", "user": "*"}}
		list, err := dashboards(catalog.All())
		if err != nil {
			t.Fatal(err)
		}
		t.Run("every query", func(t *testing.T) { everyQuery(t, conn, base, list) })
		t.Run("role", func(t *testing.T) { checkRole(t, url, conn) })
		t.Run("panels", func(t *testing.T) {
			for _, name := range []string{instance, second, "nobody's"} {
				for _, step := range []time.Duration{time.Second, 10 * time.Second, 15 * time.Second, 70 * time.Second} {
					e := *base
					e.interval, e.variables = step, map[string]string{"instance": name}
					checkPanels(t, b, conn, &e, interval)
				}
			}
			early := *base // gauges that have held for more than an hour
			early.from, early.interval, early.variables = w.start.Add(-(slowN+2)*slowly), slowly, map[string]string{"instance": second}
			checkPanels(t, b, conn, &early, interval)
		})
		t.Run("ledger", func(t *testing.T) { checkLedger(t, b, conn, w) })
		t.Run("statements", func(t *testing.T) { checkStatements(t, b, conn, base, list) })
		t.Run("metrics", func(t *testing.T) { checkMetrics(t, b, conn, base) })
		t.Run("alerts", func(t *testing.T) { checkAlerts(t, conn) })
		t.Run("documentation", func(t *testing.T) { checkDocs(t, conn) })
	})
}

// everyQuery prints how long each takes.
func everyQuery(t *testing.T, conn *pgx.Conn, base *expander, list []*dashboard) {
	run := func(name, sql string, empty bool) {
		expanded, err := base.expand(sql)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		best, n := time.Hour, 0
		for range 10 {
			a := ask(t, conn, expanded)
			best, n = min(best, a.took), len(a.rows)
			if best <= limit {
				break
			}
		}
		t.Logf("%6.1f ms %5d rows  %s", float64(best.Microseconds())/1000, n, name)
		if best > limit {
			t.Errorf("%s takes %s, want at most %s", name, best, limit)
		}
		if n == 0 && !empty {
			t.Errorf("%s: no rows", name)
		}
	}
	count := 0
	for _, d := range list {
		for _, v := range d.Templating.List {
			run(d.UID+" / $"+v.Name, v.Query, false)
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				run(d.UID+" / "+p.Title, target.RawSQL, p.Title == "Unobserved")
				count++
			}
		}
	}
	for _, m := range keyMetrics {
		run("alert "+m.uid, m.now, false)
	}
	if count < 40 {
		t.Errorf("only %d panels have a query: the test looks at the wrong thing", count)
	}
}

// checkRole: it reads what migrations add later, writes nothing, and sees no hash.
func checkRole(t *testing.T, owner string, conn *pgx.Conn) {
	pgtest.Exec(t, owner, "CREATE TABLE added_later (x int)")
	ask(t, conn, "SELECT * FROM added_later")
	ask(t, conn, "SELECT count(*) FROM metrics")
	for _, f := range catalog.All() {
		ask(t, conn, "SELECT * FROM "+ident(f.Name)+" LIMIT 1")
	}
	for sql, code := range map[string]string{
		"SELECT token_hash FROM fleet_collector":               "42501",
		"SELECT * FROM auth_session":                           "42501",
		"INSERT INTO added_later VALUES (1)":                   "25006",
		"BEGIN READ WRITE; INSERT INTO added_later VALUES (1)": "42501",
		"CREATE TABLE mine (x int)":                            "25006",
		"SELECT pg_read_file('/etc/passwd')":                   "42501",
		"SELECT count(*) FROM generate_series(1, 10) WHERE current_setting('statement_timeout') = '30s' AND 1 / 0 = 1": "22012",
	} {
		_, err := conn.PgConn().Exec(context.Background(), sql).ReadAll()
		ask(t, conn, "ROLLBACK")
		if err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("%s: %v, want SQLSTATE %s", sql, err, code)
		}
	}
	if a := ask(t, conn, "SELECT current_setting('statement_timeout')"); a.rows[0][0] != "30s" {
		t.Errorf("statement_timeout is %v", a.rows[0][0])
	}
}

// checkPanels holds each line of each panel of the catalog against the API; every is
// what the collector reads at.
func checkPanels(t *testing.T, b *bed, conn *pgx.Conn, e *expander, every time.Duration) {
	id := ""
	var items struct{ Items []struct{ ID, Name string } }
	b.get("/api/v1/instances", &items)
	for _, i := range items.Items {
		if i.Name == e.variables["instance"] {
			id = i.ID
		}
	}
	for _, f := range catalog.All() {
		for i := range f.Panels {
			p := &f.Panels[i]
			sql, err := panelSQL(f, p)
			if err != nil {
				t.Fatal(err)
			}
			expanded, err := e.expand(sql)
			if err != nil {
				t.Fatal(err)
			}
			a := ask(t, conn, expanded)
			if id == "" {
				if len(a.rows) > 0 {
					t.Errorf("%s of an unknown instance has %d rows", p.Title, len(a.rows))
				}
				continue
			}
			name := fmt.Sprintf("%s, %s, step %s", e.variables["instance"], p.Title, e.interval)
			step := max(e.interval, every) // the API takes any, the functions at least the family's
			if p.Fn == "ratio" {
				checkRatio(t, b, id, f, p, e, step, a, name)
				continue
			}
			for j := range p.Of {
				l := &p.Of[j]
				want := apiSeries(b, id, f, l, p.Fn, p.By, e, step)
				column := lineLabel(l)
				if p.By != "" {
					column = "value"
				}
				got := a.series(t, column)
				if p.By == "wait_event_type" { // no event is named
					want["CPU"] = want[""]
					delete(want, "")
				}
				compare(t, name+", "+column, got, want)
			}
		}
	}
}

// checkRatio: the API has no ratio; the page divides.
func checkRatio(t *testing.T, b *bed, id string, f *catalog.Family, p *catalog.Panel, e *expander, step time.Duration, a *answer, name string) {
	all, first := map[int64]float64{}, apiSeries(b, id, f, &p.Of[0], "rate", "", e, step)[""]
	for j := range p.Of {
		for at, v := range apiSeries(b, id, f, &p.Of[j], "rate", "", e, step)[""] {
			if v != nil {
				all[at] += *v
			}
		}
	}
	want := map[int64]*float64{}
	for at, v := range first {
		want[at] = nil
		if v != nil && all[at] > 0 {
			want[at] = new(100 * *v / all[at])
		}
	}
	compare(t, name, a.series(t, lineLabel(&p.Of[0])), map[string]map[int64]*float64{"": want})
}

// apiSeries asks the API, and gives points by label and time.
func apiSeries(b *bed, id string, f *catalog.Family, l *catalog.Line, fn, by string, e *expander, step time.Duration) map[string]map[int64]*float64 {
	v := url.Values{"family": {f.Name}, "column": {l.Column}, "fn": {fn}, "from": {e.from.UTC().Format(time.RFC3339Nano)}, "to": {e.to.UTC().Format(time.RFC3339Nano)}, "step": {fmt.Sprint(step.Seconds())}}
	if by != "" {
		v.Set("by", by)
	}
	for k, x := range l.Where {
		v.Set(k, x)
	}
	var out struct {
		Series []struct {
			Labels map[string]string
			Points [][2]*float64
		}
	}
	b.get("/api/v1/instances/"+id+"/series?"+v.Encode(), &out)
	lines := map[string]map[int64]*float64{}
	for _, s := range out.Series {
		points := map[int64]*float64{}
		for _, p := range s.Points {
			points[int64(math.Round(*p[0]*1e6))] = p[1]
		}
		lines[s.Labels[by]] = points
	}
	return lines
}

// compare wants the same labels and values. A label of nulls alone is no label, and
// the API gives no line where nothing was planned or the server lacks a column.
func compare(t *testing.T, name string, got, want map[string]map[int64]*float64) {
	t.Helper()
	empty := func(points map[int64]*float64) bool {
		for _, v := range points {
			if v != nil {
				return false
			}
		}
		return true
	}
	for label, points := range want {
		if empty(got[label]) && empty(points) {
			continue
		}
		if len(got[label]) != len(points) {
			t.Errorf("%s %q: %d buckets, the API has %d", name, label, len(got[label]), len(points))
			continue
		}
		for at, v := range points {
			if g, there := got[label][at]; !there || !same(g, v) {
				t.Errorf("%s %q at %s: %s, the API has %s", name, label, time.UnixMicro(at).UTC().Format(time.TimeOnly), show(g), show(v))
				return
			}
		}
	}
	for label, points := range got {
		if want[label] == nil && !empty(points) {
			t.Errorf("%s: a line %q that the API has not", name, label)
		}
	}
}
