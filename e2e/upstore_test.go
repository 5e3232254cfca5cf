package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// TestUpStoreFlag: a database of the user's own that can't be the store is told by the
// stage that needs it, with the flag's name, before anything else begins; a good one is
// used, and its password shown nowhere.
func TestUpStoreFlag(t *testing.T) {
	t.Parallel()
	watched := pgtest.Private(t, 16)
	own := pgtest.Private(t, pgtest.StoreMajor(t), "fsync=on")
	pgtest.Exec(t, own.URL("postgres"), "CREATE DATABASE metrics", "CREATE ROLE poor LOGIN PASSWORD 'planted-secret'",
		"CREATE DATABASE closed", "ALTER ROLE poor SET default_transaction_read_only = on")
	reckless := pgtest.Private(t, pgtest.StoreMajor(t), "fsync=off")
	poor := strings.Replace(own.URLAs("poor", "closed"), "poor@", "poor:planted-secret@", 1)
	for _, c := range []struct {
		name, url string
		want      []string
		code      int
		within    time.Duration
	}{
		{"nobody listens", "postgres://u:planted-secret@127.0.0.1:1/x", []string{"127.0.0.1:1/x", "no answer within 5s", "refused"}, 1, 30 * time.Second},
		{"a black hole", "postgres://u:planted-secret@" + pgtest.SilentListener(t) + "/x", []string{"no answer within 5s"}, 1, 30 * time.Second},
		{"no such database", strings.Replace(own.URL("absent"), "postgres@", "postgres:planted-secret@", 1), []string{`database "absent" does not exist`}, 2, 20 * time.Second},
		{"no such role", strings.Replace(own.URLAs("stranger", "metrics"), "stranger@", "stranger:planted-secret@", 1), []string{`role "stranger" does not exist`}, 2, 20 * time.Second},
		{"may write nothing", poor, []string{"read-only"}, 1, 30 * time.Second},
		{"forgets what it confirmed", reckless.URL("postgres"), []string{"fsync is off"}, 2, 30 * time.Second},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		began := time.Now()
		out, errs, code := run(t, nil, "up", "--store", c.url, "--data-dir", dir, "--listen", "127.0.0.1:0", watched.URL("postgres"))
		if code != c.code || time.Since(began) > c.within {
			t.Errorf("%s: exit code %d after %s, want %d\n%s%s", c.name, code, time.Since(began), c.code, out, errs)
		}
		for _, w := range append(c.want, "--store") {
			if !strings.Contains(errs, w) {
				t.Errorf("%s: stderr does not say %q:\n%s", c.name, w, errs)
			}
		}
		if !strings.Contains(out, "Store      failed") || strings.Contains(out, "Backend") || strings.Contains(out, "Open") {
			t.Errorf("%s: the stages are not true:\n%s", c.name, out)
		}
		if strings.Contains(out+errs, "planted-secret") {
			t.Errorf("%s: a password:\n%s%s", c.name, out, errs)
		}
		if _, err := os.Stat(filepath.Join(dir, "address")); err == nil {
			t.Errorf("%s: an address of what never listened", c.name)
		}
	}
	// Words of a good one; after its end the data directory names no address.
	u := startUp(t, []string{"PGANALYTICS_COLLECTOR_INTERVAL=7", "PGANALYTICS_BACKEND_URL=http://127.0.0.1:1"}, "--store", strings.Replace(own.URL("metrics"), "postgres@", "postgres:planted-secret@", 1), watched.URL("postgres"))
	id := u.instance(watched.Name())
	u.waitTicks(id, 3) // at 1 s, as the flag says
	if out, errs, code := run(t, nil, "health", "--data-dir", u.dir); code != 0 {
		t.Errorf("health of a running one: exit code %d\n%s%s", code, out, errs)
	}
	u.stop()
	said := u.out.String()
	if !strings.Contains(said, "Store      ok     postgres://***@"+own.Name()+"/metrics") || strings.Contains(said, "planted-secret") {
		t.Errorf("the store's stage:\n%s", said)
	}
	if !strings.Contains(said, "watching 1 server every 1s") || !strings.Contains(said, "PGANALYTICS_BACKEND_URL has no effect") {
		t.Errorf("interval and warning:\n%s", said)
	}
	if out, errs, code := run(t, nil, "health", "--data-dir", u.dir); code != 1 || !strings.Contains(errs, "nothing runs there") {
		t.Errorf("health after the end: exit code %d\n%s%s", code, out, errs)
	}
}
