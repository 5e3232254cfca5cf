package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent"
)

// TestShippedConfig: the file in the repository is valid, has the promised values,
// and its comments do not disturb the runbook's grep.
func TestShippedConfig(t *testing.T) {
	path := "../../collector/config.toml"
	cfg, warnings, err := loadCollector(path, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", err, warnings)
	}
	if cfg.Threading.ThreadPoolSize != 4 || cfg.PostgreSQL.QueryStatsLimit != 100 || cfg.Postgres.MinSize != 2 || cfg.Postgres.MaxSize != 10 || cfg.Postgres.IdleTimeout != 300 || cfg.Collector.Interval != 60 {
		t.Errorf("values: %+v", cfg)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "thread_pool_size") || strings.Contains(line, "query_stats_limit") || strings.Contains(line, "pool_") {
			found = append(found, line)
		}
	}
	if len(found) != 5 {
		t.Errorf("the runbook's grep prints %d lines, want the 5 settings: %q", len(found), found)
	}
}

func TestOverlay(t *testing.T) {
	cfg := agent.Defaults()
	_, warnings, err := overlay(&cfg, []string{
		"PGANALYTICS_POSTGRESQL_QUERY_STATS_LIMIT=1000", "PGANALYTICS_SPOOL_MAX_SIZE=2MB", "PGANALYTICS_COLLECTOR_NAME=eu-1",
		"PGANALYTICS_COLLECTOR_THREADING_THREAD_POOL_SIZE=8", "PGANALYTICS_API_TOKEN_FILE=x", "PGANALYTICS_COLECTOR_NAME=typo", "PATH=/bin",
	})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.PostgreSQL.QueryStatsLimit != 1000 || cfg.Spool.MaxSize != 2<<20 || cfg.Collector.Name != "eu-1" || cfg.Threading.ThreadPoolSize != 8 {
		t.Errorf("not set: %+v", cfg)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "PGANALYTICS_COLECTOR_NAME") {
		t.Errorf("warnings %q, want one for the unknown name", warnings)
	}
	for _, bad := range []string{"PGANALYTICS_COLLECTOR_INTERVAL=soon", "PGANALYTICS_SPOOL_MAX_SIZE=much"} {
		_, _, err := overlay(&cfg, []string{bad})
		name, value, _ := strings.Cut(bad, "=")
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), value) {
			t.Errorf("%s: error %v does not name variable and value", bad, err)
		}
	}
}

// TestConfigErrors never show what stands in the file around the mistake.
func TestConfigErrors(t *testing.T) {
	for _, text := range []string{
		"[[instances]]\nurl = \"postgres://u:planted-secret@h/d\"\nurl = 5\n",
		"[[instances]]\nurl = \"postgres://u:planted-secret@h/d\nname = 'x'\n",
		"[[instances]]\nurl = \"planted-secret\"\n",
		"[[instances]]\nurls = \"postgres://u:planted-secret@h/d\"\n",
	} {
		path := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := loadCollector(path, nil)
		if err == nil {
			t.Errorf("accepted:\n%s", text)
		} else if strings.Contains(err.Error(), "planted-secret") {
			t.Errorf("the error shows a secret: %v", err)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name the file: %v", err)
		}
	}
}

// TestConfigErrorsSayWhatIsWanted: key, value and range, also of a value of another
// type; the environment's variable where it came from there.
func TestConfigErrorsSayWhatIsWanted(t *testing.T) {
	for _, c := range []struct{ text, env, want string }{
		{text: "[postgresql]\nquery_stats_limit = \"100\"\n", want: `c.toml:2:21: postgresql.query_stats_limit = "100": want a whole number 10 to 10000`},
		{text: "[postgresql]\nquery_stats_limit = 100.5\n", want: "c.toml:2:21: postgresql.query_stats_limit = 100.5: want a whole number 10 to 10000"},
		{text: "[postgresql]\nquery_stats_limit = []\n", want: "postgresql.query_stats_limit: want a whole number 10 to 10000"},
		{text: "[postgres]\npool_max_size = true # no\n", want: "postgres.pool_max_size = true: want a whole number 1 to 100"},
		{text: "[families.wal]\nenabled = \"x\"\n", want: `c.toml:2:11: families.wal.enabled = "x": want true or false`},
		{text: "[families.wal]\nevery = \"x\"\n", want: `families.wal.every = "x": want a whole number 1 to 86400`},
		{text: "[spool]\nmax_size = true\n", want: `c.toml: spool.max_size: "true" is not a size: want a number and B, KB`},
		{text: "[collector]\nname = 7\n", want: `collector.name = 7: want a text in "quotes"`},
		{text: "[[instances]]\nurl = [\"planted-secret\"]\n", want: `instances.url: want a text in "quotes"`},
		{text: "[[instances]]\nlabels = {a = 1}\n", want: `instances.labels: want texts in "quotes"`},
		{text: "[[instances]]\ndatabases = \"x\"\n", want: "instances.databases: want a list of texts"},
		{text: "[collector]\nname.x = 5\n", want: `collector.name: want a text in "quotes"`},
		{text: "[collector]\n[collector]\n", want: "c.toml:2:2: key collector: "},
		{text: "[collector]\ninterval = 1\ninterval = 2\n", want: "c.toml:3:1: key interval: key interval is already defined"},
		{text: "collector = 5\n", want: "collector = 5: want a section [collector]"},
		{env: "PGANALYTICS_POSTGRESQL_QUERY_STATS_LIMIT=5", want: "environment variable PGANALYTICS_POSTGRESQL_QUERY_STATS_LIMIT: postgresql.query_stats_limit = 5: want 10 to 10000"},
		{env: "PGANALYTICS_POSTGRES_POOL_MAX_SIZE=1", want: "environment variable PGANALYTICS_POSTGRES_POOL_MAX_SIZE: postgres.pool_min_size = 2: want at most"},
		{text: "[collector]\ninterval = 0\n", env: "PGANALYTICS_POSTGRESQL_QUERY_STATS_LIMIT=5", want: "c.toml: collector.interval = 0: want 1 to 86400"},
	} {
		path := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var environ []string
		if c.env != "" {
			environ = []string{c.env}
		}
		_, _, err := loadCollector(path, environ)
		switch {
		case err == nil:
			t.Errorf("accepted: %s%s", c.text, c.env)
		case !strings.Contains(err.Error(), c.want), strings.Contains(err.Error(), "planted-secret"), strings.Contains(err.Error(), "agent."), strings.Contains(err.Error(), "struct"):
			t.Errorf("%s%s: %v\nwant %s", c.text, c.env, err, c.want)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Duration{"14d": 14 * 24 * time.Hour, "90s": 90 * time.Second, "24h": 24 * time.Hour} {
		if got, err := parseTime("--x", text, time.Second, 100*24*time.Hour); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "-1d", "10", "1000000000000d", "101d", "1ms", "1.5d"} {
		if got, err := parseTime("--x", text, time.Second, 100*24*time.Hour); err == nil {
			t.Errorf("%q is accepted as %v", text, got)
		} else if !strings.Contains(err.Error(), "--x") || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: %v does not name flag and value", text, err)
		}
	}
}
