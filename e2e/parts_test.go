package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// parts are collector, backend and store as processes of their own, and a watched
// server; each can be killed.
type parts struct {
	*client
	t         *testing.T
	watched   *pgtest.Cluster
	store     *pgtest.Cluster
	backend   *process
	collector *process
	dir       string
	address   string
	config    string
}

// startParts watches a private server of a major with pg_stat_statements; extra is
// TOML for the collector.
func startParts(t *testing.T, major int, extra string) *parts {
	t.Helper()
	p := &parts{t: t, dir: pgtest.Dir(t), address: freeAddress(t)}
	p.watched = pgtest.Private(t, major)
	p.store = pgtest.Private(t, pgtest.StoreMajor(t), "fsync=on") // a store without fsync is refused
	pgtest.Exec(t, p.store.URL("postgres"), "CREATE DATABASE metrics")
	pgtest.Exec(t, p.watched.URL("postgres"), "CREATE EXTENSION pg_stat_statements",
		"CREATE ROLE pganalytics LOGIN CONNECTION LIMIT 10", "GRANT pg_monitor TO pganalytics")
	p.client = &client{t: t, base: "http://" + p.address}
	p.startBackend()
	p.token = p.secret("api-token")
	p.config = filepath.Join(p.dir, "collector.toml")
	text := fmt.Sprintf(`[collector]
name = "e2e"
interval = 1
data_dir = %q
[backend]
url = %q
token_file = %q
[[instances]]
name = "watched"
url = %q
%s`, filepath.Join(p.dir, "collector"), p.base, filepath.Join(p.dir, "registration-token"), p.watched.URLAs("pganalytics", "postgres"), "")
	// Sections come before the list of instances.
	text = strings.Replace(text, "[[instances]]", extra+"\n[[instances]]", 1)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.startCollector()
	return p
}

func (p *parts) secret(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func (p *parts) startBackend() {
	p.t.Helper()
	host, port, _ := strings.Cut(p.address, ":")
	p.backend = start(p.t, []string{
		"DATABASE_URL=" + p.store.URL("metrics"), "TIMESCALE_URL=" + p.store.URL("metrics"), "LISTEN=" + host, "PORT=" + port,
		"PGANALYTICS_API_TOKEN_FILE=" + filepath.Join(p.dir, "api-token"), "PGANALYTICS_REGISTRATION_TOKEN_FILE=" + filepath.Join(p.dir, "registration-token"),
	}, "backend")
	p.waitHealthy(p.backend, 30*time.Second)
}

func (p *parts) startCollector() {
	p.t.Helper()
	p.collector = start(p.t, nil, "collector", "--config", p.config)
}

// sql gives one value from the store.
func (p *parts) sql(query string, args ...any) (value int64) {
	p.t.Helper()
	p.row(query, args, &value)
	return value
}

// row reads one row from the store.
func (p *parts) row(query string, args []any, into ...any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.store.URL("metrics"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, query, args...).Scan(into...); err != nil {
		p.t.Fatalf("%s: %v", query, err)
	}
}

// account is the reply of /statements, as far as tests look.
type account struct {
	Items []struct {
		QueryID        string `json:"query_id"`
		Query          *string
		Database, User string
		Calls          float64
		TotalExecTime  float64 `json:"total_exec_time"`
		SharedBlksHit  float64 `json:"shared_blks_hit"`
		Rows           float64
	}
	Rest, Cut, Dropped, Total map[string]float64
	Unobserved                []struct{ Reason, Detail string }
	Coverage                  struct{ Calls, Time *float64 }
	Count                     int
}
