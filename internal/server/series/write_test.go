package series_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// open gives a prepared database with the instances 1 and 2.
func open(t *testing.T) (*pgxpool.Pool, *series.Series) {
	t.Helper()
	url := pgtest.Database(t, pgtest.Store(t, pgtest.StoreMajor(t)))
	migrate(t, url)
	pool, err := store.Open(url, store.Options{MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s, err := series.Prepare(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `INSERT INTO fleet_collector (id, name, token_hash) VALUES (gen_random_uuid(), 'c', 'x');
		INSERT INTO fleet_instance (name, collector_id) SELECT 'i' || n, id FROM fleet_collector, generate_series(1, 2) n`); err != nil {
		t.Fatal(err)
	}
	return pool, s
}

// day is in the past, whole seconds.
var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMicro()

func write(t *testing.T, pool *pgxpool.Pool, s *series.Series, contents ...*series.Content) {
	t.Helper()
	p, err := store.NewPartitions(t.Context(), pool, append(series.PartitionedTables(catalog.All()), ledger.PartitionedTables...))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Ensure(t.Context(), day); err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		var rows []store.CopyRows
		for _, c := range contents {
			rows = append(rows, c.Copies...)
		}
		if err := store.CopyAll(t.Context(), tx.Conn().PgConn(), rows); err != nil {
			return err
		}
		return s.Write(t.Context(), tx, contents)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, s *series.Series, tick int64, f frame.Frame) *series.Content {
	t.Helper()
	c := &series.Content{}
	if err := s.Add(c, 1, tick, &f); err != nil {
		t.Fatal(err)
	}
	return c
}

// list is a query's rows, fields joined by |, rows by newlines.
func list(t *testing.T, pool *pgxpool.Pool, sql string) string {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (string, error) {
		values, err := r.Values()
		var parts []string
		for _, v := range values {
			if at, ok := v.(time.Time); ok {
				v = at.UTC().Format("15:04:05.000000")
			}
			parts = append(parts, fmt.Sprint(v))
		}
		return strings.Join(parts, "|"), err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func expect(t *testing.T, pool *pgxpool.Pool, sql, want string) {
	t.Helper()
	if got := list(t, pool, sql); got != want {
		t.Errorf("%s gives\n%s\nwant\n%s", sql, got, want)
	}
}

func col(name string, kind catalog.Kind, typ catalog.Type, values ...any) frame.Column {
	c := frame.Column{Name: name, Kind: kind, Type: typ}
	null := make([]bool, len(values))
	any := false
	for i, v := range values {
		if v == nil {
			null[i], any = true, true
		}
		switch typ {
		case catalog.Text:
			s, _ := v.(string)
			c.Texts = append(c.Texts, s)
		case catalog.Float:
			f, _ := v.(float64)
			c.Floats = append(c.Floats, f)
		default:
			n, _ := v.(int)
			c.Ints = append(c.Ints, int64(n))
		}
	}
	if any {
		c.Null = null
	}
	return c
}

func tables(rows int, columns ...frame.Column) frame.Frame {
	return frame.Frame{Family: "tables", N: rows, Columns: columns}
}

// TestTypes: every type through COPY and back, NULLs, and the extremes.
func TestTypes(t *testing.T) {
	pool, s := open(t)
	write(t, pool, s, add(t, s, day, tables(3,
		col("datid", catalog.Key, catalog.Int, 5, 5, 5), col("relid", catalog.Key, catalog.Int, 1, 2, 3),
		col("seq_scan", catalog.Counter, catalog.Int, math.MaxInt, 0, nil),
		col("n_live_tup", catalog.Gauge, catalog.Int, -1, 0, nil),
		col("last_vacuum", catalog.Gauge, catalog.Time, int(day+123456), nil, math.MaxInt))),
		add(t, s, day, frame.Frame{Family: "activity", N: 2, Columns: []frame.Column{
			col("datname", catalog.Key, catalog.Text, "", "ünï\n"), col("sessions", catalog.Gauge, catalog.Int, 2, 1), col("max_xact_age", catalog.Gauge, catalog.Float, 0.125, nil)}}),
		add(t, s, day, frame.Frame{Family: "statements", N: 2, Columns: []frame.Column{
			col("queryid", catalog.Key, catalog.Int, -7, nil), col("toplevel", catalog.Key, catalog.Bool, 1, 0), col("total_exec_time", catalog.Counter, catalog.Int, 1500, 1)}}),
		add(t, s, day, frame.Frame{Family: "collector", N: 1, Columns: []frame.Column{col("spool_oldest_age", catalog.Gauge, catalog.Float, math.Inf(1))}}))
	expect(t, pool, "SELECT time, relid, seq_scan, n_live_tup, last_vacuum::text FROM tables_raw ORDER BY relid",
		"12:00:00.000000|1|9223372036854775807|-1|2026-03-01 12:00:00.123456+00\n12:00:00.000000|2|<nil>|0|<nil>\n12:00:00.000000|3|<nil>|<nil>|294247-01-10 04:00:54.775807+00")
	expect(t, pool, "SELECT datname, sessions, max_xact_age FROM activity ORDER BY 1", "|2|0.125\nünï\n|1|<nil>")
	expect(t, pool, "SELECT queryid, toplevel, total_exec_time, calls, instance FROM statements ORDER BY 1", "-7|true|1.5|0|i1\n<nil>|false|0.001|0|i1")
	expect(t, pool, "SELECT spool_oldest_age FROM collector", "+Inf")

	var c series.Content
	f := tables(1, col("datid", catalog.Key, catalog.Int, 1))
	f.Part = frame.Cut
	if err := s.Add(&c, 1, day, &f); err != nil {
		t.Errorf("a cut of tables: %v", err)
	}
	f = frame.Frame{Family: "settings", Part: frame.Cut, N: 1, Columns: []frame.Column{col("name", catalog.Key, catalog.Text, "x")}}
	if err := s.Add(&c, 1, day, &f); !errors.Is(err, series.ErrSchema) {
		t.Errorf("a cut of settings: %v", err)
	}
}

func TestLabels(t *testing.T) {
	pool, s := open(t)
	named := func(at int64, relid int, schema, name any) *series.Content {
		return add(t, s, day+at*1e6, tables(1, col("datid", catalog.Key, catalog.Int, 5), col("relid", catalog.Key, catalog.Int, relid),
			col("schemaname", catalog.Label, catalog.Text, schema), col("relname", catalog.Label, catalog.Text, name), col("n_tup_ins", catalog.Counter, catalog.Int, 1)))
	}
	write(t, pool, s, named(10, 1, "public", "a"), named(10, 2, "public", "b"))
	write(t, pool, s, named(20, 1, nil, nil), named(30, 1, "public", "a")) // unchanged; sent whole
	write(t, pool, s, named(40, 1, "public", "renamed"), named(40, 1, "public", "renamed"))
	write(t, pool, s, named(5, 1, "public", "older")) // the backlog comes last
	expect(t, pool, "SELECT valid_from, relid, relname FROM tables_label ORDER BY relid, valid_from",
		"12:00:05.000000|1|older\n12:00:10.000000|1|a\n12:00:40.000000|1|renamed\n12:00:10.000000|2|b")
	expect(t, pool, "SELECT time, relname, n_tup_ins FROM tables WHERE relid = 1 ORDER BY time, 2",
		"12:00:05.000000|older|1\n12:00:10.000000|a|1\n12:00:20.000000|a|1\n12:00:30.000000|a|1\n12:00:40.000000|renamed|1\n12:00:40.000000|renamed|1")
}

func TestTexts(t *testing.T) {
	pool, s := open(t)
	text := func(at int64, instance int64, id int, query string) *series.Content {
		var c series.Content
		f := frame.Frame{Family: "statement_texts", N: 1, Columns: []frame.Column{col("queryid", catalog.Key, catalog.Int, id), col("query", catalog.Gauge, catalog.Text, query)}}
		if err := s.Add(&c, instance, day+at*1e6, &f); err != nil {
			t.Fatal(err)
		}
		return &c
	}
	write(t, pool, s, text(1, 1, 7, "SELECT $1"), text(1, 2, 7, "SELECT $1"), text(2, 1, 7, "SELECT $1"), text(3, 1, 8, "SELECT $1, $2"))
	write(t, pool, s, text(9, 1, 8, "changed"), text(8, 1, 8, "between"))
	write(t, pool, s, text(4, 1, 8, "late"))
	expect(t, pool, "SELECT instance, queryid, query, time FROM statement_texts ORDER BY 1, 2",
		"i1|7|SELECT $1|12:00:02.000000\ni1|8|changed|12:00:09.000000\ni2|7|SELECT $1|12:00:01.000000")
	expect(t, pool, "SELECT count(*) FROM statement_texts_text WHERE text = 'SELECT $1'", "1")
}

func TestRetain(t *testing.T) {
	pool, s := open(t)
	setting := func(at int64, name string, value any) *series.Content {
		return add(t, s, day+at*1e6, frame.Frame{Family: "settings", N: 1, Columns: []frame.Column{col("name", catalog.Key, catalog.Text, name), col("setting", catalog.Gauge, catalog.Text, value)}})
	}
	label := func(at int64, name string) *series.Content {
		return add(t, s, day+at*1e6, tables(1, col("datid", catalog.Key, catalog.Int, 5), col("relid", catalog.Key, catalog.Int, 1), col("relname", catalog.Label, catalog.Text, name)))
	}
	write(t, pool, s, setting(1, "x", "1"), setting(2, "x", "2"), setting(3, "x", nil), setting(50, "x", "4"), setting(1, "kept", "1"), label(1, "a"), label(2, "b"), label(60, "c"))
	if err := s.Retain(context.Background(), day+10e6); err != nil {
		t.Fatal(err)
	}
	expect(t, pool, "SELECT name, time, setting FROM settings_raw ORDER BY 1, 2", "kept|12:00:01.000000|1\nx|12:00:03.000000|<nil>\nx|12:00:50.000000|4")
	expect(t, pool, "SELECT relname FROM tables_label ORDER BY valid_from", "b\nc")
}
