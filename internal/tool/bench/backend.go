package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/pgserver"
)

// startStore runs the store's PostgreSQL until storeCtx ends; then ended gives how.
// It is durable, as the product demands, with the settings of `pganalytics up`.
func (b *bench) startStore(ctx, storeCtx context.Context) (ended <-chan error, err error) {
	srv, err := pgserver.New(pgserver.Config{
		Binaries: b.bin, DataDir: b.path("store"), Listen: "127.0.0.1", Port: b.freePort(), Grace: 3 * time.Second,
		Settings: map[string]string{"max_connections": "50", "shared_buffers": "128MB", "max_wal_size": "1GB", "wal_compression": "on"},
	})
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- srv.Run(storeCtx) }()
	select {
	case <-srv.Ready():
		b.store = srv.URL("postgres")
		return done, nil
	case err := <-done:
		return nil, fmt.Errorf("start the store: %w", err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// storeURL addresses a database of the store.
func (b *bench) storeURL(database string) string {
	return strings.Replace(b.store, "/postgres?", "/"+database+"?", 1)
}

// backend is a backend process on a database of its own, and how to speak to it.
type backend struct {
	b        *bench
	database string
	port     int
	process  *child
	token    string // of the API
}

func (b *bench) newBackend(ctx context.Context, database string) (*backend, error) {
	conn, err := pgx.Connect(ctx, b.store)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize())
	_ = conn.Close(ctx)
	if err != nil {
		return nil, err
	}
	out := &backend{b: b, database: database, port: b.freePort()}
	if err := out.start(ctx); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(b.path(database + ".token"))
	out.token = strings.TrimSpace(string(text))
	return out, err
}

func (k *backend) url() string { return "http://127.0.0.1:" + strconv.Itoa(k.port) }

func (k *backend) registration() string { return k.b.path(k.database + ".registration") }

func (k *backend) start(ctx context.Context) (err error) {
	k.process, err = k.b.spawn("backend-"+k.database, []string{
		"DATABASE_URL=" + k.b.storeURL(k.database), "TIMESCALE_URL=", "LISTEN=127.0.0.1", "PORT=" + strconv.Itoa(k.port), "LOG_LEVEL=warn",
		"PGANALYTICS_API_TOKEN_FILE=" + k.b.path(k.database+".token"), "PGANALYTICS_REGISTRATION_TOKEN_FILE=" + k.registration(),
	}, k.b.binary, "backend")
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if err := k.process.alive(); err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url()+"/api/v1/health", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the backend on %s is not healthy after a minute", k.database)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// kill is an outage: kill -9.
func (k *backend) kill() {
	_ = k.process.cmd.Process.Kill()
	<-k.process.done
	k.b.children = without(k.b.children, k.process)
}

// account is what the ledger says of a window.
type account struct {
	Planned, Stored, Failed, Skipped, Dropped, Pending, Missing int64
	Items                                                       []struct {
		Time                              any
		Instance, Family, Outcome, Reason string
	}
}

func (k *backend) ledger(ctx context.Context, from, to time.Time) (account, error) {
	var a account
	q := url.Values{"from": {from.UTC().Format(time.RFC3339Nano)}, "to": {to.UTC().Format(time.RFC3339Nano)}, "limit": {"5"}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url()+"/api/v1/ledger?"+q.Encode(), nil)
	if err != nil {
		return a, err
	}
	request.Header.Set("Authorization", "Bearer "+k.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("ledger: %s: %s", response.Status, body)
	}
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(body, &a)
}

// tap stands between collector and backend and can keep what is pushed.
type tap struct {
	server *http.Server
	addr   string
	mu     sync.Mutex
	keep   bool
	bodies [][]byte
}

// newTap passes requests on to a backend. When that is away it breaks the
// connection, as if it were not there itself.
func newTap(target string) (*tap, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{addr: "http://" + l.Addr().String()}
	pass := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	t.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		keep := t.keep && strings.HasSuffix(r.URL.Path, "/push")
		t.mu.Unlock()
		if keep {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			t.mu.Lock()
			t.bodies = append(t.bodies, body)
			t.mu.Unlock()
			r.Body = io.NopCloser(strings.NewReader(string(body)))
		}
		pass.ServeHTTP(w, r)
	})}
	go func() { _ = t.server.Serve(l) }()
	return t, nil
}

func (t *tap) record(keep bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep = keep
}

func (t *tap) close() { _ = t.server.Close() }
