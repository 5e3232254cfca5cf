package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

func TestServerOfEveryMajor(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			server := pgtest.Server(t, major)
			if again := pgtest.Server(t, major); again != server {
				t.Errorf("a second server on port %d for the same settings", again.Port)
			}
			conn := pgtest.Connect(t, pgtest.Database(t, server))
			var version int
			if err := conn.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int / 10000").Scan(&version); err != nil {
				t.Fatal(err)
			}
			if version != major {
				t.Errorf("server of major %d, asked for %d", version, major)
			}
			if _, err := conn.Exec(t.Context(), "CREATE EXTENSION pg_stat_statements"); err != nil {
				t.Error(err)
			}
			var calls int
			if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_statements").Scan(&calls); err != nil || calls == 0 {
				t.Errorf("pg_stat_statements has %d rows, %v", calls, err)
			}
		})
	}
}

func TestDatabaseFromTemplate(t *testing.T) {
	server := pgtest.Private(t, pgtest.StoreMajor(t))
	prepared := 0
	from := pgtest.From("numbers", func(ctx context.Context, url string) error {
		prepared++
		pgtest.Exec(t, url, "CREATE TABLE numbers AS SELECT generate_series(1, 100) AS n")
		return nil
	})
	first, second := pgtest.Database(t, server, from), pgtest.Database(t, server, from)
	if first == second {
		t.Fatalf("one database for two: %s", first)
	}
	pgtest.Exec(t, first, "DELETE FROM numbers")
	var n int
	if err := pgtest.Connect(t, second).QueryRow(t.Context(), "SELECT count(*) FROM numbers").Scan(&n); err != nil || n != 100 {
		t.Errorf("the copy has %d rows, %v, want 100", n, err)
	}
	if prepared != 1 {
		t.Errorf("template prepared %d times", prepared)
	}
}

func TestDatabaseIsDropped(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		server := pgtest.Server(t, major)
		var url string
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			url = pgtest.Database(t, server)
			pgtest.Connect(t, url) // still open when the database goes, were it not closed first
		})
		name := url[strings.LastIndex(url, "/")+1:]
		name, _, _ = strings.Cut(name, "?")
		var n int
		query := "SELECT count(*) FROM pg_database WHERE datname = $1"
		if err := pgtest.Connect(t, server.URL("postgres")).QueryRow(t.Context(), query, name).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d databases named %s are left, %v", n, name, err)
		}
	}
}

func TestPrivateServerKilledAndStarted(t *testing.T) {
	server := pgtest.Private(t, pgtest.StoreMajor(t), "max_connections=17")
	pgtest.Exec(t, server.URL("postgres"), "CREATE TABLE kept (n int)")
	server.Kill(t)
	if pid := server.PID(); pid != 0 {
		t.Errorf("postmaster %d lives after Kill", pid)
	}
	server.Start(t)
	pgtest.Exec(t, server.URL("postgres"), "INSERT INTO kept VALUES (1)")
	server.Stop(t)
	server.Start(t, "max_connections=18")
	var rows, connections int
	query := "SELECT (SELECT count(*) FROM kept), current_setting('max_connections')::int"
	if err := pgtest.Connect(t, server.URL("postgres")).QueryRow(t.Context(), query).Scan(&rows, &connections); err != nil {
		t.Fatal(err)
	}
	if rows != 1 || connections != 18 {
		t.Errorf("%d rows, max_connections %d, want 1 and 18", rows, connections)
	}
}

// A test process that is killed leaves neither a server nor its data.
func TestNothingOutlivesTheTestProcess(t *testing.T) {
	if os.Getenv("PGA_TEST_HANG") != "" {
		server := pgtest.Server(t, pgtest.StoreMajor(t))
		fmt.Printf("dir=%s\n", server.Dir)
		time.Sleep(time.Minute)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingOutlivesTheTestProcess$")
	cmd.Env = append(os.Environ(), "PGA_TEST_HANG=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	if _, err := fmt.Fscanf(out, "dir=%s\n", &dir); err != nil {
		t.Fatal(err)
	}
	pid := pgserver.Postmaster(dir)
	if pid == 0 {
		t.Fatalf("no postmaster in %s", dir)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(dir)
		if pgserver.Postmaster(dir) == 0 && os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("10 s after the test process was killed: postmaster %d, data %v", pgserver.Postmaster(dir), err)
		}
	}
}
