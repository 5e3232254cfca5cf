package pgserver_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// machine makes Find see the given majors only, laid out as Debian does.
func machine(t *testing.T, majors ...int) (root string) {
	t.Helper()
	root = pgtest.Dir(t)
	for _, major := range majors {
		dir := filepath.Join(root, strconv.Itoa(major))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(pgtest.Binaries(t, major).Dir, filepath.Join(dir, "bin")); err != nil {
			t.Fatal(err)
		}
	}
	pgserver.SetDebianRoot(t, root)
	t.Setenv("PATH", t.TempDir())
	return root
}

func dataDir(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte(version+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFindChoosesTheNewestOrTheDataDirectorys(t *testing.T) {
	majors := pgtest.Majors(t)
	oldest, newest := majors[0], majors[len(majors)-1]
	if newest < pgserver.StoreMinimum {
		t.Fatalf("the tests are restricted to %v, none of which the store runs on", majors)
	}
	machine(t, majors...)
	cases := []struct {
		name   string
		search pgserver.Search
		want   int
	}{
		{"newest", pgserver.Search{}, newest},
		{"no data directory yet", pgserver.Search{DataDir: filepath.Join(t.TempDir(), "absent")}, newest},
		{"empty data directory", pgserver.Search{DataDir: t.TempDir()}, newest},
		{"data directory", pgserver.Search{DataDir: dataDir(t, strconv.Itoa(oldest))}, oldest},
		{"major", pgserver.Search{Major: oldest}, oldest},
		{"named folder first", pgserver.Search{Dir: pgtest.Binaries(t, oldest).Dir, Minimum: 12}, oldest},
		{"named folder of another major", pgserver.Search{Dir: pgtest.Binaries(t, oldest).Dir, DataDir: dataDir(t, strconv.Itoa(newest))}, newest},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := pgserver.Find(c.search)
			if err != nil {
				t.Fatal(err)
			}
			if got.Major != c.want || !strings.HasPrefix(got.Version, strconv.Itoa(c.want)+".") {
				t.Errorf("found %d (%s), want %d", got.Major, got.Version, c.want)
			}
			named := c.search.Dir == "" || got.Dir == c.search.Dir
			if named != (got.Instead == "") || !named && !strings.Contains(got.Instead, c.search.Dir) {
				t.Errorf("found %s, instead of %q", got.Dir, got.Instead)
			}
		})
	}
}

func TestFindInPATH(t *testing.T) {
	major := pgtest.StoreMajor(t)
	machine(t)
	t.Setenv("PATH", strings.Join([]string{"", "/nowhere", pgtest.Binaries(t, major).Dir}, string(os.PathListSeparator)))
	got, err := pgserver.Find(pgserver.Search{})
	if err != nil || got.Major != major {
		t.Errorf("found %+v, %v, want %d", got, err, major)
	}
}

func TestFindExplainsWhatIsMissing(t *testing.T) {
	have := pgtest.StoreMajor(t)
	cases := []struct {
		name   string
		have   []int
		search pgserver.Search
		want   []string // parts of the message
	}{
		{"nothing installed", nil, pgserver.Search{}, []string{"no PostgreSQL 14 or newer found", "PATH", "--postgres-bin"}},
		{
			"data directory of a missing major", []int{have},
			pgserver.Search{DataDir: dataDir(t, "11")},
			[]string{"no PostgreSQL 11 (the data directory", "found only " + pgtest.Binaries(t, have).Version},
		},
		{"too old", []int{have}, pgserver.Search{Minimum: 99}, []string{"no PostgreSQL 99 or newer", "found only " + pgtest.Binaries(t, have).Version}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root := machine(t, c.have...)
			_, err := pgserver.Find(c.search)
			if _, ok := errors.AsType[*pgserver.NotFoundError](err); !ok {
				t.Fatalf("error %v, want a NotFoundError", err)
			}
			for _, want := range append(c.want, root) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestFindRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "letters"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name   string
		search pgserver.Search
		want   string
	}{
		{"folder without programs", pgserver.Search{Dir: t.TempDir()}, "no PostgreSQL 14 or newer found: looked in --postgres-bin /"},
		{"data directory that is something else", pgserver.Search{DataDir: full}, "is not empty and is no PostgreSQL data directory"},
		{"data directory of old", pgserver.Search{DataDir: dataDir(t, "9.6")}, `PG_VERSION "9.6"`},
		{"two majors", pgserver.Search{Major: 17, DataDir: dataDir(t, "16")}, "belongs to PostgreSQL 16, not 17"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := pgserver.Find(c.search); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestPassableNamesTheFolderInTheWay(t *testing.T) {
	base := pgtest.Dir(t)
	closed := filepath.Join(base, "closed")
	for _, dir := range []string{closed, filepath.Join(closed, "below")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own, err := pgserver.RunAs()
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Passable(filepath.Join(closed, "below", "not", "there")); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(closed, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o700) })
	err = own.Passable(filepath.Join(closed, "below"))
	var in *pgserver.ImpassableError
	if !errors.As(err, &in) {
		t.Fatalf("error %v, want an ImpassableError", err)
	}
	if in.Folder != closed || in.Mode.Perm() != 0o600 || in.User != own.Name {
		t.Errorf("error %q (%+v), want folder %s of mode 0600 for %s", err, in, closed, own.Name)
	}
}
