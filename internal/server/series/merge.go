package series

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Write stores what the contents hold beside their Copies: names and texts. Both are in the order of
// their keys, so that two backends don't wait for each other in a ring.
func (s *Series) Write(ctx context.Context, tx pgx.Tx, contents []*Content) error {
	labels, texts := map[string][]labelRow{}, map[string][]textRow{}
	for _, c := range contents {
		for _, l := range c.labels {
			labels[l.plan.family.Name] = append(labels[l.plan.family.Name], l)
		}
		for _, t := range c.texts {
			texts[t.plan.family.Name] = append(texts[t.plan.family.Name], t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if err := writeLabels(ctx, tx, s.plans[name], labels[name]); err != nil {
			return fmt.Errorf("store labels of %s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if err := writeTexts(ctx, tx, s.plans[name], texts[name]); err != nil {
			return fmt.Errorf("store texts of %s: %w", name, err)
		}
	}
	return nil
}

// values are parameters for unnest: one array for each column.
type values struct {
	params []any
	casts  []string
}

func (v *values) add(cast string, list any) {
	v.params = append(v.params, list)
	v.casts = append(v.casts, fmt.Sprintf("$%d::%s[]", len(v.params), cast))
}

// addCells adds a column whose cells come from rows of frames.
func (v *values) addCells(c *catalog.Column, n int, cell func(i int) (*frame.Frame, int)) {
	cast := sqlType(c.Wire())
	switch c.Wire() {
	case catalog.Text:
		list := make([]*string, n)
		for i := range n {
			if col, row := cellOf(c, i, cell); col != nil {
				list[i] = &col.Texts[row]
			}
		}
		v.add(cast, list)
	case catalog.Float:
		list := make([]*float64, n)
		for i := range n {
			if col, row := cellOf(c, i, cell); col != nil {
				list[i] = &col.Floats[row]
			}
		}
		v.add(cast, list)
	case catalog.Bool:
		list := make([]*bool, n)
		for i := range n {
			if col, row := cellOf(c, i, cell); col != nil {
				x := col.Ints[row] != 0
				list[i] = &x
			}
		}
		v.add(cast, list)
	default:
		list := make([]*int64, n)
		for i := range n {
			if col, row := cellOf(c, i, cell); col != nil {
				list[i] = &col.Ints[row]
			}
		}
		v.add("bigint", list) // a time is made of it by the statement
	}
}

func cellOf(c *catalog.Column, i int, cell func(int) (*frame.Frame, int)) (*frame.Column, int) {
	f, row := cell(i)
	col := f.Column(c.Name)
	if col == nil || col.IsNull(row) {
		return nil, 0
	}
	return col, row
}

// pick is the select list that reads columns of unnest back.
func pick(prefix string, cols []*catalog.Column) string {
	var out []string
	for _, c := range cols {
		x := prefix + store.Quote(c.Name)
		if c.Wire() == catalog.Time {
			x = store.SQLTime(x) + " AS " + store.Quote(c.Name)
		}
		out = append(out, x)
	}
	return strings.Join(out, ", ")
}

func writeLabels(ctx context.Context, tx pgx.Tx, p *plan, rows []labelRow) error {
	var v values
	instances, from := make([]int64, len(rows)), make([]int64, len(rows))
	for i, r := range rows {
		instances[i], from[i] = r.instance, r.from
	}
	v.add("bigint", instances)
	v.add("bigint", from)
	cell := func(i int) (*frame.Frame, int) { return rows[i].frame, rows[i].row }
	for _, c := range slices.Concat(p.keys, p.labels) {
		v.addCells(c, len(rows), cell)
	}
	var (
		table  = store.Quote(labelTable(p.family))
		keys   = quoteList(columnNames(p.keys))
		labels = quoteList(columnNames(p.labels))
		where  strings.Builder
	)
	where.WriteString("l.instance_id = n.instance_id")
	for _, k := range p.keys {
		where.WriteString(fmt.Sprintf(" AND l.%[1]s = n.%[1]s", store.Quote(k.Name)))
	}
	// A name is stored when it differs from the one in force at its time.
	sql := "WITH n AS (SELECT u.instance_id, " + store.SQLTime("u.valid_from") + " AS valid_from, " + pick("u.", p.keys) + ", " + pick("u.", p.labels) +
		" FROM unnest(" + strings.Join(v.casts, ", ") + ") AS u(instance_id, valid_from, " + keys + ", " + labels + "))\n" +
		"INSERT INTO " + table + " (instance_id, valid_from, " + keys + ", " + labels + ")\n" +
		"SELECT DISTINCT ON (n.instance_id, " + prefixed("n.", p.keys) + ", n.valid_from) n.instance_id, n.valid_from, " + prefixed("n.", p.keys) + ", " + prefixed("n.", p.labels) + "\n" +
		"FROM n LEFT JOIN LATERAL (SELECT true AS known, " + prefixed("l.", p.labels) + " FROM " + table + " l WHERE " + where.String() +
		" AND l.valid_from <= n.valid_from ORDER BY l.valid_from DESC LIMIT 1) p ON true\n" +
		"WHERE p.known IS NULL OR " + rowOf("p.", p.labels) + " IS DISTINCT FROM " + rowOf("n.", p.labels) + "\n" +
		"ORDER BY n.instance_id, " + prefixed("n.", p.keys) + ", n.valid_from\n" +
		"ON CONFLICT DO NOTHING"
	_, err := tx.Exec(ctx, sql, v.params...)
	return err
}

func prefixed(prefix string, cols []*catalog.Column) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = prefix + store.Quote(c.Name)
	}
	return strings.Join(out, ", ")
}

func rowOf(prefix string, cols []*catalog.Column) string {
	return "ROW(" + prefixed(prefix, cols) + ")"
}

func writeTexts(ctx context.Context, tx pgx.Tx, p *plan, rows []textRow) error {
	hashes, texts := make([][16]byte, len(rows)), make([]string, len(rows))
	instances, at := make([]int64, len(rows)), make([]int64, len(rows))
	for i, r := range rows {
		texts[i] = r.frame.Column(p.text.Name).Texts[r.row]
		sum := sha256.Sum256([]byte(texts[i]))
		hashes[i] = [16]byte(sum[:16])
		instances[i], at[i] = r.instance, r.at
	}
	sql := fmt.Sprintf(`INSERT INTO %s (hash, text) SELECT DISTINCT ON (hash) hash, text FROM unnest($1::uuid[], $2::text[]) AS u(hash, text)
		WHERE NOT EXISTS (SELECT FROM %[1]s t WHERE t.hash = u.hash) ORDER BY hash ON CONFLICT DO NOTHING`, store.Quote(textTable(p.family)))
	if _, err := tx.Exec(ctx, sql, hashes, texts); err != nil {
		return err
	}
	var v values
	v.add("bigint", instances)
	v.add("bigint", at)
	v.add("uuid", hashes)
	for _, c := range p.keys {
		v.addCells(c, len(rows), func(i int) (*frame.Frame, int) { return rows[i].frame, rows[i].row })
	}
	keys := quoteList(columnNames(p.keys))
	sql = fmt.Sprintf(`INSERT INTO %[1]s AS r (instance_id, %[2]s, hash, time)
		SELECT DISTINCT ON (u.instance_id, %[6]s) u.instance_id, %[3]s, u.hash, %[4]s FROM unnest(%[5]s) AS u(instance_id, time, hash, %[2]s)
		ORDER BY u.instance_id, %[6]s, u.time DESC
		ON CONFLICT (instance_id, %[2]s) DO UPDATE SET hash = EXCLUDED.hash, time = EXCLUDED.time
		WHERE EXCLUDED.time > r.time AND EXCLUDED.hash <> r.hash`,
		store.Quote(rawTable(p.family)), keys, pick("u.", p.keys), store.SQLTime("u.time"), strings.Join(v.casts, ", "), prefixed("u.", p.keys))
	_, err := tx.Exec(ctx, sql, v.params...)
	return err
}

var unobservedTarget = store.NewCopyTarget("series_unobserved", "instance_id", "tick", "family", "database", "reason", "since", "until", "detail", "upper")

// AddUnobserved encodes what a server forgot.
func AddUnobserved(c *Content, instance, tick int64, list []frame.Unobserved) {
	if len(list) == 0 {
		return
	}
	var b []byte
	for i := range list {
		u := &list[i]
		b = store.AppendInt8(store.AppendRow(b, unobservedTarget.Fields), instance)
		b = store.AppendTime(b, tick)
		for _, s := range []string{u.Family, u.Database, u.Reason} {
			b = store.AppendText(b, s)
		}
		b = store.AppendTime(store.AppendTime(b, u.Since), u.At)
		b = store.AppendText(b, u.Detail)
		if u.Upper == nil {
			b = store.AppendNull(b)
			continue
		}
		text, _ := json.Marshal(u.Upper) // strings and integers only
		b = store.AppendJSONB(b, text)
	}
	c.Copies = append(c.Copies, store.CopyRows{Target: unobservedTarget, N: len(list), Data: b})
}

// TakenOver records that an instance changed hands: nobody watched it from since to until
// (microseconds), or the first collector's last ticks are still to come. For fleet.New.
func TakenOver(ctx context.Context, tx pgx.Tx, instance int64, since, until int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO series_unobserved (instance_id, tick, family, database, reason, since, until, detail)
		VALUES ($1, `+store.SQLTime("$3::bigint")+`, '', '', 'collector_change', `+store.SQLTime("$2::bigint")+`, `+store.SQLTime("$3::bigint")+`, '')`, instance, since, until)
	if err != nil {
		return fmt.Errorf("record a takeover: %w", err)
	}
	return nil
}
