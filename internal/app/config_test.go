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
	warnings, err := overlay(&cfg, []string{
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
		_, err := overlay(&cfg, []string{bad})
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
