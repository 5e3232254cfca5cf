package loadtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/tool/measure"
)

// backend is where collectors push: a process of ours on a database of its own, or a
// running one that was named.
type backend struct {
	url, token, registration string
	tokenFile                string         // holds the registration token
	process                  *measure.Child // nil: not ours
	store                    *measure.Server
	database                 string
}

// newBackend starts a backend on a new database of the store, or uses the one named.
func (t *test) newBackend(ctx context.Context, name string) (*backend, error) {
	if t.URL != "" {
		k := &backend{url: strings.TrimRight(t.URL, "/"), token: t.Token, registration: t.Registration, tokenFile: t.place.Path("registration")}
		return k, writeSecret(k.tokenFile, k.registration)
	}
	k := &backend{store: t.store, database: name, tokenFile: t.place.Path(name + ".registration")}
	if err := t.store.CreateDatabase(ctx, name); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	k.url = "http://127.0.0.1:" + strconv.Itoa(port)
	k.process, err = t.place.Spawn("backend-"+name, []string{
		"DATABASE_URL=" + t.store.URL(name), "TIMESCALE_URL=", "LISTEN=127.0.0.1", "PORT=" + strconv.Itoa(port), "LOG_LEVEL=warn",
		"PGANALYTICS_API_TOKEN_FILE=" + t.place.Path(name+".token"), "PGANALYTICS_REGISTRATION_TOKEN_FILE=" + k.tokenFile,
	}, t.Binary, "backend")
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if err := k.process.Alive(); err != nil {
			return nil, err
		}
		if k.healthy(ctx) {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the backend %s is not healthy after a minute", k.url)
		}
		if err := measure.Sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	for path, into := range map[string]*string{t.place.Path(name + ".token"): &k.token, k.tokenFile: &k.registration} {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		*into = strings.TrimSpace(string(text))
	}
	return k, nil
}

func (k *backend) healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url+"/api/v1/health", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func writeSecret(path, text string) error { return os.WriteFile(path, []byte(text+"\n"), 0o600) }

func (k *backend) get(ctx context.Context, path string, q url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url+path+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+k.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		var p struct{ Detail string }
		_ = json.NewDecoder(response.Body).Decode(&p) // the status says enough
		return fmt.Errorf("%s: %w", path, &refused{status: response.StatusCode, text: p.Detail})
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// counts is what became of planned ticks.
type counts struct{ Planned, Stored, Failed, Skipped, Dropped, Pending, Missing int64 }

func (c *counts) add(o counts) {
	c.Planned, c.Stored, c.Failed, c.Skipped = c.Planned+o.Planned, c.Stored+o.Stored, c.Failed+o.Failed, c.Skipped+o.Skipped
	c.Dropped, c.Pending, c.Missing = c.Dropped+o.Dropped, c.Pending+o.Pending, c.Missing+o.Missing
}

// accounts is the ledger of (from, to], by instance id.
func (k *backend) accounts(ctx context.Context, from, to time.Time) (map[string]counts, error) {
	var answer struct {
		Rows []struct {
			Instance string
			Counts   counts
		}
	}
	step := int64(to.Sub(from)/time.Second) + 1
	q := url.Values{"from": {seconds(from)}, "to": {seconds(to)}, "step": {strconv.FormatInt(step, 10)}}
	if err := k.get(ctx, "/api/v1/ledger/grid", q, &answer); err != nil {
		return nil, err
	}
	out := map[string]counts{}
	for _, r := range answer.Rows {
		c := out[r.Instance]
		c.add(r.Counts)
		out[r.Instance] = c
	}
	return out, nil
}

// seconds writes a time as the API reads it, to the microsecond.
func seconds(t time.Time) string {
	us := t.UnixMicro()
	return fmt.Sprintf("%d.%06d", us/micro, us%micro)
}

// one reads one number of the store; only of a backend that is ours.
func (k *backend) one(ctx context.Context, sql string, args ...any) (int64, error) {
	conn, err := pgx.Connect(ctx, k.store.URL(k.database))
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var n int64
	err = conn.QueryRow(ctx, sql, args...).Scan(&n)
	return n, err
}

// size is what the database takes on disk.
func (k *backend) size(ctx context.Context) (int64, error) {
	return k.one(ctx, "SELECT pg_database_size($1)", k.database)
}

// reader asks what the pages ask, again and again, and notes how long it took.
type reader struct {
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	took   []time.Duration
	failed int64
	why    string
}

const readPause = 100 * time.Millisecond

// read begins to ask the backend: fleet, collectors, ledger, statements, series in
// turn, one request after another.
func (k *backend) read(ctx context.Context, instances []string, window time.Duration) *reader {
	r := &reader{done: make(chan struct{})}
	ctx, r.stop = context.WithCancel(ctx)
	go func() {
		defer close(r.done)
		for n := 0; ctx.Err() == nil; n++ {
			now := time.Now()
			span := url.Values{"from": {seconds(now.Add(-window))}, "to": {seconds(now)}}
			paths := []string{"/api/v1/instances", "/api/v1/collectors", "/api/v1/ledger"}
			if len(instances) > 0 {
				of := "/api/v1/instances/" + instances[n/5%len(instances)]
				paths = append(paths, of+"/statements", of+"/series")
			}
			path := paths[n%len(paths)]
			if strings.HasSuffix(path, "/series") {
				span.Set("family", "database")
				span.Set("column", "xact_commit")
			}
			start := time.Now()
			var answer json.RawMessage
			err := k.get(ctx, path, span, &answer)
			if ctx.Err() != nil {
				return
			}
			r.note(err, time.Since(start))
			_ = measure.Sleep(ctx, readPause) // the loop's condition tells
		}
	}()
	return r
}

func (r *reader) note(err error, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.took = append(r.took, took)
	} else if !errors.Is(err, context.Canceled) {
		if r.failed++; r.why == "" {
			r.why = err.Error()
		}
	}
}

// end stops it.
func (r *reader) end() {
	r.stop()
	<-r.done
}
