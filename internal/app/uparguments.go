package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent"
	"github.com/pganalytics/pganalytics/internal/agent/target"
)

// upInterval is the collector's interval under `up`, in seconds, when neither flag nor
// environment says another.
const upInterval = 10

// settledByUp are variables that mean something to `collector` or `backend` alone: `up`
// wires its own halves.
var settledByUp = []string{
	"PGANALYTICS_API_TOKEN_FILE", "PGANALYTICS_BACKEND_CA_FILE", "PGANALYTICS_BACKEND_TOKEN_FILE", "PGANALYTICS_BACKEND_URL",
	"PGANALYTICS_COLLECTOR_DATA_DIR", "PGANALYTICS_REGISTRATION_TOKEN_FILE",
}

// check looks at everything that was given before anything is started or made.
func (c *upCommand) check(con *console) (agent.Config, error) {
	cfg := agent.Defaults()
	cfg.Collector.Interval = upInterval
	warnings, err := fromEnvironment(&cfg, "", con.environ)
	if err != nil {
		return cfg, err
	}
	for _, name := range settledByUp {
		if con.getenv(name) != "" {
			warnings = append(warnings, fmt.Sprintf("environment variable %s has no effect here: up settles it", name))
		}
	}
	for _, w := range warnings {
		fmt.Fprintf(con.stderr, "warning: %s\n", w)
	}
	if c.Interval != "" {
		interval, err := parseTime("--interval", c.Interval, time.Second, 24*time.Hour)
		if err != nil {
			return cfg, err
		}
		if interval%time.Second != 0 {
			return cfg, usagef("--interval = %q: want whole seconds", c.Interval)
		}
		cfg.Collector.Interval = int(interval / time.Second)
	}
	if c.limits, err = rateLimits(con); err != nil {
		return cfg, err
	}
	if c.retention, err = parseTime("--retention", c.Retention, 24*time.Hour, 3650*24*time.Hour); err != nil {
		return cfg, err
	}
	if host, port, err := net.SplitHostPort(c.Listen); err != nil || !validPort(port) || host != "" && strings.ContainsAny(host, "/ ") {
		return cfg, usagef("--listen = %q: want HOST:PORT, such as 127.0.0.1:8080", c.Listen)
	}
	if err := checkStoreURL(c.Store); err != nil {
		return cfg, err
	}
	if cfg.Instances, err = instancesOf(c.Instances); err != nil {
		return cfg, err
	}
	if len(cfg.Instances) == 0 && !c.Demo {
		return cfg, usagef("nothing to watch: give the URL of a server, postgres://USER@HOST:PORT/postgres, or --demo to look around")
	}
	cfg.Normalize()
	if err := cfg.Validate(); err != nil {
		return cfg, usageError{err}
	}
	if c.DataDir == "" {
		if c.DataDir, err = defaultDataDir(con); err != nil {
			return cfg, err
		}
	}
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return cfg, usagef("--data-dir: %w", err)
	}
	return cfg, nil
}

// instancesOf makes the sections [[instances]] of the URLs of a command line. All of
// their mistakes are told at once.
func instancesOf(urls []string) ([]agent.InstanceConfig, error) {
	var list []agent.InstanceConfig
	var errs []error
	for _, raw := range urls {
		name, err := instanceName(raw)
		twice := func(in agent.InstanceConfig) bool { return in.Name == name }
		switch i := slices.IndexFunc(list, twice); {
		case err != nil:
			errs = append(errs, fmt.Errorf("INSTANCE_URL %q: %w", target.MaskURL(raw), err))
		case i >= 0:
			errs = append(errs, fmt.Errorf("INSTANCE_URL %q: %s is already watched as %q; name it once, all of its databases are watched", target.MaskURL(raw), name, target.MaskURL(list[i].URL)))
		default:
			list = append(list, agent.InstanceConfig{Name: name, URL: raw})
		}
	}
	if len(errs) > 0 {
		return nil, usageError{errors.Join(errs...)}
	}
	return list, nil
}

// instanceName gives host:port of a server's URL, or what is wrong with the URL: the
// parser that will connect is asked, so that nothing is found later.
func instanceName(raw string) (string, error) {
	u, err := url.Parse(raw)
	postgres := err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
	if postgres && u.Hostname() == "" && u.Query().Get("host") == "" {
		return "", errors.New("has no host: want postgres://USER@HOST:PORT/DATABASE")
	}
	t, err := target.New(target.Config{URL: target.Secret(raw)}, slog.New(slog.DiscardHandler))
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil { // without the name, which it does not have yet
			err = inner
		}
		return "", err
	}
	t.Close()
	host, port := u.Hostname(), u.Port()
	if h := u.Query().Get("host"); h != "" {
		host = h
	}
	if p := u.Query().Get("port"); p != "" {
		port = p
	}
	if port == "" {
		port = "5432"
	}
	return net.JoinHostPort(host, port), nil
}

func checkStoreURL(raw string) error {
	if raw == "" {
		return nil
	}
	// A private server of somebody else's is not guessed at: the host must be said.
	if u, err := url.Parse(raw); err == nil && databaseURL(raw) && (u.Host != "" || u.Query().Get("host") != "") {
		return nil
	}
	return usagef("--store = %q: want postgres://USER@HOST:PORT/DATABASE", target.MaskURL(raw))
}

var timeSpan = regexp.MustCompile(`^(\d+)d$`)

// parseTime reads 90s, 5m, 24h or 14d within a range.
func parseTime(flag, text string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if m := timeSpan.FindStringSubmatch(text); m != nil {
		var days int
		if days, err = strconv.Atoi(m[1]); err == nil && days <= 36500 {
			d = time.Duration(days) * 24 * time.Hour
		}
	}
	if err != nil || d < low || d > high {
		return 0, usagef("%s = %q: want a time from %s to %s, such as 90s, 24h or 14d", flag, text, span(low), span(high))
	}
	return d, nil
}

func span(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 65535
}
