package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pganalytics/pganalytics/internal/pgserver"
)

// What lies in the data directory of `up`.
const (
	addressFile      = "address"            // URL of the running backend, for `health --data-dir`
	tokenFile        = "token"              // the API token
	registrationFile = "registration-token" // what the collector registers with
	storeDir         = "store"              // the embedded store
	demoDir          = "demo"               // the demo server
	collectorDir     = "collector"          // the collector's identity and spool
)

// defaultDataDir is /var/lib/pganalytics for root, else $XDG_DATA_HOME/pganalytics
// (~/.local/share when that is not set).
func defaultDataDir(con *console) (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/pganalytics", nil
	}
	if x := con.getenv("XDG_DATA_HOME"); filepath.IsAbs(x) {
		return filepath.Join(x, "pganalytics"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usagef("--data-dir: no home directory to put it in: %w", err)
	}
	return filepath.Join(home, ".local", "share", "pganalytics"), nil
}

// openDataDir makes the data directory and locks it. PostgreSQL may run as another
// user, who must be able to pass it, so it is 0711; what lies in it is 0600 and
// 0700.
func openDataDir(dir string) (*pgserver.Lock, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, usagef("--data-dir: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, usagef("--data-dir: %w", err)
	}
	if !info.IsDir() {
		return nil, usagef("--data-dir = %q: not a folder", dir)
	}
	lock, err := pgserver.AcquireLock(dir)
	var locked *pgserver.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("--data-dir: %w; stop it, or give this one another --data-dir", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, usagef("--data-dir: %w", err)
	case err != nil:
		return nil, err
	}
	return lock, nil
}
