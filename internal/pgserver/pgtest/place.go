package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pganalytics/pganalytics/internal/pgserver"
)

// where holds the folders of all test servers of one user.
//
//	dir/template/<major>-<version>   a data directory fresh from initdb, copied for each server
//	dir/run/<n>/                     one server: data, server.log, and owner (flock'ed while its
//	                                 test process lives)
//	dir/bin/<major>-<version>        programs that lie where the server's account cannot pass
type where struct {
	dir     string
	account pgserver.Account
}

// place finds or makes the folders, and removes what test processes left that were killed
// together with their watching shells.
var place = sync.OnceValues(func() (where, error) {
	account, err := pgserver.RunAs()
	if err != nil {
		return where{}, err
	}
	// Both ids: a data directory made by nobody is of no use once there is a user postgres.
	name := fmt.Sprintf("pganalytics-test-%d-%d", os.Geteuid(), account.UID)
	w := where{account: account}
	for _, parent := range []string{"/var/tmp", os.TempDir()} {
		dir := filepath.Join(parent, name)
		if err = os.Mkdir(dir, 0o711); err != nil && !os.IsExist(err) {
			continue
		}
		// Others may write in the parent: a folder planted there is not ours to trust.
		var info os.FileInfo
		if info, err = os.Lstat(dir); err != nil {
			continue
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		if !info.IsDir() || stat == nil || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
			err = fmt.Errorf("%s is not a folder that this user alone writes", dir)
			continue
		}
		if err = os.Chmod(dir, 0o711); err != nil { // whatever the umask was
			continue
		}
		if err = account.Passable(dir); err == nil {
			w.dir = dir
			break
		}
	}
	if w.dir == "" {
		return w, fmt.Errorf("make a folder for test servers: %w", err)
	}
	for _, sub := range []string{"template", "run"} {
		dir := filepath.Join(w.dir, sub)
		if err := os.Mkdir(dir, 0o711); err != nil && !os.IsExist(err) {
			return w, err
		}
		if err := account.Own(dir); err != nil {
			return w, err
		}
	}
	release, err := w.lock("run.lock")
	if err != nil {
		return w, err
	}
	defer release()
	w.sweep()
	return w, nil
})

// lock takes dir/name exclusively, against the other test processes of this user.
func (w where) lock(name string) (release func(), err error) {
	f, err := flock(filepath.Join(w.dir, name), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

func flock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// sweep removes the servers whose test process is gone. The caller holds run.lock.
func (w where) sweep() {
	dirs, _ := filepath.Glob(filepath.Join(w.dir, "run", "*"))
	for _, dir := range dirs {
		owner, err := flock(filepath.Join(dir, "owner"), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil {
			continue
		}
		for _, pid := range pgserver.Below(dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = os.RemoveAll(dir) // its shell may be removing it too
		owner.Close()
	}
}

// newRun makes the folder of one server. The open file marks it as ours for as long as we live.
func (w where) newRun() (dir string, owner *os.File, err error) {
	release, err := w.lock("run.lock")
	if err != nil {
		return "", nil, err
	}
	defer release()
	dir, err = os.MkdirTemp(filepath.Join(w.dir, "run"), "")
	if err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", nil, err
	}
	if err := w.account.Own(dir); err != nil {
		return "", nil, err
	}
	owner, err = flock(filepath.Join(dir, "owner"), syscall.LOCK_EX)
	return dir, owner, err
}

// Dir makes a folder that the account of pgserver.RunAs can pass, which t.TempDir's are not when
// the tests run as root. It goes with the test, as do postgres processes left in it.
func Dir(t testing.TB) string {
	t.Helper()
	w, err := place()
	if err != nil {
		t.Fatal(err)
	}
	run, owner, err := w.newRun()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, pid := range pgserver.Below(run) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = os.RemoveAll(run)
		owner.Close()
	})
	dir := filepath.Join(run, "dir")
	if err := os.Mkdir(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// template gives the data directory to copy for a new server of b, made by initdb once.
func (w where) template(b pgserver.Binaries) (string, error) {
	release, err := w.lock("template-" + strconv.Itoa(b.Major) + ".lock")
	if err != nil {
		return "", err
	}
	defer release()
	// Debian and npm builds of one version differ in options that initdb records.
	dir := filepath.Join(w.dir, "template", fmt.Sprintf("%d-%s%s", b.Major, b.Version, strings.ReplaceAll(filepath.Dir(b.Dir), "/", "-")))
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return dir, nil
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", err
	}
	initdb := exec.Command(filepath.Join(b.Dir, "initdb"), "-D", partial, "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir = w.dir
	initdb.SysProcAttr = w.account.SysProcAttr()
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb of PostgreSQL %s: %w: %s", b.Version, err, out)
	}
	return dir, os.Rename(partial, dir)
}
