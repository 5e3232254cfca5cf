package catalog_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// The role that reads: a member of pg_monitor, nothing else.
const role = "catalog_monitor"

const schema = `the "ext" schema`

// workload leaves something in every column that a server fills at all.
func workload(t *testing.T, c *pgtest.Cluster, extVersion string) (url string) {
	t.Helper()
	url = pgtest.Database(t, c)
	ext := `CREATE EXTENSION pg_stat_statements SCHEMA "the ""ext"" schema"`
	if extVersion != "" {
		ext += ` VERSION '` + extVersion + `'`
	}
	pgtest.Exec(t, url,
		`DO $$ BEGIN CREATE ROLE `+role+` LOGIN; GRANT pg_monitor TO `+role+`; EXCEPTION WHEN duplicate_object THEN NULL; END $$`,
		`CREATE SCHEMA "the ""ext"" schema"`, `GRANT USAGE ON SCHEMA "the ""ext"" schema" TO `+role, ext,
		`CREATE TABLE orders (id int PRIMARY KEY, note text)`,
		`INSERT INTO orders SELECT i, 'n' || i FROM generate_series(1, 200) i`,
		`UPDATE orders SET note = 'x' WHERE id < 100`, `DELETE FROM orders WHERE id < 20`,
		`SELECT * FROM orders WHERE id = 50`, `VACUUM ANALYZE orders`,
		`ALTER ROLE `+role+` PASSWORD NULL`)
	return url
}

// arrive waits for the statistics of the workload: up to 14 a process of its own
// gathers them, in its own time.
func arrive(t *testing.T, url string) {
	t.Helper()
	conn := pgtest.Connect(t, url)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var there bool
		if err := conn.QueryRow(t.Context(), `SELECT last_analyze IS NOT NULL AND n_tup_upd > 0 FROM pg_stat_user_tables WHERE relname = 'orders'`).Scan(&there); err != nil {
			t.Fatal(err)
		}
		if there {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the statistics of orders did not arrive")
		}
	}
}

// mayBeNull are columns that can be NULL though the server has them, and why.
var mayBeNull = map[string]string{
	"database.stats_reset":       "never reset",
	"database.checksum_failures": "checksums are off",
	"tables.last_autovacuum":     "no autovacuum yet",
	"tables.last_autoanalyze":    "no autoanalyze yet",
	"activity.max_xact_age":      "no transaction open",
	"activity.max_query_age":     "nothing runs but us",
}

// TestLive reads every family on every major as the monitoring role: the same
// columns in the same order, in the declared types, NULL where the version lacks
// one and nowhere else.
func TestLive(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			c := pgtest.Server(t, major)
			url := workload(t, c, "")
			arrive(t, url)
			conn := connect(t, url)
			ext := extVersion(t, conn)
			for _, f := range catalog.All() {
				if f.Reader != "" {
					continue
				}
				v := catalog.Version(major)
				if f.Of != "" {
					v = ext
				}
				if !f.Available(v) {
					if f.Name != "wal" || major >= 14 {
						t.Errorf("%s is not available", f.Name)
					}
					continue
				}
				t.Run(f.Name, func(t *testing.T) { checkLive(t, conn, f, v) })
			}
		})
	}
}

// TestLiveExtensions reads pg_stat_statements at every version of the extension
// that a server can install, as one that was upgraded by pg_upgrade keeps the old.
func TestLiveExtensions(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			c := pgtest.Server(t, major)
			admin := connect(t, c.URL("postgres"))
			tested := 0
			for _, row := range query(t, admin, `SELECT version FROM pg_available_extension_versions WHERE name = 'pg_stat_statements' ORDER BY 1`) {
				version := string(row[0])
				if v, err := catalog.ParseExtVersion(version); err != nil || !catalog.Lookup("statements").Available(v) {
					continue
				}
				tested++
				t.Run(version, func(t *testing.T) {
					conn := connect(t, workload(t, c, version))
					v := extVersion(t, conn)
					for _, name := range []string{"statements", "statement_texts"} {
						checkLive(t, conn, catalog.Lookup(name), v)
					}
				})
			}
			if tested == 0 {
				t.Error("no version could be tested")
			}
		})
	}
}

var plain = regexp.MustCompile(`^(?:t\.)?[a-z_]+$`)

func checkLive(t *testing.T, conn *pgconn.PgConn, f *catalog.Family, v catalog.Version) {
	t.Helper()
	q := f.Query(v, schema)
	read, err := readFamily(t.Context(), conn, f, q)
	if err != nil {
		t.Fatal(err)
	}
	if read.rows == 0 {
		t.Fatal("no rows")
	}
	for i := range f.Columns {
		name := f.Columns[i].Name
		absent := slices.Contains(q.Absent, name)
		switch _, allowed := mayBeNull[f.Name+"."+name]; {
		case absent && read.values[i] > 0:
			t.Errorf("%s is NULL at this version, yet has values", name)
		case !absent && read.values[i] == 0 && !allowed:
			t.Errorf("%s is NULL in all %d rows", name, read.rows)
		}
	}
	// What is NULL for a version must not be there under its own name.
	for _, name := range q.Absent {
		expr := ""
		for _, e := range f.Column(name).Expr {
			if plain.MatchString(e) {
				expr = strings.TrimPrefix(e, "t.")
			}
		}
		if expr == "" {
			continue
		}
		sql := strings.Replace(q.SQL, q.SQL[strings.Index(q.SQL, "SELECT "):strings.LastIndex(q.SQL, "\nFROM ")], `SELECT "`+expr+`"`, 1)
		if _, err := run(t.Context(), conn, sql+" LIMIT 0", params(f)); !isCode(err, "42703") {
			t.Errorf("%s is declared NULL at %d, but reading it gives %v", name, v, err)
		}
	}
	if p := f.ProofQuery(v, schema); p != "" {
		res, err := run(t.Context(), conn, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Rows) != 1 || res.FieldDescriptions[0].DataTypeOID != pgtype.TimestamptzOID || res.FieldDescriptions[1].DataTypeOID != pgtype.Int8OID || len(res.Rows[0][0]) != 8 || len(res.Rows[0][1]) != 8 {
			t.Errorf("proof: %v", res)
		}
	}
}

// live is what was read: the number of rows, and by column of those with a value.
type live struct {
	rows   int
	values []int
}

func params(f *catalog.Family) [][]byte {
	if f.TextsOf == "" {
		return nil
	}
	return [][]byte{[]byte("{}")}
}

// readFamily reads a family in binary and checks names, order and types.
func readFamily(ctx context.Context, conn *pgconn.PgConn, f *catalog.Family, q catalog.Query) (*live, error) {
	p := params(f)
	if f.TextsOf != "" {
		ids, err := run(ctx, conn, strings.Replace(q.SQL, "\nWHERE", "\nWHERE true OR", 1), p)
		if err != nil {
			return nil, err
		}
		var list []string
		for _, row := range ids.Rows {
			if row[0] != nil {
				list = append(list, fmt.Sprint(int64(binary.BigEndian.Uint64(row[0]))))
			}
		}
		p[0] = []byte("{" + strings.Join(list[:min(3, len(list))], ",") + "}")
	}
	res, err := run(ctx, conn, q.SQL, p)
	if err != nil {
		return nil, err
	}
	out := &live{rows: len(res.Rows), values: make([]int, len(f.Columns))}
	if len(res.FieldDescriptions) != len(f.Columns) {
		return nil, fmt.Errorf("%d columns, want %d", len(res.FieldDescriptions), len(f.Columns))
	}
	oids := map[catalog.Type]uint32{catalog.Int: pgtype.Int8OID, catalog.Float: pgtype.Float8OID, catalog.Text: pgtype.TextOID, catalog.Time: pgtype.TimestamptzOID, catalog.Bool: pgtype.BoolOID}
	for i, d := range res.FieldDescriptions {
		c := &f.Columns[i]
		if d.Name != c.Name || d.DataTypeOID != oids[c.Wire()] || d.Format != 1 {
			return nil, fmt.Errorf("column %d is %q of type %d, format %d; want %q of %s", i, d.Name, d.DataTypeOID, d.Format, c.Name, c.Wire())
		}
	}
	for _, row := range res.Rows {
		for i, v := range row {
			if v == nil {
				continue
			}
			out.values[i]++
			c, good := &f.Columns[i], false
			switch c.Wire() {
			case catalog.Int:
				good = len(v) == 8 && (c.Kind != catalog.Counter || int64(binary.BigEndian.Uint64(v)) >= 0)
			case catalog.Time:
				good = len(v) == 8
			case catalog.Float:
				good = len(v) == 8 && !math.IsNaN(math.Float64frombits(binary.BigEndian.Uint64(v)))
			case catalog.Bool:
				good = len(v) == 1 && v[0] <= 1
			case catalog.Text:
				good = utf8.Valid(v)
			}
			if !good {
				return nil, fmt.Errorf("column %q: value %x of %s", c.Name, v, c.Wire())
			}
		}
	}
	return out, nil
}

// TestLiveColumnDropped: a view that lost a column fails as a whole, and read
// without that column loses its value only.
func TestLiveColumnDropped(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		if major < 14 {
			continue // no pg_stat_wal; 12 can't change system views in a session
		}
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			url := workload(t, pgtest.Server(t, major), "")
			pgtest.Exec(t, url, `SET allow_system_table_mods = on; DROP VIEW pg_catalog.pg_stat_wal;
				CREATE VIEW pg_catalog.pg_stat_wal AS SELECT wal_records, wal_bytes, wal_buffers_full, `+map[bool]string{true: "wal_write, wal_sync, wal_write_time, wal_sync_time, "}[major < 18]+`stats_reset FROM pg_stat_get_wal();
				GRANT SELECT ON pg_catalog.pg_stat_wal TO PUBLIC`)
			conn := connect(t, url)
			f := catalog.Lookup("wal")
			if _, err := readFamily(t.Context(), conn, f, f.Query(catalog.Version(major), "")); !isCode(err, "42703") {
				t.Fatalf("read of a dropped column: %v", err)
			}
			read, err := readFamily(t.Context(), conn, f, f.Query(catalog.Version(major), "", "wal_fpi"))
			if err != nil {
				t.Fatal(err)
			}
			for i := range f.Columns {
				if want := f.Columns[i].Name != "wal_fpi"; (read.values[i] == 1) != want {
					t.Errorf("%s: %d values", f.Columns[i].Name, read.values[i])
				}
			}
		})
	}
}

// TestLiveHint: why database.stats_reset is a hint only. Resetting one table sets
// it, and leaves the database's counters as they are; resetting the database sets
// it and the counters.
func TestLiveHint(t *testing.T) {
	if c := catalog.Lookup("database").Column("stats_reset"); c.Kind != catalog.Reset || !c.Hint {
		t.Fatalf("%+v", c)
	}
	for _, major := range pgtest.Majors(t) {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			url := workload(t, pgtest.Server(t, major), "")
			arrive(t, url)
			conn := pgtest.Connect(t, url)
			read := func() (reset *time.Time, inserted int64) {
				t.Helper()
				if err := conn.QueryRow(t.Context(), `SELECT stats_reset, tup_inserted FROM pg_stat_database WHERE datname = current_database()`).Scan(&reset, &inserted); err != nil {
					t.Fatal(err)
				}
				return reset, inserted
			}
			await := func(sql string, good func(reset *time.Time, inserted int64) bool) {
				t.Helper()
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
				for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
					reset, inserted := read()
					if good(reset, inserted) {
						return
					}
					if time.Now().After(deadline) {
						t.Fatalf("%s: stats_reset %v, tup_inserted %d", sql, reset, inserted)
					}
				}
			}
			before, inserted := read()
			if inserted < 200 {
				t.Fatalf("tup_inserted %d", inserted)
			}
			var first *time.Time
			await(`SELECT pg_stat_reset_single_table_counters('orders'::regclass)`, func(reset *time.Time, n int64) bool {
				first = reset
				return reset != nil && (before == nil || reset.After(*before)) && n >= inserted
			})
			await(`SELECT pg_stat_reset()`, func(reset *time.Time, n int64) bool { return reset != nil && reset.After(*first) && n < inserted })
		})
	}
}

func connect(t *testing.T, url string) *pgconn.PgConn {
	t.Helper()
	cfg, err := pgconn.ParseConfig(strings.Replace(url, "//postgres@", "//"+role+"@", 1))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(cfg.Database, "postgres") {
		cfg.User = "postgres" // the role may not be there yet
	}
	conn, err := pgconn.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), `SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)`).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return conn
}

func run(ctx context.Context, conn *pgconn.PgConn, sql string, params [][]byte) (*pgconn.Result, error) {
	res := conn.ExecParams(ctx, sql, params, nil, nil, []int16{1}).Read()
	return res, res.Err
}

func query(t *testing.T, conn *pgconn.PgConn, sql string) [][][]byte {
	t.Helper()
	res := conn.ExecParams(t.Context(), sql, nil, nil, nil, nil).Read()
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	return res.Rows
}

func extVersion(t *testing.T, conn *pgconn.PgConn) catalog.Version {
	t.Helper()
	rows := query(t, conn, `SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pg_stat_statements'`)
	if len(rows) != 1 {
		t.Fatal("the extension is not there")
	}
	v, err := catalog.ParseExtVersion(string(rows[0][0]))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func isCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
