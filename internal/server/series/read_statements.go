package series

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/snapshot"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Statements is what all statements of an instance did in a window: the raw
// material of an account. Sums are in wire units, by Columns.
type Statements struct {
	Columns []*catalog.Column // additive columns that the server had in the window
	Items   []Statement       // one per (query id, database, user), in no order
	Cut     []Share
	Dropped []Share
	// Micros is Σ (at − since) over the frames of the window, stored and dropped.
	Micros int64
}

// Statement is one statement of a database and a user; toplevel ones and others are
// summed.
type Statement struct {
	QueryID        int64
	Database, User string
	Sums           []int64
	ids            [][2]int64 // (dbid, userid) of the rows behind it
}

// Share is a sum over statements of a database and a user that have no rows.
type Share struct {
	Database, User string
	Sums           []int64
}

var statements = catalog.Lookup("statements")

// Additive gives a column of statements that can be summed and sorted by, nil when
// there is none of that name.
func Additive(name string) *catalog.Column {
	c := statements.Column(name)
	if c == nil || c.Kind != catalog.Counter {
		return nil
	}
	return c
}

// AdditiveNames gives the names of all such columns.
func AdditiveNames() []string {
	var out []string
	for _, c := range statements.OfKind(catalog.Counter) {
		out = append(out, c.Name)
	}
	return out
}

// ReadStatements reads the window's sums. A frame belongs to the window of its
// tick, whole; query 0 reads all statements, else the one.
func ReadStatements(ctx context.Context, tx pgx.Tx, instance int64, w ledger.Window, query *int64) (*Statements, error) {
	absent, _, err := ledger.AbsentThroughout(ctx, tx, instance, statements.Name, w)
	if err != nil {
		return nil, err
	}
	s := &Statements{}
	var list []string
	for _, c := range statements.OfKind(catalog.Counter) {
		if !absent[c.Name] {
			s.Columns = append(s.Columns, c)
			list = append(list, "sum("+store.Quote(c.Name)+")::bigint")
		}
	}
	databases, err := databaseNames.read(ctx, tx, instance)
	if err != nil {
		return nil, err
	}
	roles, err := roleNames.read(ctx, tx, instance)
	if err != nil {
		return nil, err
	}
	r := reader{ctx: ctx, tx: tx, s: s, w: w, databases: databases, roles: roles, sums: strings.Join(list, ", ")}
	if err := r.rows(instance, query); err != nil {
		return nil, fmt.Errorf("read statements: %w", err)
	}
	if query == nil {
		if err := r.shares(instance); err != nil {
			return nil, fmt.Errorf("read sums of statements: %w", err)
		}
	}
	if err := r.spans(instance); err != nil {
		return nil, fmt.Errorf("read spans of statements: %w", err)
	}
	return s, nil
}

type reader struct {
	ctx              context.Context
	tx               pgx.Tx
	s                *Statements
	w                ledger.Window
	databases, roles nameBook
	sums             string
}

func (r *reader) rows(instance int64, query *int64) error {
	rows, err := r.tx.Query(r.ctx, `SELECT dbid, userid, queryid, `+r.sums+` FROM statements_raw
WHERE instance_id = $1 AND time > $2 AND time <= $3 AND ($4::bigint IS NULL OR queryid = $4) GROUP BY 1, 2, 3`,
		instance, snapshot.Micros(r.w.From), snapshot.Micros(r.w.To), query)
	if err != nil {
		return err
	}
	defer rows.Close()
	type key struct {
		query          int64
		database, user string
	}
	index := map[key]int{}
	for rows.Next() {
		raw := rows.RawValues()
		ids, err := int64s(raw[:3])
		if err != nil {
			return err
		}
		sums, err := int64s(raw[3:])
		if err != nil {
			return err
		}
		k := key{ids[2], r.databases.at(decimal(ids[0]), r.w.To), r.roles.at(decimal(ids[1]), r.w.To)}
		if raw[2] == nil { // a statement that we may not tell apart has no item of its own
			r.s.Cut = append(r.s.Cut, Share{k.database, k.user, sums})
			continue
		}
		i, seen := index[k]
		if !seen {
			i = len(r.s.Items)
			index[k] = i
			r.s.Items = append(r.s.Items, Statement{QueryID: k.query, Database: k.database, User: k.user, Sums: make([]int64, len(sums))})
		}
		it := &r.s.Items[i]
		it.ids = append(it.ids, [2]int64{ids[0], ids[1]})
		add(it.Sums, sums)
	}
	return rows.Err()
}

func (r *reader) shares(instance int64) error {
	rows, err := r.tx.Query(r.ctx, `SELECT kind::bigint, dbid, userid, `+r.sums+` FROM statements_sum
WHERE instance_id = $1 AND time > $2 AND time <= $3 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`, instance, snapshot.Micros(r.w.From), snapshot.Micros(r.w.To))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		ids, err := int64s(raw[:3])
		if err != nil {
			return err
		}
		sums, err := int64s(raw[3:])
		if err != nil {
			return err
		}
		share := Share{r.databases.at(decimal(ids[1]), r.w.To), r.roles.at(decimal(ids[2]), r.w.To), sums}
		if ids[0] == KindCut {
			r.s.Cut = append(r.s.Cut, share)
		} else {
			r.s.Dropped = append(r.s.Dropped, share)
		}
	}
	return rows.Err()
}

func (r *reader) spans(instance int64) error {
	frames, err := ledger.Frames(r.ctx, r.tx, instance, statements.Name, r.w)
	if err != nil {
		return err
	}
	for _, f := range frames {
		r.s.Micros += f.At - f.Since
	}
	dropped, err := droppedFrames(r.ctx, r.tx, statements, instance, r.w)
	for _, f := range dropped {
		r.s.Micros += f.At - f.Since
	}
	return err
}

// droppedFrames gives the frames of which only sums are left, one each however many
// sums it has. They name no database.
func droppedFrames(ctx context.Context, tx pgx.Tx, f *catalog.Family, instance int64, w ledger.Window) ([]ledger.Frame, error) {
	rows, err := tx.Query(ctx, `SELECT DISTINCT time, since, at FROM `+store.Quote(sumTable(f))+`
WHERE instance_id = $1 AND time > $2 AND time <= $3 AND kind = 2 ORDER BY 1, 2`, instance, snapshot.Micros(w.From), snapshot.Micros(w.To))
	if err != nil {
		return nil, fmt.Errorf("read dropped frames: %w", err)
	}
	var (
		out             []ledger.Frame
		tick, since, at snapshot.Micros
	)
	_, err = pgx.ForEachRow(rows, []any{&tick, &since, &at}, func() error {
		out = append(out, ledger.Frame{Tick: int64(tick), Since: int64(since), At: int64(at)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read dropped frames: %w", err)
	}
	return out, nil
}

// int64s decodes binary int8 values; NULL is 0.
func int64s(raw [][]byte) ([]int64, error) {
	out := make([]int64, len(raw))
	for i, v := range raw {
		switch len(v) {
		case 8:
			out[i] = int64(binary.BigEndian.Uint64(v))
		case 0:
		default:
			return nil, errors.New("a sum is no binary int8")
		}
	}
	return out, nil
}

func add(to, from []int64) {
	for i, v := range from {
		to[i] += v
	}
}

// Filter chooses statements; zero values choose all.
type Filter struct {
	Database, User string
	// Matching are the query ids that a text filter lets through; nil: no text filter.
	Matching map[int64]bool
}

// Account is what adds up: Items + Rest + Cut + Dropped = Total, in integers.
type Account struct {
	Columns                   []*catalog.Column
	Count                     int         // of stored statements under the filter
	Items                     []Statement // the greatest ones, in order
	Rest, Cut, Dropped, Total []int64
	// Unmatched is what a text filter left out, nil without one: Total + Unmatched is
	// the total without it.
	Unmatched []int64
	// StoredWhole and TotalWhole are items + rest and the total without a text filter:
	// coverage is their ratio.
	StoredWhole, TotalWhole []int64
	Databases, Users        []string // in the window, without any filter
}

// Account makes the account under a filter. What has no text can't match a text
// filter: then cut and dropped are zero and in Unmatched.
func (s *Statements) Account(f Filter, sort string, limit int) *Account {
	n := len(s.Columns)
	a := &Account{Columns: s.Columns, Rest: make([]int64, n), Cut: make([]int64, n), Dropped: make([]int64, n), Total: make([]int64, n),
		StoredWhole: make([]int64, n), TotalWhole: make([]int64, n)}
	databases, users := map[string]bool{}, map[string]bool{}
	chosen := func(database, user string) bool {
		databases[database], users[user] = true, true
		return (f.Database == "" || f.Database == database) && (f.User == "" || f.User == user)
	}
	if f.Matching != nil {
		a.Unmatched = make([]int64, n)
	}
	for _, it := range s.Items {
		switch {
		case !chosen(it.Database, it.User):
			continue
		case f.Matching == nil || f.Matching[it.QueryID]:
			a.Items = append(a.Items, it)
		default:
			add(a.Unmatched, it.Sums)
		}
		add(a.StoredWhole, it.Sums)
	}
	a.Count = len(a.Items)
	a.sort(sort)
	if len(a.Items) > limit {
		for _, it := range a.Items[limit:] {
			add(a.Rest, it.Sums)
		}
		a.Items = a.Items[:limit:limit]
	}
	for _, part := range []struct {
		from []Share
		to   []int64
	}{{s.Cut, a.Cut}, {s.Dropped, a.Dropped}} {
		for _, share := range part.from {
			if !chosen(share.Database, share.User) {
				continue
			}
			add(a.TotalWhole, share.Sums)
			if f.Matching != nil {
				add(a.Unmatched, share.Sums)
			} else {
				add(part.to, share.Sums)
			}
		}
	}
	add(a.TotalWhole, a.StoredWhole)
	for _, it := range a.Items {
		add(a.Total, it.Sums)
	}
	for _, part := range [][]int64{a.Rest, a.Cut, a.Dropped} {
		add(a.Total, part)
	}
	a.Databases, a.Users = keys(databases), keys(users)
	return a
}

// sort orders items by a column, descending; equals by calls and then by name, so
// that the order never depends on chance.
func (a *Account) sort(by string) {
	at := func(name string) int {
		return slices.IndexFunc(a.Columns, func(c *catalog.Column) bool { return c.Name == name })
	}
	first, calls := at(by), at("calls")
	desc := func(x, y Statement, i int) int {
		if i < 0 {
			return 0
		}
		return cmp.Compare(y.Sums[i], x.Sums[i])
	}
	slices.SortFunc(a.Items, func(x, y Statement) int {
		return cmp.Or(desc(x, y, first), desc(x, y, calls), cmp.Compare(x.QueryID, y.QueryID), cmp.Compare(x.Database, y.Database), cmp.Compare(x.User, y.User))
	})
}

func keys(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
