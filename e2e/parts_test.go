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
	metrics   string // URL of the store's database
}

// newParts makes a private server of a major with pg_stat_statements, to be watched,
// and a store. Nothing of ours runs yet.
func newParts(t *testing.T, major int, settings ...string) *parts {
	t.Helper()
	p := &parts{t: t, dir: pgtest.Dir(t), address: freeAddress(t)}
	p.watched = pgtest.Private(t, major, settings...)
	p.store = pgtest.PrivateStore(t, pgtest.StoreMajor(t), "fsync=on") // a store without fsync is refused
	pgtest.Exec(t, p.watched.URL("postgres"), "CREATE EXTENSION pg_stat_statements",
		"CREATE ROLE pganalytics LOGIN CONNECTION LIMIT 10", "GRANT pg_monitor TO pganalytics")
	p.metrics = pgtest.Create(t, p.store, "metrics")
	p.client = &client{t: t, base: "http://" + p.address}
	p.config = filepath.Join(p.dir, "collector.toml")
	return p
}

// startParts starts a backend and a collector that reads every second; extra is TOML
// for the collector.
func startParts(t *testing.T, major int, extra string) *parts {
	t.Helper()
	p := newParts(t, major)
	p.startBackend()
	p.token = p.secret("api-token")
	p.configure(p.base, 1, extra, instance{"watched", p.watched.URLAs("pganalytics", "postgres")})
	p.startCollector()
	return p
}

type instance struct{ name, url string }

// configure writes the collector's file.
func (p *parts) configure(backend string, interval int, extra string, instances ...instance) {
	p.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "[collector]\nname = \"e2e\"\ninterval = %d\ndata_dir = %q\n[backend]\nurl = %q\ntoken_file = %q\n%s\n",
		interval, filepath.Join(p.dir, "collector"), backend, filepath.Join(p.dir, "registration-token"), extra)
	for _, i := range instances {
		fmt.Fprintf(&text, "[[instances]]\nname = %q\nurl = %q\n", i.name, i.url)
	}
	if err := os.WriteFile(p.config, []byte(text.String()), 0o600); err != nil {
		p.t.Fatal(err)
	}
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
	p.backend = p.backendAt(p.address)
	p.waitHealthy(p.backend, 30*time.Second)
}

// backendAt starts a backend on the store; any number may run at once.
func (p *parts) backendAt(address string) *process {
	p.t.Helper()
	host, port, _ := strings.Cut(address, ":")
	return start(p.t, []string{
		"DATABASE_URL=" + p.metrics, "TIMESCALE_URL=" + p.metrics, "LISTEN=" + host, "PORT=" + port,
		"PGANALYTICS_API_TOKEN_FILE=" + filepath.Join(p.dir, "api-token"), "PGANALYTICS_REGISTRATION_TOKEN_FILE=" + filepath.Join(p.dir, "registration-token"),
	}, "backend")
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
