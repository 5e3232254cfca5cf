package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// syncBuffer is written by a process and read by the test that waits for it.
type syncBuffer struct {
	lines chan []byte
	all   bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.lines <- bytes.Clone(p)
	return len(p), nil
}

// wait reads until the output matches.
func (s *syncBuffer) wait(t *testing.T, re *regexp.Regexp, limit time.Duration) string {
	t.Helper()
	end := time.After(limit)
	for {
		if m := re.FindStringSubmatch(s.all.String()); m != nil {
			return m[1]
		}
		select {
		case p := <-s.lines:
			s.all.Write(p)
		case <-end:
			t.Fatalf("no %s within %s in\n%s", re, limit, s.all.String())
		}
	}
}

// TestDemo runs the built program on the demo's shop, and holds every panel against
// the API: numbers of a real PostgreSQL, by the real collector.
func TestDemo(t *testing.T) {
	cluster := pgtest.Private(t, pgtest.StoreMajor(t), "fsync=on") // without it the backend refuses a store
	const database = "metrics"
	pgtest.Exec(t, cluster.URL("postgres"), "CREATE DATABASE "+database)
	store := cluster.URL(database)
	as := makeRole(t, store)

	dir, err := os.MkdirTemp("", "dashboard-demo-") //nolint:usetesting // t.TempDir's parents can't be passed by the user that the demo's server runs as
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "pganalytics")
	if out, err := exec.Command("go", "build", "-o", program, root+"/cmd/pganalytics").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	output := &syncBuffer{lines: make(chan []byte, 1000)}
	up := exec.CommandContext(context.Background(), program, "up", "--demo", "--store", store, "--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--interval", "2s")
	up.Stdout, up.Stderr = output, output
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = up.Process.Signal(syscall.SIGTERM)
		_ = up.Wait()
	})
	base, err := url.Parse(output.wait(t, regexp.MustCompile(`(http://127\.0\.0\.1:\d+)`), 90*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(dir, "data", "token"))
	if err != nil {
		t.Fatal(err)
	}
	var proxy http.Handler = httputil.NewSingleHostReverseProxy(base)
	b := &bed{t: t, url: store, handler: proxy, api: strings.TrimSpace(string(token))}
	conn := pgtest.Connect(t, as)
	from := time.Now()
	var name string
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(500 * time.Millisecond) { // until texts are there too
		a := ask(t, conn, `SELECT i.name FROM fleet_instance i WHERE (SELECT count(*) FROM ledger_frames(i.id, 'statements', now() - interval '5 minutes', now())) >= 6
	AND EXISTS (SELECT FROM statement_texts t WHERE t.instance_id = i.id)`)
		if len(a.rows) > 0 {
			name = a.rows[0][0].(string)
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no six readings of the shop's statements after 90 s")
		}
	}
	to := time.Now()
	// What may still come would differ between two questions.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		a := ask(t, conn, "SELECT coalesce(sum(pending + missing), 0)::bigint FROM ledger_account('"+from.UTC().Format(time.RFC3339Nano)+"', '"+to.UTC().Format(time.RFC3339Nano)+"')")
		if a.rows[0][0] == int64(0) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v planned reads of the window have no outcome after a minute", a.rows[0][0])
		}
	}
	list, err := dashboards(catalog.All())
	if err != nil {
		t.Fatal(err)
	}
	collector := ask(t, conn, "SELECT name FROM fleet_collector").rows[0][0].(string)
	e := &expander{from: from, to: to, interval: 2 * time.Second, variables: map[string]string{"instance": name, "collector": collector, "database": "*", "user": "*"}}
	everyQuery(t, conn, e, list)
	checkPanels(t, b, conn, e, 2*time.Second)
	for _, m := range keyMetrics { // it has just been started: nothing is due that is not there
		if m.uid == "errors" || m.uid == "cpu" || m.uid == "cycle" {
			continue // a loaded machine may well be late
		}
		for who, fire := range fires(t, conn, m) {
			if fire {
				t.Errorf("alert %s of %s fires on a fresh demo", m.uid, who)
			}
		}
	}
	sql, err := e.expand(targetOf(t, list, uidQueries, "Account"))
	if err != nil {
		t.Fatal(err)
	}
	if total := number(ask(t, conn, sql).rows[3][1]); total == nil || *total < 100 {
		t.Errorf("the shop made %s calls: it is not at work, or not seen", show(total))
	}
}
