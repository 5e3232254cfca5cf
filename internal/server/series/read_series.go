package series

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/snapshot"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// lookBack is how long a gauge's row counts: rows of gauges are sent once an hour
// even when nothing changed.
const lookBack = 3600 * 1_000_000

// Query asks for one column of a family of an instance over time.
type Query struct {
	Instance int64
	Family   *catalog.Family
	Column   *catalog.Column
	Fn       string            // rate, delta; avg, max, last; "" the first that fits
	By       string            // key or label that splits the series, "" for none
	Where    map[string]string // by key or label
	Window   ledger.Window
	Step     int64 // microseconds
	Every    int64 // microseconds between two ticks
}

// Result is a column over time; line values belong to the buckets that begin at
// Start + i*Step.
type Result struct {
	Start, Step int64
	Lines       []Line
}

// BadValue says which parameter of a query makes no sense.
type BadValue struct{ Parameter, Value, Want string }

func (e *BadValue) Error() string { return fmt.Sprintf("%s %q: %s", e.Parameter, e.Value, e.Want) }

// Validate checks what the catalog knows of a query, and sets Fn when it is "".
// Its errors are *BadValue.
func (q *Query) Validate() error {
	f, c := q.Family, q.Column
	if f.Shape != catalog.Sample {
		return &BadValue{"family", f.Name, fmt.Sprintf("a family of shape %s has no series", f.Shape)}
	}
	fns := []string{"rate", "delta"}
	switch {
	case c.Kind == catalog.Gauge && (c.Type == catalog.Int || c.Type == catalog.Float):
		fns = []string{"avg", "max", "last"}
	case c.Kind != catalog.Counter:
		return &BadValue{"column", c.Name, "want a counter or a numeric gauge"}
	}
	if q.Fn == "" {
		q.Fn = fns[0]
	}
	if !slices.Contains(fns, q.Fn) {
		return &BadValue{"fn", q.Fn, fmt.Sprintf("%s is a %s: want %s", c.Name, c.Kind, strings.Join(fns, ", "))}
	}
	if q.By != "" && !Splits(f, q.By) {
		return &BadValue{"by", q.By, "want a key or label of " + f.Name}
	}
	return nil
}

// Splits reports whether a family's series can be split and filtered by a column.
func Splits(f *catalog.Family, column string) bool {
	c := f.Column(column)
	return c != nil && (c.Kind == catalog.Key || c.Kind == catalog.Label)
}

// Unit is the unit of the query's values; a rate of a count is "/s".
func (q *Query) Unit() string {
	unit := string(q.Column.Unit)
	if q.Fn != "rate" {
		return unit
	}
	if q.Column.Unit == catalog.Count {
		unit = ""
	}
	return unit + "/s"
}

// Read answers a valid query. Errors are *BadValue when a filter's value makes no
// sense.
func Read(ctx context.Context, tx pgx.Tx, q Query) (*Result, error) {
	r := &seriesReader{ctx: ctx, tx: tx, q: q, grid: newGrid(q.Window, q.Step)}
	out := &Result{Start: r.grid.start, Step: q.Step}
	absent, _, err := ledger.AbsentThroughout(ctx, tx, q.Instance, q.Family.Name, q.Window)
	if err != nil {
		return nil, err
	}
	if absent[q.Column.Name] {
		return out, nil // the server has no such value: no line, rather than one of zeros
	}
	if err := r.prepare(); err != nil {
		return nil, err
	}
	if err := r.place(); err != nil {
		return nil, err
	}
	switch {
	case q.Column.Kind == catalog.Counter:
		err = r.counters()
	case q.Family.Full:
		err = r.gauges()
	default:
		err = r.carried()
	}
	if err != nil {
		return nil, fmt.Errorf("read %s.%s: %w", q.Family.Name, q.Column.Name, err)
	}
	if q.By == "" { // a line even when no row was: zero where frames are
		r.plot.groups[""] = true
	}
	out.Lines = r.plot.lines(q.Fn, q.Column.Scale())
	return out, nil
}

type seriesReader struct {
	ctx  context.Context
	tx   pgx.Tx
	q    Query
	grid grid
	plot *plot

	where   []string // conditions on rows, on the keys; $1 … $3 are instance and window
	args    []any
	sums    bool // whether cut and dropped sums, kept by Family.Sums, can be told apart as asked
	byExpr  string
	byBook  nameBook        // translates what byExpr gives, nil: as it is
	datid   nameBook        // of databases, for families of scope database
	only    map[string]bool // databases whose frames count, nil: all
	streams map[string]int  // by database
}

// prepare turns filters and the split into SQL.
func (r *seriesReader) prepare() error {
	f := r.q.Family
	r.args = []any{r.q.Instance, snapshot.Micros(r.q.Window.From), snapshot.Micros(r.q.Window.To)}
	r.sums = f.HasCounters()
	var err error
	if f.Scope == catalog.Database {
		if r.datid, err = databaseNames.read(r.ctx, r.tx, r.q.Instance); err != nil {
			return err
		}
	}
	names := make([]string, 0, len(r.q.Where))
	for k := range r.q.Where {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		if err := r.filter(f.Column(k), r.q.Where[k]); err != nil {
			return err
		}
		r.sums = r.sums && slices.Contains(f.Sums, k)
	}
	if r.q.By == "" {
		r.byExpr = "''"
		return nil
	}
	r.sums = r.sums && slices.Contains(f.Sums, r.q.By)
	c := f.Column(r.q.By)
	r.byBook, err = r.book(c)
	switch {
	case err != nil:
		return err
	case r.byBook == nil || dimensions[c.Name].family != "":
		r.byExpr = "COALESCE(" + store.Quote(c.Name) + "::text, '')"
	default:
		r.byExpr = joinedKeys(f)
	}
	return nil
}

// book gives the names behind a key or label: by its own id for keys that refer to
// a dimension, by all keys of the family for labels and relations; nil for keys
// that are what they say.
func (r *seriesReader) book(c *catalog.Column) (nameBook, error) {
	f := r.q.Family
	d, refers := dimensions[c.Name]
	switch {
	case c.Kind == catalog.Label:
		return readLabel(r.ctx, r.tx, f, c.Name, r.q.Instance)
	case refers:
		return d.read(r.ctx, r.tx, r.q.Instance)
	case c.Name == "relid" && f.Column("relname") != nil:
		return readRelations(r.ctx, r.tx, f, r.q.Instance)
	}
	return nil, nil
}

func (r *seriesReader) filter(c *catalog.Column, value string) error {
	arg := func(v any) string {
		r.args = append(r.args, v)
		return "$" + strconv.Itoa(len(r.args))
	}
	column := store.Quote(c.Name)
	number, err := strconv.ParseInt(strings.TrimPrefix(value, "oid:"), 10, 64)
	isNumber := err == nil
	book, err := r.book(c)
	switch {
	case err != nil:
		return err
	case c.Kind == catalog.Key && c.Wire() == catalog.Int && isNumber:
		r.where = append(r.where, column+" = "+arg(number))
		if c.Name == "datid" && r.datid != nil {
			r.only = map[string]bool{r.datid.at(decimal(number), r.q.Window.To): true}
		}
	case book != nil && c.Kind == catalog.Key && dimensions[c.Name].family != "":
		r.where = append(r.where, column+"::text = ANY ("+arg(book.ids(value))+")")
		if c.Name == "datid" && r.datid != nil {
			r.only = map[string]bool{value: true}
		}
	case book != nil: // by all keys, for they alone tell a label
		r.where = append(r.where, "("+joinedKeys(r.q.Family)+") = ANY ("+arg(book.ids(value))+")")
	case c.Wire() == catalog.Int:
		return &BadValue{c.Name, value, "want an integer"}
	case c.Wire() == catalog.Bool:
		if value != "true" && value != "false" {
			return &BadValue{c.Name, value, "want true or false"}
		}
		r.where = append(r.where, column+" = "+arg(value == "true"))
	default:
		r.where = append(r.where, column+" = "+arg(value))
	}
	return nil
}

// place reads when frames were and makes a stream of each database's.
func (r *seriesReader) place() error {
	f := r.q.Family
	frames, err := ledger.Frames(r.ctx, r.tx, r.q.Instance, f.Name, r.q.Window)
	if err != nil {
		return err
	}
	counter := r.q.Column.Kind == catalog.Counter
	if counter && r.sums {
		dropped, err := r.dropped()
		if err != nil {
			return err
		}
		frames = append(frames, dropped...)
	}
	byDatabase := map[string][]ledger.Frame{}
	for _, fr := range frames {
		if r.only == nil || r.only[fr.Database] {
			byDatabase[fr.Database] = append(byDatabase[fr.Database], fr)
		}
	}
	held := r.q.Every
	if counter {
		held = 0
	}
	r.streams = map[string]int{}
	var streams []*stream
	for _, database := range slices.Sorted(mapsKeys(byDatabase)) {
		list := byDatabase[database]
		slices.SortStableFunc(list, func(a, b ledger.Frame) int { return cmp.Compare(a.Tick, b.Tick) })
		r.streams[database] = len(streams)
		streams = append(streams, newStream(r.grid, list, held))
	}
	r.plot = newPlot(r.grid, streams)
	return nil
}

// dropped gives the frames of which only sums are left.
func (r *seriesReader) dropped() ([]ledger.Frame, error) {
	f := r.q.Family
	if f.Scope != catalog.Database {
		return droppedFrames(r.ctx, r.tx, f, r.q.Instance, r.q.Window)
	}
	rows, err := r.tx.Query(r.ctx, `SELECT DISTINCT time, since, at, datid::text FROM `+store.Quote(sumTable(f))+`
WHERE instance_id = $1 AND time > $2 AND time <= $3 AND kind = 2 ORDER BY 1, 2, 4`, r.args[:3]...)
	if err != nil {
		return nil, err
	}
	var (
		out             []ledger.Frame
		tick, since, at snapshot.Micros
		datid           string
	)
	_, err = pgx.ForEachRow(rows, []any{&tick, &since, &at, &datid}, func() error {
		out = append(out, ledger.Frame{Database: r.datid.at(datid, int64(tick)), Tick: int64(tick), Since: int64(since), At: int64(at)})
		return nil
	})
	return out, err
}

// stream gives the stream of a row. One of a database whose name is not known yet
// goes by the frames of all.
func (r *seriesReader) stream(datid string, tick int64) int {
	database := ""
	if r.datid != nil {
		database = r.datid.at(datid, tick)
	}
	if i, known := r.streams[database]; known {
		return i
	}
	var all []ledger.Frame
	seen := map[int64]bool{}
	for _, s := range r.plot.streams {
		for _, f := range s.frames {
			if !seen[f.Tick] {
				seen[f.Tick] = true
				all = append(all, f)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b ledger.Frame) int { return cmp.Compare(a.Tick, b.Tick) })
	held := r.q.Every
	if r.q.Column.Kind == catalog.Counter {
		held = 0
	}
	i := len(r.plot.streams)
	r.plot.streams = append(r.plot.streams, newStream(r.grid, all, held))
	r.streams[database] = i
	return i
}

// group names the line of a row.
func (r *seriesReader) group(by string, tick int64) string {
	if r.byBook == nil {
		return by
	}
	return r.byBook.at(by, tick)
}

func (r *seriesReader) conditions() string {
	return strings.Join(append([]string{"instance_id = $1 AND time > $2 AND time <= $3"}, r.where...), " AND ")
}

func (r *seriesReader) streamExpr() string {
	if r.q.Family.Scope == catalog.Database {
		return "datid::text"
	}
	return "''"
}

func (r *seriesReader) counters() error {
	f, column := r.q.Family, store.Quote(r.q.Column.Name)
	from := []string{store.Quote(rawTable(f))}
	if f.Cut != nil && len(r.q.Where) == 0 && r.q.By == "" && slices.Contains(f.Cut.By, r.q.Column.Name) {
		from[0] = store.Quote(totalTable(f))
	}
	if r.sums {
		from = append(from, store.Quote(sumTable(f)))
	}
	for _, table := range from {
		rows, err := r.tx.Query(r.ctx, fmt.Sprintf(`SELECT time, %s, %s, sum(%s)::bigint FROM %s WHERE %s AND %[3]s IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1`,
			r.streamExpr(), r.byExpr, column, table, r.conditions()), r.args...)
		if err != nil {
			return err
		}
		var (
			tick      snapshot.Micros
			datid, by string
			delta     int64
		)
		_, err = pgx.ForEachRow(rows, []any{&tick, &datid, &by, &delta}, func() error {
			r.plot.delta(r.group(by, int64(tick)), r.stream(datid, int64(tick)), int64(tick), delta)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// combine puts a gauge's rows of one tick together: ages do not add up.
func combine(c *catalog.Column) string {
	if c.Agg == catalog.Max && c.Unit == catalog.Seconds {
		return "max"
	}
	return "sum"
}

// gauges reads a family that is stored whole: a row that is not there is 0.
func (r *seriesReader) gauges() error {
	rows, err := r.tx.Query(r.ctx, fmt.Sprintf(`SELECT time, %s, %s, %s(%s)::float8 FROM %s WHERE %s AND %[4]s IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1`,
		r.streamExpr(), r.byExpr, combine(r.q.Column), store.Quote(r.q.Column.Name), store.Quote(rawTable(r.q.Family)), r.conditions()), r.args...)
	if err != nil {
		return err
	}
	var (
		tick      snapshot.Micros
		datid, by string
		value     float64
	)
	// Two ids may have one name: their values make one sample.
	type sample struct {
		group  string
		stream int
	}
	pending, at := map[sample]float64{}, int64(0)
	flush := func() {
		for s, v := range pending {
			r.plot.sample(s.group, s.stream, at, v)
		}
		clear(pending)
	}
	_, err = pgx.ForEachRow(rows, []any{&tick, &datid, &by, &value}, func() error {
		if int64(tick) != at {
			flush()
			at = int64(tick)
		}
		s := sample{r.group(by, at), r.stream(datid, at)}
		if combine(r.q.Column) == "max" {
			pending[s] = max(pending[s], value)
		} else {
			pending[s] += value
		}
		return nil
	})
	flush()
	return err
}
