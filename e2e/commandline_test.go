package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandLine: every malformed flag, value and file ends with exit code 2 and
// one message that names field and value; nothing is printed of a password.
func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	head := "[backend]\nurl = \"http://127.0.0.1:1\"\ntoken_file = \"x\"\n"
	instance := "[[instances]]\nurl = \"postgres://u:planted-secret@127.0.0.1:1/d\"\n"
	tests := []struct {
		name string
		args []string
		env  []string
		want []string
		code int
	}{
		{"unknown command", []string{"pu"}, nil, []string{"pu"}, 2},
		{"unknown flag", []string{"up", "--dmeo"}, nil, []string{"--dmeo"}, 2},
		{"nothing to watch", []string{"up"}, nil, []string{"nothing to watch", "--demo"}, 2},
		{"bad interval", []string{"up", "--demo", "--interval", "10"}, nil, []string{"--interval", `"10"`, "1s"}, 2},
		{"interval too small", []string{"up", "--demo", "--interval", "10ms"}, nil, []string{"--interval", `"10ms"`}, 2},
		{"bad retention", []string{"up", "--demo", "--retention", "1h"}, nil, []string{"--retention", `"1h"`, "1d"}, 2},
		{"bad listen", []string{"up", "--demo", "--listen", "8080"}, nil, []string{"--listen", `"8080"`}, 2},
		{"bad store", []string{"up", "--demo", "--store", "mysql://u:planted-secret@h/d"}, nil, []string{"--store", "mysql://"}, 2},
		{"bad instance", []string{"up", "http://u:planted-secret@h/d"}, nil, []string{"INSTANCE_URL", "postgres://"}, 2},
		{"instance with a bad port", []string{"up", "postgres://u:planted-secret@h:99999/d"}, nil, []string{"INSTANCE_URL", "99999", "65535"}, 2},
		{"instance with an unknown parameter", []string{"up", "postgres://h/d?foo=bar"}, nil, []string{"INSTANCE_URL", `"foo"`}, 2},
		{"instance of two hosts", []string{"up", "postgres://h1,h2/d"}, nil, []string{"INSTANCE_URL", "h1,h2", "one host"}, 2},
		{"instance without a host", []string{"up", "postgres:///d"}, nil, []string{"INSTANCE_URL", "postgres:///d", "has no host"}, 2},
		{"bad log level", []string{"up", "--demo", "--log-level", "loud"}, nil, []string{"--log-level", `"loud"`}, 2},
		{"bad log format", []string{"up", "--demo", "--log-format", "xml"}, nil, []string{"--log-format", `"xml"`}, 2},
		{"store that is no URL", []string{"up", "--demo", "--store", "u:planted-secret@h/d"}, nil, []string{"--store", "***"}, 2},
		{"store without slashes", []string{"up", "--demo", "--store", "postgres:/u:planted-secret@h/d"}, nil, []string{"--store", "***"}, 2},
		{"same instance twice", []string{"up", "postgres://u:planted-secret@127.0.0.1:1/a", "postgres://u:planted-secret@127.0.0.1:1/b"}, nil, []string{"127.0.0.1:1"}, 2},
		{"bad environment", []string{"up", "--demo"}, []string{"PGANALYTICS_POSTGRESQL_QUERY_STATS_LIMIT=many"}, []string{"PGANALYTICS_POSTGRESQL_QUERY_STATS_LIMIT", `"many"`}, 2},
		{"environment out of range", []string{"up", "--demo"}, []string{"PGANALYTICS_POSTGRESQL_QUERY_STATS_LIMIT=9"}, []string{"PGANALYTICS_POSTGRESQL_QUERY_STATS_LIMIT", "query_stats_limit", "9", "10 to 10000"}, 2},
		{"postgres-bin without PostgreSQL", []string{"up", "--demo", "--data-dir", filepath.Join(dir, "d"), "--listen", "127.0.0.1:0", "--postgres-bin", dir}, nil, []string{"PostgreSQL 14", dir}, 2},
		{"data-dir is a file", []string{"up", "--demo", "--listen", "127.0.0.1:0", "--data-dir", write("file", "")}, nil, []string{"--data-dir"}, 2},
		{"no config", []string{"collector"}, nil, []string{"--config"}, 2},
		{"config not there", []string{"collector", "--config", dir + "/absent.toml"}, nil, []string{"--config", "absent.toml"}, 2},
		{"unknown key", []string{"collector", "--config", write("key.toml", head+"[collector]\nintervall = 5\n"+instance)}, nil, []string{"key.toml:5", "intervall"}, 2},
		{"wrong type", []string{"collector", "--config", write("type.toml", "[collector]\ninterval = \"soon\"\n")}, nil, []string{"type.toml:2", "interval"}, 2},
		{"no TOML", []string{"collector", "--config", write("bad.toml", "[collector\n")}, nil, []string{"bad.toml:1"}, 2},
		{"out of range", []string{"collector", "--config", write("range.toml", head+"[collector_threading]\nthread_pool_size = 257\n"+instance)}, nil, []string{"thread_pool_size", "257", "1 to 256"}, 2},
		{"min over max", []string{"collector", "--config", write("pool.toml", head+"[postgres]\npool_min_size = 5\npool_max_size = 4\n"+instance)}, nil, []string{"pool_min_size", "5", "pool_max_size"}, 2},
		{"unknown family", []string{"collector", "--config", write("family.toml", head+"[families.walls]\nevery = 5\n"+instance)}, nil, []string{"walls"}, 2},
		{"nothing to watch in the config", []string{"collector", "--config", write("none.toml", head+"[collector]\ndata_dir = \""+dir+"\"\n")}, nil, []string{"instances"}, 2},
		{"backend without a database", []string{"backend"}, []string{"DATABASE_URL=", "TIMESCALE_URL="}, []string{"DATABASE_URL"}, 2},
		{"backend with a DSN of words", []string{"backend"}, []string{"DATABASE_URL=host=127.0.0.1 password=planted-secret", "TIMESCALE_URL="}, []string{"DATABASE_URL", "***", "postgres://"}, 2},
		{"backend with a bad metrics database", []string{"backend"}, []string{"DATABASE_URL=", "TIMESCALE_URL=u:planted-secret@h/d"}, []string{"TIMESCALE_URL", "***"}, 2},
		{"migrate without a scheme", []string{"migrate"}, []string{"DATABASE_URL=u:planted-secret@h/d", "TIMESCALE_URL="}, []string{"DATABASE_URL", "***"}, 2},
		{"migrate with a bad port", []string{"migrate"}, []string{"DATABASE_URL=postgres://u:planted-secret@h:99999/d", "TIMESCALE_URL="}, []string{"DATABASE_URL", "***@h:99999"}, 2},
		{"backend with a bad port", []string{"backend"}, []string{"DATABASE_URL=postgres://u:planted-secret@h/d", "TIMESCALE_URL=postgres://u:planted-secret@h/d", "PORT=http"}, []string{"PORT", `"http"`}, 2},
		{"backend with a bad log level", []string{"backend"}, []string{"DATABASE_URL=postgres://u@h/d", "TIMESCALE_URL=postgres://u@h/d", "LOG_LEVEL=loud"}, []string{"LOG_LEVEL", `"loud"`}, 2},
		{"health of nothing", []string{"health", "--url", "http://127.0.0.1:1"}, nil, []string{"127.0.0.1:1"}, 1},
		{"health with a password", []string{"health", "--url", "http://u:planted-secret@127.0.0.1:1"}, nil, []string{"--url", "***@127.0.0.1:1", "no user"}, 2},
		{"health of a name", []string{"health", "--url", "u:planted-secret@127.0.0.1"}, nil, []string{"--url", "http(s)://HOST"}, 2},
		{"ledger with a password", []string{"ledger", "--url", "http://u:planted-secret@127.0.0.1:1", "--token", write("token", "t")}, nil, []string{"--url", "***@127.0.0.1:1"}, 2},
		{"health of no data directory", []string{"health", "--data-dir", dir}, nil, []string{"--data-dir"}, 1},
		{"family that is none", []string{"catalog", "sql", "walls"}, nil, []string{"walls", "wal"}, 2},
		{"version that is none", []string{"catalog", "sql", "wal", "--version", "new"}, nil, []string{"--version", `"new"`}, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, errs, code := run(t, test.env, test.args...)
			if code != test.code {
				t.Errorf("exit code %d, want %d\n%s%s", code, test.code, out, errs)
			}
			for _, w := range test.want {
				if !strings.Contains(errs, w) {
					t.Errorf("stderr does not name %q:\n%s", w, errs)
				}
			}
			if strings.Contains(out+errs, "planted-secret") || strings.Contains(errs, "BUG") || strings.Contains(errs, "goroutine ") {
				t.Errorf("a secret or a crash:\n%s%s", out, errs)
			}
		})
	}
}

// TestCatalogCommand: what is printed can be run as it is.
func TestCatalogCommand(t *testing.T) {
	out, _, code := run(t, nil, "catalog", "list")
	for _, f := range []string{"statements", "statement_texts", "database", "wal", "tables", "activity", "settings", "collector"} {
		if !strings.Contains(out, "\n"+f+" ") {
			t.Errorf("catalog list lacks %s:\n%s", f, out)
		}
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	out, _, _ = run(t, nil, "catalog", "sql", "statements", "--version", "12")
	if !strings.Contains(out, "total_time") {
		t.Errorf("statements at 12 reads no total_time:\n%s", out)
	}
	out, _, _ = run(t, nil, "catalog", "sql", "wal", "--version", "12")
	if !strings.Contains(out, "not available") {
		t.Errorf("wal at 12: %s", out)
	}
}
