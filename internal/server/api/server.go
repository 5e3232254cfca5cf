package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	spec "github.com/pganalytics/pganalytics/api"
	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
	"github.com/pganalytics/pganalytics/internal/server/snapshot"
)

// Config is what the interface needs from the start.
type Config struct {
	Version      string
	Retention    time.Duration // ticks older than it are neither planned nor missing
	Demo         bool
	API          auth.Token
	Registration auth.Token
	UI           http.Handler // nil: no page
	Health       func(ctx context.Context) Health
	Startup      func() Startup // nil: no steps
	Limits       Limits
	Metrics      *prometheus.Registry
	Log          *slog.Logger
	Now          func() time.Time // nil: time.Now
}

// Startup is how far the process's start is.
type Startup struct {
	Started time.Time
	Steps   []StartupStep
}

// Store is what the interface needs once the store is ready.
type Store struct {
	Metrics  *pgxpool.Pool // the metrics database, migrated
	Sessions *auth.Sessions
	Fleet    *fleet.Fleet
	Ingest   *ingest.Ingest
}

// Server answers HTTP requests. Until SetStore all that needs the store is 503.
type Server struct {
	cfg    Config
	log    *slog.Logger
	now    func() time.Time
	store  atomic.Pointer[Store]
	prom   http.Handler
	count  *prometheus.CounterVec
	took   *prometheus.HistogramVec
	limits *limits
	routed http.Handler
}

// New makes the server; Config.API, Registration, Health, Metrics and Log must be set.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Log, now: cfg.Now}
	if s.now == nil {
		s.now = time.Now
	}
	s.prom = promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{})
	s.count = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pganalytics_http_requests_total", Help: "Requests answered, by route and status."}, []string{"route", "status"})
	s.took = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pganalytics_http_request_duration_seconds", Help: "Time to answer a request, by route.",
		Buckets: []float64{.005, .01, .025, .05, .1, .2, .3, .5, 1, 2.5, 5, 10, 30},
	}, []string{"route"})
	cfg.Metrics.MustRegister(s.count, s.took)
	s.limits = newLimits(cfg.Limits, cfg.Metrics)
	s.routed = s.handler()
	return s
}

// SetStore says that the store is ready, or (nil) that it is not.
func (s *Server) SetStore(st *Store) { s.store.Store(st) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routed.ServeHTTP(w, r) }

func (s *Server) gate() *auth.Gate {
	g := &auth.Gate{API: s.cfg.API, Registration: s.cfg.Registration}
	if st := s.store.Load(); st != nil {
		g.Sessions, g.Collectors = st.Sessions, st.Fleet
	}
	return g
}

// ready gives the store, or the 503 that says it is not there yet.
func (s *Server) ready() (*Store, error) {
	st := s.store.Load()
	if st == nil {
		return nil, unavailable("the store is not ready yet")
	}
	return st, nil
}

// read runs f in one consistent view of the store.
func (s *Server) read(r *http.Request, f func(ctx context.Context, tx pgx.Tx) error) error {
	st, err := s.ready()
	if err != nil {
		return err
	}
	return snapshot.Read(r.Context(), st.Metrics, func(tx pgx.Tx) error { return f(r.Context(), tx) })
}

// outer is what holds for every answer, the page's too.
func (s *Server) outer(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, newProblem(http.StatusForbidden, "a page of another origin may not do this"))
	}))
	guarded := cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		started := time.Now()
		out := &observed{ResponseWriter: w}
		defer func() {
			if v := recover(); v != nil {
				if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(v)
				}
				s.log.Error("request panicked", slog.String("route", r.Pattern), slog.String("err", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
				if out.status == 0 {
					s.fail(out, r, newProblem(http.StatusInternalServerError, "internal failure; the backend's log has it"))
				}
			}
			route := r.Pattern
			if route == "" {
				route = "refused"
			}
			s.count.WithLabelValues(route, fmt.Sprint(out.status)).Inc()
			s.took.WithLabelValues(route).Observe(time.Since(started).Seconds())
		}()
		guarded.ServeHTTP(out, r)
	})
}

// observed remembers the status of an answer.
type observed struct {
	http.ResponseWriter
	status int
}

func (o *observed) WriteHeader(status int) {
	if o.status == 0 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *observed) Write(b []byte) (int, error) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	return o.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (o *observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (s *Server) page() http.Handler {
	if s.cfg.UI != nil {
		return s.cfg.UI
	}
	return http.NotFoundHandler()
}

func (s *Server) health(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	h := s.cfg.Health(r.Context())
	status := http.StatusOK
	if h.Status == HealthStatusDown {
		status = http.StatusServiceUnavailable
	}
	s.reply(w, r, status, h)
	return nil
}

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request, _ auth.Caller) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(spec.Openapi)
	return nil
}

func (s *Server) startup(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	out := struct {
		Started Time          `json:"started"`
		Steps   []StartupStep `json:"steps"`
	}{Steps: []StartupStep{}}
	if s.cfg.Startup != nil {
		st := s.cfg.Startup()
		out.Started = seconds(st.Started.UnixMicro())
		out.Steps = append(out.Steps, st.Steps...)
	}
	s.reply(w, r, http.StatusOK, out)
	return nil
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	s.prom.ServeHTTP(w, r)
	return nil
}
