package target

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// verify has the server parse what is planned on home: columns that it lacks, as a
// newer major may, become NULL now and not at the first round. In other databases
// the round itself finds out. One round trip, none when all is known.
func (t *Target) verify(c *conn, plans []Plan) error {
	var unsure []int
	var groups [][]*step
	for i := range plans {
		p := &plans[i]
		if p.Reason != "" {
			continue
		}
		src := t.source(p)
		known := src.missing
		src.missing = nil
		full := compile(p.Family, src, t.settings)
		t.mu.Lock()
		fine := t.checked[full.rows.name]
		t.mu.Unlock()
		if p.Via != t.home || fine {
			if len(known) > 0 {
				setLimit(p, known)
			}
			continue
		}
		if slices.ContainsFunc(unsure, func(j int) bool { return plans[j].Family == p.Family }) {
			continue
		}
		unsure = append(unsure, i)
		groups = append(groups, []*step{{stmt: t.headOf(full)}, {stmt: full.rows.unnamed(), only: true}})
	}
	if len(unsure) == 0 {
		return nil
	}
	if err := exchange(c, groups, t.isPooled(), t.patience()); err != nil {
		return err
	}
	for k, i := range unsure {
		p, parsed := &plans[i], groups[k][1]
		src := t.source(p)
		var missing []string
		switch {
		case parsed.state == done:
		case undefined(parsed.err):
			var err error
			if missing, err = probe(c, t, p.Family, src); err != nil {
				return err
			}
		default:
			continue // a lock, say: the rounds will tell
		}
		src.missing = missing
		q := compile(p.Family, src, t.settings)
		t.mu.Lock()
		t.missing[p.key()] = missing
		t.checked[q.rows.name] = parsed.state == done
		t.mu.Unlock()
		p.query, p.Absent = q, q.absent
		if len(missing) > 0 {
			setLimit(p, missing)
		}
	}
	return nil
}

// headOf is the head of a Sync group of the query's own.
func (t *Target) headOf(q *query) *stmt {
	if q.head != nil {
		return q.head
	}
	return t.head
}

// unnamed is the statement without a name: parsed to see whether it can be.
func (s *stmt) unnamed() *stmt {
	u := *s
	u.name = ""
	return &u
}

// probe finds the columns of a family that the server doesn't have: each is parsed
// alone, all in one round trip. It gives none when leaving out columns is no help:
// the relation itself is missing, or a key of its rows.
func probe(c *conn, t *Target, f *catalog.Family, src source) (missing []string, err error) {
	var columns []string
	var groups [][]*step
	for i := range f.Columns {
		if f.Columns[i].Expr.At(src.version) == "" {
			continue
		}
		one := src
		one.missing = nil
		for j := range f.Columns {
			if j != i {
				one.missing = append(one.missing, f.Columns[j].Name)
			}
		}
		q := compile(f, one, t.settings)
		columns = append(columns, f.Columns[i].Name)
		groups = append(groups, []*step{{stmt: t.headOf(q)}, {stmt: q.rows.unnamed(), only: true}})
	}
	if err := exchange(c, groups, t.isPooled(), t.patience()); err != nil {
		return nil, err
	}
	for k, name := range columns {
		s := groups[k][1]
		switch {
		case s.state == done:
		case !undefined(s.err):
			return nil, nil
		case f.Column(name).Kind == catalog.Key:
			return nil, nil
		default:
			missing = append(missing, name)
		}
	}
	if len(missing) == len(columns) {
		return nil, nil
	}
	return missing, nil
}

// setLimit notes columns that the server should have but doesn't.
func setLimit(p *Plan, missing []string) {
	detail := fmt.Sprintf("the server lacks %s", strings.Join(missing, ", "))
	if p.Limit == "" {
		p.Limit, p.Detail = "columns_missing", detail
	} else if !strings.Contains(p.Detail, detail) {
		p.Detail += "; " + detail
	}
}
