package loadtest

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/pganalytics/pganalytics/internal/pgserver"
)

// Options of a run. The zero values of Duration and Requests get a default.
type Options struct {
	Collectors int // simulated; 0: none
	Instances  int // of the real collector; 0: none
	Suite      bool
	Quick      bool
	Interval   time.Duration
	Duration   time.Duration // of a measurement; 0: two intervals
	Limit      int           // query_stats_limit of the real collector

	// A running backend in place of a private one.
	URL          string
	Token        string // of the API
	Registration string // the registration token

	Binary     string // the program; its commands backend and collector are run
	PostgreSQL pgserver.Binaries
	Commit     string // of the program
	Dir        string // for the reports; "" writes none
	Progress   func(format string, args ...any)
	Out        io.Writer // for tables
}

// Bounds of the flags.
const (
	MaxCollectors = 10_000
	MaxInstances  = 10_000
	maxServers    = 20 // of real ones; more instances are names on them
)

// OptionError names the flag and the value that are wrong.
type OptionError struct{ Flag, Value, Want string }

func (e *OptionError) Error() string { return fmt.Sprintf("%s = %q: %s", e.Flag, e.Value, e.Want) }

// Check finds the first flag that is wrong, before anything is started.
func (o Options) Check() error { return o.complete() }

// complete sets defaults and finds the first flag that is wrong.
func (o *Options) complete() error {
	if o.Suite && (o.Collectors != 0 || o.Instances != 0) {
		return &OptionError{"--suite", "true", "it has its own --collectors and --instances"}
	}
	if o.Quick && o.Interval == 0 {
		o.Interval = 2 * time.Second
	}
	if o.Interval == 0 {
		o.Interval = time.Minute
	}
	if o.Duration == 0 {
		o.Duration = max(20*time.Second, 2*o.Interval)
		if o.Suite && !o.Quick {
			o.Duration = max(time.Minute, o.Interval)
		}
		if o.Quick {
			o.Duration = max(6*time.Second, 2*o.Interval)
		}
	}
	if o.Limit == 0 {
		o.Limit = 1000
	}
	if !o.Suite && o.Collectors == 0 && o.Instances == 0 {
		o.Collectors = 10
	}
	switch {
	case o.Collectors < 0 || o.Collectors > MaxCollectors:
		return &OptionError{"--collectors", fmt.Sprint(o.Collectors), fmt.Sprintf("want 1 to %d", MaxCollectors)}
	case o.Instances < 0 || o.Instances > MaxInstances:
		return &OptionError{"--instances", fmt.Sprint(o.Instances), fmt.Sprintf("want 1 to %d", MaxInstances)}
	case o.Interval < time.Second || o.Interval > time.Hour || o.Interval%time.Second != 0:
		return &OptionError{"--interval", o.Interval.String(), "want whole seconds, 1s to 1h"}
	case o.Duration < o.Interval || o.Duration > 24*time.Hour:
		return &OptionError{"--duration", o.Duration.String(), "want an interval (" + o.Interval.String() + ") to 24h"}
	case o.Limit < 10 || o.Limit > 10_000:
		return &OptionError{"--limit", fmt.Sprint(o.Limit), "want 10 to 10000"}
	}
	if o.URL == "" {
		return nil
	}
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return &OptionError{"--url", redacted(o.URL), "want http://HOST:PORT"}
	case o.Suite:
		return &OptionError{"--url", redacted(o.URL), "--suite measures a private backend and store; give --collectors or --instances"}
	case o.Token == "":
		return &OptionError{"--token-file", "", "want the file with the API token of --url"}
	case o.Registration == "":
		return &OptionError{"--registration-token-file", "", "want the file with the registration token of --url"}
	}
	return nil
}

func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "***"
	}
	return u.Redacted()
}

// loopback says whether an address is on this machine.
func loopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
