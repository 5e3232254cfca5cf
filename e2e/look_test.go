package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// TestOnceAndCheck: a look without a backend, and what is said before anything runs.
func TestOnceAndCheck(t *testing.T) {
	t.Parallel()
	p := newParts(t, 14)
	pgtest.Exec(t, p.watched.URL("postgres"), "CREATE ROLE poor LOGIN")
	if err := os.WriteFile(filepath.Join(p.dir, "registration-token"), []byte("nobody-asks-for-it\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := instance{"watched", p.watched.URLAs("pganalytics", "postgres")}
	p.configure("http://127.0.0.1:1", 10, "", good)
	out, errs, code := run(t, nil, "collector", "--config", p.config, "--once")
	if code != 0 {
		t.Errorf("--once: exit code %d\n%s%s", code, out, errs)
	}
	for _, family := range []string{"statements", "database", "wal", "tables", "activity", "settings"} {
		if !strings.Contains(out, family) {
			t.Errorf("--once shows no %s:\n%s", family, out)
		}
	}
	if _, err := os.Stat(filepath.Join(p.dir, "collector")); err == nil {
		t.Error("--once left state behind")
	}
	check := func(what, want string, code int) {
		t.Helper()
		if out, errs, got := run(t, nil, "collector", "--config", p.config, "--check"); got != code || !strings.Contains(out, want) || !strings.Contains(out, "ok      watched: PostgreSQL 14") {
			t.Errorf("--check, %s: exit code %d, want %d and %q\n%s%s", what, got, code, want, out, errs)
		}
	}
	check("no backend", "failed  backend.url: no answer: Post \"http://127.0.0.1:1/", 1)
	token := filepath.Join(p.dir, "registration-token")
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	p.startBackend() // which makes it
	own := p.secret("registration-token")
	p.configure(p.base, 10, "", good)
	check("all there", "ok      backend "+p.base+" answers and takes the token", 0)
	if n := p.sql("SELECT count(*) FROM fleet_collector"); n != 0 {
		t.Errorf("--check registered %d collectors", n)
	}
	p.configure(p.base+"/elsewhere", 10, "", good)
	check("another path", "but not as pgAnalytics", 1)
	p.configure(p.base, 10, "", good)
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.config, []byte(strings.Replace(string(text), "data_dir", "# data_dir", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	check("no data_dir", "missing collector.data_dir", 1)
	p.configure(p.base, 10, "", good)
	if err := os.WriteFile(token, []byte(strings.ToUpper(own)+"x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("another's token", "failed  backend.token_file", 1)
	p.configure("http://127.0.0.1:1", 10, "", good, instance{"hidden", p.watched.URLAs("poor", "postgres")}, instance{"gone", "postgres://poor@127.0.0.1:1/postgres"})
	out, errs, code = run(t, nil, "collector", "--config", p.config, "--check")
	if code != 1 || !strings.Contains(out, `GRANT pg_read_all_stats TO "poor"`) && !strings.Contains(out, `GRANT pg_monitor TO "poor"`) || !strings.Contains(out, "gone") {
		t.Errorf("--check: exit code %d, want 1 and the GRANT\n%s%s", code, out, errs)
	}
	if out, _, code = run(t, nil, "collector", "--config", p.config, "--once"); code != 1 || !strings.Contains(out, "gone") {
		t.Errorf("--once with a server that is gone: exit code %d, want 1\n%s", code, out)
	}
}

// TestUpDemo: within 30 s every screen has something true to show; a demo server
// that is killed comes back.
func TestUpDemo(t *testing.T) {
	t.Parallel()
	u := startUp(t, nil, "--demo")
	began := time.Now()
	id := u.instance("demo-shop")
	column := func(family, column, fn string) (sum float64) {
		var s struct {
			Series []struct{ Points [][2]*float64 }
		}
		if _, err := u.try(&s, "/api/v1/instances/"+id+"/series", "family", family, "column", column, "fn", fn); err != nil {
			t.Error(err)
		}
		for _, one := range s.Series {
			for _, p := range one.Points {
				if p[1] != nil {
					sum += *p[1]
				}
			}
		}
		return sum
	}
	eventually(t, 45*time.Second, func() string {
		var a account
		u.get(&a, "/api/v1/instances/"+id+"/statements")
		databases, users, texts := map[string]bool{}, map[string]bool{}, 0
		for _, i := range a.Items {
			databases[i.Database], users[i.User] = true, true
			if i.Query != nil {
				texts++
			}
		}
		if len(databases) < 2 || len(users) < 2 || texts < 10 {
			return "statements: databases " + strings.Join(keys(databases), ", ") + "; users " + strings.Join(keys(users), ", ")
		}
		for _, s := range [][3]string{{"wal", "wal_bytes", "rate"}, {"database", "xact_commit", "rate"}, {"database", "temp_bytes", "delta"}, {"tables", "n_tup_upd", "delta"}, {"activity", "sessions", "avg"}, {"collector", "cpu_time", "delta"}} {
			if column(s[0], s[1], s[2]) == 0 {
				return "nothing to show of " + s[0] + "." + s[1]
			}
		}
		return ""
	})
	t.Logf("complete after %s", time.Since(began))
	pid := pgserver.Postmaster(filepath.Join(u.dir, "demo"))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() string {
		if now := pgserver.Postmaster(filepath.Join(u.dir, "demo")); now == 0 || now == pid {
			return "the demo server is not back"
		}
		return ""
	})
	u.waitTicks(id, 5)
	u.instance("demo-shop")
}
