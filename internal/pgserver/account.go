package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// Account is the operating-system user that runs a server.
type Account struct {
	Name     string
	UID, GID int
}

// RunAs gives the account servers run as: our own, or, for root, postgres, else nobody.
func RunAs() (Account, error) {
	if uid := os.Geteuid(); uid != 0 {
		name := strconv.Itoa(uid) // a uid without a name is common in containers and no obstacle
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		return Account{Name: name, UID: uid, GID: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil || uid == 0 {
			continue
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			continue
		}
		return Account{Name: name, UID: uid, GID: gid}, nil
	}
	return Account{}, errors.New("PostgreSQL does not run as root and there is neither a user postgres nor nobody to run it as")
}

// SysProcAttr makes a child run as the account, in a session of its own: Ctrl-C in a terminal
// reaches us alone, and we decide when the server stops.
func (a Account) SysProcAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() != a.UID {
		attr.Credential = &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID)}
	}
	return attr
}

// Own gives path to the account when it is not ours already.
func (a Account) Own(path string) error {
	if os.Geteuid() == a.UID {
		return nil
	}
	return os.Lchown(path, a.UID, a.GID)
}

// ImpassableError reports a folder that the server's account cannot pass, so that nothing below
// it can be used. Callers treat it as a mistake of usage.
type ImpassableError struct {
	Path   string      // what was to be reached
	Folder string      // the folder that stands in the way
	Mode   fs.FileMode // its permissions
	User   string      // the account PostgreSQL runs as
}

func (e *ImpassableError) Error() string {
	return fmt.Sprintf("user %s, who runs PostgreSQL, cannot reach %s: folder %s has mode %04o (allow it with: chmod o+x %s)",
		e.User, e.Path, e.Folder, e.Mode.Perm(), e.Folder)
}

// Passable checks that the account can pass every folder from the root down to dir, dir
// included; parts that do not exist yet are not judged. The error is an *ImpassableError.
func (a Account) Passable(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for _, folder := range ancestors(abs) {
		info, err := os.Stat(folder)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look at folder %s: %w", folder, err)
		}
		if a.mayPass(info) {
			continue
		}
		// The bits say no, an access list may say yes: let the system answer.
		ask := exec.Command("test", "-x", folder)
		ask.SysProcAttr = a.SysProcAttr()
		if ask.Run() == nil {
			continue
		}
		return &ImpassableError{Path: abs, Folder: folder, Mode: info.Mode(), User: a.Name}
	}
	return nil
}

func (a Account) mayPass(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	mode := info.Mode().Perm()
	switch {
	case a.UID == 0:
		return true
	case int(stat.Uid) == a.UID:
		return mode&0o100 != 0
	case int(stat.Gid) == a.GID:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

// ancestors lists the folders from / down to dir.
func ancestors(dir string) []string {
	var up []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		up = append(up, d)
		if d == filepath.Dir(d) {
			break
		}
	}
	for i, j := 0, len(up)-1; i < j; i, j = i+1, j-1 {
		up[i], up[j] = up[j], up[i]
	}
	return up
}
