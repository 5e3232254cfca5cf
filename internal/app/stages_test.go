package app

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestStagesOrder: what was started last ends first, and only then the one before.
func TestStagesOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newStages(ctx, 10*time.Second)
		var mu sync.Mutex
		var ended []string
		for _, name := range []string{"store", "backend", "collector"} {
			s.run(name, func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				ended = append(ended, name)
				return ctx.Err()
			})
		}
		time.Sleep(time.Second)
		cancel()
		if err := s.wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("wait: %v", err)
		}
		if want := []string{"collector", "backend", "store"}; !slices.Equal(ended, want) {
			t.Errorf("ended in the order %v, want %v", ended, want)
		}
	})
}

// TestStagesFailure: the first part that ends by itself ends all and is named.
func TestStagesFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStages(t.Context(), 10*time.Second)
		s.run("store", func(ctx context.Context) error { <-ctx.Done(); return nil })
		s.run("backend", func(context.Context) error { return errors.New("no store") })
		if err := s.wait(); err == nil || err.Error() != "backend: no store" {
			t.Errorf("wait: %v", err)
		}
		s = newStages(t.Context(), 10*time.Second)
		s.run("backend", func(context.Context) error { return nil })
		if err := s.wait(); err == nil || !strings.Contains(err.Error(), "ended by itself") {
			t.Errorf("a part that returns nil: %v", err)
		}
	})
}

// TestStagesStuck: a part that does not end is named when the grace is over.
func TestStagesStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newStages(ctx, 10*time.Second)
		free := make(chan struct{})
		s.run("backend", func(context.Context) error { <-free; return nil })
		cancel()
		began := time.Now()
		if err := s.wait(); err == nil || !strings.Contains(err.Error(), "backend did not end within 10s") {
			t.Errorf("wait: %v", err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("waited %s, want 10 s", took)
		}
		close(free)
	})
}

// TestStagesShare: a part that ends late, or not at all, leaves half of the grace to
// those beneath it.
func TestStagesShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newStages(ctx, 8*time.Second)
		var toldAt, endedAt atomic.Int64
		began := time.Now()
		s.run("store", func(ctx context.Context) error {
			<-ctx.Done()
			toldAt.Store(int64(time.Since(began)))
			time.Sleep(3 * time.Second)
			endedAt.Store(int64(time.Since(began)))
			return nil
		})
		free := make(chan struct{})
		s.run("backend", func(context.Context) error { <-free; return nil })
		s.run("collector", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(2 * time.Second); return nil })
		cancel()
		if err := s.wait(); err == nil || !strings.Contains(err.Error(), "backend did not end within 8s") {
			t.Errorf("wait: %v", err)
		}
		told, ended := time.Duration(toldAt.Load()), time.Duration(endedAt.Load())
		if took := time.Since(began); told != 4*time.Second || ended != 7*time.Second || took != 8*time.Second {
			t.Errorf("the store was told after %s, ended after %s, all after %s; want 4s, 7s, 8s", told, ended, took)
		}
		close(free)
	})
}

// TestStagesHurry: asked twice, all are told at once; the end is still waited for.
func TestStagesHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newStages(ctx, 8*time.Second)
		hurry := make(chan struct{})
		s.hurry = hurry
		for _, name := range []string{"store", "backend", "collector"} {
			s.run(name, func(ctx context.Context) error { <-ctx.Done(); time.Sleep(2 * time.Second); return nil })
		}
		cancel()
		time.AfterFunc(time.Second, func() { close(hurry) })
		began := time.Now()
		if err := s.wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("wait: %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %s, want 1 s until the hurry and 2 s of all at once", took)
		}
	})
}

// TestInProcess: requests reach the handler as from a network.
func TestInProcess(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo/{name}", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Name", r.PathValue("name"))
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(append(body, r.Header.Get("Authorization")...))
		w.Header().Set("X-Late", "1")
	})
	mux.HandleFunc("GET /abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	client := &http.Client{Transport: inProcess{mux}}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://in-process/echo/x?y=1", strings.NewReader("body "))
	request.Header.Set("Authorization", "me")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusTeapot || string(body) != "body me" || response.Header.Get("X-Name") != "x" || response.Header.Get("X-Late") != "" {
		t.Errorf("%d %q %v", response.StatusCode, body, response.Header)
	}
	request, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, "http://in-process/abort", nil)
	if r, err := client.Do(request); err == nil {
		r.Body.Close()
		t.Error("an aborted handler gives no error")
	}
}
