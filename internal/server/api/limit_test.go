package api_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pganalytics/pganalytics/internal/server/api"
	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/ratelimit"
)

// TestRateLimit: guesses at credentials are bounded by address, whatever they say of
// it; the answer says when to come back, and the metrics that it happened.
func TestRateLimit(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := api.New(api.Config{API: auth.NewToken(), Registration: auth.NewToken(), Metrics: registry,
		Limits: api.Limits{Register: ratelimit.Limit{PerSecond: 0.1, Burst: 2}, SignIn: ratelimit.Limit{PerSecond: 0.1, Burst: 1}}})
	ask := func(path, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
		r.RemoteAddr = from
		r.Header.Set("Authorization", "Bearer guess")
		r.Header.Set("X-Forwarded-For", from+"1")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	const register = "/api/v1/collectors/register"
	for i, want := range []int{401, 401, 429, 429} {
		w := ask(register, "192.0.2.1:"+strconv.Itoa(1000+i))
		if w.Code != want {
			t.Fatalf("request %d: %d, want %d: %s", i, w.Code, want, w.Body)
		}
		if want == 429 && (w.Header().Get("Retry-After") != "10" || w.Header().Get("Content-Type") != "application/problem+json") {
			t.Errorf("%v %s", w.Header(), w.Body)
		}
	}
	if w := ask(register, "192.0.2.2:1"); w.Code != 401 {
		t.Errorf("another address: %d", w.Code)
	}
	// A host has a whole IPv6 network to choose addresses from.
	for i, want := range []int{401, 401, 429} {
		if w := ask(register, "[2001:db8::"+strconv.Itoa(i)+"]:1"); w.Code != want {
			t.Errorf("IPv6 %d: %d, want %d", i, w.Code, want)
		}
	}
	if w := ask("/api/v1/session", "192.0.2.1:1"); w.Code == 429 {
		t.Errorf("sign-in has a bucket of its own: %d", w.Code)
	}
	if w := ask("/api/v1/session", "192.0.2.1:1"); w.Code != 429 {
		t.Errorf("second sign-in: %d", w.Code)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "pganalytics_rate_limited_total" {
			for _, m := range f.GetMetric() {
				refused[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if refused["register"] != 3 || refused["sign_in"] != 1 {
		t.Errorf("refused: %v", refused)
	}
	if push, ok := refused["push"]; !ok || push != 0 {
		t.Errorf("what never happened is 0, not absent: %v", refused)
	}
}
