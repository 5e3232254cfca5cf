package counter_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// samples gives full baselines and patches of several families.
func samples(t testing.TB) (names []string, parts [][]byte) {
	for _, name := range []string{"tables", "statements", "settings", "wal", "activity"} {
		f := lookup(t, name)
		var base *counter.Baseline
		for i := range 4 {
			var list []row
			for k := range 3 + i%2 {
				list = append(list, row{"datid": 1, "dbid": 1, "relid": k, "queryid": int64(k) << 60, "userid": 10, "toplevel": 1, "name": fmt.Sprint("n", k), "setting": fmt.Sprint(i),
					"relname": fmt.Sprint("r", k+i), "seq_scan": 5 * i, "calls": 7 * i, "stats_since": 1_700_000_000_000_000 + k, "wal_records": i, "last_vacuum": 1_700_000_000_000_000 - i})
			}
			r := reading(f, int64(i+1)*second, list...)
			r.Proof = counter.Proof{Valid: true, Reset: 5, Dealloc: int64(i)}
			base = counter.Count(f, base, r, counter.Options{}).Baseline
			names, parts = append(names, name), append(parts, base.AppendPatch(nil))
		}
	}
	return names, parts
}

// TestDecodeDamaged: what is cut anywhere is an error; nothing panics.
func TestDecodeDamaged(t *testing.T) {
	names, parts := samples(t)
	for i, data := range parts {
		f := lookup(t, names[i])
		full := data
		if i%4 > 0 {
			full = parts[i-i%4]
		}
		decode := func(b []byte) error {
			if i%4 == 0 {
				_, err := counter.Decode(f, b)
				return err
			}
			_, err := counter.Decode(f, full, append(append([][]byte{}, parts[i-i%4+1:i]...), b)...)
			return err
		}
		if err := decode(data); err != nil {
			t.Fatalf("%s %d: %v", names[i], i%4, err)
		}
		for n := range data {
			if err := decode(data[:n]); !errors.Is(err, counter.ErrMalformed) {
				t.Errorf("%s %d cut at %d of %d: %v", names[i], i%4, n, len(data), err)
			}
			for bit := range 8 {
				damaged := append([]byte(nil), data...)
				damaged[n] ^= 1 << bit
				if err := decode(damaged); err != nil && !errors.Is(err, counter.ErrMalformed) {
					t.Errorf("%s %d, bit %d of byte %d: %v", names[i], i%4, bit, n, err)
				}
			}
		}
		if err := decode(append(append([]byte(nil), data...), 0)); !errors.Is(err, counter.ErrMalformed) {
			t.Errorf("%s %d with a byte more: %v", names[i], i%4, err)
		}
	}
	f := lookup(t, "tables")
	if _, err := counter.Decode(f, parts[1]); !errors.Is(err, counter.ErrMalformed) {
		t.Errorf("a patch without its full baseline: %v", err)
	}
	if _, err := counter.Decode(f, parts[0], parts[2]); err == nil {
		t.Errorf("a patch was left out, and nothing noticed it")
	}
	if _, err := counter.Decode(lookup(t, "wal"), parts[0]); !errors.Is(err, counter.ErrMalformed) {
		t.Errorf("a baseline of another family: %v", err)
	}
}

// TestDecodeEvolved: a baseline survives a build whose family has other columns.
func TestDecodeEvolved(t *testing.T) {
	columns := func(names ...string) []catalog.Column {
		out := []catalog.Column{{Name: "id", Kind: catalog.Key, Type: catalog.Int}}
		for _, n := range names {
			out = append(out, catalog.Column{Name: n, Kind: catalog.Counter, Type: catalog.Int})
		}
		return out
	}
	old := &catalog.Family{Name: "evolving", Shape: catalog.Sample, Columns: columns("a", "b")}
	now := &catalog.Family{Name: "evolving", Shape: catalog.Sample, Columns: columns("c", "b")}
	res := counter.Count(old, nil, reading(old, second, row{"id": 1, "a": 5, "b": 7}), counter.Options{})
	base := recode(t, now, res.Baseline.AppendFull(nil))
	res = counter.Count(now, base, reading(now, 2*second, row{"id": 1, "c": 100, "b": 9}), counter.Options{})
	if diff := cmp.Diff([]row{{"id": int64(1), "c": int64(0), "b": int64(2)}}, rowsOf(&res.Frames[0])); diff != "" {
		t.Error(diff)
	}
	now.Columns[0].Name = "oid"
	other := *now
	if _, err := counter.Decode(&other, res.Baseline.AppendFull(nil)); err != nil {
		t.Errorf("same names: %v", err)
	}
	third := &catalog.Family{Name: "evolving", Shape: catalog.Sample, Columns: columns("b")}
	if _, err := counter.Decode(third, res.Baseline.AppendFull(nil)); !errors.Is(err, counter.ErrMalformed) {
		t.Errorf("another key: %v", err)
	}
}

// FuzzDecode: whatever the disk gives, decoding ends without a panic, and what it
// takes can be written, read and counted on.
func FuzzDecode(f *testing.F) {
	names, parts := samples(f)
	for i := range parts {
		f.Add(names[i], parts[i-i%4], parts[i])
	}
	f.Fuzz(func(t *testing.T, name string, full, patch []byte) {
		fam := catalog.Lookup(name)
		if fam == nil {
			return
		}
		for _, patches := range [][][]byte{nil, {patch}} {
			b, err := counter.Decode(fam, full, patches...)
			if err != nil {
				if !errors.Is(err, counter.ErrMalformed) {
					t.Fatal(err)
				}
				continue
			}
			if b.Rows() > 1000 {
				continue
			}
			if diff := cmp.Diff(b.Dump(), recode(t, fam, b.AppendFull(nil)).Dump()); diff != "" {
				t.Fatal(diff)
			}
			sums(map[string]int64{}, counter.Count(fam, b, reading(fam, second, row{"datid": 1, "relid": 1, "seq_scan": 5}), counter.Options{}))
		}
	})
}
