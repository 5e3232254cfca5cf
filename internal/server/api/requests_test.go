package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/server/ingest"
)

// A registration that cannot be is refused in words that name the field and know nothing
// of Go.
func TestBadRegistrations(t *testing.T) {
	b := newBed(t)
	const id = `"id":"00000000000000000000000000000001"`
	for _, c := range []struct{ body, parameter, want string }{
		{`[]`, "body", "body: want an object, not array"},
		{`"x"`, "body", "want an object, not string"},
		{``, "body", "want a whole JSON object"},
		{`{` + id + `,"name":7,"version":"1","instances":[]}`, "name", "field name: want a string, not number"},
		{`{` + id + `,"name":"c","version":"1","instances":{}}`, "instances", "field instances: want an array, not object"},
		{`{` + id + `,"name":"c","version":"1","interval":"x","instances":[]}`, "interval", "field interval: want a number, not string"},
		{`{` + id + `,"name":"c","version":"1","instances":[{"name":"a","labels":[]}]}`, "instances.labels", "want an object, not array"},
		{`{` + id + `,"name":"c","version":"1","instances":[],"more":1}`, "body", `unknown field "more"`},
		{`{` + id + `,"name":"c","version":"1","instances":null}`, "instances", "want a list"},
		{`{` + id + `,"name":"c","version":"1"}`, "instances", "want a list"},
		{`{` + id + `,"name":"","version":"1","instances":[]}`, "name", "want a name"},
		{`{` + id + `,"name":"c","version":"1","instances":[{"name":""}]}`, "instances.name", "want a name"},
		{`{` + id + `,"name":"c","version":"1","instances":[{"name":"a"},{"name":"b"},{"name":"a"}]}`, "instances.name", "given twice"},
		{`{"id":"7","name":"c","version":"1","instances":[]}`, "id", "32 hexadecimal digits"},
	} {
		w := b.send("POST", "/api/v1/collectors/register", b.register.Reveal(), strings.NewReader(c.body))
		conforms(t, "POST", "/api/v1/collectors/register", w)
		v := object(t, w)
		detail := fmt.Sprint(v["detail"])
		if w.Code != 400 || v["parameter"] != c.parameter || !strings.Contains(detail, c.want) || strings.Contains(detail, "api.") || strings.Contains(detail, "struct") {
			t.Errorf("%s: %d %s, want 400, %s and %q", c.body, w.Code, w.Body, c.parameter, c.want)
		}
	}
	var n int
	if err := b.pool.QueryRow(t.Context(), "SELECT count(*) FROM fleet_collector").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d collectors are registered, %v", n, err)
	}
}

// A push says what it holds by its type alone; a body that is encoded on top is not read
// as if it were not.
func TestPushHeaders(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	for _, c := range []struct {
		kind, coding, parameter string
		code                    int
	}{
		{"application/json", "", "Content-Type", 415},
		{"", "", "Content-Type", 415},
		{ingest.ContentType, "gzip", "Content-Encoding", 415},
		{ingest.ContentType, "zstd", "Content-Encoding", 415},
		{ingest.ContentType, "identity", "", 400}, // for what is in it
	} {
		header := []string{"Content-Type", c.kind}
		if c.coding != "" {
			header = append(header, "Content-Encoding", c.coding)
		}
		w := b.send("POST", "/api/v1/metrics/push", a.token, strings.NewReader("x"), header...)
		conforms(t, "POST", "/api/v1/metrics/push", w)
		if v := object(t, w); w.Code != c.code || c.parameter != "" && (v["parameter"] != c.parameter || !strings.Contains(fmt.Sprint(v["detail"]), c.parameter)) {
			t.Errorf("%s, encoded %q: %d %s; want %d and %s", c.kind, c.coding, w.Code, w.Body, c.code, c.parameter)
		}
	}
}

// Routes without parameters refuse any, as the others refuse those they don't know.
func TestRoutesWithoutParameters(t *testing.T) {
	b := newBed(t)
	a := b.agent("one", time.Minute, db1)
	for _, c := range []struct{ method, path, token string }{
		{"GET", "/api/v1/health", ""},
		{"GET", "/api/v1/openapi.json", ""},
		{"POST", "/api/v1/session", ""},
		{"GET", "/api/v1/session", b.api.Reveal()},
		{"DELETE", "/api/v1/session", b.api.Reveal()},
		{"GET", "/api/v1/startup", b.api.Reveal()},
		{"POST", "/api/v1/collectors/register", b.register.Reveal()},
		{"GET", "/api/v1/collectors/self/newest", a.token},
		{"POST", "/api/v1/metrics/push", a.token},
	} {
		w := b.send(c.method, c.path+"?x=1", c.token, strings.NewReader(`{"token":"`+b.api.Reveal()+`"}`))
		conforms(t, c.method, c.path, w)
		if v := object(t, w); w.Code != 400 || v["parameter"] != "x" || v["value"] != "1" {
			t.Errorf("%s %s?x=1: %d %s, want 400 that names x", c.method, c.path, w.Code, w.Body)
		}
	}
}
