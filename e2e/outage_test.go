package e2e

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// TestStoreDown: with the store stopped the backend lives on, says so to everyone
// who asks, and can still be measured; when the store is back nothing was lost.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	p := startParts(t, 15, "")
	id := p.instance("watched")
	from := time.Now().Unix()
	anyone := &client{t: t, base: p.base}
	code := func(c *client, path string) (int, string) {
		t.Helper()
		status, body, err := c.raw(path)
		if err != nil {
			t.Fatal(err)
		}
		return status, string(body)
	}
	p.store.Stop(t)
	var health struct {
		Status     string
		Components map[string]struct{ Status, Detail string }
	}
	eventually(t, 10*time.Second, func() string {
		status, body := code(anyone, "/api/v1/health")
		if err := json.Unmarshal([]byte(body), &health); err != nil {
			t.Fatal(err)
		}
		if status != http.StatusServiceUnavailable || health.Status != "down" || health.Components["timescale"].Status != "down" || health.Components["ui"].Status != "ok" {
			return strconv.Itoa(status) + ": " + body
		}
		return ""
	})
	if out, _, exit := run(t, nil, "health", "--url", p.base); exit != 1 || !strings.Contains(out, "timescale") {
		t.Errorf("pganalytics health: exit code %d\n%s", exit, out)
	}
	for _, ask := range []struct {
		who    *client
		path   string
		status int
		want   string
	}{
		{anyone, "/", 200, "<html"},
		{anyone, "/instances/1", 200, "<html"}, // the page's own route
		{anyone, "/api/v1/openapi.json", 200, "openapi"},
		{anyone, "/metrics", 401, ""},
		{p.client, "/metrics", 200, "pganalytics_ingest_queue"},
		{anyone, "/api/v1/instances", 401, ""},
		{p.client, "/api/v1/instances", 503, "store"},
		{p.client, "/api/v1/instances/" + id + "/series?family=wal", 400, ""},
	} {
		began := time.Now()
		if status, body := code(ask.who, ask.path); status != ask.status || !strings.Contains(body, ask.want) {
			t.Errorf("%s with the store down: status %d, want %d with %q\n%s", ask.path, status, ask.status, ask.want, last(body, 500))
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s with the store down", ask.path, took)
		}
	}
	time.Sleep(3 * time.Second)
	p.store.Start(t)
	p.waitHealthy(p.backend, 20*time.Second)
	eventually(t, 20*time.Second, func() string {
		var l outcomes
		if _, err := p.try(&l, "/api/v1/ledger", "instance", id, "from", strconv.FormatInt(from, 10), "limit", "10000"); err != nil {
			return err.Error()
		}
		if l.Stored < 20 {
			return l.String()
		}
		return l.lost()
	})
	checkOnce(t, p)
}

// TestSecrets plants passwords wherever one may stand, lets everything happen that
// could show one, and looks into every log, every answer and every row.
func TestSecrets(t *testing.T) {
	t.Parallel()
	const planted = "planted-"
	p := newParts(t, 17)
	withPassword := func(url, password string) string {
		u, rest, _ := strings.Cut(url, "@")
		return u + ":" + planted + password + "@" + rest
	}
	p.metrics = withPassword(p.metrics, "store")
	p.startBackend()
	p.token = p.secret("api-token")
	p.configure(p.base, 1, "[families.statement_texts]\nevery = 2\n", instance{"watched", withPassword(p.watched.URLAs("pganalytics", "postgres"), "watched")},
		instance{"nobody", "postgres://pganalytics:" + planted + "nobody@127.0.0.1:1/postgres"})
	p.startCollector()
	id := p.instance("watched")
	watched := pgtest.Connect(t, p.watched.URL("postgres"))
	for _, sql := range []string{
		"CREATE ROLE shop LOGIN",
		"ALTER ROLE shop PASSWORD 'planted-alter'", "CREATE ROLE other PASSWORD 'planted-create' LOGIN", "ALTER USER shop WITH ENCRYPTED PASSWORD 'planted-encrypted'",
		"ALTER USER shop PASSWORD E'planted-\\'escape'", "ALTER USER shop PASSWORD $$planted-dollar$$",
		"CREATE EXTENSION postgres_fdw", "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
		"CREATE USER MAPPING FOR shop SERVER s OPTIONS (user 'shop', password 'planted-mapping')", "ALTER USER MAPPING FOR shop SERVER s OPTIONS (SET password 'planted-again')",
		"CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1 port=1 user=shop password=planted-subscription' PUBLICATION pub WITH (connect = false)",
		"ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1 password=planted-conninfo'", "SELECT pg_reload_conf()",
	} {
		if _, err := watched.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	// Seen in the act: a statement that is running has its text in pg_stat_activity.
	slow := pgtest.Connect(t, p.watched.URL("postgres"))
	go func() {
		_, _ = slow.Exec(t.Context(), "SELECT pg_sleep(4), 'ALTER ROLE shop PASSWORD ''planted-active'''", pgx.QueryExecModeSimpleProtocol)
	}()
	hidden := func() string {
		var a account
		p.get(&a, "/api/v1/instances/"+id+"/statements", "limit", "10000")
		roles, mappings := 0, 0
		for _, i := range a.Items {
			if i.Query == nil {
				return "statement " + i.QueryID + " has no text yet"
			}
			text := strings.ToUpper(*i.Query)
			if strings.Contains(text, "PASSWORD") && (strings.Contains(text, "ROLE") || strings.Contains(text, "USER")) {
				roles++
			}
			if strings.Contains(text, "USER MAPPING") {
				mappings++
			}
		}
		if roles < 4 || mappings < 2 {
			return "the statements with passwords are not there: " + strconv.Itoa(roles) + " of roles, " + strconv.Itoa(mappings) + " of mappings"
		}
		if p.sql(`SELECT count(*) FROM settings_raw WHERE name = 'primary_conninfo' AND setting <> ''`) == 0 {
			return "the setting with a password is not there"
		}
		return ""
	}
	eventually(t, 30*time.Second, hidden)

	// Answers.
	var seen []string
	look := func(where, text string) {
		if i := strings.Index(text, planted); i >= 0 {
			seen = append(seen, where+": …"+text[max(0, i-100):min(len(text), i+40)]+"…")
		}
	}
	var list struct {
		Items []struct {
			ID string `json:"query_id"`
		}
	}
	p.get(&list, "/api/v1/instances/"+id+"/statements", "limit", "10000")
	paths := []string{"/", "/metrics", "/api/v1/health", "/api/v1/startup", "/api/v1/openapi.json", "/api/v1/instances", "/api/v1/instances/" + id, "/api/v1/collectors",
		"/api/v1/events", "/api/v1/ledger?limit=10000", "/api/v1/ledger/grid", "/api/v1/instances/" + id + "/statements?limit=10000",
		"/api/v1/instances/planted", "/api/v1/instances/" + id + "/series?family=activity&column=sessions&fn=avg&by=usename"}
	for _, i := range list.Items {
		paths = append(paths, "/api/v1/instances/"+id+"/statements/"+i.ID)
	}
	for _, path := range paths {
		_, body, err := p.raw(path)
		if err != nil {
			t.Fatal(err)
		}
		look(path, string(body))
	}
	// Rows.
	var tables []string
	store := pgtest.Connect(t, p.store.URL("metrics"))
	rows, _ := store.Query(t.Context(), `SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 20 {
		t.Fatalf("tables %v: %v", tables, err)
	}
	for _, table := range tables {
		var row *string
		if err := store.QueryRow(t.Context(), "SELECT max(x::text) FROM "+table+" x WHERE x::text LIKE '%planted-%'").Scan(&row); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		if row != nil {
			look(table, *row)
		}
	}
	// Logs, also of trouble.
	p.watched.Stop(t)
	p.store.Stop(t)
	time.Sleep(3 * time.Second)
	look("the collector's log", p.collector.out.String())
	look("the backend's log", p.backend.out.String())
	for _, mode := range []string{"--check", "--once"} {
		out, errs, _ := run(t, nil, "collector", "--config", p.config, mode)
		look("collector "+mode, out+errs)
	}
	p.backend.kill()
	again := p.backendAt(p.address)
	time.Sleep(2 * time.Second)
	look("the log of a backend without its store", again.out.String())
	for _, s := range seen {
		t.Error(s)
	}
}
