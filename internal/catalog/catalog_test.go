package catalog_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

var update = flag.Bool("update", false, "write the golden files")

func TestBy(t *testing.T) {
	by := catalog.By{12: "a", 14: "b", 16: "", 18: "c"}
	for v, want := range map[catalog.Version]string{0: "", 11: "", 12: "a", 13: "a", 14: "b", 15: "b", 16: "", 17: "", 18: "c", 19: "c", 99: "c"} {
		if got := by.At(v); got != want {
			t.Errorf("at %d: %q, want %q", v, got, want)
		}
	}
	if got := catalog.Always("x").At(12); got != "x" {
		t.Errorf("always: %q", got)
	}
	if got := (catalog.By)(nil).At(12); got != "" {
		t.Errorf("nothing: %q", got)
	}
}

func TestParseExtVersion(t *testing.T) {
	for s, want := range map[string]catalog.Version{"1.7": 107, "1.10": 110, "1.12": 112, "2.0": 200, "2.17.2": 217} {
		if got, err := catalog.ParseExtVersion(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "1", "1.100", "-1.2", "1.-2", "a.b", "unpackaged"} {
		if _, err := catalog.ParseExtVersion(s); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", s)) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestLookup(t *testing.T) {
	all := catalog.All()
	if !slices.IsSortedFunc(all, func(a, b *catalog.Family) int { return strings.Compare(a.Name, b.Name) }) || len(all) == 0 {
		t.Error("All is not sorted")
	}
	for _, f := range all {
		if catalog.Lookup(f.Name) != f {
			t.Errorf("%s is not found", f.Name)
		}
		for i := range f.Columns {
			if f.Column(f.Columns[i].Name) != &f.Columns[i] {
				t.Errorf("%s.%s is not found", f.Name, f.Columns[i].Name)
			}
		}
	}
	if catalog.Lookup("none") != nil || all[0].Column("none") != nil {
		t.Error("found what is not there")
	}
}

// versions are those that a family is tested at: all that pgAnalytics watches, and
// one that is not out yet.
func versions(f *catalog.Family) (out []catalog.Version, name func(catalog.Version) string) {
	if f.Of == "" {
		for v := catalog.Version(12); v <= 19; v++ {
			out = append(out, v)
		}
		return out, func(v catalog.Version) string { return fmt.Sprintf("pg%d", v) }
	}
	for v := catalog.Version(106); v <= 113; v++ {
		out = append(out, v)
	}
	return out, func(v catalog.Version) string { return fmt.Sprintf("ext%d.%d", v/100, v%100) }
}

// TestSQL compares the SQL of each family with testdata/FAMILY.VERSION.sql, one
// file for each version at which it changes.
func TestSQL(t *testing.T) {
	used := map[string]bool{}
	for _, f := range catalog.All() {
		if f.Reader != "" {
			if f.Available(12) != true {
				t.Errorf("%s is not available", f.Name)
			}
			continue
		}
		last := ""
		list, name := versions(f)
		for _, v := range list {
			text := ""
			if f.Available(v) {
				q := f.Query(v, "ext")
				text = q.SQL + ";\n"
				if p := f.ProofQuery(v, "ext"); p != "" {
					text += p + ";\n"
				}
				if len(q.Absent) > 0 {
					text += "-- NULL here: " + strings.Join(q.Absent, ", ") + "\n"
				}
			}
			if text == last {
				continue
			}
			last = text
			if text == "" {
				t.Errorf("%s goes at %d", f.Name, v)
				continue
			}
			path := filepath.Join("testdata", f.Name+"."+name(v)+".sql")
			used[path] = true
			golden(t, path, []byte(text))
		}
	}
	files, err := filepath.Glob("testdata/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if used[path] {
			continue
		}
		if *update {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
			continue
		}
		t.Errorf("%s belongs to nothing (-update removes it)", path)
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Error(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("%v (-update writes it)", err)
		return
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-update writes it): %s", path, diff)
	}
}

// TestQualified: nothing in the SQL can be captured by what a watched database
// holds: functions, operators, types and relations are named with their schema.
// search_path = pg_catalog, pg_temp protects as well; this is the second lock.
func TestQualified(t *testing.T) {
	call := regexp.MustCompile(`(?:^|[^."A-Za-z0-9_])([A-Za-z_][A-Za-z0-9_]*)\(`)
	grammar := map[string]bool{"COALESCE": true, "EXTRACT": true, "OPERATOR": true}
	operator := regexp.MustCompile(` [-+*/<>=|~!@#%^&]+ `)
	cast := regexp.MustCompile(`::([a-z_]+)[^.a-z_]`)
	relation := regexp.MustCompile(`FROM ([a-z_]+)[^a-z_.]`)
	for _, f := range catalog.All() {
		list, _ := versions(f)
		for _, v := range list {
			if f.Reader != "" || !f.Available(v) {
				continue
			}
			for _, sql := range []string{f.Query(v, "ext").SQL, f.ProofQuery(v, "ext")} {
				for _, m := range call.FindAllStringSubmatch(sql, -1) {
					if !grammar[m[1]] {
						t.Errorf("%s at %d calls %s without its schema", f.Name, v, m[1])
					}
				}
				if m := operator.FindString(sql); m != "" {
					t.Errorf("%s at %d uses the operator %s without its schema", f.Name, v, m)
				}
				if m := cast.FindStringSubmatch(sql); m != nil {
					t.Errorf("%s at %d casts to %s without its schema", f.Name, v, m[1])
				}
				for _, m := range relation.FindAllStringSubmatch(sql, -1) {
					t.Errorf("%s at %d reads %s without its schema", f.Name, v, m[1])
				}
				if strings.Contains(sql, "{ext}") {
					t.Errorf("%s at %d: {ext} is left", f.Name, v)
				}
			}
		}
	}
}

func TestSchemaQuoting(t *testing.T) {
	q := catalog.Lookup("statements").Query(112, `my "schema"; --`)
	if want := `"my ""schema""; --".pg_stat_statements(false)`; !strings.Contains(q.SQL, want) {
		t.Errorf("%s has no %s", q.SQL, want)
	}
}

func TestMissing(t *testing.T) {
	f := catalog.Lookup("wal")
	whole, less := f.Query(17, ""), f.Query(17, "", "wal_fpi", "wal_sync")
	if diff := cmp.Diff([]string{"wal_fpi", "wal_sync"}, less.Absent); diff != "" {
		t.Error(diff)
	}
	if len(whole.Absent) != 0 || len(less.Columns) != len(whole.Columns) || !strings.Contains(less.SQL, `NULL::pg_catalog.int8 AS "wal_fpi"`) {
		t.Errorf("%v, %s", whole.Absent, less.SQL)
	}
}

// TestGenerated: what is generated from the catalog is committed as it is.
func TestGenerated(t *testing.T) {
	for _, g := range catalog.Generated() {
		committed, err := os.ReadFile(filepath.Join("..", "..", g.Path))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(committed, g.Content) {
			t.Errorf("%s is not current: run `make gen`", g.Path)
		}
		for range 3 { // maps have no order
			if again := catalog.Generated(); !slices.ContainsFunc(again, func(f catalog.File) bool { return f.Path == g.Path && bytes.Equal(f.Content, g.Content) }) {
				t.Errorf("%s is not the same every time", g.Path)
			}
		}
	}
}
