// Package internal_test holds the architecture's rules (design.md §3 as far as
// the code goes: docs/adr/0001-architecture.md), one table with reasons.
package internal_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pganalytics/pganalytics/"

// rule forbids packages under From to import packages under To, also through
// others, except by what is under Except.
type rule struct {
	from, to string
	except   []string
	reason   string
}

var rules = []rule{
	{"internal/catalog", "internal/", []string{"internal/catalog"}, "the catalog is the language both halves speak; it imports nothing of ours"},
	{"internal/frame", "internal/", []string{"internal/frame", "internal/catalog"}, "a measurement knows how it is declared, nothing else"},
	{"internal/agent", "internal/server", nil, "the agent observes; it never knows how its batches are stored"},
	{"internal/agent", "internal/app", nil, "the wiring sees the halves, not the other way round"},
	{"internal/agent", "internal/pgserver", nil, "private servers belong to the wiring and to tests"},
	{"internal/server", "internal/agent", nil, "the server never touches an observed server"},
	{"internal/server", "internal/app", nil, "the wiring sees the halves, not the other way round"},
	{"internal/server", "internal/pgserver", nil, "the store is a URL; who runs it is the wiring's business"},
	{"internal/agent/counter", "github.com/jackc/", nil, "counting is pure: no network, no clock"},
	{"internal/agent/counter", "net", nil, "counting is pure: no network, no clock"},
	{"internal/agent/spool", "internal/", []string{"internal/agent/spool"}, "the spool keeps bytes; it understands none of them"},
	{"internal/agent/ship", "internal/agent/target", nil, "shipping knows batches, not the servers they came from"},
	{"internal/pgserver", "internal/", []string{"internal/pgserver"}, "private servers serve either half and tests"},
	{"web", "internal/", nil, "the embedded UI is files"},
	{"", "database/sql", []string{"internal/server/store"}, "pgx speaks PostgreSQL's own types; goose alone needs database/sql, in one place"},
	{"", "github.com/lib/pq", nil, "one driver"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func under(path, prefix string) bool {
	return prefix == "" || path == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
}

func TestImports(t *testing.T) {
	list := packages(t)
	if len(list) < 10 {
		t.Fatalf("only %d packages found: the test looks at the wrong place", len(list))
	}
	for _, r := range rules {
		for _, p := range list {
			path, ours := strings.CutPrefix(p.ImportPath, module)
			if !ours || !under(path, r.from) {
				continue
			}
			deps := p.Deps
			if strings.HasPrefix(r.to, "database/") || strings.HasPrefix(r.to, "github.com/lib") {
				deps = p.Imports // what a library needs inside is its own matter
			}
			for _, d := range deps {
				d, own := strings.CutPrefix(d, module)
				if own != strings.HasPrefix(r.to, "internal/") || !under(d, r.to) {
					continue // the standard library has an internal/ too
				}
				if excepted(r, path, d) {
					continue
				}
				t.Errorf("%s imports %s: %s", path, d, r.reason)
			}
		}
	}
}

func excepted(r rule, from, to string) bool {
	for _, e := range r.except {
		if under(to, e) || r.from == "" && under(from, e) {
			return true
		}
	}
	return false
}

// TestSpoolFiles: everything about disk goes through spool's FS interface, so that
// a crash-simulating file system can take its place; only osfs.go may call os.
func TestSpoolFiles(t *testing.T) {
	files, err := filepath.Glob("agent/spool/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of spool: %v", err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "osfs.go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "os" && !strings.HasPrefix(s.Sel.Name, "Err") && !strings.HasPrefix(s.Sel.Name, "O_") && s.Sel.Name != "FileMode" && s.Sel.Name != "FileInfo" {
					t.Errorf("%s uses os.%s: only osfs.go may", path, s.Sel.Name)
				}
			}
			return true
		})
	}
}

var sqlText = regexp.MustCompile("(?i)^[\"`]\\s*(select|insert|update|delete|with|copy)\\s+\\S+")

// TestNoHandlerSQL: handlers write no SQL; a package owns its tables and their SQL.
func TestNoHandlerSQL(t *testing.T) {
	err := filepath.WalkDir("server/api", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, ".gen.") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if s, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Exec", "QueryRow", "SendBatch", "CopyFrom"}, s.Sel.Name) {
					t.Errorf("%s calls %s: handlers write no SQL", path, s.Sel.Name)
				}
			}
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && sqlText.MatchString(l.Value) {
				t.Errorf("%s holds %.40s…: handlers write no SQL", path, l.Value)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNamesOfFiles: no status documents, nothing switched off by its name.
func TestNamesOfFiles(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "-C", "..", "ls-files").Output()
	if err != nil {
		t.Skipf("no git checkout here, so no list of files: %v", err)
	}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		name := strings.ToLower(s.Text())
		for _, bad := range []string{".disabled", ".backup", ".orig", ".bak", "status.md", "summary.md", "progress.md", "report.md", "roadmap.md"} {
			if strings.HasSuffix(name, bad) {
				t.Errorf("%s: the repository holds no such files", s.Text())
			}
		}
	}
}
