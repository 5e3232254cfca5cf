package app

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent"
	"github.com/pganalytics/pganalytics/internal/agent/ship"
	"github.com/pganalytics/pganalytics/internal/agent/spool"
)

func TestCollectorHealth(t *testing.T) {
	now := time.Now()
	well := func() *agent.Status {
		return &agent.Status{Collector: "c1", Rounds: 7, LastRound: now.Add(-2 * time.Second), Ship: ship.Status{LastSuccess: now},
			Instances: []agent.InstanceStatus{{Name: "a"}, {Name: "b"}}}
	}
	for _, c := range []struct {
		name, status, component, detail string
		change                          func(*agent.Status)
	}{
		{"well", "ok", "rounds", "7 ended, the last one 2s ago", func(*agent.Status) {}},
		{"starting", "down", "rounds", "none has ended yet", func(s *agent.Status) { s.LastRound = time.Time{} }},
		{"stuck", "down", "rounds", "the last one ended 1m1s ago", func(s *agent.Status) { s.LastRound = now.Add(-61 * time.Second) }},
		{"disk", "down", "spool", "can't be written: no space", func(s *agent.Status) { s.Spool = spool.Stats{LastFailure: "no space"} }},
		{"instance down", "ok", "instances", "1 of 2 answer", func(s *agent.Status) { s.Instances[0].Down = true }},
		{"backend down", "ok", "backend", "not reached", func(s *agent.Status) { s.Ship.LastFailure = "refused" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := well()
			c.change(s)
			got := collectorHealth(s, 10*time.Second, now)
			if got.Status != c.status || !strings.Contains(got.Components[c.component].Detail, c.detail) {
				t.Errorf("%+v, want %s and %s: %s", got, c.status, c.component, c.detail)
			}
		})
	}
}

// TestHealthSocket: `health --data-dir` asks a collector's socket, also one where a
// killed process left its own.
func TestHealthSocket(t *testing.T) {
	dir := t.TempDir()
	status := agent.Status{Collector: "c1", LastRound: time.Now()}
	ask := func() (string, error) {
		var out strings.Builder
		err := (&healthCommand{DataDir: dir, Timeout: time.Second}).Run(t.Context(), &console{stdout: &out, stderr: &out})
		return out.String(), err
	}
	if _, err := ask(); err == nil || !strings.Contains(err.Error(), "nothing runs there") {
		t.Errorf("no collector: %v", err)
	}
	killed, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, healthSocket), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	killed.SetUnlinkOnClose(false)
	if err := killed.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serveCollectorHealth(ctx, dir, func() agent.Status { return status }, time.Second, slog.New(slog.DiscardHandler))
	}()
	var out string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if out, err = ask(); err == nil || errors.Is(err, errFailed) {
			break
		}
	}
	if err != nil || !strings.HasPrefix(out, "ok\n") {
		t.Errorf("%q, %v", out, err)
	}
	cancel()
	<-ended
}

// TestHealthOfTLS: a container's health check asks the backend of its own
// environment, and takes no other certificate than that one's.
func TestHealthOfTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"ok","components":{}}`)
	}))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	write := func(name string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	der := server.Certificate().Raw
	wrong := append([]byte(nil), der...)
	wrong[len(wrong)-1] ^= 1
	for path, want := range map[string]string{write("own", der): "", write("wrong", wrong): "another certificate"} {
		var out strings.Builder
		err := (&healthCommand{Timeout: 5 * time.Second}).Run(t.Context(), &console{stdout: &out, stderr: &out, environ: []string{"PORT=" + port, "TLS_CERT=" + path}})
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
