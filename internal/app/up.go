package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent"
	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/app/demo"
	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/server/api"
)

type upCommand struct {
	Demo        bool     `help:"Add a private server with a small shop at work, to have something to look at."`
	Listen      string   `help:"Address to listen on." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	DataDir     string   `help:"Where everything is kept; /var/lib/pganalytics for root, else $XDG_DATA_HOME/pganalytics." placeholder:"DIR"`
	Interval    string   `help:"Time between two readings, 1s to 24h (10s)." placeholder:"TIME"` // no default: the environment comes between
	Retention   string   `help:"How long data is kept, at least 1d." default:"14d" placeholder:"TIME"`
	Store       string   `help:"Keep the data in this database instead of a private PostgreSQL." placeholder:"URL"`
	PostgresBin string   `help:"Folder of PostgreSQL's programs for the private servers." placeholder:"DIR"`
	LogLevel    string   `help:"debug, info, warn or error." default:"warn"`
	LogFormat   string   `help:"text or json." default:"text"`
	Instances   []string `arg:"" optional:"" name:"INSTANCE_URL" help:"Servers to watch: postgres://USER@HOST:PORT/DATABASE. All their databases are watched."`

	retention time.Duration
	limits    api.Limits
	started   *startup
	log       *slog.Logger
	hurry     <-chan struct{} // closed when the user has asked twice for the end
}

// Help is shown with --help.
func (c *upCommand) Help() string {
	return `Examples:
  pganalytics up --demo
  pganalytics up postgres://pganalytics@db1:5432/postgres
  PGPASSWORD=… pganalytics up --interval 30s --listen 0.0.0.0:8080 postgres://pganalytics@db1/postgres

The role needs pg_monitor, no more; what is missing is shown on the page with the statement that
mends it. Keys of the collector's configuration come from the environment, such as
PGANALYTICS_POSTGRESQL_QUERY_STATS_LIMIT=1000.`
}

// grace is how long everything may take to end, so that it is over within the 10 s that
// are promised; PostgreSQL gets its share last.
const (
	grace         = 9 * time.Second
	postgresGrace = 3 * time.Second
)

// Run starts store, backend, demo and collector in this order, and ends them from
// source to sink: collector, demo, backend, store.
func (c *upCommand) Run(ctx context.Context, con *console) error {
	cfg, err := c.check(con)
	if err != nil {
		return err
	}
	if c.log, err = newLog(con.stdout, setting{"--log-level", c.LogLevel}, setting{"--log-format", c.LogFormat}); err != nil {
		return err
	}
	defer outliveReader()()
	hurry, release := secondSignal()
	defer release()
	c.hurry = hurry
	lock, err := openDataDir(c.DataDir)
	if err != nil {
		return err
	}
	defer lock.Release()
	// Only a running one has an address: after kill -9 the file is still there, and who
	// listens there now may be anybody.
	forget := func() { _ = os.Remove(filepath.Join(c.DataDir, addressFile)) }
	forget()
	defer forget()
	// The port is claimed first: no server is started for nothing.
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer listener.Close()

	c.started = newStartup(con.stdout)
	fmt.Fprintf(con.stdout, "pgAnalytics %s, data in %s\n", Version, c.DataDir)
	stages := newStages(ctx, grace)
	stages.hurry = c.hurry
	err = c.start(stages, con, cfg, listener)
	if err != nil {
		stages.stop(err)
	}
	err = stages.wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		fmt.Fprintln(con.stdout, "ended")
		return nil
	}
	return c.explain(err)
}

func (c *upCommand) start(stages *stages, con *console, cfg agent.Config, listener net.Listener) error {
	storeURL, storeHealth, err := c.startStore(stages)
	if err != nil {
		return err
	}
	end := c.started.begin("Backend", "starting")
	back, err := startBackend(stages, backendOptions{
		metricsURL: storeURL, appURL: storeURL, listener: listener, retention: c.retention, log: c.log,
		apiTokenFile: filepath.Join(c.DataDir, tokenFile), registrationTokenFile: filepath.Join(c.DataDir, registrationFile),
		startup: c.started, storeHealth: storeHealth, demo: c.Demo, limits: c.limits,
	})
	if err != nil {
		end("", err)
		return err
	}
	base := "http://" + browsable(listener.Addr())
	ready, err := back.waitReady(stages.context())
	if err != nil {
		end("", err)
		return err
	}
	detail := "listening on " + listener.Addr().String()
	if !ready {
		detail += ", the store is not ready yet; until then the collector keeps what it reads"
	}
	end(detail, nil)
	if err := os.WriteFile(filepath.Join(c.DataDir, addressFile), []byte(base+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the address file: %w", err)
	}
	fmt.Fprintf(con.stdout, "\n  Open  %s/#token=%s\n\n", base, back.signInLink())

	if c.Demo {
		in, err := c.startDemo(stages)
		if err != nil {
			return err
		}
		cfg.Instances = append(cfg.Instances, in)
		// Who looks around does not want to wait five minutes for a rare statement's text.
		if _, own := cfg.Families["statement_texts"]; !own {
			cfg.Families = map[string]agent.FamilyConfig{"statement_texts": {Every: max(30, cfg.Collector.Interval)}}
		}
		cfg.Normalize()
		if err := cfg.Validate(); err != nil {
			return usageError{err}
		}
	}
	end = c.started.begin("Collector", "starting")
	cfg.Collector.DataDir = filepath.Join(c.DataDir, collectorDir)
	cfg.Backend = agent.BackendConfig{URL: "http://in-process", TokenFile: filepath.Join(c.DataDir, registrationFile)}
	watcher, err := agent.New(cfg, agent.Deps{Log: c.log, Client: back.client(), Version: Version})
	if err != nil {
		end("", err)
		return usageError{err}
	}
	stages.run("collector", watcher.Run)
	interval := time.Duration(cfg.Collector.Interval) * time.Second
	end(fmt.Sprintf("watching %d %s every %s", len(cfg.Instances), plural(len(cfg.Instances), "server"), interval), nil)
	return nil
}

// startStore runs the embedded store, unless --store names one.
func (c *upCommand) startStore(stages *stages) (string, func() error, error) {
	end := c.started.begin("Store", "starting")
	if c.Store != "" {
		err := prepareStore(stages.context(), c.Store)
		end(target.MaskURL(c.Store), err)
		return c.Store, nil, err
	}
	dir := filepath.Join(c.DataDir, storeDir)
	server, bin, err := c.privateServer(dir, pgserver.Config{Settings: map[string]string{
		"max_connections": "50", "shared_buffers": "128MB", "max_wal_size": "1GB", "wal_compression": "on",
	}})
	if err == nil {
		err = stages.ready("store", server.Run, server.Ready())
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(stages.context(), 30*time.Second)
		defer cancel()
		err = server.CreateDatabase(ctx, "metrics")
	}
	if err != nil {
		end("", c.explain(err))
		return "", nil, err
	}
	detail := "private PostgreSQL " + bin.Version + " in " + dir
	if bin.Instead != "" {
		detail += "; its programs are in " + bin.Dir + ", for --postgres-bin holds none that fits: " + bin.Instead
	}
	end(detail, nil)
	return server.URL("metrics"), func() error {
		if !server.Healthy() {
			return errors.New("the private PostgreSQL is down; it is being started again")
		}
		return nil
	}, nil
}

func (c *upCommand) startDemo(stages *stages) (agent.InstanceConfig, error) {
	end := c.started.begin("Demo", "starting a shop")
	in, err := func() (agent.InstanceConfig, error) {
		server, _, err := c.privateServer(filepath.Join(c.DataDir, demoDir), pgserver.Config{
			Listen: "127.0.0.1", Settings: demo.Settings(), NoSync: true, Superuser: demo.Superuser,
		})
		if err != nil {
			return agent.InstanceConfig{}, err
		}
		if err := stages.ready("demo server", server.Run, server.Ready()); err != nil {
			return agent.InstanceConfig{}, err
		}
		shop, err := demo.Prepare(stages.context(), server.URL("postgres"), c.log)
		if err != nil {
			return agent.InstanceConfig{}, err
		}
		stages.run("demo shop", shop.Run)
		return agent.InstanceConfig{Name: "demo-shop", URL: shop.URL(), Labels: map[string]string{"env": "demo"}}, nil
	}()
	if err != nil {
		end("", c.explain(err))
		return in, err
	}
	end("a small shop at work, instance demo-shop", nil)
	return in, nil
}

func (c *upCommand) privateServer(dir string, cfg pgserver.Config) (*pgserver.Server, pgserver.Binaries, error) {
	bin, err := pgserver.Find(pgserver.Search{Dir: c.PostgresBin, DataDir: dir})
	if err != nil {
		return nil, bin, err
	}
	cfg.Binaries, cfg.DataDir, cfg.Grace, cfg.Hurry, cfg.Log = bin, dir, postgresGrace, c.hurry, c.log
	server, err := pgserver.New(cfg)
	return server, bin, err
}

// explain turns what the user can mend into a usage error.
func (c *upCommand) explain(err error) error {
	var impassable *pgserver.ImpassableError
	var missing *pgserver.NotFoundError
	if errors.As(err, &impassable) || errors.As(err, &missing) {
		return usageError{err}
	}
	return err
}

// browsable is an address to open in a browser on this machine.
func browsable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
