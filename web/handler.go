package web

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// nonceWord stands in index.html wherever the page needs the nonce of its answer.
const nonceWord = "__CSP_NONCE__"

// kinds are the files that a build contains. A table of our own, because package mime reads the
// machine's, where ".js" may be anything.
var kinds = map[string]string{
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".json": "application/json",
	".md":   "text/plain; charset=utf-8",
	".txt":  "text/plain; charset=utf-8",
	".map":  "application/json",
	".png":  "image/png",
	".ico":  "image/x-icon",
}

// Built reports whether this program holds the page, rather than only the placeholder that tells
// how to build it.
func Built() bool { return built(dist) }

func built(files fs.FS) bool {
	_, err := fs.Stat(files, "dist/app/index.html")
	return err == nil
}

// Handler serves the page. Files under assets/ carry a hash in their name and are cached for a
// year; index.html is never cached and carries a Content-Security-Policy with a fresh nonce. A path
// that names no file is a place within the page and gets index.html; one that looks like a file
// (it has the extension of one) or lies under /api/ is 404. Only GET and HEAD are answered.
func Handler() http.Handler { return newHandler(dist) }

type handler struct {
	files fs.FS // root of what is served
	index []byte
}

func newHandler(all fs.FS) http.Handler {
	dir := "dist"
	if built(all) {
		dir = "dist/app"
	}
	files, err := fs.Sub(all, dir)
	if err != nil {
		panic("BUG: " + err.Error()) // dir is a constant valid path
	}
	index, err := fs.ReadFile(files, "index.html")
	if err != nil {
		panic("BUG: embedded dist has no index.html: " + err.Error())
	}
	return &handler{files: files, index: index}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if name == "api" || strings.HasPrefix(name, "api/") {
		http.NotFound(w, r)
		return
	}
	head := w.Header()
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	if name != "" && name != "index.html" {
		if h.serveFile(w, r, name) {
			return
		}
		if _, file := kinds[path.Ext(name)]; file || strings.HasPrefix(name, "assets/") {
			http.NotFound(w, r) // an old page asks for a file of an old build; index.html would be no script
			return
		}
	}
	h.serveIndex(w, r)
}

// serveFile answers with the file or a compressed copy of it, and reports false when there is none.
func (h *handler) serveFile(w http.ResponseWriter, r *http.Request, name string) bool {
	if strings.HasSuffix(name, ".br") || strings.HasSuffix(name, ".gz") {
		return false // copies are reached by their plain name only
	}
	info, err := fs.Stat(h.files, name)
	if err != nil || info.IsDir() {
		return false
	}
	body, encoding := h.best(name, r.Header.Values("Accept-Encoding"))
	head := w.Header()
	head.Add("Vary", "Accept-Encoding")
	if encoding != "" {
		head.Set("Content-Encoding", encoding)
	}
	kind, known := kinds[path.Ext(name)]
	if !known {
		kind = "application/octet-stream"
	}
	head.Set("Content-Type", kind)
	if strings.HasPrefix(name, "assets/") {
		head.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		head.Set("Cache-Control", "public, max-age=3600")
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	return true
}

// best returns the smallest copy of the file that the client reads, and its Content-Encoding.
func (h *handler) best(name string, accept []string) ([]byte, string) {
	for _, c := range []struct{ encoding, suffix string }{{"br", ".br"}, {"gzip", ".gz"}} {
		if !accepts(accept, c.encoding) {
			continue
		}
		if body, err := fs.ReadFile(h.files, name+c.suffix); err == nil {
			return body, c.encoding
		}
	}
	body, _ := fs.ReadFile(h.files, name) // the caller has just seen it, and an embedded file stays
	return body, ""
}

// accepts reads Accept-Encoding; "q=0" forbids an encoding.
func accepts(lines []string, encoding string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(name), encoding) {
				continue
			}
			q, found := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q=")
			if !found {
				return true
			}
			weight, err := strconv.ParseFloat(q, 64)
			return err == nil && weight > 0
		}
	}
	return false
}

func (h *handler) serveIndex(w http.ResponseWriter, r *http.Request) {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	nonce := base64.RawURLEncoding.EncodeToString(raw[:])
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Cache-Control", "no-cache, no-store")
	head.Set("Content-Security-Policy", strings.Join([]string{
		"default-src 'none'",
		"script-src 'self' 'nonce-" + nonce + "'",
		"style-src 'self' 'nonce-" + nonce + "'",
		"img-src 'self' data:",
		"connect-src 'self'",
		"font-src 'self'",
		"base-uri 'none'",
		"form-action 'self'",
		"frame-ancestors 'none'",
	}, "; "))
	http.ServeContent(w, r, "index.html", time.Time{}, bytes.NewReader(bytes.ReplaceAll(h.index, []byte(nonceWord), []byte(nonce))))
}
