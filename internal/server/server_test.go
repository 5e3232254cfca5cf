package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a backend as it runs in production: its own listener, HTTP, tokens in files.
type running struct {
	*server.Backend
	base         string
	api          string
	log          *logBuffer
	ended        chan error
	stop         context.CancelFunc
	registration string
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func start(t testing.TB, metricsURL, appURL string, change ...func(*server.Config)) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := &running{base: "http://" + l.Addr().String(), log: &logBuffer{}, ended: make(chan error, 1)}
	cfg := server.Config{
		Version: "test", MetricsURL: metricsURL, AppURL: appURL, Listener: l, Retention: 14 * 24 * time.Hour, AllowFsyncOff: true,
		APITokenFile: filepath.Join(dir, "api"), RegistrationTokenFile: filepath.Join(dir, "registration"), Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	if r.Backend, err = server.New(cfg); err != nil {
		t.Fatal(err)
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	r.api, r.registration = read(cfg.APITokenFile), read(cfg.RegistrationTokenFile)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-r.ended:
		case <-time.After(10 * time.Second):
			t.Error("the backend did not end within 10 s")
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return r
}

func (r *running) do(t testing.TB, method, path, token, contentType string, body []byte, out any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, r.base+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
		}
	}
	return resp.StatusCode
}

// waitHealth waits until health is a status.
func (r *running) waitHealth(t testing.TB, status int) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var out map[string]any
		if got := r.do(t, "GET", "/api/v1/health", "", "", nil, &out); got == status {
			return out
		}
		if time.Now().After(deadline) {
			t.Fatalf("health never was %d: %v\n%s", status, out, r.log)
		}
	}
}

type pusher struct {
	r     *running
	id    frame.CollectorID
	token string
	seq   uint64
}

func (r *running) register(t testing.TB, n byte, instance string) *pusher {
	t.Helper()
	p := &pusher{r: r, id: frame.CollectorID{9, n}}
	var out struct{ Token string }
	body := fmt.Sprintf(`{"id": %q, "name": "c%d", "version": "test", "interval": 10, "instances": [{"name": %q}]}`, p.id, n, instance)
	if got := r.do(t, "POST", "/api/v1/collectors/register", r.registration, "application/json", []byte(body), &out); got != 200 || out.Token == "" {
		t.Fatalf("register: %d\n%s", got, r.log)
	}
	p.token = out.Token
	return p
}

func (p *pusher) wal(instance string, k int64) *frame.Envelope {
	p.seq++
	tick := time.Now().Add(-time.Hour).Truncate(time.Minute).UnixMicro() + k*10e6
	return frame.NewEnvelope(&frame.Batch{ID: frame.ID{Collector: p.id, Epoch: 1, Seq: p.seq}, Instance: instance, Database: "postgres", Lane: catalog.Slow, Tick: tick,
		Server:   frame.Server{SystemID: 1, Version: 170000, VersionText: "17.0", PostmasterStart: tick - 1e9, IntervalUs: 10e6},
		Outcomes: []frame.Outcome{{Family: "wal", Lane: catalog.Slow, First: tick, Last: tick, N: 1, Code: frame.Stored, At: tick, Since: tick - 10e6}},
		Frames:   []frame.Frame{{Family: "wal", Since: tick - 10e6, At: tick, N: 1, Columns: []frame.Column{{Name: "wal_bytes", Kind: catalog.Counter, Type: catalog.Int, Ints: []int64{10}}}}}})
}

const envelopes = "application/vnd.pganalytics.envelopes"

func (p *pusher) push(t testing.TB, e *frame.Envelope) (int, string) {
	t.Helper()
	var out struct {
		Results []struct{ Status string }
	}
	status := p.r.do(t, "POST", "/api/v1/metrics/push", p.token, envelopes, frame.AppendEnvelope(nil, e), &out)
	if len(out.Results) != 1 {
		return status, ""
	}
	return status, out.Results[0].Status
}

// TestOneAndTwoDatabases serves over HTTP with everything in one database, and in two.
func TestOneAndTwoDatabases(t *testing.T) {
	cluster := pgtest.Store(t, pgtest.StoreMajor(t))
	one := pgtest.Database(t, cluster)
	for name, urls := range map[string][2]string{"one": {one, ""}, "two": {pgtest.Database(t, cluster), pgtest.Database(t, cluster)}} {
		t.Run(name, func(t *testing.T) {
			r := start(t, urls[0], urls[1])
			r.waitHealth(t, 200)
			p := r.register(t, 1, "db:5432")
			e := p.wal("db:5432", 1)
			for i, want := range []string{"stored", "duplicate"} {
				if code, got := p.push(t, e); code != 200 || got != want {
					t.Errorf("push %d: %d %s", i, code, got)
				}
			}
			if code := r.do(t, "POST", "/api/v1/metrics/push", r.api, envelopes, nil, nil); code != 401 {
				t.Errorf("push with the API token: %d", code)
			}
			if code := r.do(t, "GET", "/api/v1/instances", "", "", nil, nil); code != 401 {
				t.Errorf("instances without a token: %d", code)
			}
			var list struct {
				Items []struct{ Name, Version string }
			}
			if code := r.do(t, "GET", "/api/v1/instances", r.api, "", nil, &list); code != 200 || len(list.Items) != 1 || list.Items[0].Name != "db:5432" || list.Items[0].Version != "17.0" {
				t.Errorf("instances: %d %+v", code, list)
			}
			if err := r.Keep(t.Context()); err != nil {
				t.Error(err)
			}
			if strings.Contains(strings.ToLower(r.log.String()), "error") {
				t.Errorf("a healthy run logs:\n%s", r.log)
			}
		})
	}
}

// TestStoreComesAndGoes starts before its store, loses it and gets it back, and never exits.
func TestStoreComesAndGoes(t *testing.T) {
	cluster := pgtest.PrivateStore(t, pgtest.StoreMajor(t))
	url := pgtest.Database(t, cluster)
	cluster.Stop(t)
	r := start(t, url, "")
	down := r.waitHealth(t, 503)
	if down["status"] != "down" {
		t.Errorf("health: %v", down)
	}
	if code := r.do(t, "POST", "/api/v1/collectors/register", r.registration, "application/json", []byte(`{"id":"00000000000000000000000000000001","name":"x","version":"1","instances":[]}`), nil); code != 503 {
		t.Errorf("register without a store: %d", code)
	}
	cluster.Start(t)
	r.waitHealth(t, 200)
	p := r.register(t, 2, "a")
	if code, got := p.push(t, p.wal("a", 1)); code != 200 || got != "stored" {
		t.Fatalf("%d %s", code, got)
	}
	cluster.Kill(t)
	r.waitHealth(t, 503)
	e := p.wal("a", 2)
	if code, _ := p.push(t, e); code != 503 {
		t.Errorf("push to a dead store: %d", code)
	}
	cluster.Start(t)
	r.waitHealth(t, 200)
	if code, got := p.push(t, e); code != 200 || got != "stored" {
		t.Errorf("%d %s", code, got)
	}
	r.waitHealth(t, 200)
}

// Health says of the page what there is to say, and is no worse for it.
func TestHealthOfThePage(t *testing.T) {
	url := pgtest.Database(t, pgtest.Store(t, pgtest.StoreMajor(t)))
	for want, change := range map[string]func(*server.Config){
		"this program holds no page": func(*server.Config) {},
		"built without":              func(c *server.Config) { c.UI, c.UIDetail = http.NotFoundHandler(), "built without" },
		"":                           func(c *server.Config) { c.UI = http.NotFoundHandler() },
	} {
		h := start(t, url, "", change).waitHealth(t, 200)
		ui, _ := h["components"].(map[string]any)["ui"].(map[string]any)
		if detail, _ := ui["detail"].(string); ui["status"] != "ok" || detail != want {
			t.Errorf("ui: %v, want ok and %q", ui, want)
		}
	}
}

func TestUnfitStore(t *testing.T) {
	url := pgtest.Database(t, pgtest.Server(t, pgtest.StoreMajor(t)))
	r := start(t, url, "", func(c *server.Config) { c.AllowFsyncOff = false })
	select {
	case err := <-r.ended:
		if !errors.Is(err, store.ErrUnfit) || !strings.Contains(err.Error(), "fsync") {
			t.Errorf("a store with fsync off: %v", err)
		}
		r.ended <- nil
	case <-time.After(20 * time.Second):
		t.Error("a store with fsync off is used")
	}
}

// TestEnd ends in the middle of pushes: each that was answered is stored.
func TestEnd(t *testing.T) {
	url := pgtest.Database(t, pgtest.Store(t, pgtest.StoreMajor(t)))
	r := start(t, url, "")
	r.waitHealth(t, 200)
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := 0
	for n := range byte(4) {
		p := r.register(t, 10+n, fmt.Sprint("i", n))
		wg.Go(func() {
			for k := int64(0); ; k++ {
				body := frame.AppendEnvelope(nil, p.wal(fmt.Sprint("i", n), k))
				req, _ := http.NewRequest("POST", r.base+"/api/v1/metrics/push", bytes.NewReader(body))
				req.Header.Set("Authorization", "Bearer "+p.token)
				req.Header.Set("Content-Type", envelopes)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return
				}
				text, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 {
					return
				}
				if bytes.Contains(text, []byte(`"stored"`)) {
					mu.Lock()
					stored++
					mu.Unlock()
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	began := time.Now()
	r.stop()
	err := <-r.ended
	r.ended <- nil
	wg.Wait()
	if took := time.Since(began); err != nil || took > 8*time.Second {
		t.Errorf("ended after %s: %v", took, err)
	}
	var rows int
	if err := pgtest.Connect(t, url).QueryRow(context.Background(), "SELECT count(*) FROM wal_raw").Scan(&rows); err != nil || rows < stored || stored == 0 {
		t.Errorf("%d rows, %d were confirmed (%v)", rows, stored, err)
	}
}
