package series

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Retain deletes what lies before the cutoff (microseconds) and has been replaced since:
// states, names and notes of what was unobserved. The state and the name that held at the
// cutoff stay. Partitions are dropped by store.Partitions.
func (s *Series) Retain(ctx context.Context, cutoff int64) error {
	before := store.SQLTime("$1::bigint")
	errs := []error{s.delete(ctx, "series_unobserved", `SELECT ctid FROM series_unobserved WHERE tick < `+before, cutoff)}
	for _, name := range slices.Sorted(maps.Keys(s.plans)) {
		p := s.plans[name]
		replaced := func(table, column string) string {
			var same strings.Builder
			same.WriteString("n.instance_id = t.instance_id")
			for _, k := range p.keys {
				same.WriteString(fmt.Sprintf(" AND n.%[1]s IS NOT DISTINCT FROM t.%[1]s", store.Quote(k.Name)))
			}
			return fmt.Sprintf("SELECT ctid FROM %[1]s t WHERE %[2]s < %[3]s AND EXISTS (SELECT FROM %[1]s n WHERE %[4]s AND n.%[2]s > t.%[2]s AND n.%[2]s < %[3]s)",
				store.Quote(table), column, before, same.String())
		}
		if p.family.Shape == catalog.State {
			errs = append(errs, s.delete(ctx, rawTable(p.family), replaced(rawTable(p.family), "time"), cutoff))
		}
		if len(p.labels) > 0 {
			errs = append(errs, s.delete(ctx, labelTable(p.family), replaced(labelTable(p.family), "valid_from"), cutoff))
		}
	}
	return errors.Join(errs...)
}

// delete deletes what a query of ctids finds, in pieces.
func (s *Series) delete(ctx context.Context, table, find string, cutoff int64) error {
	for {
		tag, err := s.pool.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE ctid = ANY (ARRAY(%s LIMIT 10000))", store.Quote(table), find), cutoff)
		if err != nil {
			return fmt.Errorf("delete old rows of %s: %w", table, err)
		}
		if tag.RowsAffected() < 10000 {
			return nil
		}
	}
}
