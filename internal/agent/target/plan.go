package target

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// stmt is a statement of ours: prepared under a name that is a hash of its text,
// so that behind a pooler the same name can't mean something else.
type stmt struct {
	name    string
	sql     string
	args    []uint32 // types of the parameters
	results []uint32 // types of the columns: known from the casts
}

func newStmt(sql string, args []uint32, results ...uint32) *stmt {
	h := fnv.New64a()
	_, _ = h.Write([]byte(sql))
	return &stmt{name: fmt.Sprintf("pganalytics_%016x", h.Sum64()), sql: sql, args: args, results: results}
}

// query is how a family is read at one version.
type query struct {
	family *catalog.Family
	rows   *stmt
	proof  *stmt // nil: none
	head   *stmt // the head of a Sync group of its own, which checks the extension; nil: the common one
	absent []string
	hides  int    // column whose NULL says that we may not see the row's identity; -1
	hidden [2]int // columns that such rows are summed by
	named  int    // column that names what Redact columns hold; -1
	takes  bool   // $1: the keys without a text
	kinds  []kind // of the columns: how each is decoded
}

// apart: the family has a Sync group of its own.
func (q *query) apart() bool { return q.family.Apart || q.head != nil }

// source is what a family is compiled for.
type source struct {
	version catalog.Version
	ext     *extension // nil for the server's own
	missing []string   // columns that turned out not to be there
}

// compile builds a family's statements. settings is the SQL of the common head.
func compile(f *catalog.Family, s source, settings string) *query {
	schema := ""
	if s.ext != nil {
		schema = s.ext.schema
	}
	q := f.Query(s.version, schema, s.missing...)
	out := &query{family: f, absent: q.Absent, hides: -1, named: -1}
	var args []uint32
	if strings.Contains(q.SQL, "$1") {
		out.takes, args = true, []uint32{oidInt8Array}
	}
	results := make([]uint32, len(q.Columns))
	for i, c := range q.Columns {
		results[i] = map[catalog.Type]uint32{
			catalog.Int: oidInt8, catalog.Float: oidFloat8, catalog.Text: oidText, catalog.Time: oidTimestamptz, catalog.Bool: oidBool,
		}[c.Wire()]
	}
	out.rows = newStmt(q.SQL, args, results...)
	out.kinds = kindsOf(f)
	index := func(name string) int {
		return slices.IndexFunc(f.Columns, func(c catalog.Column) bool { return c.Name == name })
	}
	if f.Cut != nil && len(f.Sums) == 2 {
		out.hides, out.hidden = index("queryid"), [2]int{index(f.Sums[0]), index(f.Sums[1])}
	}
	if f.Shape == catalog.State {
		out.named = index("name")
	}
	if s.ext != nil {
		if p := f.ProofQuery(s.version, schema); p != "" && s.ext.readable(f.Proof.At(s.version)) {
			out.proof = newStmt(p, nil, oidTimestamptz, oidInt8)
		}
		out.head = headStmt(settings, s.ext.guard(f.From.At(s.version), f.Proof.At(s.version)))
	}
	return out
}

// extension is one found in a database.
type extension struct {
	name    string
	version catalog.Version
	text    string // its version as PostgreSQL has it
	schema  string
	usage   bool // we may use the schema
	objects []object
}

// object is a function or relation in an extension's schema that a family names.
type object struct {
	oid      uint32
	name     string
	function bool
	args     string // oidvector
	member   bool   // of the extension
	allowed  bool   // EXECUTE or SELECT
}

var extObject = regexp.MustCompile(`\{ext\}\.([a-z_0-9]+)(\(([a-z, ]*)\))?`)

// namedObjects gives the objects that pieces of SQL name, each with the oidvector that
// its arguments make: true and false are typed, so the call resolves to exactly
// that function whatever others of the name there are.
func namedObjects(sql ...string) (out []object) {
	for _, s := range sql {
		for _, m := range extObject.FindAllStringSubmatch(s, -1) {
			o := object{name: m[1], function: m[2] != ""}
			for a := range strings.FieldsFuncSeq(m[3], func(r rune) bool { return r == ',' || r == ' ' }) {
				if a != "true" && a != "false" {
					panic("BUG: argument " + a + " of " + m[0] + " has no type")
				}
				o.args = strings.TrimPrefix(o.args+" 16", " ")
			}
			out = append(out, o)
		}
	}
	return out
}

// find gives the object as found, nil when it isn't there.
func (e *extension) find(want object) *object {
	for i := range e.objects {
		o := &e.objects[i]
		if o.name == want.name && o.function == want.function && o.args == want.args {
			return o
		}
	}
	return nil
}

// check says why a family can't be read from the extension: reason, detail, remedy.
func (e *extension) check(f *catalog.Family, role string) (reason, detail, remedy string) {
	if !e.usage {
		return reasonPrivilege, fmt.Sprintf("%s may not use the schema %s of the extension %s", role, e.schema, e.name),
			fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", quoteIdent(e.schema), quoteIdent(role))
	}
	for _, want := range namedObjects(f.From.At(e.version)) {
		o := e.find(want)
		switch {
		case o == nil:
			return reasonMissing, fmt.Sprintf("the extension %s %s has no %s", e.name, e.text, want.name),
				fmt.Sprintf("ALTER EXTENSION %s UPDATE;", quoteIdent(e.name))
		case !o.member:
			return reasonNotExtension, fmt.Sprintf("%s.%s doesn't belong to the extension %s, so it isn't called", e.schema, o.name, e.name),
				fmt.Sprintf("-- drop %s.%s, then create the extension again", quoteIdent(e.schema), quoteIdent(o.name))
		case !o.allowed && o.function:
			return reasonPrivilege, fmt.Sprintf("%s may not execute %s.%s", role, e.schema, o.name),
				fmt.Sprintf("GRANT EXECUTE ON FUNCTION %s.%s TO %s;", quoteIdent(e.schema), quoteIdent(o.name), quoteIdent(role))
		case !o.allowed:
			return reasonPrivilege, fmt.Sprintf("%s may not read %s.%s", role, e.schema, o.name),
				fmt.Sprintf("GRANT SELECT ON %s.%s TO %s;", quoteIdent(e.schema), quoteIdent(o.name), quoteIdent(role))
		}
	}
	return "", "", ""
}

// readable: the extension has all that the SQL names, for us too.
func (e *extension) readable(sql string) bool {
	for _, want := range namedObjects(sql) {
		if o := e.find(want); o == nil || !o.member || !o.allowed {
			return false
		}
	}
	return true
}

// guard is an expression that is a division by zero unless the objects that the
// SQL names are still the very ones that belonged to the extension when we looked:
// somebody may have dropped the extension and put a trap in its place. It is a part
// of the head, so nothing after it is even parsed then.
func (e *extension) guard(sql ...string) string {
	n := 0
	var found []string
	for _, want := range namedObjects(sql...) {
		o := e.find(want)
		if o == nil || !o.member || !o.allowed {
			continue // proof that isn't read; the rest was checked
		}
		n++
		relation, name, schema := "pg_class", "relname", "relnamespace"
		if o.function {
			relation, name, schema = "pg_proc", "proname", "pronamespace"
		}
		found = append(found, fmt.Sprintf("(SELECT pg_catalog.count(*) FROM pg_catalog.%s o JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.%s "+
			"WHERE o.oid OPERATOR(pg_catalog.=) '%d'::pg_catalog.oid AND o.%s OPERATOR(pg_catalog.=) %s AND n.nspname OPERATOR(pg_catalog.=) %s)",
			relation, schema, o.oid, name, quoteLiteral(o.name), quoteLiteral(e.schema)))
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("(1 OPERATOR(pg_catalog./) ((%s) OPERATOR(pg_catalog.=) %d)::pg_catalog.int4)::pg_catalog.int8",
		strings.Join(found, " OPERATOR(pg_catalog.+) "), n)
}
