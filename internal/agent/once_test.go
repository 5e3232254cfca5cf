package agent_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pganalytics/pganalytics/internal/agent"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

func looking(instances ...agent.InstanceConfig) agent.Config {
	c := agent.Defaults()
	c.Collector.Name, c.Instances = "test", instances
	c.Normalize()
	return c
}

func TestOncePrintsATable(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			server := pgtest.Private(t, major)
			pgtest.Exec(t, server.URL("postgres"), "CREATE EXTENSION pg_stat_statements", "CREATE ROLE monitor LOGIN", "GRANT pg_monitor TO monitor", "CREATE TABLE goods (id int)")
			var out strings.Builder
			if err := agent.Once(t.Context(), looking(agent.InstanceConfig{Name: "db1", URL: server.URLAs("monitor", "postgres")}), &out); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
			lines := map[string]string{}
			for line := range strings.Lines(out.String()) {
				f := strings.Fields(line)
				lines[f[1]+" "+f[2]] = strings.Join(f[3:], " ")
			}
			for _, want := range []string{"- activity", "- database", "- settings", "- statements", "postgres tables"} {
				if !strings.HasSuffix(lines[want], " read") || strings.HasPrefix(lines[want], "0 ") {
					t.Errorf("%s: %q\n%s", want, lines[want], out.String())
				}
			}
			if wal := lines["- wal"]; strings.Contains(wal, "not planned: version") != (major < 14) {
				t.Errorf("wal on %d: %q", major, wal)
			}
		})
	}
}

func TestOnceSaysWhatIsNotReached(t *testing.T) {
	var out strings.Builder
	err := agent.Once(t.Context(), looking(agent.InstanceConfig{Name: "db1", URL: "postgres://monitor:planted-secret@127.0.0.1:1/postgres"}), &out)
	if err == nil || !strings.Contains(out.String(), "failed: connect to database") || strings.Contains(out.String()+err.Error(), "planted-secret") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// Each thing that is missing is said with what mends it; when all of it is done,
// the check is fine.
func TestCheckNamesWhatMends(t *testing.T) {
	server := pgtest.Private(t, pgtest.StoreMajor(t))
	pgtest.Exec(t, server.URL("postgres"), "CREATE ROLE monitor LOGIN", "CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
	cfg := looking(agent.InstanceConfig{Name: "db1", URL: server.URLAs("monitor", "postgres")})
	check := func() (bool, string) {
		var out strings.Builder
		ok, err := agent.Check(t.Context(), cfg, &out)
		if err != nil {
			t.Fatal(err)
		}
		return ok, out.String()
	}
	ok, text := check()
	for _, want := range []string{"extension_missing", "CREATE EXTENSION", "GRANT pg_read_all_stats TO", "GRANT CONNECT ON DATABASE"} {
		if ok || !strings.Contains(text, want) {
			t.Errorf("ok %v, no %q in\n%s", ok, want, text)
		}
	}
	pgtest.Exec(t, server.URL("postgres"), "CREATE EXTENSION pg_stat_statements", "GRANT pg_monitor TO monitor", "GRANT CONNECT ON DATABASE closed TO monitor")
	if ok, text := check(); !ok {
		t.Errorf("something is missing still:\n%s", text)
	}
	cfg.Backend.TokenFile = "/nonexistent/token"
	if ok, text := check(); ok || !strings.Contains(text, "backend.token_file") {
		t.Errorf("ok %v:\n%s", ok, text)
	}
	cfg.Backend.TokenFile = ""
	cfg.Instances[0].URL = server.URLAs("nobody_there", "postgres")
	if ok, text := check(); ok || !strings.Contains(text, "failed") {
		t.Errorf("ok %v:\n%s", ok, text)
	}
}
