package frame_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// sampleBatch is a batch as a slow round of an ordinary server leaves it: what
// 120 statements of which most ran, 20 tables, 3 databases, WAL and the collector
// itself did in 10 seconds; tick counts rounds.
func sampleBatch(statements int, tick int64) *frame.Batch {
	random := rand.New(rand.NewPCG(uint64(statements), uint64(tick)))
	ids := rand.New(rand.NewPCG(uint64(statements), 0))
	const second = 1_000_000
	at := 1_795_000_000*second + tick*10*second
	b := &frame.Batch{
		ID: frame.ID{Collector: frame.CollectorID{1, 2, 3}, Epoch: 0x1234567890abcdef, Seq: uint64(tick) + 7}, Prev: frame.ID{Collector: frame.CollectorID{1, 2, 3}, Epoch: 0x1234567890abcdef, Seq: uint64(tick) + 6},
		Instance: "db-17.example.net:5432", Database: "postgres", Lane: catalog.Slow, Tick: at,
		Server: frame.Server{SystemID: 7421903384412345678, Incarnation: 1, Version: 170010, VersionText: "17.10", PostmasterStart: at - 86400*second, MaxConnections: 100,
			Role: "pganalytics", Labels: map[string]string{"env": "production", "team": "shop"}, IntervalUs: 10 * second},
	}
	// What each kind of statement moves: most touch few of the columns.
	moves := map[string]float64{"calls": 1, "total_exec_time": 1, "rows": 0.9, "shared_blks_hit": 0.95, "shared_blks_read": 0.25, "shared_blks_dirtied": 0.2, "shared_blks_written": 0.02, "wal_records": 0.3, "wal_bytes": 0.3, "wal_fpi": 0.05, "temp_blks_written": 0.02,
		"seq_scan": 0.3, "seq_tup_read": 0.3, "idx_scan": 0.9, "idx_tup_fetch": 0.9, "n_tup_ins": 0.5, "n_tup_upd": 0.4, "heap_blks_hit": 1, "heap_blks_read": 0.3}
	for _, part := range []struct {
		family string
		rows   int
		v      catalog.Version
	}{{"statements", statements, 111}, {"tables", 20, 17}, {"database", 3, 17}, {"wal", 1, 17}, {"collector", 1, 17}} {
		f := catalog.Lookup(part.family)
		fr := frame.Frame{Family: f.Name, Since: at - 10*second + 1234, At: at + 2345, N: part.rows}
		for i := range f.Columns {
			decl := &f.Columns[i]
			if decl.Kind == catalog.Reset {
				continue
			}
			c := frame.Column{Name: decl.Name, Kind: decl.Kind, Type: decl.Wire()}
			lacks := f.Reader == "" && decl.Expr.At(part.v) == "" || decl.Kind == catalog.Label
			for r := range part.rows {
				var v int64
				switch {
				case decl.Name == "queryid":
					v = int64(ids.Uint64())
				case decl.Name == "userid":
					v = int64(16384 + r%3)
				case decl.Name == "dbid" || decl.Name == "datid":
					v = int64(16400 + r%2)
				case decl.Name == "relid":
					v = int64(16500 + 7*r)
				case decl.Name == "toplevel":
					v = 1
				case decl.Kind == catalog.Gauge && decl.Type == catalog.Time:
					v = at - random.Int64N(3600*second)
				case decl.Kind == catalog.Gauge:
					v = random.Int64N(20_000)
				case decl.Name == "calls":
					v = int64(random.ExpFloat64()*40) + 1
				case random.Float64() < moves[decl.Name] || f.Name == "database" || f.Name == "wal":
					v = int64(random.ExpFloat64() * 3000)
				}
				switch c.Type {
				case catalog.Text:
					c.Texts = append(c.Texts, "")
				case catalog.Float:
					c.Floats = append(c.Floats, float64(v)/16)
				default:
					c.Ints = append(c.Ints, v)
				}
			}
			if lacks {
				c.Null = make([]bool, part.rows)
				for r := range c.Null {
					c.Null[r] = true
				}
				clear(c.Ints)
			}
			fr.Columns = append(fr.Columns, c)
		}
		b.Frames = append(b.Frames, fr)
		b.Outcomes = append(b.Outcomes, frame.Outcome{Family: f.Name, Lane: catalog.Slow, First: at, Last: at, N: 1, Code: frame.Stored, At: fr.At, Since: fr.Since})
	}
	return b
}

// sampleActivity is what the fast lane leaves.
func sampleActivity(tick int64) *frame.Batch {
	b := sampleBatch(1, tick)
	b.Lane = catalog.Fast
	f := catalog.Lookup("activity")
	fr := frame.Frame{Family: f.Name, Since: b.Tick - 10_000_000, At: b.Tick, N: 12}
	for i := range f.Columns {
		decl := &f.Columns[i]
		c := frame.Column{Name: decl.Name, Kind: decl.Kind, Type: decl.Wire(), Null: make([]bool, fr.N)}
		for r := range fr.N {
			switch c.Type {
			case catalog.Text:
				c.Texts = append(c.Texts, []string{"", "shop", "client backend", fmt.Sprint("worker-", r)}[(r+i)%4])
			case catalog.Float:
				c.Floats = append(c.Floats, float64(tick)/7+float64(r))
				c.Null[r] = r%3 == 0
			default:
				c.Ints = append(c.Ints, int64(r%5))
			}
		}
		fr.Columns = append(fr.Columns, c)
	}
	b.Frames, b.Outcomes = []frame.Frame{fr}, []frame.Outcome{{Family: f.Name, Lane: catalog.Fast, First: b.Tick, Last: b.Tick, N: 1, Code: frame.Stored, At: fr.At, Since: fr.Since}}
	return b
}
