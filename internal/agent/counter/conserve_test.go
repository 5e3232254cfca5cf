package counter_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// pgss models pg_stat_statements of some version: what it does, not what we do
// about it.
type pgss struct {
	now     int64
	start   int64
	reset   int64
	dealloc int64
	since   bool // stats_since: 1.11 and later
	info    bool // pg_stat_statements_info: 1.9 and later
	entries map[entryKey]*entry
	hidden  map[int64]bool // users whose query ids we may not see

	truth     map[string]int64 // everything that was executed since the first read
	forgotten map[string]int64 // of that, what was thrown away before it was read
	shown     int              // times since the last read that something was thrown away and a view shows that
	unseen    bool             // something was thrown away since then, and no view need show it
}

type entryKey struct{ db, user, query int64 }

type entry struct {
	since  int64
	counts map[string]int64
	unread map[string]int64
	read   bool
}

var counted = []string{"calls", "total_exec_time", "rows", "plans", "wal_bytes"}

func (s *pgss) execute(k entryKey, amounts []int64) {
	e := s.entries[k]
	if e == nil {
		e = &entry{since: s.now, counts: map[string]int64{}, unread: map[string]int64{}}
		s.entries[k] = e
	}
	for i, name := range counted {
		e.counts[name] += amounts[i]
		e.unread[name] += amounts[i]
		s.truth[name] += amounts[i]
	}
}

// safe: what was read last is in the spool.
func (s *pgss) safe() {
	for _, e := range s.entries {
		clear(e.unread)
		e.read = true
	}
	s.shown, s.unseen = 0, false
}

func (s *pgss) drop(k entryKey) {
	for name, v := range s.entries[k].unread {
		s.forgotten[name] += v
	}
	delete(s.entries, k)
	s.unseen = true
}

// proved: stats_reset and dealloc tell of something forgotten, even of nothing.
func (s *pgss) proved() {
	if s.info {
		s.shown++
	}
}

func (s *pgss) keys() []entryKey {
	return slices.SortedFunc(maps.Keys(s.entries), func(a, b entryKey) int {
		return int((a.db-b.db)*1_000_000 + (a.user-b.user)*10_000 + a.query - b.query)
	})
}

func (s *pgss) read(f *catalog.Family, order []entryKey) counter.Reading {
	s.now += 10
	var list []row
	for _, k := range order {
		e := s.entries[k]
		r := row{"dbid": k.db, "userid": k.user, "queryid": k.query, "toplevel": 1}
		if s.since {
			r["stats_since"] = e.since
		}
		if s.hidden[k.user] {
			delete(r, "queryid")
		}
		for name, v := range e.counts {
			r[name] = v
		}
		list = append(list, r)
	}
	out := reading(f, s.now, list...)
	out.PostmasterStart = s.start
	if s.info {
		out.Proof = counter.Proof{Valid: true, Reset: s.reset, Dealloc: s.dealloc}
	}
	s.now += 10
	return out
}

// TestConservation: whatever happens on the server, what is counted and what is
// noted as forgotten make up what was executed; exactly where the server has proofs
// (stats_since), never too much where it has none. Baselines go over the disk, and
// batches that could not be spooled are counted by the next.
func TestConservation(t *testing.T) {
	for _, version := range []struct {
		name        string
		since, info bool
	}{{"1.11", true, true}, {"1.9", false, true}, {"1.7", false, false}} {
		t.Run(version.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { conserve(t, version.since, version.info) })
		})
	}
}

func conserve(t *rapid.T, since, info bool) {
	f := catalog.Lookup("statements")
	s := &pgss{now: 1_000_000, start: 1, reset: 1, since: since, info: info, entries: map[entryKey]*entry{}, hidden: map[int64]bool{},
		truth: map[string]int64{}, forgotten: map[string]int64{}}
	anyKey := rapid.Custom(func(t *rapid.T) entryKey {
		return entryKey{rapid.Int64Range(1, 2).Draw(t, "db"), rapid.Int64Range(10, 12).Draw(t, "user"), rapid.Int64Range(1, 6).Draw(t, "query")}
	})
	amounts := rapid.Custom(func(t *rapid.T) []int64 {
		out := []int64{rapid.Int64Range(1, 100).Draw(t, "calls")}
		for range counted[1:] {
			out = append(out, rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 1<<40)).Draw(t, "amount"))
		}
		return out
	})
	existing := func(t *rapid.T) entryKey {
		if len(s.entries) == 0 {
			t.Skip("no entries")
		}
		return rapid.SampledFrom(s.keys()).Draw(t, "entry")
	}
	for range rapid.IntRange(0, 5).Draw(t, "before") {
		s.execute(anyKey.Draw(t, "key"), amounts.Draw(t, "amounts"))
	}
	first := counter.Count(f, nil, s.read(f, s.keys()), counter.Options{})
	if len(first.Frames) != 1 || first.Frames[0].N != 0 || first.Frames[0].Since != first.Frames[0].At {
		t.Fatalf("the first read counted something: %+v", first.Frames)
	}
	s.safe()
	base, full, patches := first.Baseline, first.Baseline.AppendFull(nil), [][]byte(nil)
	clear(s.truth)
	clear(s.forgotten)
	got := map[string]int64{}
	exact, lastAt := true, first.Frames[0].At

	read := func(t *rapid.T) {
		r := s.read(f, rapid.Permutation(s.keys()).Draw(t, "order"))
		limit := rapid.IntRange(0, 4).Draw(t, "limit")
		res := counter.Count(f, base, r, counter.Options{Limit: limit})
		if limit > 0 && res.Items > limit {
			t.Fatalf("%d rows, limit %d", res.Items, limit)
		}
		for _, fr := range res.Frames {
			if fr.Since != lastAt || fr.At != r.Frame.At {
				t.Fatalf("span %d to %d, want %d to %d", fr.Since, fr.At, lastAt, r.Frame.At)
			}
		}
		if s.shown > 0 && len(res.Unobserved) == 0 {
			t.Fatalf("something was forgotten, and no note says so")
		}
		if s.shown == 0 && !s.unseen && len(res.Unobserved) > 0 {
			t.Fatalf("nothing was forgotten, but: %+v", res.Unobserved)
		}
		if rapid.IntRange(0, 9).Draw(t, "spool") == 0 {
			return // not spooled: the old baseline stays
		}
		sums(got, res)
		if rapid.Bool().Draw(t, "patch") {
			patches = append(patches, res.Baseline.AppendPatch(nil))
		} else {
			full, patches = res.Baseline.AppendFull(nil), nil
		}
		base = res.Baseline
		decoded, err := counter.Decode(f, full, patches...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(base.Dump(), decoded.Dump()); diff != "" {
			t.Fatalf("the baseline changed on the disk: %s", diff)
		}
		if rapid.Bool().Draw(t, "restart collector") {
			base = decoded
		}
		if rapid.Bool().Draw(t, "settle") {
			base.Settle()
		}
		lastAt = r.Frame.At
		s.safe()
		for _, name := range counted {
			want := s.truth[name] - s.forgotten[name]
			if got[name] > want || exact && got[name] != want {
				t.Fatalf("%s: counted %d, executed %d, forgotten %d", name, got[name], s.truth[name], s.forgotten[name])
			}
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"": func(*rapid.T) { s.now++ },
		"execute": func(t *rapid.T) {
			for range rapid.IntRange(1, 5).Draw(t, "n") {
				s.execute(anyKey.Draw(t, "key"), amounts.Draw(t, "amounts"))
			}
		},
		"evict": func(t *rapid.T) {
			s.drop(existing(t))
			s.dealloc++
			s.proved()
			exact = exact && s.since
		},
		"reset one": func(t *rapid.T) {
			k := existing(t)
			if s.since && s.entries[k].read {
				s.shown++
			}
			s.drop(k)
			exact = exact && s.since
		},
		"reset all": func(*rapid.T) {
			for _, k := range s.keys() {
				s.drop(k)
			}
			s.reset, s.dealloc = s.now, 0
			s.proved()
			exact = exact && s.info
		},
		"clean restart": func(*rapid.T) {
			if s.info {
				s.start = s.now
			}
		},
		"crash": func(*rapid.T) {
			for _, k := range s.keys() {
				s.drop(k)
			}
			s.start, s.reset, s.dealloc = s.now, s.now+1, 0
			s.now++
			s.proved()
			exact = exact && s.info
		},
		"read":       read,
		"read again": read,
	})
	read(t)
}

// TestHidden: rows of others come as sums per (dbid, userid). They never count too
// much: neither when they become visible or hidden, nor when one of them goes.
func TestHidden(t *testing.T) {
	f := lookup(t, "statements")
	rapid.Check(t, func(t *rapid.T) {
		s := &pgss{now: 1_000_000, start: 1, reset: 1, since: rapid.Bool().Draw(t, "since"), info: true, entries: map[entryKey]*entry{}, hidden: map[int64]bool{11: true},
			truth: map[string]int64{}, forgotten: map[string]int64{}}
		key := rapid.Custom(func(t *rapid.T) entryKey {
			return entryKey{rapid.Int64Range(1, 2).Draw(t, "db"), rapid.Int64Range(10, 12).Draw(t, "user"), rapid.Int64Range(1, 4).Draw(t, "query")}
		})
		var base *counter.Baseline
		got := map[string]int64{}
		exact := true
		for range rapid.IntRange(2, 12).Draw(t, "reads") {
			visible := maps.Clone(s.hidden)
			for range rapid.IntRange(0, 6).Draw(t, "n") {
				s.execute(key.Draw(t, "key"), []int64{1, 10, 100, 1000, 10000})
			}
			flips := false
			switch rapid.IntRange(0, 6).Draw(t, "event") {
			case 0:
				user := rapid.Int64Range(10, 12).Draw(t, "user")
				s.hidden[user] = !s.hidden[user]
				flips = true
			case 1:
				if keys := s.keys(); len(keys) > 0 {
					s.drop(rapid.SampledFrom(keys).Draw(t, "evicted"))
					s.dealloc++
					exact = false
				}
			}
			if base == nil {
				clear(s.truth)
				clear(s.forgotten)
			}
			res := counter.Count(f, base, s.read(f, s.keys()), counter.Options{})
			base = res.Baseline
			s.safe()
			sums(got, res)
			for _, r := range rowsOf(&res.Frames[0]) {
				if s.hidden[r["userid"].(int64)] {
					t.Fatalf("a row that can't be seen is sent as a row: %v", r)
				}
			}
			if flips && !maps.Equal(visible, s.hidden) {
				exact = false
			}
			for _, name := range counted {
				if want := s.truth[name] - s.forgotten[name]; got[name] > want || exact && got[name] != want {
					t.Fatalf("%s: counted %d of %d (exact %v)", name, got[name], want, exact)
				}
			}
		}
	})
}

// TestTopN: the rows sent are those that a plain ranking gives, and coverage tells
// their part.
func TestTopN(t *testing.T) {
	f := lookup(t, "statements")
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 50), 0, 300).Draw(t, "values")
		n := rapid.IntRange(0, 310).Draw(t, "n")
		order := make([]int, len(values))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return int(values[b] - values[a]) })
		if got := counter.First(values, n); !slices.Equal(got, order[:min(n, len(order))]) {
			t.Fatalf("got %v of %v, want %v", got, values, order[:min(n, len(order))])
		}
	})
	var before, after []row
	for i := range 100 {
		r := row{"dbid": 1, "userid": 10 + i%3, "queryid": i, "toplevel": 1, "calls": 1000, "total_exec_time": 1000}
		before = append(before, r)
		after = append(after, with(r, row{"calls": 1000 + i, "total_exec_time": 1000 + (100-i)*(100-i)}))
	}
	base := counter.Count(f, nil, reading(f, 1e6, before...), counter.Options{}).Baseline
	res := counter.Count(f, base, reading(f, 2e6, after...), counter.Options{Limit: 10})
	var ids []int64
	for _, r := range rowsOf(&res.Frames[0]) {
		ids = append(ids, r["queryid"].(int64))
	}
	if want := []int64{0, 1, 2, 3, 4, 95, 96, 97, 98, 99}; !slices.Equal(ids, want) {
		t.Errorf("sent %v, want the first five by time and by calls: %v", ids, want)
	}
	got := map[string]int64{}
	sums(got, res)
	if got["calls"] != 99*100/2 || got["total_exec_time"] != 338350 {
		t.Errorf("rows and cut add up to %v", got)
	}
	cut := rowsOf(&res.Frames[1])
	if len(cut) != 3 || res.Frames[1].Columns[0].Name != "dbid" || res.Frames[1].Columns[2].Kind != catalog.Counter {
		t.Errorf("the cut is not per (dbid, userid): %v", cut)
	}
	if c := res.Coverage[1]; c.Column != "calls" || c.Sent != 0+1+2+3+4+95+96+97+98+99 || c.Total != 4950 {
		t.Errorf("coverage of calls: %+v", c)
	}
	if res.Items != 10 || res.Changed != 100 || res.Read != 100 {
		t.Errorf("items %d, changed %d, read %d", res.Items, res.Changed, res.Read)
	}
}
