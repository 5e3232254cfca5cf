package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/pgserver"
)

// timescaleURL names a server with TimescaleDB, superuser; its databases of tests come and go.
const timescaleURL = "PGA_TEST_TIMESCALE_URL"

// timescale is the server of PGA_TEST_TIMESCALE_URL, nil when that is not set.
var timescale = sync.OnceValues(func() (*Cluster, error) {
	text := os.Getenv(timescaleURL)
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New(timescaleURL + ": want postgres://SUPERUSER@HOST:PORT/DATABASE")
	}
	c := &Cluster{external: u, timescale: true}
	ctx, cancel := context.WithTimeout(context.Background(), statementLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", timescaleURL, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int / 10000, split_part(current_setting('server_version'), ' ', 1),
		current_setting('data_directory'), (SELECT setting FROM pg_config WHERE name = 'BINDIR')`).Scan(&c.Major, &c.Version, &c.Dir, &c.bin.Dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", timescaleURL, err)
	}
	c.Port, _ = strconv.Atoi(u.Port())
	return c, nil
})

// Store gives the server that a test of the store runs on: like Server, but where
// PGA_TEST_TIMESCALE_URL is set, that one, or with settings one of its programs, and every database
// has TimescaleDB.
func Store(t testing.TB, major int, settings ...string) *Cluster {
	t.Helper()
	c, err := timescale()
	switch {
	case err != nil:
		t.Fatal(err)
	case c == nil:
		return Server(t, major, settings...)
	case len(settings) == 0:
		return c
	}
	return shareTimescale(t, c, settings)
}

// PrivateStore is Store for a test that stops, kills or reconfigures its server.
func PrivateStore(t testing.TB, major int, settings ...string) *Cluster {
	t.Helper()
	c, err := timescale()
	switch {
	case err != nil:
		t.Fatal(err)
	case c == nil:
		return Private(t, major, settings...)
	}
	own, err := launchTimescale(t, c, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.remove)
	return own
}

// Create makes a database of a given name, with TimescaleDB if the server's databases have it. It
// goes with a private server; nobody drops it before.
func Create(t testing.TB, c *Cluster, name string) string {
	t.Helper()
	Exec(t, c.URL("postgres"), "CREATE DATABASE "+quote(name))
	if c.timescale {
		Exec(t, c.URL(name), "CREATE EXTENSION timescaledb")
	}
	return c.URL(name)
}

// Timescale gives the server of PGA_TEST_TIMESCALE_URL, or skips the test.
func Timescale(t testing.TB) *Cluster {
	t.Helper()
	c, err := timescale()
	if err != nil {
		t.Fatal(err)
	}
	if c == nil {
		t.Skip(timescaleURL + " is not set: no server with TimescaleDB")
	}
	return c
}

func shareTimescale(t testing.TB, c *Cluster, settings []string) *Cluster {
	t.Helper()
	key := "timescale\x00" + strings.Join(settings, "\x00")
	shared.Lock()
	defer shared.Unlock()
	if own, ok := shared.clusters[key]; ok {
		return own
	}
	own, err := launchTimescale(t, c, settings)
	if err != nil {
		t.Fatal(err)
	}
	shared.clusters[key] = own
	return own
}

// launchTimescale starts a server with the programs that c runs.
func launchTimescale(t testing.TB, c *Cluster, settings []string) (*Cluster, error) {
	t.Helper()
	found := pgserver.Installed(c.bin.Dir)
	i := slices.IndexFunc(found, func(b pgserver.Binaries) bool { return b.Major == c.Major })
	if i < 0 {
		t.Skipf("the programs of %s's server are not on this machine (%s): no server of the test's own with TimescaleDB", timescaleURL, c.bin.Dir)
	}
	return launchOn(found[i], true, append([]string{"shared_preload_libraries=timescaledb,pg_stat_statements", "timescaledb.telemetry_level=off", "max_worker_processes=32"}, settings...))
}
