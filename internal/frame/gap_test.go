package frame_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// genRound is a batch of real families, as rounds make them: rows, and for a family
// with a cut its sums.
var genRound = rapid.Custom(func(t *rapid.T) *frame.Batch {
	b := &frame.Batch{
		ID: frame.ID{Seq: rapid.Uint64Range(1, 99).Draw(t, "seq")}, Instance: rapid.SampledFrom([]string{"a:5432", "b:5432"}).Draw(t, "instance"),
		Database: rapid.SampledFrom([]string{"postgres", "shop"}).Draw(t, "database"), Lane: genLane.Draw(t, "lane"),
		Tick:   rapid.Int64Range(1, 20).Draw(t, "tick") * 10,
		Server: frame.Server{Incarnation: rapid.Uint32Range(1, 2).Draw(t, "incarnation")},
	}
	for _, name := range []string{"statements", "tables", "database", "wal", "activity", "settings"} {
		f := catalog.Lookup(name)
		code := rapid.SampledFrom([]frame.Code{0, frame.Stored, frame.Stored, frame.Failed, frame.Skipped}).Draw(t, name)
		if code == 0 {
			continue
		}
		o := frame.Outcome{Family: name, Lane: b.Lane, First: b.Tick, Last: b.Tick, N: 1, Code: code, Reason: "lock_timeout"}
		if f.Scope == catalog.Database {
			o.Database = b.Database
		}
		if code == frame.Stored {
			o.Reason, o.Since, o.At = "", b.Tick-10, b.Tick
			lacks := rapid.SampledFrom(append([]string{""}, columnNames(f.OfKind(catalog.Counter))...)).Draw(t, "lacks")
			b.Frames = append(b.Frames, genPart(t, f, frame.Rows, f.Columns, o, lacks))
			if f.Cut != nil && rapid.Bool().Draw(t, "cut") {
				columns := slices.DeleteFunc(slices.Clone(f.Columns), func(c catalog.Column) bool {
					return c.Kind != catalog.Counter && !slices.Contains(f.Sums, c.Name)
				})
				b.Frames = append(b.Frames, genPart(t, f, frame.Cut, columns, o, lacks))
			}
		}
		b.Outcomes = append(b.Outcomes, o)
	}
	return b
})

func columnNames(columns []*catalog.Column) (out []string) {
	for _, c := range columns {
		out = append(out, c.Name)
	}
	return out
}

func genPart(t *rapid.T, f *catalog.Family, part frame.Part, columns []catalog.Column, o frame.Outcome, lacks string) frame.Frame {
	fr := frame.Frame{Family: f.Name, Database: o.Database, Part: part, Since: o.Since, At: o.At, N: rapid.IntRange(0, 5).Draw(t, "rows")}
	if fr.N == 0 {
		return fr
	}
	for i := range columns {
		decl := &columns[i]
		if decl.Kind == catalog.Reset {
			continue
		}
		c := frame.Column{Name: decl.Name, Kind: decl.Kind, Type: decl.Wire(), Null: make([]bool, fr.N)}
		for r := range fr.N {
			c.Null[r] = decl.Name == lacks || decl.Kind == catalog.Label
			switch c.Type {
			case catalog.Text:
				c.Texts = append(c.Texts, fmt.Sprint("x", r))
			case catalog.Float:
				c.Floats = append(c.Floats, 1)
			default:
				v := rapid.Int64Range(0, 2).Draw(t, "key")
				if decl.Kind == catalog.Counter {
					v = rapid.SampledFrom([]int64{0, 1, 7, 1 << 40}).Draw(t, "counter")
				}
				if c.Null[r] {
					v = 0
				}
				c.Ints = append(c.Ints, v)
			}
		}
		fr.Columns = append(fr.Columns, c)
	}
	return fr
}

// counted sums up every counter of batches, by instance, incarnation, database,
// family, the keys of its sums, and column. An all-NULL counter is not in it.
func counted(batches ...*frame.Batch) map[string]int64 {
	out := map[string]int64{}
	for _, b := range batches {
		for i := range b.Frames {
			fr := &b.Frames[i]
			f := catalog.Lookup(fr.Family)
			for r := range fr.N {
				key := fmt.Sprint(b.Instance, b.Server.Incarnation, fr.Database, fr.Family)
				for _, s := range f.Sums {
					c := fr.Column(s)
					key += fmt.Sprint("/", c.Ints[r], c.IsNull(r))
				}
				for k := range fr.Columns {
					if c := &fr.Columns[k]; c.Kind == catalog.Counter && !c.IsNull(r) {
						out[key+"/"+c.Name] += c.Ints[r]
					}
				}
			}
		}
	}
	return out
}

// ticks counts the planned ticks of batches by family and what became of them.
func ticks(batches ...*frame.Batch) map[string]int64 {
	out := map[string]int64{}
	for _, b := range batches {
		for _, o := range b.Outcomes {
			code := o.Code
			if code == frame.Stored {
				code = frame.OutcomeDropped
			}
			for i := range o.N {
				at := o.First
				if o.N > 1 {
					at += i * (o.Last - o.First) / (o.N - 1)
				}
				out[fmt.Sprint(b.Instance, b.Server.Incarnation, o.Family, o.Database, o.Lane, at, code, o.Reason)]++
			}
		}
	}
	return out
}

// TestNewGap: a gap drops rows, never totals or ticks.
func TestNewGap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := genRound.Draw(t, "batch")
		before := frame.AppendBatch(nil, b)
		g := frame.NewGap(b)
		if len(g.Batches) != 1 || g.Batches[0].ID != b.ID {
			t.Fatalf("%+v", g)
		}
		if diff := cmp.Diff(counted(b), counted(g.Batches...)); diff != "" {
			t.Fatalf("sums: %s", diff)
		}
		if diff := cmp.Diff(ticks(b), ticks(g.Batches...)); diff != "" {
			t.Fatalf("ticks: %s", diff)
		}
		for i := range g.Batches[0].Frames {
			fr := &g.Batches[0].Frames[i]
			if fr.Part != frame.Dropped || fr.Since >= fr.At {
				t.Fatalf("%+v", fr)
			}
			for k := range fr.Columns {
				if c := &fr.Columns[k]; c.Kind != catalog.Counter && !slices.Contains(catalog.Lookup(fr.Family).Sums, c.Name) {
					t.Fatalf("%s keeps %s", fr.Family, c.Name)
				}
			}
		}
		if after := frame.AppendBatch(nil, b); string(after) != string(before) {
			t.Fatal("the batch itself changed")
		}
	})
}

// TestMergeGaps: merging keeps sums and ticks, in whatever order and grouping.
func TestMergeGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		batches := rapid.SliceOfN(genRound, 0, 8).Draw(t, "batches")
		var gaps []*frame.Gap
		var encoded [][]byte
		for _, b := range batches {
			g := frame.NewGap(b)
			gaps, encoded = append(gaps, g), append(encoded, frame.AppendGap(nil, g))
		}
		merged := frame.MergeGaps(gaps...)
		half := rapid.IntRange(0, len(gaps)).Draw(t, "half")
		for _, g := range []*frame.Gap{merged, frame.MergeGaps(frame.MergeGaps(gaps[:half]...), frame.MergeGaps(gaps[half:]...))} {
			if diff := cmp.Diff(counted(batches...), counted(g.Batches...)); diff != "" {
				t.Fatalf("sums: %s", diff)
			}
			if diff := cmp.Diff(ticks(batches...), ticks(g.Batches...)); diff != "" {
				t.Fatalf("ticks: %s", diff)
			}
			seen := map[string]bool{}
			for _, b := range g.Batches {
				key := fmt.Sprint(b.Instance, b.Database, b.Lane, b.Server.Incarnation)
				if seen[key] {
					t.Fatalf("two batches of %s", key)
				}
				seen[key] = true
				oldest := int64(math.MaxInt64)
				for _, o := range batches {
					if fmt.Sprint(o.Instance, o.Database, o.Lane, o.Server.Incarnation) == key {
						oldest = min(oldest, o.Tick)
					}
				}
				if b.Tick != oldest {
					t.Fatalf("tick %d, the oldest is %d", b.Tick, oldest)
				}
			}
			if _, err := frame.DecodeGap(frame.AppendGap(nil, g)); err != nil {
				t.Fatal(err)
			}
		}
		for i, g := range gaps {
			if string(frame.AppendGap(nil, g)) != string(encoded[i]) {
				t.Fatal("merging changed a gap that it was given")
			}
		}
	})
}

// TestJoinedOutcomes: neighbours become one run, so that a long outage stays small.
func TestJoinedOutcomes(t *testing.T) {
	var gaps []*frame.Gap
	for tick := range int64(1000) {
		b := &frame.Batch{Instance: "a", Lane: catalog.Slow, Tick: tick * 10}
		for _, name := range []string{"wal", "database"} {
			o := frame.Outcome{Family: name, Lane: catalog.Slow, First: b.Tick, Last: b.Tick, N: 1, Code: frame.Stored}
			if name == "wal" && tick == 500 {
				o.Code, o.Reason = frame.Failed, "statement_timeout"
			}
			b.Outcomes = append(b.Outcomes, o)
		}
		gaps = append(gaps, frame.NewGap(b))
	}
	g := frame.MergeGaps(gaps...)
	got := map[string]int64{}
	for _, o := range g.Batches[0].Outcomes {
		got[o.Family+o.Code.String()+o.Reason] += o.N
	}
	if want := map[string]int64{"waldropped": 999, "walfailedstatement_timeout": 1, "databasedropped": 1000}; !maps.Equal(got, want) || len(g.Batches[0].Outcomes) != 4 {
		t.Errorf("%v in %d outcomes", got, len(g.Batches[0].Outcomes))
	}
	if size := len(frame.AppendGap(nil, g)); size > 300 {
		t.Errorf("%d bytes", size)
	}
	// The envelope's reason goes to those that have none of their own.
	raw := frame.AppendGap(nil, g)
	e := &frame.Envelope{Kind: frame.KindGap, Reason: "spool_full", CRC: frame.Checksum(raw), RawLen: len(raw), Data: frame.Compress(raw)}
	read, err := e.Gap()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range read.Batches[0].Outcomes {
		if o.Code == frame.OutcomeDropped && o.Reason != "spool_full" || o.Code == frame.Failed && o.Reason != "statement_timeout" {
			t.Errorf("%+v", o)
		}
	}
}

func TestWords(t *testing.T) {
	for want, got := range map[string]fmt.Stringer{"rows": frame.Rows, "cut": frame.Cut, "dropped": frame.Dropped, "stored": frame.Stored, "failed": frame.Failed, "skipped": frame.Skipped, "part(9)": frame.Part(9), "outcome(0)": frame.Code(0)} {
		if got.String() != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
