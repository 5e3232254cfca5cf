package api

import (
	"net/http"
	"strings"

	"github.com/pganalytics/pganalytics/internal/server/auth"
)

// route is one line of the table: what may be asked, and by whom.
type route struct {
	method, path string
	class        auth.Class
	handle       handle
	bucket       bucket // what bounds how often; "" for nothing
}

type handle func(s *Server, w http.ResponseWriter, r *http.Request, c auth.Caller) error

// bare is for routes that take no parameters.
func bare(f handle) handle {
	return func(s *Server, w http.ResponseWriter, r *http.Request, c auth.Caller) error {
		if _, err := s.params(r); err != nil {
			return err
		}
		return f(s, w, r, c)
	}
}

// routes are all routes of the specification. What is not here is refused, except the
// page, which holds nothing but itself.
var routes = []route{
	{"GET", "/api/v1/health", auth.Open, bare((*Server).health), ""},
	{"GET", "/api/v1/openapi.json", auth.Open, bare((*Server).openapi), ""},
	{"POST", "/api/v1/session", auth.Open, bare((*Server).signIn), bySignIn},
	{"GET", "/api/v1/session", auth.Reader, bare((*Server).session), ""},
	{"DELETE", "/api/v1/session", auth.Reader, bare((*Server).signOut), ""},
	{"GET", "/api/v1/startup", auth.Reader, bare((*Server).startup), ""},
	{"GET", "/api/v1/instances", auth.Reader, (*Server).instances, ""},
	{"GET", "/api/v1/instances/{id}", auth.Reader, (*Server).instance, ""},
	{"GET", "/api/v1/instances/{id}/statements", auth.Reader, (*Server).statements, ""},
	{"GET", "/api/v1/instances/{id}/statements/{query_id}", auth.Reader, (*Server).statement, ""},
	{"GET", "/api/v1/instances/{id}/series", auth.Reader, (*Server).series, ""},
	{"GET", "/api/v1/events", auth.Reader, (*Server).events, ""},
	{"GET", "/api/v1/ledger", auth.Reader, (*Server).ledger, ""},
	{"GET", "/api/v1/ledger/grid", auth.Reader, (*Server).ledgerGrid, ""},
	{"GET", "/api/v1/collectors", auth.Reader, (*Server).collectors, ""},
	{"POST", "/api/v1/collectors/register", auth.Registration, bare((*Server).register), byRegister},
	{"GET", "/api/v1/collectors/self/newest", auth.Collector, bare((*Server).newest), ""},
	{"POST", "/api/v1/metrics/push", auth.Collector, bare((*Server).push), byPush},
	{"GET", "/metrics", auth.Reader, (*Server).metrics, ""},
}

// handler builds the one place where requests are told apart and callers checked.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.Handle(rt.method+" "+rt.path, s.guard(rt))
	}
	// Deny by default: whatever else lies under these prefixes needs credentials to
	// learn even that it does not exist.
	unknown := s.guard(route{class: auth.Reader, handle: (*Server).unknown})
	for _, prefix := range []string{"/api", "/api/", "/metrics", "/metrics/"} {
		mux.Handle(prefix, unknown)
	}
	mux.Handle("/", s.page())
	return s.outer(mux)
}

// guard checks the caller against the route's class before anything else is read.
func (s *Server) guard(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		// An address is bounded before its credentials are looked at, which guesses them.
		err := s.limits.address(rt.bucket, r, s.now())
		var caller auth.Caller
		if err == nil {
			caller, err = s.gate().Check(r, rt.class)
		}
		if err == nil {
			err = s.limits.collector(rt.bucket, caller.Collector, s.now())
		}
		if err == nil {
			err = rt.handle(s, w, r, caller)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// unknown answers for paths and methods that are not in the table.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	var allowed []string
	for _, rt := range routes {
		m := http.NewServeMux()
		m.Handle(rt.path, http.NotFoundHandler())
		if _, pattern := m.Handler(&http.Request{Method: http.MethodGet, URL: r.URL, Host: r.Host}); pattern == rt.path {
			allowed = append(allowed, rt.method)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return newProblem(http.StatusMethodNotAllowed, "%s is not for %s; allowed: %s", r.URL.Path, r.Method, strings.Join(allowed, ", "))
	}
	return newProblem(http.StatusNotFound, "no route %s %s", r.Method, r.URL.Path)
}
