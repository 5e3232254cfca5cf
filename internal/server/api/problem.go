package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/series"
)

// Error makes a Problem an error that handlers return.
type problemError struct {
	Problem
	retry int // seconds, 0: no Retry-After
}

func (p *problemError) Error() string { return fmt.Sprintf("%d: %s", p.Status, p.Detail) }

func newProblem(status int, format string, args ...any) *problemError {
	return &problemError{Problem: Problem{Title: http.StatusText(status), Status: int64(status), Detail: fmt.Sprintf(format, args...)}}
}

// maxEcho bounds how much of a wrong value is repeated.
const maxEcho = 100

// badParameter is a 400 that names the parameter and repeats its value.
func badParameter(name, value, want string) *problemError {
	if len(value) > maxEcho {
		value = string(bytes.ToValidUTF8([]byte(value[:maxEcho]), nil)) + "…"
	}
	p := newProblem(http.StatusBadRequest, "%s %q: %s", name, value, want)
	p.Parameter, p.Value = &name, &value
	return p
}

// unsupported is a 415 that names the header.
func unsupported(header, value, want string) *problemError {
	p := badParameter(header, value, want)
	p.Status, p.Title = http.StatusUnsupportedMediaType, http.StatusText(http.StatusUnsupportedMediaType)
	return p
}

func notFound(what, id string) *problemError {
	return newProblem(http.StatusNotFound, "no %s %q", what, id)
}

func unavailable(detail string) *problemError {
	p := newProblem(http.StatusServiceUnavailable, "%s", detail)
	p.retry = 2
	return p
}

// problemOf turns any error into what the caller may know of it. internal is true
// when the error itself must go into the log.
func problemOf(err error) (p *problemError, internal bool) {
	var bad *series.BadValue
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &p):
		return p, false
	case errors.As(err, &bad):
		return badParameter(bad.Parameter, bad.Value, bad.Want), false
	case errors.Is(err, auth.ErrUnavailable):
		return unavailable("the store can't be reached, so credentials can't be checked"), true
	case errors.Is(err, auth.ErrRefused):
		return newProblem(http.StatusUnauthorized, "this needs valid credentials"), false
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &pg) && pg.Code == queryCanceled:
		return unavailable("the store took too long; ask for a shorter window"), false
	case storeDown(err):
		return unavailable("the store can't be reached or is being prepared"), true
	}
	return newProblem(http.StatusInternalServerError, "internal failure; the backend's log has it"), true
}

// queryCanceled is PostgreSQL's code for a statement that ran into its time limit.
const queryCanceled = "57014"

// storeDown reports whether an error says that the store is away or not ready, rather
// than that a query is wrong.
func storeDown(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		// Connection exceptions, insufficient resources, operator intervention (shutdown,
		// cannot connect now), and tables that the migration has yet to make.
		class := pg.Code[:min(2, len(pg.Code))]
		return class == "08" || class == "53" || class == "57" || pg.Code == "42P01"
	case errors.As(err, &connect), errors.As(err, &network), pgconn.SafeToRetry(err):
		return true
	}
	return false
}

// fail writes an error as problem+json.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p, internal := problemOf(err)
	if internal && r.Context().Err() == nil {
		s.log.Warn("request failed", slog.String("route", r.Pattern), slog.Int("status", int(p.Status)), slog.Any("err", err))
	}
	body, _ := json.Marshal(p.Problem) // strings and numbers: can't fail
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="pganalytics"`)
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	w.WriteHeader(int(p.Status))
	_, _ = w.Write(body)
}

// reply writes a value as JSON.
func (s *Server) reply(w http.ResponseWriter, r *http.Request, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // it is never HTML, and texts of statements are full of < and >
	if err := e.Encode(v); err != nil {
		s.fail(w, r, fmt.Errorf("encode reply: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}
