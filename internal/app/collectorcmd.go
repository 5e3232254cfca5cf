package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent"
)

type collectorCommand struct {
	Config string `help:"Configuration file (see collector/config.toml)." required:"" placeholder:"FILE"`
	Once   bool   `help:"Read everything once, print it as a table and end: no spool, no state, no push." xor:"mode"`
	Check  bool   `help:"Test configuration, connections and privileges; say what is missing and what mends it." xor:"mode"`
}

// Run watches the configured instances until it is told to end.
func (c *collectorCommand) Run(ctx context.Context, con *console) error {
	cfg, warnings, err := loadCollector(c.Config, con.environ)
	if err != nil {
		return err
	}
	log, err := newLog(con.stdout, con.setting("LOG_LEVEL"), con.setting("LOG_FORMAT"))
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintf(con.stderr, "warning: %s\n", w)
	}
	switch {
	case c.Once, c.Check:
		if len(cfg.Instances) == 0 {
			return usagef("%s: instances: none: want at least one [[instances]] section with a url", c.Config)
		}
		if c.Once {
			return agent.Once(ctx, cfg, con.stdout)
		}
		ok, err := agent.Check(ctx, cfg, con.stdout)
		if err == nil && (!checkBackend(ctx, cfg, con.stdout) || !ok) {
			err = errFailed
		}
		return err
	}
	if err := cfg.Running(); err != nil {
		return usageError{fmt.Errorf("%s: %w", c.Config, err)}
	}
	client, err := backendClient(cfg.Backend)
	if err != nil {
		return err
	}
	collectGarbageEarly(con.getenv)
	a, err := agent.New(cfg, agent.Deps{Log: log, Client: client, Version: Version})
	if err != nil {
		return usageError{fmt.Errorf("%s: %w", c.Config, err)}
	}
	defer outliveReader()()
	stages := newStages(ctx, grace)
	interval := time.Duration(cfg.Collector.Interval) * time.Second
	stages.run("health", func(ctx context.Context) error {
		return serveCollectorHealth(ctx, cfg.Collector.DataDir, a.Status, interval, log)
	})
	stages.run("collector", a.Run)
	err = stages.wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// collectGarbageEarly keeps the process small: it lives beside the servers that it
// watches. Rounds use most of their memory again, so that collecting twice as often
// costs little. Whoever set how it is to be done is obeyed.
func collectGarbageEarly(getenv func(string) string) {
	if getenv("GOGC") == "" && getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(50)
	}
}

// backendClient trusts the system's authorities, or those of ca_file alone.
func backendClient(cfg agent.BackendConfig) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, usagef("backend.ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, usagef("backend.ca_file = %q: holds no certificate in PEM", cfg.CAFile)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{Transport: transport, Timeout: 60 * time.Second}, nil
}
