package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	spec "github.com/pganalytics/pganalytics/api"
)

var document = func() map[string]any {
	var d map[string]any
	if err := json.Unmarshal(spec.Openapi, &d); err != nil {
		panic(err)
	}
	return d
}()

func TestOpenapiJSONIsCurrent(t *testing.T) {
	text, err := os.ReadFile("../../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d map[string]any
	if err := yaml.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(again, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, document); diff != "" {
		t.Errorf("api/openapi.json differs from api/openapi.yaml: run go generate ./api\n%s", diff)
	}
}

// conforms holds an answer against the specification of its route: status, type and
// every field. What the specification does not name is a fault.
func conforms(t testing.TB, method, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	u, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	op := operation(method, u.Path)
	if op == nil {
		t.Fatalf("%s %s is not in the specification", method, u.Path)
	}
	answer, ok := op["responses"].(map[string]any)[strconv.Itoa(w.Code)].(map[string]any)
	if !ok {
		t.Fatalf("%s %s: status %d is not in the specification", method, u.Path, w.Code)
	}
	answer = resolve(answer)
	content, ok := answer["content"].(map[string]any)
	if !ok {
		if w.Body.Len() > 0 {
			t.Fatalf("%s %s: %d has a body", method, u.Path, w.Code)
		}
		return
	}
	kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	media, ok := content[kind].(map[string]any)
	if !ok {
		t.Fatalf("%s %s: type %q, the specification has %v", method, u.Path, kind, content)
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	var v any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s %s: %v", method, u.Path, err)
	}
	if err := validate(media["schema"].(map[string]any), v, "$"); err != nil {
		t.Fatalf("%s %s %d: %v\n%.2000s", method, path, w.Code, err, w.Body)
	}
}

func operation(method, path string) map[string]any {
	for pattern, item := range document["paths"].(map[string]any) {
		mux := http.NewServeMux()
		mux.Handle(pattern, http.NotFoundHandler())
		// A literal segment wins over a placeholder, as on the server.
		if _, p := mux.Handler(&http.Request{Method: method, URL: &url.URL{Path: path}}); p != pattern {
			continue
		}
		if strings.Contains(pattern, "{") && document["paths"].(map[string]any)[path] != nil {
			continue
		}
		op, _ := item.(map[string]any)[strings.ToLower(method)].(map[string]any)
		return op
	}
	return nil
}

func resolve(s map[string]any) map[string]any {
	for {
		ref, ok := s["$ref"].(string)
		if !ok {
			return s
		}
		var v any = document
		for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			v = v.(map[string]any)[part]
		}
		s = v.(map[string]any)
	}
}

func validate(s map[string]any, v any, at string) error {
	s = resolve(s)
	if either, ok := s["oneOf"].([]any); ok {
		var last error
		for _, one := range either {
			if last = validate(one.(map[string]any), v, at); last == nil {
				return nil
			}
		}
		return last
	}
	if all := flatten(s); all != nil {
		s = all
	}
	if !typed(s["type"], v) {
		return fmt.Errorf("%s: %T (%v), want %v", at, v, v, s["type"])
	}
	if enum, ok := s["enum"].([]any); ok {
		found := false
		for _, e := range enum {
			found = found || e == v
		}
		if !found {
			return fmt.Errorf("%s: %v is none of %v", at, v, enum)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		return validateObject(s, v, at)
	case []any:
		prefix, _ := s["prefixItems"].([]any)
		for i, e := range v {
			item, ok := s["items"].(map[string]any)
			if i < len(prefix) {
				item, ok = prefix[i].(map[string]any)
			}
			if !ok {
				return fmt.Errorf("%s[%d]: no schema", at, i)
			}
			if err := validate(item, e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func validateObject(s, v map[string]any, at string) error {
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, has := v[name.(string)]; !has {
			return fmt.Errorf("%s: no %s", at, name)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	more, open := s["additionalProperties"].(map[string]any)
	for name, e := range v {
		sub, known := properties[name].(map[string]any)
		switch {
		case known:
		case open:
			sub = more
		case properties == nil:
			continue // a bare object
		default:
			return fmt.Errorf("%s.%s: not in the specification", at, name)
		}
		if err := validate(sub, e, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// flatten makes one object schema of an allOf.
func flatten(s map[string]any) map[string]any {
	parts, ok := s["allOf"].([]any)
	if !ok {
		return nil
	}
	out := map[string]any{"type": "object", "properties": map[string]any{}}
	var required []any
	for _, p := range parts {
		p := resolve(p.(map[string]any))
		if inner := flatten(p); inner != nil {
			p = inner
		}
		maps.Copy(out["properties"].(map[string]any), p["properties"].(map[string]any))
		if r, ok := p["required"].([]any); ok {
			required = append(required, r...)
		}
		if more, ok := p["additionalProperties"]; ok {
			out["additionalProperties"] = more
		}
	}
	out["required"] = required
	return out
}

func typed(want any, v any) bool {
	list, ok := want.([]any)
	if !ok {
		list = []any{want}
	}
	for _, w := range list {
		switch w {
		case nil:
			return true
		case "null":
			ok = v == nil
		case "object":
			_, ok = v.(map[string]any)
		case "array":
			_, ok = v.([]any)
		case "string":
			_, ok = v.(string)
		case "boolean":
			_, ok = v.(bool)
		case "number":
			_, ok = v.(float64)
		case "integer":
			var n float64
			n, ok = v.(float64)
			ok = ok && n == float64(int64(n))
		}
		if ok {
			return true
		}
	}
	return false
}
