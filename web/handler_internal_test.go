package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func page() fstest.MapFS {
	return fstest.MapFS{
		"dist/index.html":              {Data: []byte("placeholder")},
		"dist/app/index.html":          {Data: []byte(`<script nonce="__CSP_NONCE__"></script><meta nonce="__CSP_NONCE__">`)},
		"dist/app/favicon.svg":         {Data: []byte("<svg/>")},
		"dist/app/assets/main-1.js":    {Data: []byte("plain")},
		"dist/app/assets/main-1.js.br": {Data: []byte("brotli")},
		"dist/app/assets/main-1.js.gz": {Data: []byte("gzip")},
	}
}

func get(t *testing.T, h http.Handler, target string, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

func TestFiles(t *testing.T) {
	h := newHandler(page())
	for _, c := range []struct {
		name, target, accept string
		status               int
		body, encoding       string
	}{
		{"brotli first", "/assets/main-1.js", "gzip, deflate, br", 200, "brotli", "br"},
		{"gzip", "/assets/main-1.js", "gzip", 200, "gzip", "gzip"},
		{"brotli forbidden", "/assets/main-1.js", "br;q=0, gzip;q=0.5", 200, "gzip", "gzip"},
		{"plain", "/assets/main-1.js", "", 200, "plain", ""},
		{"no compressed copy", "/favicon.svg", "br, gzip", 200, "<svg/>", ""},
		{"copies have no name of their own", "/assets/main-1.js.br", "", 404, "404 page not found\n", ""},
		{"file of an old build", "/assets/old-2.js", "br", 404, "404 page not found\n", ""},
		{"outside", "/../index.html.gz", "", 200, "", ""},
		{"api", "/api/v1/nothing", "", 404, "404 page not found\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, body := get(t, h, c.target, "Accept-Encoding", c.accept)
			if res.StatusCode != c.status || (c.body != "" && body != c.body) || res.Header.Get("Content-Encoding") != c.encoding {
				t.Errorf("%s: status %d, body %q, encoding %q", c.target, res.StatusCode, body, res.Header.Get("Content-Encoding"))
			}
		})
	}
	res, _ := get(t, h, "/assets/main-1.js")
	if got := res.Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("hashed file: Cache-Control %q", got)
	}
	if got := res.Header.Get("Content-Type"); got != "text/javascript; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
}

func TestIndex(t *testing.T) {
	h := newHandler(page())
	seen := map[string]bool{}
	for _, target := range []string{"/", "/index.html", "/instances/3/queries", "/instances/db.example.com", "/deep?from=now-1h"} {
		res, body := get(t, h, target)
		_, rest, _ := strings.Cut(body, `nonce="`)
		nonce, _, _ := strings.Cut(rest, `"`)
		if res.StatusCode != 200 || len(nonce) < 20 || seen[nonce] {
			t.Errorf("%s: status %d, nonce %q", target, res.StatusCode, nonce)
		}
		seen[nonce] = true
		if strings.Contains(body, nonceWord) || strings.Count(body, nonce) != 2 {
			t.Errorf("%s: %s", target, body)
		}
		csp := res.Header.Get("Content-Security-Policy")
		if strings.Count(csp, "'nonce-"+nonce+"'") != 2 || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", target, csp)
		}
		if got := res.Header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
			t.Errorf("%s: Cache-Control %q", target, got)
		}
	}
}

func TestPlaceholder(t *testing.T) {
	files := page()
	delete(files, "dist/app/index.html")
	if _, body := get(t, newHandler(files), "/"); body != "placeholder" {
		t.Errorf("body %q", body)
	}
	if built(files) {
		t.Error("a placeholder is not the page")
	}
	if res, body := get(t, Handler(), "/"); res.StatusCode != 200 || !strings.Contains(body, "pgAnalytics") {
		t.Errorf("embedded: status %d, body %q", res.StatusCode, body)
	}
}

func TestMethod(t *testing.T) {
	w := httptest.NewRecorder()
	newHandler(page()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("x")))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("status %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}
