package frame_test

import (
	"math"
	"strings"

	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// Generators of everything that travels.

// PostgreSQL has no NUL in a text.
var genText = rapid.OneOf(rapid.Just(""), rapid.SampledFrom([]string{"public", "orders", "äöü", "a\nb", "日本語"}),
	rapid.Map(rapid.StringN(0, 12, 40), func(s string) string { return strings.ReplaceAll(s, "\x00", "") }))

var genName = rapid.OneOf(rapid.SampledFrom([]string{"statements", "calls", "rows", "dbid", "userid", "wal_bytes", "query", "wal", "roles"}), rapid.StringMatching(`[a-z][a-z0-9_]{0,20}`))

var genInt = rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, 1<<20), rapid.Int64(), rapid.SampledFrom([]int64{0, math.MinInt64, math.MaxInt64, -1, 1_795_000_000_000_000}))

var genFloat = rapid.OneOf(rapid.Float64(), rapid.Map(rapid.Int64Range(-1_000_000_000, 1_000_000_000), func(us int64) float64 { return float64(us) / 1e6 }))

var genLane = rapid.SampledFrom([]catalog.Lane{catalog.Fast, catalog.Slow})

var genColumn = func(n int) *rapid.Generator[frame.Column] {
	return rapid.Custom(func(t *rapid.T) frame.Column {
		c := frame.Column{
			Name: genName.Draw(t, "name"),
			Kind: rapid.SampledFrom([]catalog.Kind{catalog.Key, catalog.Label, catalog.Counter, catalog.Gauge}).Draw(t, "kind"),
			Type: rapid.SampledFrom([]catalog.Type{catalog.Int, catalog.Float, catalog.Text, catalog.Time, catalog.Bool}).Draw(t, "type"),
		}
		if c.Kind == catalog.Counter {
			c.Type = catalog.Int
		}
		nulls := rapid.IntRange(0, 3).Draw(t, "nulls") // none, all, some
		one := rapid.IntRange(0, 3).Draw(t, "constant") == 0
		some := false
		for i := range n {
			null := nulls == 1 || nulls == 2 && rapid.Bool().Draw(t, "null")
			some = some || null
			c.Null = append(c.Null, null)
			again := one && i > 0
			switch c.Type {
			case catalog.Text:
				v := ""
				if again {
					v = c.Texts[0]
				} else if !null {
					v = genText.Draw(t, "text")
				}
				c.Texts = append(c.Texts, v)
			case catalog.Float:
				v := 0.0
				if again {
					v = c.Floats[0]
				} else if !null {
					v = genFloat.Draw(t, "float")
				}
				c.Floats = append(c.Floats, v)
			default:
				v := int64(0)
				if again {
					v = c.Ints[0]
				} else if !null {
					v = genInt.Draw(t, "int")
				}
				c.Ints = append(c.Ints, v)
			}
			if null { // what lies behind a NULL does not travel
				switch c.Type {
				case catalog.Text:
					c.Texts[i] = ""
				case catalog.Float:
					c.Floats[i] = 0
				default:
					c.Ints[i] = 0
				}
			}
		}
		if !some {
			c.Null = nil
		}
		return c
	})
}

var genFrame = rapid.Custom(func(t *rapid.T) frame.Frame {
	f := frame.Frame{
		Family: genName.Draw(t, "family"), Database: genText.Draw(t, "database"), Part: rapid.SampledFrom([]frame.Part{frame.Rows, frame.Cut, frame.Dropped}).Draw(t, "part"),
		Since: genInt.Draw(t, "since"), At: genInt.Draw(t, "at"), N: rapid.IntRange(0, 20).Draw(t, "rows"),
	}
	if f.N == 0 {
		return f
	}
	seen := map[string]bool{}
	if known := catalog.Lookup(f.Family); known != nil {
		for i := range known.Columns {
			if d := &known.Columns[i]; d.Kind != catalog.Reset && rapid.IntRange(0, 9).Draw(t, "absent") > 0 {
				c := genColumn(f.N).Filter(func(c frame.Column) bool { return c.Type == d.Wire() && c.Kind == d.Kind }).Draw(t, "column")
				c.Name = d.Name
				seen[c.Name] = true
				f.Columns = append(f.Columns, c)
			}
		}
	}
	for len(f.Columns) == 0 || rapid.IntRange(0, 4).Draw(t, "more") > 0 {
		if c := genColumn(f.N).Draw(t, "column"); !seen[c.Name] {
			seen[c.Name] = true
			f.Columns = append(f.Columns, c)
		}
	}
	return f
})

var genID = rapid.Custom(func(t *rapid.T) frame.ID {
	id := frame.ID{Epoch: rapid.Uint64().Draw(t, "epoch"), Seq: rapid.Uint64Min(1).Draw(t, "seq")}
	copy(id.Collector[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "collector"))
	return id
})

var genOutcome = rapid.Custom(func(t *rapid.T) frame.Outcome {
	return frame.Outcome{
		Family: genName.Draw(t, "family"), Database: genText.Draw(t, "database"), Lane: genLane.Draw(t, "lane"),
		First: genInt.Draw(t, "first"), Last: genInt.Draw(t, "last"), N: genInt.Draw(t, "n"),
		Code:   rapid.SampledFrom([]frame.Code{frame.Stored, frame.Failed, frame.Skipped, frame.OutcomeDropped}).Draw(t, "code"),
		Reason: genText.Draw(t, "reason"), Detail: genText.Draw(t, "detail"), At: genInt.Draw(t, "at"), Since: genInt.Draw(t, "since"),
	}
})

// few gives nil rather than an empty slice, as decoding does.
func few[T any](t *rapid.T, what string, g *rapid.Generator[T]) []T {
	list := rapid.SliceOfN(g, 0, 3).Draw(t, what)
	if len(list) == 0 {
		return nil
	}
	return list
}

func fewNamed[V any](t *rapid.T, what string, g *rapid.Generator[V]) map[string]V {
	m := rapid.MapOfN(genName, g, 0, 3).Draw(t, what)
	if len(m) == 0 {
		return nil
	}
	return m
}

var genBatch = rapid.Custom(func(t *rapid.T) *frame.Batch {
	return &frame.Batch{
		ID: genID.Draw(t, "id"), Prev: genID.Draw(t, "prev"), Instance: genText.Draw(t, "instance"), Database: genText.Draw(t, "database"), Lane: genLane.Draw(t, "lane"), Tick: genInt.Draw(t, "tick"),
		Server: frame.Server{
			SystemID: rapid.Uint64().Draw(t, "system"), Incarnation: rapid.Uint32().Draw(t, "incarnation"), Version: rapid.Int32().Draw(t, "version"), VersionText: genText.Draw(t, "text"),
			InRecovery: rapid.Bool().Draw(t, "recovery"), PostmasterStart: genInt.Draw(t, "start"), MaxConnections: rapid.Int32().Draw(t, "max"), Role: genText.Draw(t, "role"),
			Labels: fewNamed(t, "labels", genText), IntervalUs: genInt.Draw(t, "interval"),
		},
		Schedules: few(t, "schedules", rapid.Custom(func(t *rapid.T) frame.Schedule {
			return frame.Schedule{
				Family: genName.Draw(t, "family"), Database: genText.Draw(t, "database"), Lane: genLane.Draw(t, "lane"), From: genInt.Draw(t, "from"), Until: genInt.Draw(t, "until"), Every: genInt.Draw(t, "every"),
				Reason: genText.Draw(t, "reason"), Limit: genText.Draw(t, "limit"), Detail: genText.Draw(t, "detail"), Remedy: genText.Draw(t, "remedy"), Absent: few(t, "absent", genName),
			}
		})),
		Outcomes: few(t, "outcomes", genOutcome),
		Unobserved: few(t, "unobserved", rapid.Custom(func(t *rapid.T) frame.Unobserved {
			return frame.Unobserved{
				Family: genName.Draw(t, "family"), Database: genText.Draw(t, "database"), Reason: genText.Draw(t, "reason"), Since: genInt.Draw(t, "since"), At: genInt.Draw(t, "at"),
				Detail: genText.Draw(t, "detail"), Upper: fewNamed(t, "upper", genInt),
			}
		})),
		Frames: few(t, "frames", genFrame),
	}
})
