package target_test

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

func TestTransactionPooler(t *testing.T) {
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		if bin = "/usr/sbin/pgbouncer"; exec.Command(bin, "--version").Run() != nil {
			fmt.Fprintln(os.Stderr, "TestTransactionPooler is skipped: no pgbouncer in PATH (apt-get install pgbouncer)")
			t.Skip("no pgbouncer in PATH (apt-get install pgbouncer)")
		}
	}
	forMajors(t, func(t *testing.T, s *pgtest.Cluster) {
		raw := pgtest.Database(t, s)
		home := databaseOf(raw)
		pgtest.Exec(t, raw, "CREATE EXTENSION pg_stat_statements", "CREATE TABLE t (n int)")
		addr := startPgBouncer(t, bin, s)
		u, _ := url.Parse(raw)
		u.Host = addr
		// One server connection for all: what one client prepares, the next one finds.
		first, second := newTarget(t, u.String()), newTarget(t, u.String())
		a, b := contact(t, first), contact(t, second)
		for range 4 {
			for _, lane := range []catalog.Lane{catalog.Slow, catalog.Fast} {
				got, _ := read(t, first, home, lane, planned(a, home, lane), 1)
				arrived(t, got)
				got, _ = read(t, second, home, lane, planned(b, home, lane), 1)
				arrived(t, got)
			}
		}
		_, stats := read(t, second, home, catalog.Slow, planned(b, home, catalog.Slow))
		if stats.RoundTrips != 1 || stats.SystemID != b.Server.SystemID {
			t.Errorf("stats %+v", stats)
		}
		if facts := contact(t, second); !facts.Pooled {
			t.Error("the pooler was not noticed")
		}
		// Nothing of ours stays in the pooled session.
		conn := pgtest.Connect(t, u.String()+"&default_query_exec_mode=simple_protocol")
		var timeout, path, readOnly string
		if err := conn.QueryRow(t.Context(), "SELECT current_setting('statement_timeout'), current_setting('search_path'), current_setting('transaction_read_only')").Scan(&timeout, &path, &readOnly); err != nil {
			t.Fatal(err)
		}
		if timeout != "0" || path != `"$user", public` || readOnly != "off" {
			t.Errorf("left behind: %s, %s, %s", timeout, path, readOnly)
		}
	})
}

func startPgBouncer(t testing.TB, bin string, s *pgtest.Cluster) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	dir, err := os.MkdirTemp("/var/tmp", "pganalytics-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	host, serverPort, _ := net.SplitHostPort(s.Name())
	ini := fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\n"+
		"pool_mode = transaction\ndefault_pool_size = 1\nmin_pool_size = 0\n", host, serverPort, port)
	ini = strings.Replace(ini, "* = host", "* = user=postgres host", 1)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(ini), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	account, err := pgserver.RunAs()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, file)
	cmd.Dir = dir
	cmd.SysProcAttr = account.SysProcAttr()
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = io.Copy(&log, out) })
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		reader.Wait()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp4", addr); err == nil {
			c.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatal("pgbouncer doesn't listen")
		}
	}
}
