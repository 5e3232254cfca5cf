package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent"
)

// healthSocket lies in a collector's data directory: `health --data-dir` asks there.
// A socket needs no port and nobody but the collector's own user may use it.
const healthSocket = "health.sock"

// part is one component of a health answer, in the form of the backend's.
type part struct {
	Status string `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// answer is what health says: status ok or down, and each component.
type answer struct {
	Status     string          `json:"status"`
	Version    string          `json:"version,omitempty"`
	Components map[string]part `json:"components"`
}

// collectorHealth judges a collector. It is down when it does not read or can't
// write; an instance or a backend that does not answer is not its illness, and is
// told beside.
func collectorHealth(s *agent.Status, interval time.Duration, now time.Time) answer {
	a := answer{Status: "ok", Version: Version, Components: map[string]part{}}
	set := func(name string, ok bool, format string, args ...any) {
		p := part{Status: "ok", Detail: fmt.Sprintf(format, args...)}
		if !ok {
			p.Status, a.Status = "down", "down"
		}
		a.Components[name] = p
	}
	ago := func(t time.Time) time.Duration { return now.Sub(t).Round(time.Second) }
	limit := max(3*interval, time.Minute)
	switch {
	case s.LastRound.IsZero():
		set("rounds", false, "none has ended yet")
	case now.Sub(s.LastRound) > limit:
		set("rounds", false, "the last one ended %s ago", ago(s.LastRound))
	default:
		set("rounds", true, "%d ended, the last one %s ago", s.Rounds, ago(s.LastRound))
	}
	if s.Spool.LastFailure != "" {
		set("spool", false, "can't be written: %s", s.Spool.LastFailure)
	} else {
		set("spool", true, "%d batches wait, %d of %d MB", s.Spool.Pending, s.Spool.Bytes>>20, s.Spool.MaxBytes>>20)
	}
	down := 0
	for _, in := range s.Instances {
		if in.Down {
			down++
		}
	}
	set("instances", true, "%d of %d answer", len(s.Instances)-down, len(s.Instances))
	switch {
	case s.Ship.LastFailure != "":
		set("backend", true, "not reached, batches wait in the spool: %s", s.Ship.LastFailure)
	case s.Ship.LastSuccess.IsZero():
		set("backend", true, "nothing pushed yet")
	default:
		set("backend", true, "pushed %s ago", ago(s.Ship.LastSuccess))
	}
	return a
}

// serveCollectorHealth answers on the socket until ctx ends. A data directory
// where no socket can be made costs nothing but the answer.
func serveCollectorHealth(ctx context.Context, dir string, status func() agent.Status, interval time.Duration, log *slog.Logger) error {
	path := filepath.Join(dir, healthSocket)
	// The spool's lock says that no other process uses the directory, and its socket.
	for status().Collector == "" {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	listener, err := listenSocket(ctx, path)
	if err != nil {
		log.WarnContext(ctx, "no health socket", "path", path, "err", err)
		<-ctx.Done()
		return ctx.Err()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/health", func(w http.ResponseWriter, _ *http.Request) {
		s := status()
		a := collectorHealth(&s, interval, time.Now())
		w.Header().Set("Content-Type", "application/json")
		if a.Status != "ok" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(a)
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listener) }()
	<-ctx.Done()
	_ = srv.Close()
	<-ended //nolint:errcheck // of Close
	return ctx.Err()
}

// listenSocket takes the place of a socket that a killed process left.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(path, 0o600)
}
