package pgtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const statementLimit = 60 * time.Second

// Option changes how Database makes one.
type Option func(*recipe)

type recipe struct {
	template string
	prepare  func(ctx context.Context, url string) error
}

// From copies the database from a template that prepare makes once per server; name tells
// templates apart. prepare must leave no connection open.
func From(name string, prepare func(ctx context.Context, url string) error) Option {
	return func(r *recipe) { r.template, r.prepare = name, prepare }
}

// templates are the template databases of one server.
type templates struct {
	sync.Mutex // held while copying too: PostgreSQL refuses a template that is in use
	made       map[string]string
}

var databases atomic.Int64

// Database makes a database for the test, drops it at the end and gives its URL (superuser).
func Database(t testing.TB, c *Cluster, options ...Option) string {
	t.Helper()
	var r recipe
	for _, option := range options {
		option(&r)
	}
	ctx, cancel := context.WithTimeout(context.Background(), statementLimit)
	defer cancel()
	template, err := c.template(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	name := databaseName(t.Name())
	c.templates.Lock()
	err = c.exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", quote(name), quote(template)))
	c.templates.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), statementLimit)
		defer cancel()
		if c.external == nil && c.PID() == 0 {
			return // a private server that the test stopped
		}
		if err := c.drop(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return c.URL(name)
}

// Connect opens a connection for the test and closes it at the end.
func Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), statementLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.Close(ctx) // the test may have killed the server
	})
	return conn
}

// Exec runs statements one by one over a connection of their own.
func Exec(t testing.TB, url string, statements ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), statementLimit)
	defer cancel()
	if err := exec1(ctx, url, statements); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) template(ctx context.Context, r recipe) (string, error) {
	if r.prepare == nil {
		if !c.timescale {
			return "template1", nil
		}
		r.template, r.prepare = "timescale", func(context.Context, string) error { return nil }
	}
	c.templates.Lock()
	defer c.templates.Unlock()
	if name, ok := c.templates.made[r.template]; ok {
		return name, nil
	}
	name := databaseName("template_" + r.template)
	if err := c.exec(ctx, "CREATE DATABASE "+quote(name)); err != nil {
		return "", err
	}
	if c.timescale {
		if err := exec1(ctx, c.URL(name), []string{"CREATE EXTENSION timescaledb"}); err != nil {
			return "", err
		}
	}
	if err := r.prepare(ctx, c.URL(name)); err != nil {
		return "", fmt.Errorf("prepare template %s: %w", r.template, err)
	}
	if c.timescale { // its workers sit in every database that has it and can be connected to
		if err := c.exec(ctx, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS false", quote(name)),
			fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", name)); err != nil {
			return "", err
		}
	}
	if c.templates.made == nil {
		c.templates.made = map[string]string{}
	}
	c.templates.made[r.template] = name
	return name, nil
}

func (c *Cluster) drop(ctx context.Context, name string) error {
	if c.Major >= 13 {
		return c.exec(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", quote(name)))
	}
	return c.exec(ctx,
		fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS false", quote(name)),
		fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", name),
		fmt.Sprintf("DROP DATABASE %s", quote(name)))
}

func (c *Cluster) exec(ctx context.Context, statements ...string) error {
	return exec1(ctx, c.URL("postgres"), statements)
}

func exec1(ctx context.Context, url string, statements []string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// databaseName keeps what is readable of a test's name; PostgreSQL cuts at 63 bytes.
func databaseName(test string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(test) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else {
			b.WriteByte('_')
		}
	}
	// A server that is not ours is shared with other test processes.
	return fmt.Sprintf("t%d_%d_%.40s", os.Getpid(), databases.Add(1), b.String())
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
