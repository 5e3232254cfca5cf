package api_test

import (
	"net/http"
	"net/http/httptest"
	"sort"
	"strings"
	"testing"

	"github.com/pganalytics/pganalytics/internal/server/api"
	"github.com/pganalytics/pganalytics/internal/server/auth"
)

// The table of routes and the specification name the same routes, and agree on which
// are open.
func TestRoutesAreTheSpecification(t *testing.T) {
	var want, got []string
	for path, item := range document["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			open := ""
			if security, has := op.(map[string]any)["security"]; has && len(security.([]any)) == 0 {
				open = " open"
			}
			want = append(want, strings.ToUpper(method)+" "+path+open)
		}
	}
	for _, r := range api.Routes() {
		open := ""
		if r.Class == auth.Open {
			open = " open"
		}
		got = append(got, r.Method+" "+r.Path+open)
	}
	sort.Strings(want)
	sort.Strings(got)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("routes\n%s\nspecification\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Every route answers 401 to every caller but those of its class, before anything
// else is looked at.
func TestEveryRouteRefusesOtherCallers(t *testing.T) {
	b := newBed(t)
	a := b.agent("matrix", 60_000_000_000, "db1:5432")
	session := b.signIn(b.api.Reveal())
	type caller struct {
		name    string
		classes []auth.Class // that may pass
		dress   func(*http.Request)
	}
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	callers := []caller{
		{"nobody", nil, func(*http.Request) {}},
		{"api token", []auth.Class{auth.Reader}, bearer(b.api.Reveal())},
		{"session", []auth.Class{auth.Reader}, func(r *http.Request) { r.AddCookie(session) }},
		{"registration token", []auth.Class{auth.Registration}, bearer(b.register.Reveal())},
		{"collector", []auth.Class{auth.Collector}, bearer(a.token)},
		{"another token", nil, bearer(auth.NewToken().Reveal())},
		{"empty token", nil, bearer("")},
		{"beginning of the token", nil, bearer(b.api.Reveal()[:20])},
		{"basic", nil, func(r *http.Request) { r.SetBasicAuth("api", b.api.Reveal()) }},
		{"two headers", nil, func(r *http.Request) {
			r.Header["Authorization"] = []string{"Bearer " + b.api.Reveal(), "Bearer " + b.api.Reveal()}
		}},
		{"wrong bearer beside a good session", nil, func(r *http.Request) {
			r.AddCookie(session)
			r.Header.Set("Authorization", "Bearer "+a.token+"x")
		}},
		{"wrong session", nil, func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: auth.CookieName, Value: auth.NewToken().Reveal()})
		}},
		{"token as parameter", nil, func(r *http.Request) { r.URL.RawQuery = "token=" + b.api.Reveal() }},
	}
	for _, route := range api.Routes() {
		if route.Method == "DELETE" {
			continue // ends the session that the others need; has a test of its own
		}
		path := strings.NewReplacer("{id}", a.ids["db1:5432"], "{query_id}", "1").Replace(route.Path)
		for _, c := range callers {
			r := httptest.NewRequest(route.Method, path, strings.NewReader("{}"))
			c.dress(r)
			w := httptest.NewRecorder()
			b.server.ServeHTTP(w, r)
			may := route.Class == auth.Open
			for _, class := range c.classes {
				may = may || class == route.Class
			}
			if refused := w.Code == http.StatusUnauthorized; refused == may && (route.Path != "/api/v1/session" || route.Method != "POST") {
				t.Errorf("%s %s by %s: %d %s", route.Method, path, c.name, w.Code, w.Body)
			}
			if w.Code == http.StatusUnauthorized {
				if w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s %s by %s: 401 without its headers", route.Method, path, c.name)
				}
			}
		}
	}
}

// Paths outside of the table are refused like any other, and say what they are only
// to those who may read.
func TestUnknownRoutes(t *testing.T) {
	b := newBed(t)
	for _, c := range []struct {
		method, path string
		anyone, read int
		allow        string
	}{
		{"GET", "/api/v1/nothing", 401, 404, ""},
		{"GET", "/api", 401, 404, ""},
		{"GET", "/api/v2/instances", 401, 404, ""},
		{"GET", "/metrics/x", 401, 404, ""},
		{"POST", "/api/v1/instances", 401, 405, "GET"},
		{"PUT", "/api/v1/session", 401, 405, "POST, GET, DELETE"},
		{"DELETE", "/api/v1/health", 401, 405, "GET"},
		{"GET", "/api/v1/instances/1/other", 401, 404, ""},
		{"GET", "/", 200, 200, ""},
		{"GET", "/instances/7", 200, 200, ""},
	} {
		if w := b.send(c.method, c.path, "", nil); w.Code != c.anyone {
			t.Errorf("%s %s by anyone: %d, want %d", c.method, c.path, w.Code, c.anyone)
		}
		w := b.send(c.method, c.path, b.api.Reveal(), nil)
		if w.Code != c.read || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", c.method, c.path, w.Code, w.Header().Get("Allow"), c.read, c.allow)
		}
	}
}

// What a browser must be told stands on every answer, also on failures.
func TestSecurityHeaders(t *testing.T) {
	b := newBed(t)
	for _, path := range []string{"/", "/api/v1/health", "/api/v1/instances", "/api/v1/nothing", "/metrics"} {
		for _, token := range []string{"", b.api.Reveal()} {
			h := b.send("GET", path, token, nil).Header()
			for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"} {
				if h.Get(name) != want {
					t.Errorf("%s: %s is %q", path, name, h.Get(name))
				}
			}
			if path != "/" && (h.Get("Content-Security-Policy") == "" || h.Get("Cache-Control") != "no-store") {
				t.Errorf("%s: policy %q, cache %q", path, h.Get("Content-Security-Policy"), h.Get("Cache-Control"))
			}
		}
	}
	// A form on another site may not use the cookie that the browser adds.
	w := b.send("POST", "/api/v1/session", "", strings.NewReader(`{"token":"x"}`), "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	if w.Code != http.StatusForbidden || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("a post from another site: %d %s", w.Code, w.Body)
	}
}

func (b *bed) signIn(token string) *http.Cookie {
	b.t.Helper()
	w := b.send("POST", "/api/v1/session", "", strings.NewReader(`{"token":"`+token+`"}`))
	if w.Code != http.StatusOK {
		b.t.Fatalf("sign in: %d %s", w.Code, w.Body)
	}
	conforms(b.t, "POST", "/api/v1/session", w)
	cookies := w.Result().Cookies()
	if len(cookies) != 1 {
		b.t.Fatalf("cookies %v", cookies)
	}
	return cookies[0]
}

func TestSessions(t *testing.T) {
	b := newBed(t)
	cookie := b.signIn(b.api.Reveal())
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.MaxAge <= 0 || strings.Contains(cookie.Value, b.api.Reveal()) {
		t.Errorf("cookie %+v", cookie)
	}
	with := func(method string, c *http.Cookie) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/api/v1/session", nil)
		r.AddCookie(c)
		w := httptest.NewRecorder()
		b.server.ServeHTTP(w, r)
		return w
	}
	if w := with("GET", cookie); w.Code != 200 {
		t.Errorf("a session: %d %s", w.Code, w.Body)
	}
	// A link works once.
	link := b.sessions.NewLink().Reveal()
	other := b.signIn(link)
	if w := b.send("POST", "/api/v1/session", "", strings.NewReader(`{"token":"`+link+`"}`)); w.Code != 401 || strings.Contains(w.Body.String(), link) {
		t.Errorf("a used link: %d %s", w.Code, w.Body)
	}
	// Signing out ends this session and no other.
	if w := with("DELETE", cookie); w.Code != 204 || w.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("sign out: %d %v", w.Code, w.Result().Cookies())
	}
	if w := with("GET", cookie); w.Code != 401 {
		t.Errorf("an ended session: %d", w.Code)
	}
	if w := with("GET", other); w.Code != 200 {
		t.Errorf("the other session: %d", w.Code)
	}
	// It ends by itself, by the store's clock.
	if _, err := b.pool.Exec(t.Context(), `UPDATE auth_session SET expires = now() - interval '1 second'`); err != nil {
		t.Fatal(err)
	}
	if w := with("GET", other); w.Code != 401 {
		t.Errorf("an expired session: %d", w.Code)
	}
	for _, body := range []string{"", "{", "[]", `"x"`, `{"token":7}`, `{"token":""}`, `{}`, `{"token":"x","more":1}`, `{"token":"x"} {}`, strings.Repeat(" ", 5000) + `{"token":"x"}`} {
		if w := b.send("POST", "/api/v1/session", "", strings.NewReader(body)); w.Code != 400 && body != `{"token":"x"}` {
			t.Errorf("body %.20q: %d %s", body, w.Code, w.Body)
		}
	}
}
