package frame_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// update writes the goldens of a format that is new. Those of a format that is out
// there never change: batches of it lie in spools.
var update = flag.Bool("update", false, "write the golden files of a new wire format")

const dictionaryChecksum = 0xe31b7229

// TestDictionary: a number means the same word or column for ever.
func TestDictionary(t *testing.T) {
	var text []byte
	for line := range strings.Lines(frame.DictionaryText()) {
		if !strings.HasPrefix(line, "#") {
			text = append(text, line...)
		}
	}
	if got := frame.Checksum(text); got != dictionaryChecksum {
		t.Errorf("dictionary.txt has changed (checksum %#x): it belongs to the format, a longer or other one is a new format", got)
	}
	seen := map[string]bool{}
	for _, w := range frame.Words() {
		if seen[w] || w == "" || w != strings.TrimSpace(w) {
			t.Errorf("word %q: twice, empty or with a space around it", w)
		}
		seen[w] = true
	}
}

// frozen are batches whose wire form is kept in testdata.
func frozen() map[string]*frame.Batch {
	gap := frame.NewGap(sampleBatch(7, 4)).Batches[0]
	gap.ID.Seq++ // what an envelope of its own would be named
	odd := sampleActivity(5)
	odd.Prev = frame.ID{}
	odd.Server = frame.Server{}
	odd.Database = "odd"
	odd.Schedules = []frame.Schedule{{Family: "tables", Database: "odd", Lane: catalog.Slow, From: odd.Tick, Until: odd.Tick + 1, Every: 10_000_000, Limit: "columns_missing", Absent: []string{"n_tup_newpage_upd", "later"}}}
	odd.Outcomes = append(odd.Outcomes, frame.Outcome{Family: "later", Lane: catalog.Fast, First: odd.Tick - 30, Last: odd.Tick - 10, N: 3, Code: frame.Skipped, Reason: "later"})
	odd.Unobserved = []frame.Unobserved{{Family: "statements", Reason: "evicted", Since: odd.Tick - 5, At: odd.Tick, Upper: map[string]int64{"calls": 7, "later": 8}}}
	f := &odd.Frames[0]
	f.Columns = slices.Insert(f.Columns, 2, frame.Column{Name: "later", Kind: catalog.Gauge, Type: catalog.Float, Floats: slices.Repeat([]float64{0.1, math.Pi}, f.N/2)})
	return map[string]*frame.Batch{"slow": sampleBatch(7, 4), "fast": sampleActivity(4), "gap": gap, "odd": odd}
}

// through gives what arrives of a batch: nothing that lies behind a NULL.
func through(t *testing.T, b *frame.Batch) *frame.Batch {
	t.Helper()
	got, err := frame.DecodeBatch(frame.AppendBatch(nil, b))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestFrozen: what a build of this format ever wrote is read for ever, as what it was.
func TestFrozen(t *testing.T) {
	for name, b := range frozen() {
		golden := filepath.Join("testdata", "format2."+name)
		if *update {
			text, err := json.Marshal(through(t, b))
			if err != nil {
				t.Fatal(err)
			}
			wire := hex.AppendEncode(nil, frame.AppendEnvelope(nil, frame.NewEnvelope(b)))
			if err := errors.Join(os.WriteFile(golden+".json", append(text, '\n'), 0o644), os.WriteFile(golden+".hex", append(wire, '\n'), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(golden + ".json")
		if err != nil {
			t.Fatal(err)
		}
		wire, err := os.ReadFile(golden + ".hex")
		if err != nil {
			t.Fatal(err)
		}
		body, err := hex.DecodeString(strings.TrimSpace(string(wire)))
		if err != nil {
			t.Fatal(err)
		}
		want := new(frame.Batch)
		if err := json.Unmarshal(text, want); err != nil {
			t.Fatal(err)
		}
		e, err := frame.ReadEnvelope(bufio.NewReader(bytes.NewReader(body)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := e.Batch()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, bits, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestListedColumns: whatever a later or earlier catalog makes of a family, the frame
// that arrives is the one that was sent, in its order.
func TestListedColumns(t *testing.T) {
	for _, family := range catalog.All() {
		var all []frame.Column
		for i := range family.Columns {
			if d := &family.Columns[i]; d.Kind != catalog.Reset {
				c := frame.Column{Name: d.Name, Kind: d.Kind, Type: d.Wire()}
				switch c.Type {
				case catalog.Float:
					c.Floats = []float64{1.5, float64(i)}
				case catalog.Text:
					c.Texts = []string{"x", fmt.Sprint(i)}
				default:
					c.Ints = []int64{int64(i), 7}
				}
				all = append(all, c)
			}
		}
		later := frame.Column{Name: "later", Kind: catalog.Gauge, Type: catalog.Int, Ints: []int64{3, 4}}
		moved := slices.Concat(all[1:], all[:1])
		last := all[len(all)-1]
		retyped := append(slices.Clone(all[:len(all)-1]), frame.Column{Name: last.Name, Kind: last.Kind, Type: catalog.Bool, Ints: []int64{0, 1}})
		otherKind := slices.Clone(all)
		if otherKind[0].Kind = catalog.Label; all[0].Kind == catalog.Label {
			otherKind[0].Kind = catalog.Key
		}
		reversed := slices.Clone(all)
		slices.Reverse(reversed)
		withReset := slices.Insert(slices.Clone(all), len(all)/2, frame.Column{Name: "began", Kind: catalog.Reset, Type: catalog.Time, Ints: []int64{1, 2}})
		var half []frame.Column
		for i := range all {
			if i%2 == 0 {
				half = append(half, all[i])
			}
		}
		for name, columns := range map[string][]frame.Column{
			"all": all, "half": half, "the last one": all[len(all)-1:], "none of them": {later}, "one more in front": slices.Concat([]frame.Column{later}, all),
			"one more within": slices.Insert(slices.Clone(all), len(all)/2, later), "one more behind": slices.Concat(all, []frame.Column{later}),
			"half and more":    slices.Concat([]frame.Column{later}, half[:1], []frame.Column{{Name: "latest", Kind: catalog.Key, Type: catalog.Text, Texts: []string{"a", "a"}}}, half[1:]),
			"in another order": moved, "in reverse": reversed, "of another type": retyped, "of another kind": otherKind, "with a reset column": withReset,
		} {
			b := &frame.Batch{Lane: catalog.Slow, Frames: []frame.Frame{{Family: family.Name, N: 2, Columns: columns}}}
			got, err := frame.DecodeBatch(frame.AppendBatch(nil, b))
			if err != nil {
				t.Errorf("%s, %s: %v", family.Name, name, err)
				continue
			}
			want := slices.DeleteFunc(slices.Clone(columns), func(c frame.Column) bool { return c.Kind == catalog.Reset })
			if diff := cmp.Diff(want, got.Frames[0].Columns, bits, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s, %s: %s", family.Name, name, diff)
			}
		}
	}
	// A column twice would be two values for one cell.
	for _, columns := range [][]string{{"later", "later"}, {"calls", "calls"}, {"rows", "calls", "rows"}} {
		f := frame.Frame{Family: "statements", N: 1}
		for _, name := range columns {
			f.Columns = append(f.Columns, frame.Column{Name: name, Kind: catalog.Counter, Type: catalog.Int, Ints: []int64{1}})
		}
		if _, err := frame.DecodeBatch(frame.AppendBatch(nil, &frame.Batch{Lane: catalog.Slow, Frames: []frame.Frame{f}})); !errors.Is(err, frame.ErrMalformed) || !strings.Contains(err.Error(), "twice") {
			t.Errorf("%v: %v", columns, err)
		}
	}
}

// TestValues: the forms of numbers that a generator seldom hits.
func TestValues(t *testing.T) {
	floats := [][]float64{{0.083446, 12, 3.000001}, {math.Copysign(0, -1), 1}, {math.NaN(), 1}, {math.Inf(1), 1}, {1e-7, 1}, {1 << 60, 1}, {9007199254.740993, 1}, {-1.5, -1.5}, {0, 0}, {1, 1, 1, 1, 7}}
	ints := [][]int64{{1, 1, 1, 9}, {-5, -5, -5, 4}, {math.MinInt64, math.MinInt64, math.MinInt64, 0}, {math.MinInt64, math.MaxInt64}, {-3, -3}, {1 << 57, 0}, {1 << 58, 0}}
	column := func(n int, c frame.Column) {
		t.Helper()
		c.Name, c.Kind = "v", catalog.Gauge
		b := &frame.Batch{Lane: catalog.Slow, Frames: []frame.Frame{{Family: "x", N: n, Columns: []frame.Column{c}}}}
		got, err := frame.DecodeBatch(frame.AppendBatch(nil, b))
		if err != nil {
			t.Errorf("%+v: %v", c, err)
		} else if diff := cmp.Diff(c, got.Frames[0].Columns[0], bits, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%+v: %s", c, diff)
		}
	}
	for _, v := range floats {
		column(len(v), frame.Column{Type: catalog.Float, Floats: v})
		null := make([]bool, len(v)+1)
		null[len(v)] = true
		column(len(v)+1, frame.Column{Type: catalog.Float, Floats: append(slices.Clone(v), 0), Null: null})
	}
	for _, v := range ints {
		column(len(v), frame.Column{Type: catalog.Int, Ints: v})
	}
}

// TestTextsAgain: a batch refers to its own texts and times, also when it has more of
// them than can be referred to.
func TestTextsAgain(t *testing.T) {
	b := through(t, sampleActivity(1))
	f := frame.Frame{Family: "later", N: 10_000, Columns: []frame.Column{{Name: "text", Kind: catalog.Key, Type: catalog.Text}}}
	for i := range f.N {
		f.Columns[0].Texts = append(f.Columns[0].Texts, []string{fmt.Sprint("text ", i%5000), "x", "idle", strings.Repeat("long", 100)}[i%4])
	}
	b.Frames = append(b.Frames, f)
	for i := range int64(60) {
		b.Outcomes = append(b.Outcomes, frame.Outcome{Family: "later", Lane: catalog.Fast, First: b.Tick, Last: b.Tick, N: 1, Code: frame.Stored, At: b.Tick + i%30, Since: b.Tick - i%20})
	}
	got, err := frame.DecodeBatch(frame.AppendBatch(nil, b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, got, bits, cmpopts.EquateEmpty()); diff != "" {
		t.Fatal(diff)
	}
}
