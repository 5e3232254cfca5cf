package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/pganalytics/pganalytics/internal/server/api"
	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Config is what a backend needs. MetricsURL, Listener, the token files and Log must be given.
type Config struct {
	Version    string
	MetricsURL string // TIMESCALE_URL: the database of everything that is measured
	AppURL     string // DATABASE_URL: sessions and configuration; "" or the same: one database
	// Listener is closed by Run. nil: the backend answers through Handler only.
	Listener  net.Listener
	TLS       *tls.Config // nil: plain HTTP
	Retention time.Duration
	// APITokenFile and RegistrationTokenFile are made with a new token when missing.
	APITokenFile, RegistrationTokenFile string
	Demo                                bool
	UI                                  http.Handler       // nil: no page
	UIDetail                            string             // what health says of the page, "" nothing
	Startup                             func() api.Startup // nil: no steps
	// StoreHealth says what whoever runs the store knows of it; nil: nobody here does.
	StoreHealth func() error
	// AllowFsyncOff accepts a store that loses what it confirmed when its machine
	// crashes; for tests.
	AllowFsyncOff bool
	MaxConns      int32 // connections to each database; 0: 10
	Limits        api.Limits
	Log           *slog.Logger
}

const (
	minRetention   = 24 * time.Hour
	requestsEnd    = 5 * time.Second // for requests that are being answered, when it ends
	maxHeaderBytes = 64 << 10
)

// Backend is one backend.
type Backend struct {
	cfg      Config
	log      *slog.Logger
	metrics  *pgxpool.Pool
	app      *pgxpool.Pool
	sessions *auth.Sessions
	api      *api.Server
	registry *prometheus.Registry

	state   atomic.Pointer[state] // nil until the store is ready
	waiting atomic.Pointer[string]
	health  healthCache
}

// New checks the configuration and loads or makes the tokens; it connects to nothing.
func New(cfg Config) (*Backend, error) {
	if cfg.Retention < minRetention {
		return nil, fmt.Errorf("retention = %s: want at least %s", cfg.Retention, minRetention)
	}
	if cfg.AppURL == "" {
		cfg.AppURL = cfg.MetricsURL
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 10
	}
	apiToken, err := auth.LoadToken(cfg.APITokenFile)
	if err != nil {
		return nil, err
	}
	registration, err := auth.LoadToken(cfg.RegistrationTokenFile)
	if err != nil {
		return nil, err
	}
	b := &Backend{cfg: cfg, log: cfg.Log, registry: prometheus.NewRegistry()}
	b.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if b.metrics, err = store.Open(cfg.MetricsURL, store.Options{MaxConns: cfg.MaxConns}); err != nil {
		return nil, fmt.Errorf("metrics database: %w", err)
	}
	b.app = b.metrics
	if cfg.AppURL != cfg.MetricsURL {
		if b.app, err = store.Open(cfg.AppURL, store.Options{MaxConns: cfg.MaxConns}); err != nil {
			b.metrics.Close()
			return nil, fmt.Errorf("configuration database: %w", err)
		}
	}
	b.poolMetrics("metrics", b.metrics)
	if b.app != b.metrics {
		b.poolMetrics("pganalytics", b.app)
	}
	b.sessions = auth.NewSessions(b.app, apiToken)
	b.api = api.New(api.Config{
		Version: cfg.Version, Retention: cfg.Retention, Demo: cfg.Demo, API: apiToken, Registration: registration,
		UI: cfg.UI, Health: b.Health, Startup: cfg.Startup, Metrics: b.registry, Log: cfg.Log, Limits: cfg.Limits,
	})
	return b, nil
}

func (b *Backend) poolMetrics(database string, pool *pgxpool.Pool) {
	for state, value := range map[string]func(*pgxpool.Stat) int32{"acquired": (*pgxpool.Stat).AcquiredConns, "idle": (*pgxpool.Stat).IdleConns, "max": (*pgxpool.Stat).MaxConns} {
		b.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pganalytics_pool_connections", Help: "Connections to the store.", ConstLabels: prometheus.Labels{"database": database, "state": state},
		}, func() float64 { return float64(value(pool.Stat())) }))
	}
}

// Handler answers the requests that Run's listener would get; the collector of `up` uses it in
// process.
func (b *Backend) Handler() http.Handler { return b.api }

// SignInToken makes a token that can be exchanged for a session once.
func (b *Backend) SignInToken() auth.Token { return b.sessions.NewLink() }

// Run serves until ctx ends, then ends within 8 s. An error is a store that can't be one
// (store.ErrUnfit) or a listener that broke; a store that can't be reached is neither. It runs once.
func (b *Backend) Run(ctx context.Context) error {
	defer b.closePools()
	// The parts behind HTTP outlive it.
	behind, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, 2)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.runStore(behind); err != nil {
			failed <- err
		}
	})
	srv := &http.Server{
		Handler: b.api, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, WriteTimeout: 3 * time.Minute,
		MaxHeaderBytes: maxHeaderBytes, TLSConfig: b.cfg.TLS, ErrorLog: slog.NewLogLogger(quiet{b.log.Handler()}, slog.LevelDebug),
	}
	if b.cfg.Listener != nil {
		wg.Go(func() {
			var err error
			if b.cfg.TLS != nil {
				err = srv.ServeTLS(b.cfg.Listener, "", "")
			} else {
				err = srv.Serve(b.cfg.Listener)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve HTTP: %w", err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestsEnd)
	defer cancel()
	if e := srv.Shutdown(limit); e != nil {
		_ = srv.Close() // requests that would not end
	}
	stop()
	wg.Wait()
	return err
}

func (b *Backend) closePools() {
	// Close waits for connections that are in use; whoever uses one has a deadline.
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.metrics.Close()
		if b.app != b.metrics {
			b.app.Close()
		}
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
	}
}

// quiet hands what net/http logs (peers that vanish, bad TLS) to our log as debug messages.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, slog.LevelDebug, "http connection", 0)
	out.AddAttrs(slog.String("detail", r.Message))
	return q.Handler.Handle(ctx, out)
}
