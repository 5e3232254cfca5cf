package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pganalytics/pganalytics/internal/pgserver"
)

// First and Last bound the majors that pgAnalytics watches.
const (
	First = 12
	Last  = 18
)

const debianRoot = "/usr/lib/postgresql"

var saidRestricted sync.Once

// Majors lists the majors to test, ascending: First to Last, or those of PGA_TEST_MAJORS. The
// test fails when a server of one of them is not there.
func Majors(t testing.TB) []int {
	t.Helper()
	majors, err := allowed()
	if err != nil {
		t.Fatal(err)
	}
	for _, major := range majors {
		if _, err := binaries(major); err != nil {
			t.Fatal(err)
		}
	}
	return majors
}

// StoreMajor is the newest major there is that the store runs on; of those that PGA_TEST_MAJORS
// allows if one does.
func StoreMajor(t testing.TB) int {
	t.Helper()
	majors, err := allowed()
	if err != nil {
		t.Fatal(err)
	}
	for major := Last; major >= pgserver.StoreMinimum; major-- {
		majors = append([]int{major}, majors...)
	}
	for _, major := range slices.Backward(majors) {
		if major < pgserver.StoreMinimum {
			continue
		}
		if _, err := binaries(major); err == nil {
			return major
		}
	}
	t.Fatalf("no PostgreSQL %d or newer in %s or %s: `make test` fetches them", pgserver.StoreMinimum, cacheDir(), debianRoot)
	return 0
}

// Binaries gives the server programs of a major, at a place that the account of
// pgserver.RunAs can pass.
func Binaries(t testing.TB, major int) pgserver.Binaries {
	t.Helper()
	b, err := binaries(major)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func allowed() ([]int, error) {
	var majors []int
	text := os.Getenv("PGA_TEST_MAJORS")
	if text == "" {
		for major := First; major <= Last; major++ {
			majors = append(majors, major)
		}
		return majors, nil
	}
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		major, err := strconv.Atoi(part)
		if err != nil || major < First || major > Last {
			return nil, fmt.Errorf("PGA_TEST_MAJORS=%q: %q is not a major from %d to %d", text, part, First, Last)
		}
		majors = append(majors, major)
	}
	if len(majors) == 0 {
		return nil, fmt.Errorf("PGA_TEST_MAJORS=%q names no major", text)
	}
	slices.Sort(majors)
	majors = slices.Compact(majors)
	saidRestricted.Do(func() {
		fmt.Fprintf(os.Stderr, "pgtest: PGA_TEST_MAJORS restricts the tests to PostgreSQL %v\n", majors)
	})
	return majors, nil
}

var (
	binariesMu sync.Mutex
	binariesOf = map[int]pgserver.Binaries{}
)

func binaries(major int) (pgserver.Binaries, error) {
	binariesMu.Lock()
	defer binariesMu.Unlock()
	if b, ok := binariesOf[major]; ok {
		return b, nil
	}
	found := pgserver.Installed(filepath.Join(cacheDir(), strconv.Itoa(major)))
	found = append(found, pgserver.Installed(filepath.Join(debianRoot, strconv.Itoa(major)))...)
	i := slices.IndexFunc(found, func(b pgserver.Binaries) bool { return b.Major == major })
	if i < 0 {
		return pgserver.Binaries{}, fmt.Errorf("no PostgreSQL %d in %s or %s: `make test` fetches it (scripts/postgres-majors.sh); PGA_TEST_MAJORS restricts the majors",
			major, cacheDir(), debianRoot)
	}
	b, err := reachable(found[i])
	if err != nil {
		return pgserver.Binaries{}, err
	}
	binariesOf[major] = b
	return b, nil
}

// reachable copies the programs to where the server's account can pass when they lie, say, in a
// clone below /root.
func reachable(b pgserver.Binaries) (pgserver.Binaries, error) {
	w, err := place()
	if err != nil {
		return b, err
	}
	if w.account.Passable(b.Dir) == nil {
		return b, nil
	}
	release, err := w.lock("bin.lock")
	if err != nil {
		return b, err
	}
	defer release()
	prefix := filepath.Join(w.dir, "bin", fmt.Sprintf("%d-%s", b.Major, b.Version))
	copied := b
	copied.Dir = filepath.Join(prefix, "bin")
	if _, err := os.Stat(prefix); err == nil {
		return copied, nil
	}
	if err := os.MkdirAll(filepath.Dir(prefix), 0o755); err != nil {
		return b, err
	}
	partial := prefix + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return b, err
	}
	if out, err := exec.Command("cp", "-a", filepath.Dir(b.Dir), partial).CombinedOutput(); err != nil {
		return b, fmt.Errorf("copy PostgreSQL %s to %s: %w: %s", b.Version, prefix, err, out)
	}
	return copied, os.Rename(partial, prefix)
}

// cacheDir is $PGA_TEST_POSTGRES_DIR, else .cache/postgres beside the go.mod found upwards.
var cacheDir = sync.OnceValue(func() string {
	if dir := os.Getenv("PGA_TEST_POSTGRES_DIR"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return filepath.Join(d, ".cache", "postgres")
		}
		if d == filepath.Dir(d) {
			return filepath.Join(dir, ".cache", "postgres")
		}
	}
})
