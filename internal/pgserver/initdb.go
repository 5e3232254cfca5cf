package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func (s *Server) passwordFile() string { return s.cfg.DataDir + ".password" }

// prepare makes the data directory when it is absent, and reads the password that goes with it.
// The caller holds the lock and knows that no server runs here.
func (s *Server) prepare(ctx context.Context) error {
	dir := s.cfg.DataDir
	major, err := dataMajor(dir)
	if err != nil {
		return err
	}
	if major == 0 {
		if err := s.initialise(ctx); err != nil {
			return err
		}
	} else if major != s.cfg.Binaries.Major {
		return fmt.Errorf("data directory %s belongs to PostgreSQL %d, and %s is %s", dir, major, s.cfg.Binaries.Dir, s.cfg.Binaries.Version)
	}
	password, err := os.ReadFile(s.passwordFile())
	if err != nil {
		return fmt.Errorf("read the password of data directory %s: %w", dir, err)
	}
	s.mu.Lock()
	s.password = strings.TrimSpace(string(password))
	s.mu.Unlock()
	return s.own(dir)
}

// initialise runs initdb in a sibling folder and renames the result: a crash on the way leaves
// no data directory, and the next start begins anew.
func (s *Server) initialise(ctx context.Context) error {
	parent, base := filepath.Split(s.cfg.DataDir)
	prefix := ".initdb-" + base + "-"
	stale, _ := filepath.Glob(filepath.Join(parent, prefix+"*")) // fails on a bad pattern only
	for _, dir := range stale {
		_ = os.RemoveAll(dir)
	}
	tmp, err := os.MkdirTemp(parent, prefix) // 0700: the password lies in it for a moment
	if err != nil {
		return fmt.Errorf("make a data directory: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := s.account.Own(tmp); err != nil {
		return fmt.Errorf("make a data directory: %w", err)
	}
	password := randomPassword()
	pwfile, data := filepath.Join(tmp, "password"), filepath.Join(tmp, "data")
	if err := os.WriteFile(pwfile, []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("make a data directory: %w", err)
	}
	if err := s.account.Own(pwfile); err != nil {
		return fmt.Errorf("make a data directory: %w", err)
	}
	// Checksums: the store is durable state; a damaged page must be an error, not a wrong number.
	args := []string{"-D", data, "-U", s.cfg.Superuser, "-A", "scram-sha-256", "--pwfile=" + pwfile,
		"-E", "UTF8", "--locale=C", "--data-checksums"}
	if s.cfg.NoSync {
		args = append(args, "--no-sync")
	}
	initdb := exec.CommandContext(ctx, s.cfg.Binaries.initdb(), args...)
	initdb.Dir, initdb.Env, initdb.SysProcAttr = tmp, environment(), s.account.SysProcAttr()
	var out bytes.Buffer
	initdb.Stdout, initdb.Stderr = &out, &out
	if err := initdb.Run(); err != nil {
		return fmt.Errorf("initdb of PostgreSQL %s in %s: %w: %s", s.cfg.Binaries.Version, parent, err, lastLines(out.String(), 5))
	}
	// The password first: a data directory without one could never be opened again.
	if err := writeDurably(s.passwordFile(), []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep the password of %s: %w", s.cfg.DataDir, err)
	}
	if err := os.Remove(s.cfg.DataDir); err != nil && !errors.Is(err, fs.ErrNotExist) { // empty, says dataMajor
		return fmt.Errorf("make data directory %s: %w", s.cfg.DataDir, err)
	}
	if err := os.Rename(data, s.cfg.DataDir); err != nil {
		return fmt.Errorf("make data directory %s: %w", s.cfg.DataDir, err)
	}
	return syncDir(parent)
}

// own gives an existing data directory to the account: one made as nobody belongs to the user
// postgres once a package has brought that user.
func (s *Server) own(dir string) error {
	if os.Geteuid() != 0 || owner(dir) == s.account.UID {
		return nil
	}
	// The folder itself last: should this be cut short, the next start does it again.
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		return s.account.Own(path)
	})
	if err != nil {
		return fmt.Errorf("give data directory %s to user %s: %w", dir, s.account.Name, err)
	}
	return s.account.Own(dir)
}

// writeDurably replaces a file as a whole: beside it, synced, renamed, folder synced.
func writeDurably(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
