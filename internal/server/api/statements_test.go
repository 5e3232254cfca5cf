package api_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// minute gives ticks a minute apart, the newest of them a few minutes ago.
func minutes(n int) []int64 {
	first := time.Now().Truncate(time.Minute).Add(-time.Duration(n+3) * time.Minute).UnixMicro()
	out := make([]int64, n)
	for i := range out {
		out[i] = first + int64(i)*60_000_000
	}
	return out
}

// window addresses (ticks[from], ticks[to]].
func window(ticks []int64, from, to int) string {
	return fmt.Sprintf("from=%d&to=%d", ticks[from]/1_000_000, ticks[to]/1_000_000)
}

// before addresses all ticks up to the last.
func before(ticks []int64) string {
	return fmt.Sprintf("from=%d&to=%d", ticks[0]/1_000_000-60, ticks[len(ticks)-1]/1_000_000)
}

const db1 = "db1:5432"

// shop pushes five minutes of statements of one instance, whose sums are worked out
// by hand below.
func shop(b *bed) (id string, t []int64) {
	a := b.agent("one", time.Minute, db1)
	t = minutes(5)
	first := plan(batch(db1, "postgres", catalog.Slow, t[0]), time.Minute, "", "database", "roles", "statements", "statement_texts")
	first.Schedules[2].Absent = []string{"jit_functions", "wal_buffers_full"}
	add(first, "database", "", 0, 10, row{"datid": 5, "datname": "shop"}, row{"datid": 6, "datname": "mail"})
	add(first, "roles", "", 0, 10, row{"oid": 10, "rolname": "app"}, row{"oid": 11, "rolname": "admin"})
	add(first, "statements", "", -20, 20)
	add(first, "statement_texts", "", 0, 30, row{"queryid": 1, "query": "SELECT * FROM Orders WHERE id < $1"}, row{"queryid": -2, "query": "UPDATE stock SET n = $1"})

	statement := func(db, user, query int, top bool, calls, time, rows int) row {
		return row{"dbid": db, "userid": user, "queryid": query, "toplevel": top, "calls": calls, "total_exec_time": time, "rows": rows}
	}
	second := add(batch(db1, "postgres", catalog.Slow, t[1]), "statements", "", 60_000, 20,
		statement(5, 10, 1, true, 10, 1_234_567, 5), statement(5, 10, 1, false, 2, 1, 0), statement(6, 10, 1, true, 3, 999, 0), statement(5, 11, -2, true, 100, 5, 100))
	cut(second, "statements", row{"dbid": 5, "userid": 10, "calls": 7, "total_exec_time": 70_001}, row{"dbid": 6, "userid": 11, "calls": 1, "total_exec_time": 3})
	third := add(batch(db1, "postgres", catalog.Slow, t[2]), "statements", "", 60_000, 20,
		statement(5, 10, 1, true, 1, 1, 0), statement(5, 99, 3, true, 4, 4_000_000, 0))
	third.Unobserved = []frame.Unobserved{{Family: "statements", Reason: "evicted", Since: t[1], At: t[2], Detail: "dealloc 3", Upper: map[string]int64{"calls": 12, "total_exec_time": 5_001}}}
	lost := add(batch(db1, "postgres", catalog.Slow, t[3]), "statements", "", 60_000, 20, statement(5, 11, -2, true, 50, 500, 0))
	cut(lost, "statements", row{"dbid": 5, "userid": 10, "calls": 5, "total_exec_time": 7})
	fifth := add(batch(db1, "postgres", catalog.Slow, t[4]), "statements", "", 60_000, 20)
	// The order of arrival does not matter.
	a.push(fifth, third)
	a.push(first)
	a.drop("spool_full", lost)
	a.push(second)
	return a.ids[db1], t
}

// triple is calls, total_exec_time and rows of an object, as written.
func triple(t testing.TB, v any) string {
	t.Helper()
	return fmt.Sprint(dig(t, v, "calls"), " ", dig(t, v, "total_exec_time"), " ", dig(t, v, "rows"))
}

func TestStatementsAccount(t *testing.T) {
	b := newBed(t)
	id, ticks := shop(b)
	const none = "0 0.000 0"
	for _, c := range []struct {
		name, query                                string
		items                                      []string
		rest, cut, dropped, total, unmatched, shop string
		count                                      int
		calls, time                                float64 // coverage
		seconds                                    string
	}{
		{
			name: "all", query: before(ticks),
			items: []string{"3 shop oid:99 4 4000.000 0", "1 shop app 13 1234.569 5", "1 mail app 3 0.999 0", "-2 shop admin 100 0.005 100"},
			rest:  none, cut: "8 70.004 0", dropped: "55 0.507 0", total: "183 5306.084 105", count: 4, calls: 120. / 183, time: 5235573. / 5306084, seconds: "240.08",
		},
		{
			name: "limit", query: before(ticks) + "&limit=1", items: []string{"3 shop oid:99 4 4000.000 0"},
			rest: "116 1235.573 105", cut: "8 70.004 0", dropped: "55 0.507 0", total: "183 5306.084 105", count: 4, calls: 120. / 183, time: 5235573. / 5306084, seconds: "240.08",
		},
		{
			name: "sort", query: before(ticks) + "&sort=calls&limit=2", items: []string{"-2 shop admin 100 0.005 100", "1 shop app 13 1234.569 5"},
			rest: "7 4000.999 0", cut: "8 70.004 0", dropped: "55 0.507 0", total: "183 5306.084 105", count: 4, calls: 120. / 183, time: 5235573. / 5306084, seconds: "240.08",
		},
		{
			name: "one tick", query: window(ticks, 1, 2), items: []string{"3 shop oid:99 4 4000.000 0", "1 shop app 1 0.001 0"},
			rest: none, cut: none, dropped: none, total: "5 4000.001 0", count: 2, calls: 1, time: 1, seconds: "60.02",
		},
		{
			name: "a frame is its tick's, whole", query: fmt.Sprintf("from=%d.5&to=%d.25", ticks[0]/1_000_000, ticks[2]/1_000_000-1),
			items: []string{"1 shop app 12 1234.568 5", "1 mail app 3 0.999 0", "-2 shop admin 100 0.005 100"},
			rest:  none, cut: "8 70.004 0", dropped: none, total: "123 1305.576 105", count: 3, calls: 115. / 123, time: 1235572. / 1305576, seconds: "60.02",
		},
		{
			name: "database", query: before(ticks) + "&database=shop", items: []string{"3 shop oid:99 4 4000.000 0", "1 shop app 13 1234.569 5", "-2 shop admin 100 0.005 100"},
			rest: none, cut: "7 70.001 0", dropped: "55 0.507 0", total: "179 5305.082 105", count: 3, calls: 117. / 179, time: 5234574. / 5305082, seconds: "240.08",
		},
		{
			name: "user", query: before(ticks) + "&user=admin", items: []string{"-2 shop admin 100 0.005 100"},
			rest: none, cut: "1 0.003 0", dropped: "50 0.500 0", total: "151 0.508 100", count: 1, calls: 100. / 151, time: 5. / 508, seconds: "240.08",
		},
		{
			name: "database and user", query: before(ticks) + "&database=mail&user=admin", items: nil,
			rest: none, cut: "1 0.003 0", dropped: none, total: "1 0.003 0", count: 0, calls: 0, time: 0, seconds: "240.08",
		},
		{
			name: "unknown database", query: before(ticks) + "&database=nothere", items: nil,
			rest: none, cut: none, dropped: none, total: none, count: 0, calls: -1, time: -1, seconds: "240.08",
		},
		{
			name: "text", query: before(ticks) + "&text=orders&limit=1", items: []string{"1 shop app 13 1234.569 5"},
			rest: "3 0.999 0", cut: none, dropped: none, total: "16 1235.568 5", unmatched: "167 4070.516 100", count: 2, calls: 120. / 183, time: 5235573. / 5306084, seconds: "240.08",
		},
		{
			name: "query id as text", query: before(ticks) + "&text=-2&database=shop", items: []string{"-2 shop admin 100 0.005 100"},
			rest: none, cut: none, dropped: none, total: "100 0.005 100", unmatched: "79 5305.077 5", count: 1, calls: 117. / 179, time: 5234574. / 5305082, seconds: "240.08",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			v := b.get("/api/v1/instances/"+id+"/statements?"+c.query, 200)
			var items []string
			for _, it := range v["items"].([]any) {
				items = append(items, fmt.Sprint(dig(t, it, "query_id"), " ", dig(t, it, "database"), " ", dig(t, it, "user"), " ", triple(t, it)))
			}
			if !slices.Equal(items, c.items) {
				t.Errorf("items\n%s\nwant\n%s", strings.Join(items, "\n"), strings.Join(c.items, "\n"))
			}
			for part, want := range map[string]string{"rest": c.rest, "cut": c.cut, "dropped": c.dropped, "total": c.total} {
				if got := triple(t, v[part]); got != want {
					t.Errorf("%s: %s, want %s", part, got, want)
				}
			}
			if _, has := v["unmatched"]; has != (c.unmatched != "") || has && triple(t, v["unmatched"]) != c.unmatched {
				t.Errorf("unmatched: %v, want %q", v["unmatched"], c.unmatched)
			}
			for part, want := range map[string]float64{"calls": c.calls, "time": c.time} {
				got := dig(t, v, "coverage", part)
				if n, is := got.(json.Number); !is && want >= 0 || is && n.String() != strconv.FormatFloat(want, 'g', -1, 64) {
					t.Errorf("coverage of %s: %v, want %v", part, got, want)
				}
			}
			if fmt.Sprint(v["count"]) != strconv.Itoa(c.count) || fmt.Sprint(v["seconds"]) != c.seconds {
				t.Errorf("count %v, seconds %v; want %d, %s", v["count"], v["seconds"], c.count, c.seconds)
			}
			if _, has := dig(t, v, "total").(map[string]any)["jit_functions"]; has {
				t.Error("a column that the server lacks is there")
			}
			adds(t, v)
		})
	}
	b.t = t
	v := b.get("/api/v1/instances/"+id+"/statements?"+before(ticks)+"&trend=4", 200)
	if got := fmt.Sprint(dig(t, v, "databases"), dig(t, v, "users")); got != "[mail shop] [admin app oid:99]" {
		t.Errorf("databases and users: %s", got)
	}
	if got := fmt.Sprint(dig(t, v, "items", 1, "query"), dig(t, v, "items", 0, "query")); got != "SELECT * FROM Orders WHERE id < $1<nil>" {
		t.Errorf("texts: %s", got)
	}
	forgotten := dig(t, v, "unobserved", 0)
	if got := fmt.Sprint(dig(t, forgotten, "reason"), dig(t, forgotten, "detail"), dig(t, forgotten, "upper"), triple(t, dig(t, forgotten, "lower"))); got != "evicteddealloc 3map[calls:12 total_exec_time:5.001]"+none {
		t.Errorf("unobserved: %s", got)
	}
	// Five minutes in four buckets: frames at 1, 2 and 4 min (of 5) have spans.
	if got := fmt.Sprint(dig(t, v, "items", 0, "trend")); !strings.HasPrefix(got, "[<nil> 0 66.6") {
		t.Errorf("trend: %s", got)
	}
	one := b.get("/api/v1/instances/"+id+"/statements/1?"+before(ticks), 200)
	if got := triple(t, one["total"]); got != "16 1235.568 5" || len(one["items"].([]any)) != 2 || one["query"] != "SELECT * FROM Orders WHERE id < $1" {
		t.Errorf("one statement: %s, %v", got, one)
	}
	b.get("/api/v1/instances/"+id+"/statements/77?"+before(ticks), 404)
	b.get("/api/v1/instances/999/statements", 404)
}

// adds checks the account in decimal numbers, for every column.
func adds(t testing.TB, v map[string]any) {
	t.Helper()
	number := func(o any, name string) *big.Rat {
		r, ok := new(big.Rat).SetString(dig(t, o, name).(json.Number).String())
		if !ok {
			t.Fatalf("%s of %v is no number", name, o)
		}
		return r
	}
	for name := range dig(t, v, "total").(map[string]any) {
		sum := new(big.Rat)
		for _, it := range v["items"].([]any) {
			sum.Add(sum, number(it, name))
		}
		for _, part := range []string{"rest", "cut", "dropped"} {
			sum.Add(sum, number(v[part], name))
		}
		if sum.Cmp(number(v["total"], name)) != 0 {
			t.Errorf("%s: items + rest + cut + dropped = %s, total %v", name, sum.FloatString(6), dig(t, v, "total", name))
		}
	}
}

// A few hundred random statements of random ticks: under every filter, sort and
// limit the account adds up and its total is what was pushed.
func TestStatementsAccountIsTheModel(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	ticks := minutes(12)
	rnd := rand.New(rand.NewPCG(1, 2))
	first := plan(batch(db1, "postgres", catalog.Slow, ticks[0]), time.Minute, "", "database", "roles", "statements", "statement_texts")
	add(first, "database", "", 0, 1, row{"datid": 1, "datname": "d1"}, row{"datid": 2, "datname": "d2"}, row{"datid": 3, "datname": "d2"}) // d2 was made anew
	add(first, "roles", "", 0, 1, row{"oid": 1, "rolname": "u1"}, row{"oid": 2, "rolname": "u2"})
	var texts []row
	for q := range 20 {
		texts = append(texts, row{"queryid": q, "query": fmt.Sprintf("select %c", 'a'+q%3)})
	}
	add(first, "statement_texts", "", 0, 1, texts...)
	a.push(first)
	counters := catalog.Lookup("statements").OfKind(catalog.Counter)
	type fact struct {
		tick           int
		database, user string
		query          int // -1: cut, -2: dropped
		values         map[string]int
	}
	var facts []fact
	databases, users := map[int]string{1: "d1", 2: "d2", 3: "d2", 4: "oid:4"}, map[int]string{1: "u1", 2: "u2", 3: "oid:3"}
	for i, tick := range ticks[1:] {
		var rows, sums []row
		draw := func(db, user, query int) row {
			r := row{"dbid": db, "userid": user}
			f := fact{i + 1, databases[db], users[user], query, map[string]int{}}
			for _, c := range counters {
				if n := rnd.IntN(2_000_000_000); n%3 > 0 {
					r[c.Name], f.values[c.Name] = n, n
				}
			}
			if i%4 == 3 {
				f.query = -2
			}
			facts = append(facts, f)
			return r
		}
		for db := 1; db <= 4; db++ {
			for user := 1; user <= 3; user++ {
				for q := range 20 {
					if rnd.IntN(3) == 0 {
						r := draw(db, user, q)
						r["queryid"], r["toplevel"] = q, rnd.IntN(2) == 0
						rows = append(rows, r)
					}
				}
				if rnd.IntN(2) == 0 {
					sums = append(sums, draw(db, user, -1))
				}
			}
		}
		bt := cut(add(batch(db1, "postgres", catalog.Slow, tick), "statements", "", 60_000, 5, rows...), "statements", sums...)
		if i%4 == 3 {
			a.drop("spool_full", bt)
		} else {
			a.push(bt)
		}
	}
	columns := []string{"calls", "total_exec_time", "rows", "wal_bytes", "temp_blk_read_time"}
	for n := range 200 {
		from := rnd.IntN(len(ticks) - 1)
		to := from + 1 + rnd.IntN(len(ticks)-1-from)
		database, user, text := []string{"", "", "d1", "d2", "oid:4"}[rnd.IntN(5)], []string{"", "", "u1", "oid:3"}[rnd.IntN(4)], []string{"", "", "SELECT A", "7"}[rnd.IntN(4)]
		query := url.Values{"limit": {strconv.Itoa(1 + rnd.IntN(70))}, "sort": {columns[rnd.IntN(len(columns))]}}
		for name, value := range map[string]string{"database": database, "user": user, "text": text} {
			if value != "" {
				query.Set(name, value)
			}
		}
		v := b.get("/api/v1/instances/"+a.ids[db1]+"/statements?"+window(ticks, from, to)+"&"+query.Encode(), 200)
		adds(t, v)
		for _, c := range columns {
			total := 0
			for _, f := range facts {
				matches := text == "" || f.query >= 0 && (text == "7" && f.query == 7 || text != "7" && f.query%3 == 0)
				if f.tick > from && f.tick <= to && (database == "" || f.database == database) && (user == "" || f.user == user) && matches {
					total += f.values[c]
				}
			}
			want := strconv.Itoa(total)
			if strings.HasSuffix(c, "_time") {
				want = fmt.Sprintf("%d.%03d", total/1000, total%1000)
			}
			if got := fmt.Sprint(dig(t, v, "total", c)); got != want {
				t.Fatalf("%d: %v: total %s is %s, want %s", n, query, c, got, want)
			}
		}
	}
}
