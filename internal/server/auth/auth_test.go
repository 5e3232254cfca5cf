package auth_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pganalytics/pganalytics/internal/server/auth"
)

func TestLoadToken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	made, err := auth.LoadToken(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	text, _ := os.ReadFile(path)
	if string(text) != made.Reveal()+"\n" || len(made.Reveal()) != 43 {
		t.Errorf("the file holds %q", text)
	}
	if again, err := auth.LoadToken(path); err != nil || again != made {
		t.Errorf("the second start has another token: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".token-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for text, want := range map[string]string{
		"":                             "0 characters",
		"short\n":                      "5 characters",
		"two words and more of them\n": "without spaces",
		"one-line-of-a-token\nanother-line-of-it\n": "without spaces",
		"a-token-with-\x00-in-it-somewhere":         "printable",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := auth.LoadToken(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"sixteen-letters!", "sixteen-letters!\n", "sixteen-letters!\r\n"} {
		if err := os.WriteFile(path, []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
		if tok, err := auth.LoadToken(path); err != nil || tok.Reveal() != "sixteen-letters!" {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := auth.LoadToken(filepath.Join(dir, "no", "such", "folder")); err == nil {
		t.Error("a missing folder is no error")
	}
	if _, err := auth.LoadToken(dir); err == nil {
		t.Error("a folder is no error")
	}
}

// However many backends start at once on one file, all have the same token.
func TestLoadTokenAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	var wg sync.WaitGroup
	tokens := make([]auth.Token, 16)
	for i := range tokens {
		wg.Go(func() {
			var err error
			if tokens[i], err = auth.LoadToken(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, tok := range tokens {
		if tok != tokens[0] {
			t.Fatal("two tokens")
		}
	}
}

func TestTokenPrintsNothing(t *testing.T) {
	tok := auth.NewToken()
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", tok, "in", struct{ T auth.Token }{tok})
	asJSON, err := json.Marshal(map[string]any{"t": tok, "p": &tok})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{log.String(), string(asJSON), fmt.Sprint(tok), fmt.Sprintf("%v %+v %#v %s %q %x %d", tok, tok, tok, tok, tok, tok, tok), fmt.Sprintf("%+v %#v", struct{ T auth.Token }{tok}, []auth.Token{tok})} {
		if strings.Contains(text, tok.Reveal()) || strings.Contains(text, fmt.Sprintf("%x", tok.Reveal())) || !strings.Contains(text, "***") {
			t.Errorf("prints %s", text)
		}
	}
}

func TestEqual(t *testing.T) {
	tok := auth.NewToken()
	if !tok.Equal(tok.Reveal()) || tok.Equal(auth.NewToken().Reveal()) || tok.Equal("") || tok.Equal(tok.Reveal()[:42]) {
		t.Error("Equal")
	}
	if (auth.Token{}).Equal("") {
		t.Error("no token equals no token")
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", "BEARER abc": "abc",
		"Bearer": "refused", "Bearer ": "refused", "Basic YTpi": "refused", "abc": "refused", " ": "refused",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		token, found, err := auth.Bearer(r)
		if got := token; err != nil {
			if want != "refused" {
				t.Errorf("%q: %v", header, err)
			}
		} else if !found || got != want {
			t.Errorf("%q: %q, %v", header, got, found)
		}
	}
	if _, found, err := auth.Bearer(httptest.NewRequest("GET", "/", nil)); found || err != nil {
		t.Errorf("no header: %v, %v", found, err)
	}
}
