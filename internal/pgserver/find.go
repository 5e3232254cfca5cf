package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// StoreMinimum is the oldest major the embedded store runs on.
const StoreMinimum = 14

// debianRoot is where Debian and Ubuntu keep one folder per major; tests replace it.
var debianRoot = "/usr/lib/postgresql"

// Binaries is one installed PostgreSQL server.
type Binaries struct {
	Dir     string // absolute; holds postgres and initdb
	Major   int
	Version string // as printed, "15.18"
	// Instead is what Search.Dir holds when none of it fits and this is another's: "13.22 (/opt/13/bin)".
	Instead string
}

func (b Binaries) postgres() string { return filepath.Join(b.Dir, "postgres") }
func (b Binaries) initdb() string   { return filepath.Join(b.Dir, "initdb") }

// Search says which server is wanted. The zero value means: the newest one of at least
// StoreMinimum in PATH or under /usr/lib/postgresql.
type Search struct {
	// Dir is searched first (--postgres-bin): a folder with the programs, one whose bin or
	// native/bin holds them, or one with such folders per major. No server there is an error; when
	// none there fits the others are searched, and Binaries.Instead tells.
	Dir string
	// DataDir, when it exists, decides the major.
	DataDir string
	// Minimum is the oldest acceptable major for a new data directory; 0 is StoreMinimum.
	Minimum int
	// Major, when not 0, is the only acceptable major.
	Major int
}

// NotFoundError reports that no fitting PostgreSQL server is installed.
type NotFoundError struct {
	Wanted string   // "PostgreSQL 14 or newer"
	Looked []string // places searched
	Unfit  []string // servers found there and why each does not do
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no %s found: looked in %s", e.Wanted, strings.Join(e.Looked, ", "))
	if len(e.Unfit) > 0 {
		fmt.Fprintf(&b, "; found only %s", strings.Join(e.Unfit, ", "))
	}
	b.WriteString("; install PostgreSQL (Debian: apt-get install postgresql) or name its folder with --postgres-bin")
	return b.String()
}

// Find looks for a server program. The error is a *NotFoundError when none fits.
func Find(s Search) (Binaries, error) {
	account, err := RunAs()
	if err != nil {
		return Binaries{}, err
	}
	minimum := s.Minimum
	if minimum == 0 {
		minimum = StoreMinimum
	}
	major, wanted := s.Major, fmt.Sprintf("PostgreSQL %d or newer", minimum)
	if major != 0 {
		wanted = fmt.Sprintf("PostgreSQL %d", major)
	}
	if s.DataDir != "" {
		has, err := dataMajor(s.DataDir)
		if err != nil {
			return Binaries{}, err
		}
		if has != 0 {
			if major != 0 && major != has {
				return Binaries{}, fmt.Errorf("data directory %s belongs to PostgreSQL %d, not %d", s.DataDir, has, major)
			}
			major, wanted = has, fmt.Sprintf("PostgreSQL %d (the data directory %s belongs to it)", has, s.DataDir)
		}
	}

	missing := &NotFoundError{Wanted: wanted}
	choose := func(found []Binaries) (Binaries, bool) {
		slices.SortStableFunc(found, func(a, b Binaries) int { return b.Major - a.Major })
		for _, b := range found {
			switch {
			case major != 0 && b.Major != major, major == 0 && b.Major < minimum:
				missing.unfit(fmt.Sprintf("%s (%s)", b.Version, b.Dir))
				continue
			}
			if err := account.Passable(b.Dir); err != nil {
				missing.unfit(fmt.Sprintf("%s (%v)", b.Version, err))
				continue
			}
			return b, true
		}
		return Binaries{}, false
	}
	if s.Dir != "" {
		found := probe(candidates(s.Dir))
		missing.Looked = append(missing.Looked, "--postgres-bin "+s.Dir)
		if len(found) == 0 { // who names a folder does not want another's server
			return Binaries{}, missing
		}
		if b, ok := choose(found); ok {
			return b, nil
		}
	}
	missing.Looked = append(missing.Looked, "PATH", filepath.Join(debianRoot, "*", "bin"))
	found := probe(append(filepath.SplitList(os.Getenv("PATH")), candidates(debianRoot)...))
	instead := strings.Join(missing.Unfit, ", ")
	if b, ok := choose(found); ok {
		b.Instead = instead
		return b, nil
	}
	return Binaries{}, missing
}

func (e *NotFoundError) unfit(what string) {
	if !slices.Contains(e.Unfit, what) {
		e.Unfit = append(e.Unfit, what)
	}
}

// candidates lists the folders that may hold the programs, below a folder of any known layout:
// Debian's <major>/bin, npm's native/bin, or the programs themselves.
func candidates(dir string) []string {
	dirs := []string{dir, filepath.Join(dir, "bin"), filepath.Join(dir, "native", "bin")}
	for _, pattern := range []string{"*/bin", "*/native/bin"} {
		more, _ := filepath.Glob(filepath.Join(dir, pattern)) // fails on a bad pattern only
		dirs = append(dirs, more...)
	}
	return dirs
}

// Installed lists the servers below dir, in any layout that Search.Dir takes.
func Installed(dir string) []Binaries { return probe(candidates(dir)) }

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// probe asks the server programs in dirs for their versions. A folder without both programs, or
// with ones that do not run, is no find.
func probe(dirs []string) []Binaries {
	var found []Binaries
	for _, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err != nil || dir == "" {
			continue
		}
		// PATH may hold links to the programs, which find their libraries by their real place.
		real, err := filepath.EvalSymlinks(filepath.Join(abs, "postgres"))
		if err != nil {
			continue
		}
		b := Binaries{Dir: filepath.Dir(real)}
		if slices.ContainsFunc(found, func(f Binaries) bool { return f.Dir == b.Dir }) {
			continue
		}
		if info, err := os.Stat(b.initdb()); err != nil || info.IsDir() {
			continue
		}
		out, err := exec.Command(b.postgres(), "--version").Output()
		if err != nil {
			continue
		}
		m := versionLine.FindSubmatch(out)
		if m == nil {
			continue
		}
		b.Version = string(m[1])
		if b.Major, err = strconv.Atoi(string(m[2])); err != nil {
			continue
		}
		found = append(found, b)
	}
	return found
}

// dataMajor reads the major that made a data directory, 0 when there is none yet.
func dataMajor(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			return 0, fmt.Errorf("folder %s is not empty and is no PostgreSQL data directory (it has no PG_VERSION)", dir)
		}
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of data directory %s: %w", dir, err)
	}
	// Before 10 the major had two parts; such a directory matches no server we take.
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("data directory %s has PG_VERSION %q, which is no supported major", dir, strings.TrimSpace(string(text)))
	}
	return major, nil
}
