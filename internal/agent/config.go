package agent

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// Config is the collector's configuration, section by section as
// collector/config.toml has it. Durations are whole seconds or milliseconds, as
// the keys say.
type Config struct {
	Collector  CollectorConfig         `toml:"collector"`
	Backend    BackendConfig           `toml:"backend"`
	Threading  ThreadingConfig         `toml:"collector_threading"`
	PostgreSQL QueryConfig             `toml:"postgresql"`
	Postgres   PoolConfig              `toml:"postgres"`
	Spool      SpoolConfig             `toml:"spool"`
	Limits     LimitsConfig            `toml:"limits"`
	Families   map[string]FamilyConfig `toml:"families"`
	Instances  []InstanceConfig        `toml:"instances"`
}

// CollectorConfig is section [collector].
type CollectorConfig struct {
	Name     string `toml:"name"`     // how people know this collector; default the host's name
	Interval int    `toml:"interval"` // seconds
	DataDir  string `toml:"data_dir"`
}

// BackendConfig is section [backend].
type BackendConfig struct {
	URL       string `toml:"url"`
	TokenFile string `toml:"token_file"` // holds the registration token
	CAFile    string `toml:"ca_file"`    // PEM; "" trusts the system's authorities
}

// ThreadingConfig is section [collector_threading].
type ThreadingConfig struct {
	ThreadPoolSize int `toml:"thread_pool_size"`
}

// QueryConfig is section [postgresql].
type QueryConfig struct {
	QueryStatsLimit int `toml:"query_stats_limit"` // statements sent one by one per tick; the others as exact sums
}

// PoolConfig is section [postgres], per instance.
type PoolConfig struct {
	MinSize     int `toml:"pool_min_size"`
	MaxSize     int `toml:"pool_max_size"`
	IdleTimeout int `toml:"pool_idle_timeout"` // seconds
}

// SpoolConfig is section [spool].
type SpoolConfig struct {
	MaxSize Size `toml:"max_size"`
}

// LimitsConfig is section [limits]; milliseconds.
type LimitsConfig struct {
	LockTimeout      int `toml:"lock_timeout_ms"`
	StatementTimeout int `toml:"statement_timeout_ms"`
	ConnectTimeout   int `toml:"connect_timeout_ms"`
}

// FamilyConfig is one section [families.NAME].
type FamilyConfig struct {
	Every   int   `toml:"every"` // seconds; 0: as the catalog says
	Enabled *bool `toml:"enabled"`
}

// InstanceConfig is one section [[instances]].
type InstanceConfig struct {
	Name         string            `toml:"name"` // default host:port of the URL
	URL          string            `toml:"url"`
	PasswordFile string            `toml:"password_file"`
	PasswordEnv  string            `toml:"password_env"`
	Databases    []string          `toml:"databases"` // globs; default all
	Labels       map[string]string `toml:"labels"`
}

// Size is a number of bytes, written as "512MB" or "1GB" (powers of 1024) or as a
// plain number of bytes.
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	in := strings.TrimSpace(string(text))
	number := strings.TrimRight(in, "kKMGTBb")
	shift := map[string]uint{"": 0, "B": 0, "KB": 10, "K": 10, "MB": 20, "M": 20, "GB": 30, "G": 30, "TB": 40, "T": 40}
	bits, ok := shift[strings.ToUpper(in[len(number):])]
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || !ok || n < 0 || n > 1<<62>>bits {
		return fmt.Errorf("%q is not a size: want a number and B, KB, MB, GB or TB", in)
	}
	*s = Size(n << bits)
	return nil
}

func (s Size) String() string {
	for _, u := range []struct {
		name string
		bits uint
	}{{"GB", 30}, {"MB", 20}, {"KB", 10}} {
		if s > 0 && s%(1<<u.bits) == 0 {
			return strconv.FormatInt(int64(s>>u.bits), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText writes a size as UnmarshalText reads it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Defaults is the configuration of an empty file.
func Defaults() Config {
	return Config{
		Collector:  CollectorConfig{Interval: 60},
		Threading:  ThreadingConfig{ThreadPoolSize: 4},
		PostgreSQL: QueryConfig{QueryStatsLimit: 100},
		Postgres:   PoolConfig{MinSize: 2, MaxSize: 10, IdleTimeout: 300},
		Spool:      SpoolConfig{MaxSize: 1 << 30},
		Limits:     LimitsConfig{LockTimeout: 100, StatementTimeout: 5000, ConnectTimeout: 5000},
	}
}

// Ranges of the configuration.
const (
	maxSeconds   = 86_400
	minSpool     = 1 << 20
	maxInstances = 10_000
)

// Normalize fills in what follows from other values: the collector's name from
// the host's, an instance's name from its URL, its databases.
func (c *Config) Normalize() {
	if c.Collector.Name == "" {
		if host, err := os.Hostname(); err == nil {
			c.Collector.Name = host
		}
	}
	for i := range c.Instances {
		in := &c.Instances[i]
		if in.Name == "" {
			in.Name = hostPort(in.URL)
		}
		if len(in.Databases) == 0 {
			in.Databases = []string{"*"}
		}
	}
}

// hostPort is the name of an instance that has none; "" when the URL gives none.
func hostPort(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "5432"
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// Validate checks every value of a normalized configuration and names each bad
// one by key, value and range. What only a running collector needs is checked
// with Running.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key string, value any, want string) {
		errs = append(errs, fmt.Errorf("%s = %v: want %s", key, value, want))
	}
	between := func(key string, value, low, high int) {
		if value < low || value > high {
			bad(key, value, fmt.Sprintf("%d to %d", low, high))
		}
	}
	if !isLine(c.Collector.Name, 200) {
		bad("collector.name", strconv.Quote(c.Collector.Name), "1 to 200 printable characters")
	}
	between("collector.interval", c.Collector.Interval, 1, maxSeconds)
	between("collector_threading.thread_pool_size", c.Threading.ThreadPoolSize, 1, 256)
	between("postgresql.query_stats_limit", c.PostgreSQL.QueryStatsLimit, 10, 10_000)
	between("postgres.pool_min_size", c.Postgres.MinSize, 0, 100)
	between("postgres.pool_max_size", c.Postgres.MaxSize, 1, 100)
	if c.Postgres.MinSize > c.Postgres.MaxSize {
		bad("postgres.pool_min_size", c.Postgres.MinSize, fmt.Sprintf("at most postgres.pool_max_size (%d)", c.Postgres.MaxSize))
	}
	between("postgres.pool_idle_timeout", c.Postgres.IdleTimeout, 1, maxSeconds)
	if c.Spool.MaxSize < minSpool || c.Spool.MaxSize > 1<<50 {
		bad("spool.max_size", strconv.Quote(c.Spool.MaxSize.String()), `"1MB" to "1048576GB"`)
	}
	between("limits.lock_timeout_ms", c.Limits.LockTimeout, 1, 60_000)
	between("limits.statement_timeout_ms", c.Limits.StatementTimeout, 10, 600_000)
	between("limits.connect_timeout_ms", c.Limits.ConnectTimeout, 10, 60_000)
	for _, name := range slices.Sorted(maps.Keys(c.Families)) {
		f := catalog.Lookup(name)
		if f == nil {
			bad("families."+name, strconv.Quote(name), "a family, one of "+familyNames())
			continue
		}
		if every := c.Families[name].Every; every != 0 {
			between("families."+name+".every", every, 1, maxSeconds)
		}
	}
	errs = append(errs, c.validateBackend()...)
	errs = append(errs, c.validateInstances()...)
	return errors.Join(errs...)
}

func (c *Config) validateBackend() []error {
	if c.Backend.URL == "" {
		return nil
	}
	u, err := url.Parse(c.Backend.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return []error{fmt.Errorf("backend.url = %q: want http(s)://HOST[:PORT]", target.MaskURL(c.Backend.URL))}
	}
	if u.User != nil {
		return []error{fmt.Errorf("backend.url = %q: want no user or password in it (see backend.token_file)", target.MaskURL(c.Backend.URL))}
	}
	return nil
}

func (c *Config) validateInstances() []error {
	var errs []error
	if len(c.Instances) > maxInstances {
		errs = append(errs, fmt.Errorf("instances: %d sections: want at most %d", len(c.Instances), maxInstances))
	}
	names := map[string]int{}
	for i := range c.Instances {
		in := &c.Instances[i]
		key := func(k string) string { return fmt.Sprintf("instances[%d].%s", i, k) }
		bad := func(k string, value any, want string) {
			errs = append(errs, fmt.Errorf("%s = %v: want %s", key(k), value, want))
		}
		u, err := url.Parse(in.URL)
		switch {
		case in.URL == "":
			errs = append(errs, fmt.Errorf("%s is missing: want postgres://USER@HOST[:PORT]/DATABASE", key("url")))
		case err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql"):
			bad("url", strconv.Quote(target.MaskURL(in.URL)), "postgres://USER@HOST[:PORT]/DATABASE")
		}
		if !isLine(in.Name, 200) {
			bad("name", strconv.Quote(in.Name), "1 to 200 printable characters (or a url with a host)")
		} else if j, twice := names[in.Name]; twice {
			bad("name", strconv.Quote(in.Name), fmt.Sprintf("a name of its own, instances[%d] has this one", j))
		}
		names[in.Name] = i
		if in.PasswordFile != "" && in.PasswordEnv != "" {
			bad("password_env", strconv.Quote(in.PasswordEnv), "one of password_file and password_env")
		}
		for _, g := range in.Databases {
			if _, err := path.Match(g, "x"); err != nil || g == "" {
				bad("databases", strconv.Quote(g), "names of databases, with * ? and [] as in file names")
			}
		}
		for _, k := range slices.Sorted(maps.Keys(in.Labels)) {
			if !isLine(k, 100) || len(in.Labels[k]) > 1000 {
				bad("labels", strconv.Quote(k), "names of 1 to 100 printable characters, values of at most 1000 bytes")
			}
		}
	}
	return errs
}

// Running checks what a collector needs beyond Validate to collect and push: a
// data directory, a backend with its token, something to watch.
func (c *Config) Running() error {
	var errs []error
	if c.Collector.DataDir == "" {
		errs = append(errs, errors.New("collector.data_dir is missing: want a folder for spool and state"))
	}
	if c.Backend.URL == "" {
		errs = append(errs, errors.New("backend.url is missing: want http(s)://HOST[:PORT]"))
	}
	if c.Backend.TokenFile == "" {
		errs = append(errs, errors.New("backend.token_file is missing: want a file that holds the registration token"))
	}
	if len(c.Instances) == 0 {
		errs = append(errs, errors.New("instances: none: want at least one [[instances]] section with a url"))
	}
	return errors.Join(errs...)
}

// password gives an instance's password: from its file, its environment variable,
// or "" when the URL (or nothing) holds it.
func (in *InstanceConfig) password() (string, error) {
	switch {
	case in.PasswordFile != "":
		text, err := os.ReadFile(in.PasswordFile)
		if err != nil {
			return "", fmt.Errorf("instance %s: password_file: %w", in.Name, err)
		}
		return strings.TrimRight(string(text), "\r\n"), nil
	case in.PasswordEnv != "":
		value, ok := os.LookupEnv(in.PasswordEnv)
		if !ok {
			return "", fmt.Errorf("instance %s: password_env: the environment has no %s", in.Name, in.PasswordEnv)
		}
		return value, nil
	}
	return "", nil
}

func (c *Config) interval() time.Duration { return time.Duration(c.Collector.Interval) * time.Second }

// enabled says whether a family is read at all.
func (c *Config) enabled(family string) bool {
	f, ok := c.Families[family]
	return !ok || f.Enabled == nil || *f.Enabled
}

// every is the time between two ticks of a family (contracts.md §2).
func (c *Config) every(f *catalog.Family) time.Duration {
	if own := c.Families[f.Name].Every; own > 0 {
		return time.Duration(own) * time.Second
	}
	interval := c.interval()
	switch {
	case f.Lane == catalog.Fast && f.Every == 0:
		return min(10*time.Second, interval)
	case f.Every <= interval:
		return interval
	}
	return (f.Every + interval - 1) / interval * interval
}

// base is the shortest time between two ticks of a lane, in microseconds.
func (c *Config) base(lane catalog.Lane) int64 {
	base := never
	for _, f := range catalog.All() {
		if f.Lane == lane && c.enabled(f.Name) {
			base = min(base, c.every(f).Microseconds())
		}
	}
	return base
}

func familyNames() string {
	var names []string
	for _, f := range catalog.All() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

// isLine: not empty, at most limit bytes, no control characters.
func isLine(s string, limit int) bool {
	return s != "" && len(s) <= limit && strings.TrimSpace(s) == s &&
		strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' }) < 0
}
