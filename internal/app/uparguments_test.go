package app

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pganalytics/pganalytics/internal/agent"
)

// checked is what `up` makes of its arguments, without starting anything.
func checked(t *testing.T, environ []string, c upCommand) (agent.Config, string, error) {
	t.Helper()
	c.Listen, c.DataDir = "127.0.0.1:0", t.TempDir()
	if c.Retention == "" {
		c.Retention = "14d"
	}
	var stderr bytes.Buffer
	cfg, err := c.check(&console{stdout: &bytes.Buffer{}, stderr: &stderr, environ: environ})
	return cfg, stderr.String(), err
}

// TestUpInterval: the flag wins over the environment, which wins over the default.
func TestUpInterval(t *testing.T) {
	for _, c := range []struct {
		flag, env string
		want      int
	}{{"", "", 10}, {"", "2", 2}, {"30s", "2", 30}, {"10s", "2", 10}, {"1m", "", 60}} {
		var environ []string
		if c.env != "" {
			environ = []string{"PGANALYTICS_COLLECTOR_INTERVAL=" + c.env}
		}
		cfg, warnings, err := checked(t, environ, upCommand{Interval: c.flag, Demo: true})
		if err != nil || cfg.Collector.Interval != c.want || warnings != "" {
			t.Errorf("--interval %q, environment %q: %d s, %v, %s; want %d s", c.flag, c.env, cfg.Collector.Interval, err, warnings, c.want)
		}
	}
}

// TestUpVariablesWithoutEffect are told: who sets one expects something.
func TestUpVariablesWithoutEffect(t *testing.T) {
	environ := []string{
		"PGANALYTICS_COLLECTOR_DATA_DIR=/x", "PGANALYTICS_BACKEND_URL=http://b", "PGANALYTICS_BACKEND_TOKEN_FILE=/x", "PGANALYTICS_BACKEND_CA_FILE=/x",
		"PGANALYTICS_API_TOKEN_FILE=/x", "PGANALYTICS_REGISTRATION_TOKEN_FILE=/x", "PGANALYTICS_COLLECTOR_NAME=eu", "PGANALYTICS_TOKEN=t",
	}
	cfg, warnings, err := checked(t, environ, upCommand{Demo: true})
	if err != nil || cfg.Collector.Name != "eu" {
		t.Errorf("name %q: %v", cfg.Collector.Name, err)
	}
	for i, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if told := strings.Contains(warnings, name+" has no effect"); told != (i < 6) {
			t.Errorf("%s: told %t in\n%s", name, told, warnings)
		}
	}
}

// TestUpInstances: what the parser that connects would refuse is refused before
// anything is started, in the words of a command line.
func TestUpInstances(t *testing.T) {
	for _, c := range []struct {
		urls []string
		want []string
	}{
		{[]string{"postgres://mon:planted-secret@h:99999/x"}, []string{`INSTANCE_URL "postgres://***@h:99999/x"`, `"99999"`, "1 to 65535"}},
		{[]string{"postgres://mon:planted-secret@h/x?foo=bar"}, []string{`INSTANCE_URL "postgres://***@h/x"`, `"foo"`, "known are"}},
		{[]string{"postgres://h/x?sslmode=perhaps"}, []string{`INSTANCE_URL "postgres://h/x"`, "sslmode"}},
		{[]string{"postgres://h1,h2/x"}, []string{`INSTANCE_URL "postgres://h1,h2/x"`, "one host"}},
		{[]string{"postgres:///x"}, []string{`INSTANCE_URL "postgres:///x"`, "has no host"}},
		{[]string{"postgres://"}, []string{`INSTANCE_URL "postgres://"`, "has no host"}},
		{[]string{"http://u:planted-secret@h/x"}, []string{`INSTANCE_URL "http://***@h/x"`, "postgres://USER@HOST"}},
		{[]string{"postgres://u:planted/secret@h/x", "h/planted-secret"}, []string{`INSTANCE_URL "postgres://***@h/x"`, `INSTANCE_URL "***"`}},
		{[]string{"postgres://u:planted-secret@h/x", "postgres://v:planted-secret@h:5432/y"}, []string{`INSTANCE_URL "postgres://***@h:5432/y"`, `already watched as "postgres://***@h/x"`}},
		{nil, []string{"nothing to watch"}},
	} {
		_, _, err := checked(t, nil, upCommand{Instances: c.urls})
		if err == nil {
			t.Errorf("%q is accepted", c.urls)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: no %q in: %v", c.urls, w, err)
			}
		}
		if s := err.Error(); strings.Contains(s, "planted") || strings.Contains(s, "instances[") || strings.Contains(s, "instance :") {
			t.Errorf("%q: a secret, or a key that nobody wrote: %v", c.urls, err)
		}
	}
	cfg, _, err := checked(t, nil, upCommand{Instances: []string{"postgres://u@h/x", "postgres://u@[::1]:6000", "postgres://u@/x?host=/run/postgresql&port=6001"}})
	var names []string
	for _, in := range cfg.Instances {
		names = append(names, in.Name)
	}
	if want := []string{"h:5432", "[::1]:6000", "/run/postgresql:6001"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("names %q, %v; want %q", names, err, want)
	}
}

// TestRateLimits: the defaults, what the environment changes of them, and what it may not.
func TestRateLimits(t *testing.T) {
	l, err := rateLimits(&console{environ: []string{"PGANALYTICS_RATE_PUSH=5/s burst 9", "PGANALYTICS_RATE_SIGN_IN=off"}})
	if err != nil || l.Push.Burst != 9 || l.SignIn.PerSecond != 0 || l.Register.Burst == 0 {
		t.Errorf("%+v %v", l, err)
	}
	_, err = rateLimits(&console{environ: []string{"PGANALYTICS_RATE_REGISTER=often"}})
	if err == nil || !strings.Contains(err.Error(), `PGANALYTICS_RATE_REGISTER = "often"`) {
		t.Errorf("%v", err)
	}
}

// TestUpLogFlags: a message names the flag that was typed.
func TestUpLogFlags(t *testing.T) {
	for _, c := range []upCommand{{Demo: true, LogLevel: "loud"}, {Demo: true, LogFormat: "loud"}} {
		c.Listen, c.Retention, c.DataDir = "127.0.0.1:0", "14d", filepath.Join(t.TempDir(), "data")
		err := c.Run(t.Context(), &console{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}})
		want := "--log-level"
		if c.LogFormat != "" {
			want = "--log-format"
		}
		if err == nil || !strings.Contains(err.Error(), want+` = "loud"`) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
