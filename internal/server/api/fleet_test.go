package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// field gives some fields of an object, "-" for those that are absent or null.
func fields(t testing.TB, v any, names ...string) string {
	t.Helper()
	var out []string
	for _, n := range names {
		x := dig(t, v, n)
		if x == nil {
			x = "-"
		}
		out = append(out, fmt.Sprint(x))
	}
	return strings.Join(out, " ")
}

// One instance that answers, one that is down, one that nobody has heard of, one
// whose collector fell silent; all numbers worked out by hand.
func TestFleet(t *testing.T) {
	b := newBed(t)
	now := time.Now().UTC().Truncate(time.Second)
	tick := func(before time.Duration) int64 { return now.Add(-before).UnixMicro() }
	a := b.agent("one", time.Minute, "up:5432", "down:5432", "new:5432")
	silent := b.agent("two", time.Minute, "gone:5432")

	fast := func(name string, before time.Duration) *frame.Batch {
		return batch(name, "postgres", catalog.Fast, tick(before))
	}
	slow := func(before time.Duration) *frame.Batch {
		return batch("up:5432", "postgres", catalog.Slow, tick(before))
	}
	session := func(state, kind string, n int) row {
		return row{"datname": "", "usename": "", "application_name": "", "backend_type": kind, "state": state, "wait_event_type": "", "wait_event": "", "sessions": n}
	}
	var ups, downs []*frame.Batch
	for before := 300 * time.Second; before >= 10*time.Second; before -= 10 * time.Second {
		u, d := fast("up:5432", before), fast("down:5432", before)
		d.Server = frame.Server{IntervalUs: 60_000_000}
		if before == 300*time.Second {
			plan(u, 10*time.Second, "", "activity")
			plan(d, 10*time.Second, "", "activity")
		}
		switch {
		case before == 200*time.Second: // no outcome at all: the batch is still on its way
			continue
		case before > 150*time.Second:
			add(u, "activity", "", 10_000, 1, session("active", "client backend", 4), session("", "checkpointer", 1))
		default:
			add(u, "activity", "", 10_000, 1, session("active", "client backend", 1), session("idle", "client backend", 6), session("", "walwriter", 1))
		}
		if before > 100*time.Second {
			add(d, "activity", "", 10_000, 1)
		} else {
			fail(d, frame.Failed, "connect", "connection refused", "activity")
		}
		ups, downs = append(ups, u), append(downs, d)
	}
	first := plan(slow(300*time.Second), time.Minute, "", "database", "wal", "collector", "statements")
	first.Schedules = append(first.Schedules, frame.Schedule{Family: "tables", Database: "secret", Lane: catalog.Slow, From: first.Tick, Reason: "no_connect", Detail: "no CONNECT", Remedy: `GRANT CONNECT ON DATABASE "secret" TO "monitor"`})
	first.Schedules[3].Limit, first.Schedules[3].Detail = "ids_hidden", "not a member of pg_read_all_stats"
	add(add(add(add(first, "database", "", 0, 0), "wal", "", 0, 0), "collector", "", 0, 0), "statements", "", 0, 0)
	var slows []*frame.Batch
	for i := range 4 {
		s := slow(time.Duration(240-60*i) * time.Second)
		add(s, "database", "", 60_000, 0, row{"datid": 5, "xact_commit": 540, "xact_rollback": 60, "blks_hit": 90, "blks_read": 10})
		add(s, "wal", "", 60_000, 0, row{"wal_bytes": 6_000})
		add(s, "collector", "", 60_000, 0, row{"cpu_time": 600_000, "busy_time": 2_400_000, "server_time": 1_200_000, "memory": 1000 + i, "memory_peak": 5000, "cycle_time": 250_000 + i*1000, "workers": 4,
			"spool_bytes": 10, "spool_max_bytes": 100, "spool_batches": 1, "spool_oldest_age": 0.5, "pool_open": 2, "pool_busy": 1, "pool_max": 10})
		cut(add(s, "statements", "", 60_000, 0, row{"dbid": 5, "userid": 10, "queryid": 1, "toplevel": true, "calls": 90, "total_exec_time": 999}), "statements", row{"dbid": 5, "userid": 10, "calls": 10, "total_exec_time": 1})
		slows = append(slows, s)
	}
	a.push(ups...)
	a.push(downs...)
	a.push(first)
	a.push(slows...)
	silent.push(add(plan(batch("gone:5432", "postgres", catalog.Fast, tick(300*time.Second)), 10*time.Second, "", "activity"), "activity", "", 0, 0))
	if _, err := b.pool.Exec(t.Context(), `UPDATE fleet_collector SET last_push = now() - interval '200 seconds' WHERE name = 'two'`); err != nil {
		t.Fatal(err)
	}

	// (tick 300, tick 0]: 240 s with 4 slow frames; fast ticks 290 … 10 s ago and now.
	q := fmt.Sprintf("?from=%d&to=%d", now.Unix()-300, now.Unix())
	v := b.get("/api/v1/instances"+q, 200)
	items := map[string]any{}
	for _, it := range v["items"].([]any) {
		items[dig(t, it, "name").(string)] = it
	}
	if len(items) != 4 {
		t.Fatalf("instances %v", items)
	}
	up := items["up:5432"]
	for _, c := range []struct{ names, want string }{
		{"status reason version role in_recovery incarnation max_connections system_identifier postmaster_start collector interval", "up - 16.4 monitor false 1 100 7000000000000000001 1750000000 one 60"},
		{"sessions active", "7 1"},
		// 29 ticks are 290 … 10 s ago; 14 - 1 of them saw 4, 15 saw 1: 67 / 28.
		{"active_mean", fmt.Sprint(67. / 28)},
		{"xacts_per_second hit_percent wal_bytes_per_second cost_percent", "10 90 100 2"},
		{"coverage_calls coverage_time", "0.9 0.999"},
		{"newest_data", fmt.Sprint(now.Unix() - 10)},
	} {
		if got := fields(t, up, strings.Fields(c.names)...); got != c.want {
			t.Errorf("up: %s: %s, want %s", c.names, got, c.want)
		}
	}
	// activity: 30 planned (290 … 0), 28 stored; slow: 4 families x 5 (240 … 0), 16 stored.
	if got := fields(t, dig(t, up, "counts"), "planned", "stored", "failed", "skipped", "dropped", "pending", "missing"); got != "50 44 0 0 0 6 0" {
		t.Errorf("up: counts %s", got)
	}
	if n := dig(t, up, "notes"); len(n.([]any)) != 2 || fields(t, dig(t, n, 0), "family", "reason", "planned") != "statements ids_hidden true" ||
		fields(t, dig(t, n, 1), "family", "database", "reason", "planned", "remedy") != `tables secret no_connect false GRANT CONNECT ON DATABASE "secret" TO "monitor"` {
		t.Errorf("up: notes %v", n)
	}
	if trend := dig(t, up, "active_trend").([]any); len(trend) != 60 || fmt.Sprint([]any{trend[0], trend[17], trend[18], trend[19], trend[20], trend[57]}) != "[4 4 <nil> <nil> 4 1]" {
		t.Errorf("up: trend %v", trend)
	}
	down := items["down:5432"]
	if got := fields(t, down, "status", "status_since", "reason", "sessions"); got != fmt.Sprintf("down %d connect: connection refused -", now.Unix()-100) {
		t.Errorf("down: %s", got)
	}
	if got := fields(t, dig(t, down, "counts"), "planned", "stored", "failed", "pending"); got != "30 18 10 2" {
		t.Errorf("down: counts %s", got)
	}
	if gaps := fmt.Sprint(dig(t, down, "gap_trend")); strings.Count(gaps, "1") != 10 {
		t.Errorf("down: gaps %s", gaps)
	}
	if got := fields(t, items["new:5432"], "status", "reason", "version", "newest_data", "active_mean", "xacts_per_second", "coverage_calls"); got != "unknown nothing heard yet  - - - -" {
		t.Errorf("new: %q", got)
	}
	if got := fields(t, items["gone:5432"], "status", "reason", "status_since", "sessions"); got != fmt.Sprintf("unknown collector two is silent %d -", now.Unix()-300) {
		t.Errorf("gone: %s", got)
	}
	if got := fields(t, dig(t, items["gone:5432"], "counts"), "planned", "stored", "pending", "missing"); got != "30 0 0 30" {
		t.Errorf("gone: counts %s", got)
	}

	one := b.get("/api/v1/instances/"+a.ids["up:5432"]+q, 200)
	if got := fields(t, one, "name", "status", "databases", "database_names"); got != "up:5432 up 1 [secret]" {
		t.Errorf("one: %s", got)
	}
	var families []string
	for _, f := range one["families"].([]any) {
		families = append(families, fields(t, f, "family", "lane", "every", "planned", "reason", "newest"))
	}
	newest := now.Unix() - 60
	if got, want := strings.Join(families, "; "), fmt.Sprintf("activity fast 10 true - %d; collector slow 60 true - %d; database slow 60 true - %d; statements slow 60 true ids_hidden %d; wal slow 60 true - %d; tables slow 0 false no_connect -",
		now.Unix()-10, newest, newest, newest, newest); got != want {
		t.Errorf("families\n%s\nwant\n%s", got, want)
	}

	v = b.get("/api/v1/collectors"+q, 200)
	col := dig(t, v, "items", 0)
	for _, c := range []struct{ names, want string }{
		{"name version hostname state interval", "one 1.0 host reporting 60"},
		{"memory_bytes memory_peak_bytes cycle_seconds workers spool_bytes spool_max_bytes spool_batches spool_oldest_age", "1003 5000 0.253 4 10 100 1 0.5"},
		{"pool_open pool_busy pool_max", "2 1 10"},
		{"cpu_percent busy_seconds coverage_calls", "1 0.6 0.9"},
	} {
		if got := fields(t, col, strings.Fields(c.names)...); got != c.want {
			t.Errorf("collector: %s: %s, want %s", c.names, got, c.want)
		}
	}
	if got := fields(t, dig(t, col, "counts"), "planned", "stored", "failed", "pending", "missing"); got != "80 62 10 8 0" {
		t.Errorf("collector: counts %s", got)
	}
	var watched []string
	for _, i := range dig(t, col, "instances").([]any) {
		watched = append(watched, fields(t, i, "name", "status", "cost_percent", "cost_ms_per_cycle"))
	}
	if got := strings.Join(watched, "; "); got != "down:5432 down - -; new:5432 unknown - -; up:5432 up 2 1200" {
		t.Errorf("collector: instances %s", got)
	}
	if got := fields(t, dig(t, v, "items", 1), "name", "state", "memory_bytes"); got != "two silent -" {
		t.Errorf("the other collector: %s", got)
	}
}

// The ledger over the API: planned is the sum of the six, items are the exceptions.
func TestLedger(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1, "db2:5432")
	tk := minutes(10)
	slow := func(i int) *frame.Batch { return batch(db1, "postgres", catalog.Slow, tk[i]) }
	first := plan(slow(0), time.Minute, "", "database", "wal")
	a.push(add(add(first, "database", "", 0, 0), "wal", "", 0, 0))
	a.push(add(fail(slow(1), frame.Failed, "lock_timeout", "canceling statement due to lock timeout", "wal"), "database", "", 60_000, 0))
	a.push(fail(slow(2), frame.Skipped, "overrun", "", "database", "wal"))
	a.drop("spool_full", add(add(slow(3), "database", "", 60_000, 0), "wal", "", 60_000, 0, row{"wal_bytes": 5}))
	restart := slow(8)
	restart.Outcomes = []frame.Outcome{{Family: "wal", Lane: catalog.Slow, First: tk[4], Last: tk[7], N: 4, Code: frame.Skipped, Reason: "collector_down"}}
	a.push(add(restart, "wal", "", 60_000, 0))

	v := b.get("/api/v1/ledger?"+window(tk, 0, 9), 200)
	if got := fields(t, v, "planned", "stored", "failed", "skipped", "dropped", "pending", "missing", "truncated"); got != "18 2 1 6 2 7 0 false" {
		t.Errorf("counts %s", got)
	}
	var items []string
	for _, it := range v["items"].([]any) {
		items = append(items, fields(t, it, "time", "database", "family", "outcome", "reason", "detail"))
	}
	if len(items) != 9 || items[0] != fmt.Sprintf("%d  wal skipped collector_down -", tk[7]/1_000_000) || items[8] != fmt.Sprintf("%d  wal failed lock_timeout canceling statement due to lock timeout", tk[1]/1_000_000) {
		t.Errorf("items\n%s", strings.Join(items, "\n"))
	}
	if got := fmt.Sprint(v["reasons"]); got != "[map[outcome:skipped reason:collector_down ticks:4] map[outcome:dropped reason:spool_full ticks:2] map[outcome:skipped reason:overrun ticks:2] map[outcome:failed reason:lock_timeout ticks:1]]" {
		t.Errorf("reasons %s", got)
	}
	v = b.get("/api/v1/ledger?limit=3&family=wal&instance="+a.ids[db1]+"&"+window(tk, 0, 9), 200)
	if got := fields(t, v, "planned", "stored", "failed", "skipped", "dropped", "pending", "missing", "truncated"); got != "9 1 1 5 1 1 0 true" || len(v["items"].([]any)) != 3 {
		t.Errorf("wal: %s, %v", got, v["items"])
	}
	v = b.get("/api/v1/ledger?instance="+a.ids["db2:5432"]+"&"+window(tk, 0, 9), 200)
	if got := fields(t, v, "planned", "items"); got != "0 []" {
		t.Errorf("the other instance: %s", got)
	}
	// The collector falls silent: what has no outcome is missing, and said so.
	if _, err := b.pool.Exec(t.Context(), `UPDATE fleet_collector SET last_push = now() - interval '181 seconds'`); err != nil {
		t.Fatal(err)
	}
	v = b.get("/api/v1/ledger?"+window(tk, 0, 9), 200)
	if got := fields(t, v, "planned", "pending", "missing"); got != "18 0 7" || fields(t, dig(t, v, "items", 0), "outcome", "reason") != "missing no_outcome" {
		t.Errorf("silent: %s, %v", got, dig(t, v, "items", 0))
	}
	v = b.get("/api/v1/ledger/grid?step=180&"+window(tk, 0, 9), 200)
	row := dig(t, v, "rows", 1)
	if got := fields(t, row, "instance_name", "collector", "family", "cells"); got != "db1:5432 one wal [[3 0 1 1 1 0 0] [3 0 0 3 0 0 0] [3 1 0 1 0 0 1]]" {
		t.Errorf("grid: %s", got)
	}
	// The missing tick arrives after all.
	a.push(add(add(slow(9), "database", "", 360_000, 0), "wal", "", 60_000, 0))
	v = b.get("/api/v1/ledger?family=wal&"+window(tk, 0, 9), 200)
	if got := fields(t, v, "planned", "stored", "pending", "missing"); got != "9 2 0 0" {
		t.Errorf("after the backlog: %s", got)
	}
}

func TestEvents(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	tk := minutes(10)
	slow := func(i int) *frame.Batch { return batch(db1, "postgres", catalog.Slow, tk[i]) }
	setting := func(name, value string) row {
		return row{"name": name, "setting": value, "unit": "8kB", "context": "sighup"}
	}
	a.push(add(plan(slow(0), time.Minute, "", "settings", "wal"), "settings", "", 0, 0, setting("work_mem", "512"), setting("shared_buffers", "100")))
	a.push(add(slow(1), "settings", "", 60_000, 0, setting("work_mem", "1024")))
	a.push(fail(slow(2), frame.Failed, "connect", "refused", "settings", "wal"), fail(slow(3), frame.Failed, "connect", "refused", "settings", "wal"))
	restarted := slow(4)
	restarted.Server.PostmasterStart += 3_600_000_000
	restarted.Unobserved = []frame.Unobserved{{Family: "statements", Reason: "restart", Since: tk[1], At: tk[4], Detail: "crash"}}
	a.push(add(restarted, "settings", "", 60_000, 0))
	later := fail(slow(6), frame.Skipped, "overrun", "", "wal")
	later.Server.PostmasterStart += 3_600_000_000
	a.push(later)
	v := b.get(fmt.Sprintf("/api/v1/events?from=%d&to=%d", tk[0]/1_000_000-60, tk[9]/1_000_000), 200)
	var got []string
	for _, e := range v["items"].([]any) {
		got = append(got, fields(t, e, "time", "until", "instance_name", "kind", "what"))
	}
	at := func(i int) int64 { return tk[i] / 1_000_000 }
	want := []string{
		fmt.Sprintf("%d - db1:5432 gap skipped (overrun): 1 tick of wal", at(6)),
		fmt.Sprintf("%d - db1:5432 restart restarted", at(4)),
		fmt.Sprintf("%d %d db1:5432 down no connection: refused", at(2), at(3)),
		fmt.Sprintf("%d - db1:5432 setting work_mem: 512 -> 1024 (8kB)", at(1)),
		fmt.Sprintf("%d %d db1:5432 unobserved restart: statements: crash", at(1), at(4)),
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if v := b.get(fmt.Sprintf("/api/v1/events?limit=2&instance=%s&from=%d&to=%d", a.ids[db1], at(0)-60, at(9)), 200); len(v["items"].([]any)) != 2 {
		t.Errorf("limit 2: %v", v["items"])
	}
}

// A secret in what the backend holds reaches no answer and no log line.
func TestNoSecretInAnswers(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	session := b.signIn(b.api.Reveal())
	secrets := map[string]string{"api token": b.api.Reveal(), "registration token": b.register.Reveal(), "collector token": a.token, "session": session.Value}
	paths := []string{"/", "/metrics", "/api/v1/health", "/api/v1/openapi.json", "/api/v1/session", "/api/v1/startup", "/api/v1/instances", "/api/v1/instances/" + a.ids[db1],
		"/api/v1/instances/" + a.ids[db1] + "/statements", "/api/v1/events", "/api/v1/ledger", "/api/v1/ledger/grid", "/api/v1/collectors", "/api/v1/nothing"}
	look := func(what, text string) {
		for name, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s holds the %s", what, name)
			}
		}
	}
	for _, p := range paths {
		for _, token := range []string{"", b.api.Reveal(), b.register.Reveal(), a.token} {
			w := b.send("GET", p, token, nil)
			look(p, w.Body.String()+fmt.Sprint(w.Header()))
		}
	}
	for _, body := range []string{`{"token":"` + b.register.Reveal() + `"}`, `{"token":"` + a.token + `","x":1}`, `{"token":["` + b.api.Reveal() + `"]}`, b.api.Reveal()} {
		look("a refused sign-in", b.send("POST", "/api/v1/session", "", strings.NewReader(body)).Body.String())
	}
	look("the log", b.log.String())
	// The store goes away: answers say so, and no more.
	b.pool.Close()
	for _, p := range paths[6:13] {
		w := b.send("GET", p, b.api.Reveal(), nil)
		if w.Code < 500 {
			t.Errorf("%s without a store: %d", p, w.Code)
		}
		for _, word := range []string{"postgres://", "127.0.0.1", "SELECT", "closed pool"} {
			if strings.Contains(w.Body.String(), word) {
				t.Errorf("%s without a store says %s", p, w.Body)
			}
		}
	}
	look("the log", b.log.String())
}

// Until the store is ready all that needs it is 503 with Retry-After, the rest works.
func TestBeforeTheStore(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	session := b.signIn(b.api.Reveal())
	b.server.SetStore(nil)
	for path, want := range map[string]int{"/api/v1/health": 200, "/api/v1/openapi.json": 200, "/": 200, "/api/v1/startup": 200, "/metrics": 200, "/api/v1/session": 200, "/api/v1/instances": 503, "/api/v1/collectors": 503} {
		w := b.send("GET", path, b.api.Reveal(), nil)
		if w.Code != want || want == 503 && w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d, Retry-After %q", path, w.Code, w.Header().Get("Retry-After"))
		}
	}
	for what, w := range map[string]int{
		"a push":         b.send("POST", "/api/v1/metrics/push", a.token, strings.NewReader("x"), "Content-Type", "application/vnd.pganalytics.envelopes").Code,
		"a registration": b.send("POST", "/api/v1/collectors/register", b.register.Reveal(), strings.NewReader(`{"id":"00000000000000000000000000000001","name":"x","version":"1","instances":[]}`)).Code,
		"a sign-in":      b.send("POST", "/api/v1/session", "", strings.NewReader(`{"token":"`+b.api.Reveal()+`"}`)).Code,
		"a session":      b.send("GET", "/api/v1/session", "", nil, "Cookie", session.String()).Code,
	} {
		if w != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", what, w)
		}
	}
}

// The store crashes and comes back: 503 in between, the same answers after, and no
// restart of ours.
func TestStoreComesBack(t *testing.T) {
	cluster := pgtest.PrivateStore(t, 15)
	b := bedOn(t, cluster)
	id, ticks := shop(b)
	session := b.signIn(b.api.Reveal())
	path := "/api/v1/instances/" + id + "/statements?" + before(ticks)
	want := b.send("GET", path, b.api.Reveal(), nil).Body.String()
	cluster.Kill(t)
	// Backends of a killed postmaster may answer a moment longer, and then truly.
	deadline := time.Now().Add(30 * time.Second)
	for away := 0; away < 20; {
		w := b.send("GET", path, b.api.Reveal(), nil)
		switch {
		case w.Code == http.StatusOK && w.Body.String() == want && time.Now().Before(deadline):
			away = 0
		case w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "127.0.0.1"):
			t.Fatalf("without its store: %d %s", w.Code, w.Body)
		default:
			away++
		}
	}
	// Whether a session is valid can't be known now: that is not 401.
	if w := b.send("GET", path, "", nil, "Cookie", session.String()); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a session without the store: %d", w.Code)
	}
	cluster.Start(t)
	if w := b.send("GET", path, b.api.Reveal(), nil); w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("with its store again: %d\n%s\nwant\n%s", w.Code, w.Body, want)
	}
	if w := b.send("GET", path, "", nil, "Cookie", session.String()); w.Code != http.StatusOK {
		t.Errorf("a session with the store again: %d", w.Code)
	}
}
