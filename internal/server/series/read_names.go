package series

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/snapshot"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// nameBook holds the names of things that rows hold ids of, by the ids as text joined
// with a comma, oldest first. A thing may be renamed; its rows stay one series.
type nameBook map[string][]named

type named struct {
	from int64 // microseconds since the Unix epoch
	text string
}

// at gives the name that id had at a time; before its first one is known, the first.
func (n nameBook) at(id string, t int64) string {
	list := n[id]
	if len(list) == 0 {
		return "oid:" + id[strings.LastIndexByte(id, ',')+1:]
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].from > t })
	return list[max(i-1, 0)].text
}

// ids gives the ids that ever had a name.
func (n nameBook) ids(text string) []string {
	var out []string
	for id, list := range n {
		for _, v := range list {
			if v.text == text {
				out = append(out, id)
				break
			}
		}
	}
	sort.Strings(out)
	return out
}

// What an id column of any family refers to: the family and its columns that hold
// id and name.
type dimension struct{ family, id, text string }

var (
	databaseNames = dimension{"database", "datid", "datname"}
	roleNames     = dimension{"roles", "oid", "rolname"}
)

// dimensions by the name of the id column, as PostgreSQL's views call it.
var dimensions = map[string]dimension{"datid": databaseNames, "dbid": databaseNames, "userid": roleNames}

// read reads all names that an instance's things ever had.
func (d dimension) read(ctx context.Context, tx pgx.Tx, instance int64) (nameBook, error) {
	f := catalog.Lookup(d.family)
	if f.Shape == catalog.State {
		return readNames(ctx, tx, fmt.Sprintf(`SELECT %s::text, time, %s FROM %s WHERE instance_id = $1 AND %[2]s IS NOT NULL ORDER BY 1, 2`,
			store.Quote(d.id), store.Quote(d.text), store.Quote(rawTable(f))), instance)
	}
	return readLabel(ctx, tx, f, d.text, instance)
}

// readLabel reads a label of a family by the family's keys.
func readLabel(ctx context.Context, tx pgx.Tx, f *catalog.Family, label string, instance int64) (nameBook, error) {
	return readNames(ctx, tx, fmt.Sprintf(`SELECT %s, valid_from, COALESCE(%s, '') FROM %s WHERE instance_id = $1 ORDER BY 1, 2`,
		joinedKeys(f), store.Quote(label), store.Quote(labelTable(f))), instance)
}

// readRelations reads the names of relations as schema.name.
func readRelations(ctx context.Context, tx pgx.Tx, f *catalog.Family, instance int64) (nameBook, error) {
	return readNames(ctx, tx, fmt.Sprintf(`SELECT %s, valid_from, concat_ws('.', schemaname, relname) FROM %s WHERE instance_id = $1 ORDER BY 1, 2`,
		joinedKeys(f), store.Quote(labelTable(f))), instance)
}

func joinedKeys(f *catalog.Family) string {
	var parts []string
	for _, c := range f.OfKind(catalog.Key) {
		parts = append(parts, store.Quote(c.Name)+"::text")
	}
	return strings.Join(parts, " || ',' || ")
}

func readNames(ctx context.Context, tx pgx.Tx, sql string, instance int64) (nameBook, error) {
	rows, err := tx.Query(ctx, sql, instance)
	if err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	out := nameBook{}
	var (
		id, text string
		from     snapshot.Micros
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &from, &text}, func() error {
		out[id] = append(out[id], named{int64(from), text})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	return out, nil
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
