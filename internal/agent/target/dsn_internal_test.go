package target

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		url, password                 string
		database, user, auth, secret  string
		tls, verifies, fallsBackPlain bool
	}{
		{url: "postgres://u:p@127.0.0.1:5433", database: "postgres", user: "u", secret: "p", tls: true, fallsBackPlain: true},
		{url: "postgres://u:p@localhost/d", database: "d", user: "u", secret: "p", tls: true, fallsBackPlain: true},
		{url: "postgres://u:p@[::1]/d?sslmode=disable", database: "d", user: "u", secret: "p"},
		{url: "postgresql://u:p@db.example.com/d", database: "d", user: "u", secret: "p", auth: "scram-sha-256", tls: true, verifies: true},
		{url: "postgres://u@db.example.com/d", password: "s", database: "d", user: "u", secret: "s", auth: "scram-sha-256", tls: true, verifies: true},
		{url: "postgres://u:p@db.example.com/d", password: "s", database: "d", user: "u", secret: "s", auth: "scram-sha-256", tls: true, verifies: true},
		{url: "postgres://u:p@db.example.com/d?sslmode=require&require_auth=md5,scram-sha-256", database: "d", user: "u", secret: "p", auth: "md5,scram-sha-256", tls: true},
		{url: "postgres://u:p@db.example.com/d?sslmode=disable", database: "d", user: "u", secret: "p", auth: "scram-sha-256"},
		{url: "postgres://u:p%2F@10.1.2.3/d", database: "d", user: "u", secret: "p/", auth: "scram-sha-256", tls: true, verifies: true},
		{url: "postgres://u@/d?host=/run/postgresql", database: "d", user: "u"},
		{url: "postgres://u@h/?dbname=e", database: "e", user: "u", tls: true, verifies: true},
	} {
		t.Run(c.url, func(t *testing.T) {
			// What the environment says of other connections is not meant.
			for k, v := range map[string]string{"PGSSLMODE": "disable", "PGOPTIONS": "-c statement_timeout=1", "PGAPPNAME": "x", "PGTARGETSESSIONATTRS": "read-write", "PGREQUIREAUTH": "none", "PGPASSFILE": "/dev/null"} {
				t.Setenv(k, v)
			}
			cfg, err := parseURL(Secret(c.url), Secret(c.password))
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Database != c.database || cfg.User != c.user || cfg.Password != c.secret || cfg.RequireAuth != c.auth {
				t.Errorf("database %q, user %q, password %q, auth %q", cfg.Database, cfg.User, cfg.Password, cfg.RequireAuth)
			}
			if !maps.Equal(cfg.RuntimeParams, map[string]string{"application_name": "pganalytics"}) || cfg.ValidateConnect != nil {
				t.Errorf("startup parameters %v", cfg.RuntimeParams)
			}
			verifies := cfg.TLSConfig != nil && !cfg.TLSConfig.InsecureSkipVerify
			plain := false
			for _, f := range cfg.Fallbacks {
				plain = plain || f.TLSConfig == nil
			}
			if (cfg.TLSConfig != nil) != c.tls || verifies != c.verifies || plain != c.fallsBackPlain {
				t.Errorf("TLS %t, verifies %t, falls back to plain text %t", cfg.TLSConfig != nil, verifies, plain)
			}
		})
	}
}

func TestParseURLNamesWhatIsWrong(t *testing.T) {
	for url, want := range map[string]string{
		"":                                   "want postgres://",
		"mysql://u@h/d":                      "want postgres://",
		"host=h user=u":                      "want postgres://",
		"postgres://u@h1,h2/d":               "one host",
		"postgres:///d":                      "one host",
		"postgres://u@h/d?options=-c%20a=b":  `parameter "options"`,
		"postgres://u@h/d?application_name=": `parameter "application_name"`,
		"postgres://u@h/d?sslmode=maybe":     "sslmode",
		"postgres://u@h:99999/d":             "port",
	} {
		if _, err := parseURL(Secret(url), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", url, err, want)
		}
	}
}

func TestChosen(t *testing.T) {
	for _, c := range []struct {
		globs string
		name  string
		want  bool
	}{
		{"", "x", true}, {"*", "a/b", true}, {"app_*", "app_1", true}, {"app_*", "web", false}, {"a,b", "b", true},
		{"a/*", "a/b", true}, {"a?c", "a/c", true}, {"[ab]", "b", true},
	} {
		var globs []string
		if c.globs != "" {
			globs = strings.Split(c.globs, ",")
		}
		if got := chosen(globs, c.name); got != c.want {
			t.Errorf("%s chooses %s: %t", c.globs, c.name, got)
		}
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	s := Secret("zauberwort")
	type holder struct {
		S Secret
		P *Secret
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb+verb, s, holder{S: s}); strings.Contains(got, "zauber") || strings.Contains(got, fmt.Sprintf("%x", "zauber")) {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if text, _ := s.MarshalText(); string(text) != "***" || s.LogValue().String() != "***" || s.Reveal() != "zauberwort" || Secret("").String() != "" {
		t.Errorf("%s %s", text, s.LogValue())
	}
}

func TestInterner(t *testing.T) {
	n := &interner{known: map[string]string{}, fresh: map[string]string{}}
	for round := range 3 {
		for i := range 2 * maxInternedCount / 3 {
			s := fmt.Sprintf("name-%d-%d", round, i)
			if got := n.add([]byte(s)); got != s {
				t.Fatalf("%s became %s", s, got)
			}
			if got := n.add([]byte(s)); got != s {
				t.Fatalf("%s became %s", s, got)
			}
		}
	}
	if got := len(n.published()) + len(n.fresh); got > maxInternedCount*3/2 {
		t.Errorf("%d strings are kept", got)
	}
}
