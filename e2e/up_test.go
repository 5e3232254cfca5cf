package e2e

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// ticks is the number of stored ticks of an instance in the last hour.
func (u *up) ticks(id string) int {
	u.client.t.Helper()
	var l outcomes
	u.get(&l, "/api/v1/ledger", "instance", id)
	return int(l.Stored)
}

func (u *up) waitTicks(id string, more int) {
	u.client.t.Helper()
	before := u.ticks(id)
	eventually(u.client.t, 30*time.Second, func() string {
		if n := u.ticks(id); n < before+more {
			return "no fresh ticks: " + strconv.Itoa(n) + " after " + strconv.Itoa(before)
		}
		return ""
	})
}

// TestUpLifecycle: started again on old data, after an orderly end and after
// kill -9; one data directory has one owner; data and token stay.
func TestUpLifecycle(t *testing.T) {
	t.Parallel()
	watched := pgtest.Private(t, 16)
	u := startUp(t, nil, watched.URL("postgres"))
	id := u.instance(watched.Name())
	u.waitTicks(id, 5)
	token := u.client.token
	if info, err := os.Stat(filepath.Join(u.dir, "token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("token file: %v %v, want mode 0600", info.Mode(), err)
	}
	out, errs, code := run(t, nil, "up", "--data-dir", u.dir, "--listen", "127.0.0.1:0", watched.URL("postgres"))
	if code != 1 || !strings.Contains(errs, u.dir) || !strings.Contains(errs, strconv.Itoa(u.cmd.Process.Pid)) {
		t.Errorf("a second one on the same data directory: exit code %d, want 1 and the holder's pid\n%s%s", code, out, errs)
	}
	_, errs, code = run(t, nil, "up", "--data-dir", u.dir+"2", "--listen", u.address, "--demo")
	if code != 1 || !strings.Contains(errs, "--listen") || !strings.Contains(errs, u.address) {
		t.Errorf("the same port: exit code %d, want 1 and the address\n%s", code, errs)
	}
	began := time.Now()
	u.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s to end", took)
	}
	if pid := pgserver.Postmaster(filepath.Join(u.dir, "store")); pid != 0 {
		t.Errorf("the store's postmaster %d still runs after the end", pid)
	}
	before := 0
	for _, how := range []string{"again", "after kill -9"} {
		u.again(t, nil)
		if u.client.token != token {
			t.Errorf("%s: another API token", how)
		}
		if again := u.instance(watched.Name()); again != id {
			t.Errorf("%s: the instance's id is %s, was %s", how, again, id)
		}
		if n := u.ticks(id); n < before {
			t.Errorf("%s: %d ticks stored, had %d", how, n, before)
		}
		u.waitTicks(id, 5)
		before = u.ticks(id)
		u.kill() // leaves a postmaster, which the next start takes over
		if how == "again" && pgserver.Postmaster(filepath.Join(u.dir, "store")) == 0 {
			t.Error("kill -9 left no postmaster: the take-over is not tested")
		}
	}
	u.again(t, nil)
	u.waitTicks(id, 3)
}

// TestUpStoreKilled: a postmaster killed under a living `up` comes back; meanwhile
// health says so, and no tick is lost.
func TestUpStoreKilled(t *testing.T) {
	t.Parallel()
	watched := pgtest.Private(t, 14)
	u := startUp(t, nil, watched.URL("postgres"))
	id := u.instance(watched.Name())
	u.waitTicks(id, 4)
	// Killed until health was seen to say so: a look that falls into the moments of
	// recovery is a matter of luck, as health looks at the store once a second.
	saw503, kills := false, 0
	for !saw503 && kills < 5 {
		pid := pgserver.Postmaster(filepath.Join(u.dir, "store"))
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		kills++
		eventually(t, 30*time.Second, func() string {
			if u.health(t) == http.StatusServiceUnavailable {
				saw503 = true
			}
			if now := pgserver.Postmaster(filepath.Join(u.dir, "store")); now == 0 || now == pid {
				return "no new postmaster"
			}
			var l outcomes
			if _, err := u.try(&l, "/api/v1/ledger", "instance", id); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	if !saw503 {
		t.Errorf("health never said 503 in %d kills of the store", kills)
	}
	eventually(t, 10*time.Second, func() string {
		if code := u.health(t); code != http.StatusOK {
			return "health: " + strconv.Itoa(code)
		}
		return ""
	})
	u.waitTicks(id, 4)
	eventually(t, 20*time.Second, func() string {
		var l outcomes
		u.get(&l, "/api/v1/ledger", "instance", id, "limit", "10000")
		if problem := l.lost(); problem != "" {
			return "ticks were lost: " + problem
		}
		return ""
	})
}

// TestUpFrozenStore: with a store that is stopped in all of its processes, health says so
// and the end still comes in time, with nothing left running.
func TestUpFrozenStore(t *testing.T) {
	t.Parallel()
	watched := pgtest.Private(t, 15)
	u := startUp(t, nil, watched.URL("postgres"))
	u.waitTicks(u.instance(watched.Name()), 3)
	frozen := pgserver.Below(filepath.Join(u.dir, "store"))
	if len(frozen) < 3 {
		t.Fatalf("%d processes of the store: the test looks at the wrong place", len(frozen))
	}
	for _, pid := range frozen {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 20*time.Second, func() string {
		if code := u.health(t); code != http.StatusServiceUnavailable {
			return "health: " + strconv.Itoa(code)
		}
		return ""
	})
	began := time.Now()
	u.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s to end", took)
	}
	if left := pgserver.Below(filepath.Join(u.dir, "store")); len(left) > 0 {
		t.Errorf("processes %v of the store are left", left)
	}
	u.again(t, nil)
}

// TestUpLeavesNoOrphans: neither a reader of the log that goes away nor a second Ctrl-C
// leaves a server of ours behind.
func TestUpLeavesNoOrphans(t *testing.T) {
	t.Parallel()
	watched := pgtest.Private(t, 15)
	u := &up{dir: filepath.Join(pgtest.Dir(t), "data"), address: freeAddress(t), args: []string{watched.URL("postgres")}}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, done: make(chan struct{}), cmd: exec.Command(binary, "up", "--data-dir", u.dir, "--listen", u.address, "--interval", "1s", "--log-level", "info",
		"--postgres-bin", pgtest.Binaries(t, pgtest.StoreMajor(t)).Dir, watched.URL("postgres"))}
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(p.stop)
	_ = writer.Close()
	line := make([]byte, 10)
	if _, err := io.ReadFull(reader, line); err != nil {
		t.Fatal(err)
	}
	_ = reader.Close() // as head does
	(&client{t: t, base: "http://" + u.address}).waitHealthy(p, time.Minute)
	p.stop()
	if left := pgserver.Below(u.dir); len(left) > 0 {
		t.Errorf("without a reader: processes %v are left", left)
	}
	u.again(t, nil)
	u.waitTicks(u.instance(watched.Name()), 2)
	// A store that is stopped as often as it is woken makes the end take a while.
	servers, asked := pgserver.Below(u.dir), make(chan struct{})
	var freezing sync.WaitGroup
	freezing.Go(func() {
		for {
			for _, pid := range servers {
				_ = syscall.Kill(pid, syscall.SIGSTOP) // fails when it is gone
			}
			select {
			case <-asked:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	})
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt, syscall.SIGTERM} {
		if err := u.cmd.Process.Signal(s); err != nil {
			t.Errorf("it had ended before it was asked again: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	close(asked)
	freezing.Wait()
	u.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s to end", took)
	}
	if left := pgserver.Below(u.dir); len(left) > 0 {
		t.Errorf("asked twice: processes %v are left", left)
	}
}

// TestUpSaysWhatIsMissing: no privileges, no pg_stat_statements: everything else
// works, and each note has the statement that mends it.
func TestUpSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	watched := pgtest.Private(t, 17)
	pgtest.Exec(t, watched.URL("postgres"), "CREATE ROLE poor LOGIN", "CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
	u := startUp(t, nil, watched.URLAs("poor", "postgres"))
	id := u.instance(watched.Name())
	type note struct{ Family, Reason, Remedy string }
	notes := func() map[string]string {
		var d struct{ Notes []note }
		u.get(&d, "/api/v1/instances/"+id)
		m := map[string]string{}
		for _, n := range d.Notes {
			m[n.Reason] = strings.ToLower(n.Remedy)
		}
		return m
	}
	eventually(t, 20*time.Second, func() string {
		m := notes()
		for reason, want := range map[string]string{"extension_missing": "create extension", "activity_hidden": "grant", "no_connect": "grant connect"} {
			if !strings.Contains(m[reason], want) {
				return reason + ": no remedy with " + want + " in " + strings.Join([]string{m[reason]}, "")
			}
		}
		return ""
	})
	u.waitTicks(id, 3)
	// Mended: noticed without a restart.
	pgtest.Exec(t, watched.URL("postgres"), "CREATE EXTENSION pg_stat_statements", "GRANT pg_monitor TO poor", "GRANT CONNECT ON DATABASE closed TO PUBLIC")
	eventually(t, 30*time.Second, func() string {
		if m := notes(); len(m) > 0 {
			return "still noted: " + strings.Join(keys(m), ", ")
		}
		return ""
	})
}

func keys[V any](m map[string]V) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}

// TestUpNotRoot runs it all as nobody.
func TestUpNotRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: every other test of `up` is this one")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Fatal(err)
	}
	dir := pgtest.Dir(t)
	program := filepath.Join(dir, "pganalytics")
	if out, err := exec.Command("cp", binary, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data := filepath.Join(dir, "home")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	watched := pgtest.Private(t, 15)
	address := freeAddress(t)
	p := &process{t: t, done: make(chan struct{}), cmd: exec.Command(setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", program, "up", "--interval", "1s",
		"--listen", address, "--postgres-bin", pgtest.Binaries(t, pgtest.StoreMajor(t)).Dir, watched.URL("postgres"))}
	p.cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + data, "XDG_DATA_HOME=" + data}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(p.stop)
	c := &client{t: t, base: "http://" + address}
	c.waitHealthy(p, time.Minute)
	token, err := os.ReadFile(filepath.Join(data, "pganalytics", "token"))
	if err != nil {
		t.Fatalf("the default data directory is not $XDG_DATA_HOME/pganalytics: %v", err)
	}
	c.token = strings.TrimSpace(string(token))
	c.instance(watched.Name())
}

// TestUpImpassable: a folder that the user of PostgreSQL can't pass is named with
// its mode.
func TestUpImpassable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: PostgreSQL runs as the same user, who can pass its own folders")
	}
	dir := filepath.Join(pgtest.Dir(t), "closed")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	out, errs, code := run(t, nil, "up", "--demo", "--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--postgres-bin", pgtest.Binaries(t, pgtest.StoreMajor(t)).Dir)
	if code != 2 || !strings.Contains(errs, dir) || !strings.Contains(errs, "0700") {
		t.Errorf("exit code %d, want 2 and folder and mode\n%s%s", code, out, errs)
	}
}
