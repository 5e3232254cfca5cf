package pgserver_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// Root is what the tests run as in CI; for others every other test shows the same.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("changing users needs root; the other tests run PostgreSQL as this user")
	}
}

func uidOf(t *testing.T, pid int) int {
	t.Helper()
	info, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

func TestRootRunsPostgresAsAnotherUser(t *testing.T) {
	asRoot(t)
	account, err := pgserver.RunAs()
	if err != nil {
		t.Fatal(err)
	}
	if account.UID == 0 || account.Name != "postgres" && account.Name != "nobody" {
		t.Fatalf("account %+v", account)
	}
	dir := filepath.Join(pgtest.Dir(t), "data")
	first := run(t, pgserver.Config{DataDir: dir})
	if uid := uidOf(t, pgserver.Postmaster(dir)); uid != account.UID {
		t.Errorf("postmaster of uid %d, want %d", uid, account.UID)
	}
	pgtest.Exec(t, first.URL("postgres"), "CREATE TABLE kept AS SELECT 5 AS n")
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	// Made as one user, used as another: a package has brought the user postgres meanwhile.
	if out, err := exec.Command("chown", "-R", "54321:54321", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	second := run(t, pgserver.Config{DataDir: dir})
	if n := query[int](t, second.URL("postgres"), "SELECT n FROM kept"); n != 5 {
		t.Errorf("%d, want 5", n)
	}
}

func TestImpassableFolderIsNamed(t *testing.T) {
	asRoot(t)
	closed := filepath.Join(pgtest.Dir(t), "closed")
	if err := os.MkdirAll(filepath.Join(closed, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := tryRun(t, pgserver.Config{DataDir: filepath.Join(closed, "deep", "data")})
	var in *pgserver.ImpassableError
	if !errors.As(err, &in) {
		t.Fatalf("error %v, want an ImpassableError", err)
	}
	if in.Folder != closed || in.Mode.Perm() != 0o700 {
		t.Errorf("error %q, want folder %s of mode 0700", err, closed)
	}
}

// The whole life of a server owned by a user who is not root.
func TestOrdinaryUser(t *testing.T) {
	asRoot(t)
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	base := pgtest.Dir(t)
	// go test builds below a folder that only root can pass.
	program := filepath.Join(base, "owner")
	if out, err := exec.Command("cp", os.Args[0], program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	home := filepath.Join(base, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, uid, gid); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "data")
	for range 2 {
		owner := exec.Command(program)
		owner.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		owner.Dir = base
		input, err := owner.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		url := ownerProcess(t, owner, dir, "PGA_TEST_OWNER_BRIEF=1", "HOME="+home)
		if n := query[int](t, url, "SELECT 1"); n != 1 {
			t.Errorf("%d, want 1", n)
		}
		pid := pgserver.Postmaster(dir)
		if got := uidOf(t, pid); got != uid {
			t.Errorf("postmaster of uid %d, want %d", got, uid)
		}
		_ = input.(io.Closer).Close()
		if err := owner.Wait(); err != nil {
			t.Errorf("owner: %v", err)
		}
		if left := pgserver.Postmaster(dir); left != 0 {
			t.Errorf("postmaster %d is left", left)
		}
	}
}
