package agent_test

import (
	"strings"
	"testing"

	"github.com/pganalytics/pganalytics/internal/agent"
)

func valid() agent.Config {
	c := agent.Defaults()
	c.Collector.Name = "test"
	c.Instances = []agent.InstanceConfig{{URL: "postgres://monitor@db1/postgres"}}
	c.Normalize()
	return c
}

func TestDefaultsAreValid(t *testing.T) {
	c := valid()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := c.Instances[0].Name; got != "db1:5432" {
		t.Errorf("instance is named %q, want db1:5432", got)
	}
	if got := []int{c.Threading.ThreadPoolSize, c.PostgreSQL.QueryStatsLimit, c.Postgres.MinSize, c.Postgres.MaxSize, c.Postgres.IdleTimeout}; got[0] != 4 || got[1] != 100 || got[2] != 2 || got[3] != 10 || got[4] != 300 {
		t.Errorf("defaults %v, want 4, 100, 2, 10, 300", got)
	}
}

// Each bad value is named by key, value and range.
func TestValidateNamesKeyValueAndRange(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*agent.Config)
		want  string
	}{
		{"threads too few", func(c *agent.Config) { c.Threading.ThreadPoolSize = 0 }, "collector_threading.thread_pool_size = 0: want 1 to 256"},
		{"threads too many", func(c *agent.Config) { c.Threading.ThreadPoolSize = 257 }, "collector_threading.thread_pool_size = 257: want 1 to 256"},
		{"limit too low", func(c *agent.Config) { c.PostgreSQL.QueryStatsLimit = 9 }, "postgresql.query_stats_limit = 9: want 10 to 10000"},
		{"limit too high", func(c *agent.Config) { c.PostgreSQL.QueryStatsLimit = 10001 }, "postgresql.query_stats_limit = 10001: want 10 to 10000"},
		{"pool min over max", func(c *agent.Config) { c.Postgres.MinSize, c.Postgres.MaxSize = 5, 3 }, "postgres.pool_min_size = 5: want at most postgres.pool_max_size (3)"},
		{"pool max", func(c *agent.Config) { c.Postgres.MaxSize = 0 }, "postgres.pool_max_size = 0: want 1 to 100"},
		{"idle", func(c *agent.Config) { c.Postgres.IdleTimeout = 0 }, "postgres.pool_idle_timeout = 0: want 1 to 86400"},
		{"interval", func(c *agent.Config) { c.Collector.Interval = 0 }, "collector.interval = 0: want 1 to 86400"},
		{"spool", func(c *agent.Config) { c.Spool.MaxSize = 1000 }, `spool.max_size = "1000B": want "1MB" to "1048576GB"`},
		{"lock timeout", func(c *agent.Config) { c.Limits.LockTimeout = 0 }, "limits.lock_timeout_ms = 0: want 1 to 60000"},
		{"family unknown", func(c *agent.Config) { c.Families = map[string]agent.FamilyConfig{"wall": {}} }, `families.wall = "wall": want a family, one of activity`},
		{"family every", func(c *agent.Config) { c.Families = map[string]agent.FamilyConfig{"wal": {Every: -1}} }, "families.wal.every = -1: want 1 to 86400"},
		{"backend scheme", func(c *agent.Config) { c.Backend.URL = "ftp://x" }, `backend.url = "ftp://x": want http(s)://`},
		{"backend password", func(c *agent.Config) { c.Backend.URL = "http://u:planted-secret@x" }, "backend.url"},
		{"no url", func(c *agent.Config) { c.Instances[0].URL = "" }, "instances[0].url is missing"},
		{"bad url", func(c *agent.Config) { c.Instances[0].URL = "mysql://u:planted-secret@db/x" }, `instances[0].url = "mysql://***@db/x": want postgres://`},
		{"unparsable url", func(c *agent.Config) { c.Instances[0].URL = "postgres://u:planted-secret@db:x/%zz" }, "instances[0].url"},
		{"twice", func(c *agent.Config) { c.Instances = append(c.Instances, c.Instances[0]) }, `instances[1].name = "db1:5432": want a name of its own, instances[0] has this one`},
		{"two passwords", func(c *agent.Config) { c.Instances[0].PasswordFile, c.Instances[0].PasswordEnv = "f", "E" }, "instances[0].password_env"},
		{"glob", func(c *agent.Config) { c.Instances[0].Databases = []string{"a["} }, `instances[0].databases = "a[": want names of databases`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := valid()
			c.spoil(&cfg)
			err := cfg.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v\nwant %s", err, c.want)
			}
			if strings.Contains(err.Error(), "planted-secret") {
				t.Errorf("a password is shown: %v", err)
			}
		})
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]agent.Size{"1GB": 1 << 30, "512MB": 512 << 20, "2 KB": 2048, "77": 77, "3b": 3} {
		var s agent.Size
		if err := s.UnmarshalText([]byte(in)); err != nil || s != want {
			t.Errorf("%q is %d, %v, want %d", in, s, err, want)
		}
	}
	for _, in := range []string{"", "GB", "1XB", "-1GB", "1.5GB", "99999999TB", "1GBB"} {
		var s agent.Size
		if err := s.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q is accepted as %d", in, s)
		}
	}
}
