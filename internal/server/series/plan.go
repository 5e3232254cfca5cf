package series

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// ErrSchema is what refuses a batch for good: it has a column that we know with
// another kind or type, or a part that its family cannot have.
var ErrSchema = errors.New("schema conflict")

// Series writes the families' tables. It is safe for concurrent use.
type Series struct {
	pool  *pgxpool.Pool
	plans map[string]*plan
}

// plan is how a family's frames become rows.
type plan struct {
	family  *catalog.Family
	rows    *store.CopyTarget
	fields  []*catalog.Column // of rows, behind time and instance_id
	sums    *store.CopyTarget // nil without counters
	sumKeys []*catalog.Column
	counts  []*catalog.Column
	keys    []*catalog.Column
	labels  []*catalog.Column
	text    *catalog.Column   // of a Dictionary
	total   *store.CopyTarget // of the rows of a tick, nil without a Cut
}

// New is for families whose tables Reconcile made.
func New(pool *pgxpool.Pool, families []*catalog.Family) (*Series, error) {
	s := &Series{pool: pool, plans: map[string]*plan{}}
	for _, f := range families {
		p := &plan{family: f, keys: f.OfKind(catalog.Key), labels: f.OfKind(catalog.Label), counts: f.OfKind(catalog.Counter)}
		s.plans[f.Name] = p
		switch f.Shape {
		case catalog.Dictionary:
			values := f.OfKind(catalog.Gauge)
			if len(values) != 1 || values[0].Type != catalog.Text || len(f.Columns) != len(p.keys)+1 {
				return nil, fmt.Errorf("family %s: a dictionary has keys and one text", f.Name)
			}
			p.text = values[0]
			continue
		case catalog.State:
			p.fields = f.OfKind(catalog.Key, catalog.Counter, catalog.Gauge, catalog.Label)
			p.labels = nil
		default:
			p.fields = f.OfKind(catalog.Key, catalog.Counter, catalog.Gauge)
		}
		p.rows = store.NewCopyTarget(rawTable(f), append([]string{"time", "instance_id"}, columnNames(p.fields)...)...)
		if f.Shape != catalog.State && len(p.counts) > 0 {
			for _, name := range f.Sums {
				p.sumKeys = append(p.sumKeys, f.Column(name))
			}
			p.sums = store.NewCopyTarget(sumTable(f), slices.Concat([]string{"time", "instance_id", "kind", "since", "at"}, columnNames(p.sumKeys), columnNames(p.counts))...)
		}
		if f.Cut != nil {
			p.total = store.NewCopyTarget(totalTable(f), append([]string{"time", "instance_id"}, f.Cut.By...)...)
		}
	}
	return s, nil
}

func columnNames(cols []*catalog.Column) []string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = c.Name
	}
	return out
}

// Knows says whether the catalog has a family.
func (s *Series) Knows(family string) bool { return s.plans[family] != nil }

// PartitionedTables gives the tables of families that are cut by time.
func PartitionedTables(families []*catalog.Family) []store.Table {
	var out []store.Table
	for _, f := range families {
		for _, t := range tables(f) {
			if t.partitioned {
				out = append(out, store.Table{Name: t.name, Keys: t.keys})
			}
		}
	}
	return out
}

// Prepare reconciles all families and says how to write them.
func Prepare(ctx context.Context, pool *pgxpool.Pool) (*Series, error) {
	if err := Reconcile(ctx, pool, catalog.All()); err != nil {
		return nil, err
	}
	return New(pool, catalog.All())
}
