package counter_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// TestSentOnChange: from the rows that are sent on change a reader who follows the
// store's rules (a stored tick without a row: gauges as before; NULL label: as
// before; a row whose gauges are all NULL: gone) knows at every tick what the
// server showed.
func TestSentOnChange(t *testing.T) {
	for _, name := range []string{"tables", "database", "settings", "roles"} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { sentOnChange(t, catalog.Lookup(name)) })
		})
	}
}

func sentOnChange(t *rapid.T, f *catalog.Family) {
	server, store := map[string]row{}, map[string]row{}
	value := func(t *rapid.T, c *catalog.Column) any {
		n := rapid.IntRange(0, 2).Draw(t, c.Name)
		if c.Wire() == catalog.Text {
			return strings.Repeat("x", n)
		}
		return int64(n)
	}
	id := func(r row) string {
		out := ""
		for _, k := range f.OfKind(catalog.Key) {
			out += "/" + cmpText(r[k.Name])
		}
		return out
	}
	// A column that the server's version lacks is NULL throughout; a gauge that is
	// never NULL makes a row that is there differ from one that is gone.
	lacks := map[string]bool{}
	gauges := f.OfKind(catalog.Gauge)
	for _, c := range append(f.OfKind(catalog.Counter), gauges[1:]...) {
		lacks[c.Name] = rapid.IntRange(0, 5).Draw(t, "lacks "+c.Name) == 0
	}
	var base *counter.Baseline
	for tick := range rapid.Int64Range(1, 8).Draw(t, "ticks") {
		for range rapid.IntRange(0, 4).Draw(t, "events") {
			key := row{}
			for _, k := range f.OfKind(catalog.Key) {
				key[k.Name] = value(t, k)
			}
			r, exists := server[id(key)]
			switch rapid.IntRange(0, 3).Draw(t, "event") {
			case 0:
				delete(server, id(key))
				continue
			case 1: // vanishes and comes back between two reads: counters at 0
				exists = false
			}
			if !exists {
				r = maps.Clone(key)
			}
			r = maps.Clone(r)
			for i := range f.Columns {
				c := &f.Columns[i]
				if lacks[c.Name] || c.Kind == catalog.Key || c.Kind == catalog.Reset {
					continue
				}
				if c.Kind != catalog.Counter {
					r[c.Name] = value(t, c)
					if rapid.IntRange(0, 3).Draw(t, "null") == 0 && c.Name != gauges[0].Name {
						delete(r, c.Name)
					}
					continue
				}
				r[c.Name] = number(r[c.Name]) + int64(rapid.IntRange(0, 3).Draw(t, "more"))
			}
			server[id(key)] = r
		}
		names := rapid.Permutation(slices.Sorted(maps.Keys(server))).Draw(t, "order")
		var list []row
		for _, n := range names {
			list = append(list, server[n])
		}
		res := counter.Count(f, base, reading(f, (tick+1)*10*second, list...), counter.Options{})
		sums(map[string]int64{}, res) // none is negative
		base = res.Baseline
		if rapid.Bool().Draw(t, "disk") {
			decoded, err := counter.Decode(f, base.AppendFull(nil))
			if err != nil {
				t.Fatal(err)
			}
			base = decoded
		}
		for _, r := range rowsOf(&res.Frames[0]) {
			gone := true
			for _, g := range gauges {
				_, has := r[g.Name]
				gone = gone && !has
			}
			if gone {
				delete(store, id(r))
				continue
			}
			kept := row{}
			for i := range f.Columns {
				switch c := &f.Columns[i]; c.Kind {
				case catalog.Label:
					if v, ok := store[id(r)][c.Name]; ok {
						kept[c.Name] = v
					}
					if v, ok := r[c.Name]; ok {
						kept[c.Name] = v
					}
				case catalog.Gauge, catalog.Key:
					if v, ok := r[c.Name]; ok {
						kept[c.Name] = v
					}
				}
			}
			store[id(r)] = kept
		}
		shown := map[string]row{}
		for n, r := range server {
			shown[n] = row{}
			for i := range f.Columns {
				switch c := &f.Columns[i]; c.Kind {
				case catalog.Key, catalog.Gauge:
					if v, ok := r[c.Name]; ok {
						shown[n][c.Name] = v
					}
				case catalog.Label: // one that became NULL keeps its last name in the store
					if v, ok := r[c.Name]; ok {
						shown[n][c.Name] = v
					} else if v, ok := store[n][c.Name]; ok {
						shown[n][c.Name] = v
					}
				}
			}
		}
		if diff := cmp.Diff(shown, store); diff != "" {
			t.Fatalf("tick %d: server (-) and store (+) differ: %s", tick, diff)
		}
	}
}

func cmpText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return string(rune('0' + number(v)))
}
