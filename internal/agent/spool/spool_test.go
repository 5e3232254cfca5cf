package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pganalytics/pganalytics/internal/agent/spool"
	"github.com/pganalytics/pganalytics/internal/agent/spool/simdisk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, fsys spool.FS, dir string, opt spool.Options) (*spool.Spool, *spool.Recovered) {
	t.Helper()
	s, rec, err := spool.Open(t.Context(), fsys, dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s, rec
}

func closeSpool(t *testing.T, s *spool.Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// put appends a batch with that data.
func put(t *testing.T, s *spool.Spool, data string, baselines ...spool.Baseline) spool.ID {
	t.Helper()
	id, err := s.Append(t.Context(), func(id, prev spool.ID) (spool.Record, error) {
		return spool.Record{Tick: int64(id.Seq), CRC: 7, RawLen: len(data), Data: []byte(data), Gap: []byte("sums of " + data[:min(len(data), 20)]), Baselines: baselines}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func next(t *testing.T, s *spool.Spool, limit int) []spool.Item {
	t.Helper()
	items, err := s.Next(t.Context(), limit, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func TestOrderAndRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "spool")
	s, _ := open(t, spool.OS{}, dir, spool.Options{})
	var ids []spool.ID
	for i := range 5 {
		ids = append(ids, put(t, s, fmt.Sprint("batch ", i)))
	}
	for round := range 2 {
		items := next(t, s, 4)
		want := []int{4, 0, 1, 2}
		if len(items) != len(want) {
			t.Fatalf("%d items, want %d", len(items), len(want))
		}
		for i, it := range items {
			n := want[i]
			if it.ID != ids[n] || it.FirstSeq != ids[n].Seq || string(it.Data) != fmt.Sprint("batch ", n) || it.CRC != 7 || it.Tick != int64(n+1) || it.Kind != spool.Batch || it.Offers != round+1 {
				t.Errorf("item %d: %+v", i, it)
			}
			if n > 0 && it.Prev != ids[n-1] {
				t.Errorf("item %d: prev %v, want %v", i, it.Prev, ids[n-1])
			}
		}
	}
	s.Ack(ids[0], ids[4], spool.ID{Epoch: 1, Seq: 1})
	if id, tick, ok := s.Oldest(); id != ids[1] || tick != 2 || !ok {
		t.Errorf("oldest %v %d %v", id, tick, ok)
	}
	closeSpool(t, s)

	s, rec := open(t, spool.OS{}, dir, spool.Options{})
	if rec.Pending != 3 || rec.Last != ids[4] || len(rec.Lost)+len(rec.Void) != 0 || rec.TornBytes != 0 {
		t.Errorf("recovered %+v", rec)
	}
	if !s.Made(ids[4]) || s.Made(spool.ID{Epoch: ids[4].Epoch, Seq: 6}) || s.Made(spool.ID{Epoch: 5, Seq: 1}) {
		t.Error("does not know what it made")
	}
	id := put(t, s, "after")
	items := next(t, s, 10)
	if len(items) != 4 || items[0].ID != id || items[0].Prev != ids[4] || id.Epoch == ids[4].Epoch || id.Seq != 1 {
		t.Errorf("after restart: %+v", items)
	}
	closeSpool(t, s)
	if _, err := s.Append(t.Context(), nil); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}

	err := filepath.WalkDir(filepath.Dir(dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, spool.OS{}, dir, spool.Options{})
	if _, _, err := spool.Open(t.Context(), spool.OS{}, dir, spool.Options{}); !errors.Is(err, spool.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	closeSpool(t, s)
	s, _ = open(t, spool.OS{}, dir, spool.Options{})
	closeSpool(t, s)
}

// Acknowledged segments go, and idle baselines do not keep them for ever.
func TestSegmentsGo(t *testing.T) {
	dir := t.TempDir()
	opt := spool.Options{MaxSize: 1 << 20, SegmentSize: 32 << 10}
	s, _ := open(t, spool.OS{}, dir, opt)
	put(t, s, "idle", spool.Baseline{Key: "idle", Full: true, Data: []byte("idle full")})
	put(t, s, "idle", spool.Baseline{Key: "idle", Data: []byte("idle patch")})
	for i := range 300 {
		id := put(t, s, strings.Repeat("x", 8000), spool.Baseline{Key: "busy", Full: s.WantFull("busy"), Data: fmt.Append(nil, i)})
		next(t, s, 3)
		s.Ack(id)
		if i == 1 {
			for _, it := range next(t, s, 10) {
				s.Ack(it.ID)
			}
		}
	}
	s.Flush()
	st := s.Stats()
	if st.Bytes > 400<<10 || st.Carried == 0 || st.Pending != 0 {
		t.Errorf("%+v", st)
	}
	closeSpool(t, s)
	s, rec := open(t, spool.OS{}, dir, opt)
	full, patches, err := s.Baseline("idle")
	if err != nil || string(full) != "idle full" || len(patches) != 1 || string(patches[0]) != "idle patch" {
		t.Errorf("idle baseline: %q %q %v", full, patches, err)
	}
	if len(rec.Keys) != 2 || rec.Pending != 0 {
		t.Errorf("recovered %+v", rec)
	}
	if err := s.Forget(t.Context(), "idle"); err != nil {
		t.Error(err)
	}
	put(t, s, "x", spool.Baseline{Key: "busy", Full: true})
	for _, key := range []string{"idle", "busy", "never"} {
		if full, patches, err := s.Baseline(key); full != nil || patches != nil || err != nil || !s.WantFull(key) {
			t.Errorf("%s: %q %q %v", key, full, patches, err)
		}
	}
	if _, err := s.Append(t.Context(), func(_, _ spool.ID) (spool.Record, error) {
		return spool.Record{Baselines: []spool.Baseline{{Key: "idle", Data: []byte("p")}}}, nil
	}); !errors.Is(err, spool.ErrNoBaseline) {
		t.Errorf("patch without baseline: %v", err)
	}
	closeSpool(t, s)
}

// Through an outage that needs five times the room, detail is lost and totals are
// exact: each batch counts one of each of 50 counters.
func TestOutage(t *testing.T) {
	for _, merge := range []bool{false, true} {
		t.Run(fmt.Sprint("merge ", merge), func(t *testing.T) {
			w := newWorld(t.Fatalf, func(n int) int { return rand.IntN(n) })
			w.opt = spool.Options{MaxSize: 2 << 20, Now: w.opt.Now}
			if merge {
				w.opt.Merge = mergeGaps
			}
			var keys []string
			for i := range 50 {
				keys = append(keys, fmt.Sprint("counter_with_a_long_name_", i))
			}
			w.open()
			refused := 0
			for i := range 1000 {
				for _, key := range keys {
					w.counts[key] += int64(1 + rand.IntN(3))
				}
				for _, err := range w.appendGroup([][]string{keys}, []int{10000}, false) {
					if errors.Is(err, spool.ErrFull) {
						refused++
					} else if err != nil {
						t.Fatal(err)
					}
				}
				if st := w.s.Stats(); st.Bytes > 2<<20+256<<10 {
					t.Fatalf("batch %d: %d bytes", i, st.Bytes)
				}
				if i%300 == 299 { // killed in between
					w.disk.PowerCut()
					w.open()
				}
				w.now = w.now.Add(10 * time.Second)
			}
			st := w.s.Stats()
			t.Logf("%d refused, %d dropped, %d merged, %d pending, %d bytes", refused, st.DroppedFull, st.Merged, st.Pending, st.Bytes)
			if merge && (refused > 0 || st.Merged == 0) {
				t.Errorf("%d refused, %d merged", refused, st.Merged)
			}
			if st.DroppedFull == 0 {
				t.Error("nothing dropped: the outage was too short")
			}
			w.drain()
			for _, key := range keys {
				if list := w.stored[key]; len(list) != 1 || list[0].to != w.base[key] || refused == 0 && list[0].to != w.counts[key] {
					t.Errorf("%s: %v, want up to %d", key, list, w.counts[key])
				}
			}
		})
	}
}

// A flipped bit in a batch's data costs its rows, not its sums nor its baseline; one
// in the ids costs that batch alone.
func TestDamage(t *testing.T) {
	const marker = "MARKER"
	for _, tc := range []struct {
		name, flip string
		gap        string
		lost       int
	}{
		{"data", marker, "sums of MARKERzzzzzzzzzzzzzz", 0},
		{"lead", "sums of MARKER", "", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			disk := simdisk.New(rand.IntN)
			s, _ := open(t, disk, dir, spool.Options{})
			base := func(v string, full bool) spool.Baseline {
				return spool.Baseline{Key: "k", Full: full, Data: []byte(v)}
			}
			put(t, s, "first", base("one", true))
			id := put(t, s, marker+strings.Repeat("z", 100))
			put(t, s, "third", base("two", false))
			closeSpool(t, s)
			name := disk.Files(dir + "/0")[0].Name
			data, err := spool.ReadFile(disk, name, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			off := bytes.LastIndex(data, []byte(tc.flip))
			disk.Flip(name, int64(off), 3)
			for life := range 2 {
				s, rec := open(t, disk, dir, spool.Options{})
				if life == 0 && (len(rec.Lost) != tc.lost || rec.QuarantinedBytes == 0 || len(disk.Files(dir+"/quarantine/")) != 1) {
					t.Errorf("recovered %+v, %v", rec, disk.Files(dir+"/quarantine/"))
				}
				if tc.lost == 0 {
					full, patches, err := s.Baseline("k")
					if string(full) != "one" || len(patches) != 1 || err != nil {
						t.Errorf("baseline %q %q %v", full, patches, err)
					}
				}
				items := next(t, s, 10)
				if len(items) != 3 {
					t.Fatalf("%d items: %+v", len(items), items)
				}
				for _, it := range items {
					if it.ID == id && (it.Kind != spool.Gap || it.Reason != spool.ReasonCorrupt || string(it.Gap) != tc.gap) {
						t.Errorf("damaged item: %+v", it)
					}
				}
				closeSpool(t, s)
			}
		})
	}
}

// Damage found while shipping is dealt with as if Open had found it.
func TestDamageWhileRunning(t *testing.T) {
	disk := simdisk.New(rand.IntN)
	s, _ := open(t, disk, dir, spool.Options{})
	put(t, s, "first")
	id := put(t, s, "MARKER")
	name := disk.Files(dir + "/0")[0].Name
	data, err := spool.ReadFile(disk, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	disk.Flip(name, int64(bytes.LastIndex(data, []byte("MARKER"))), 0)
	for range 2 {
		s.Flush()
		for _, it := range next(t, s, 10) {
			if it.ID == id && (it.Kind != spool.Gap || string(it.Gap) != "sums of MARKER" || it.Reason != spool.ReasonCorrupt) {
				t.Errorf("%+v", it)
			}
		}
	}
	if st := s.Stats(); st.PendingGaps != 1 || st.DroppedCorrupt != 1 || st.Pending != 2 {
		t.Errorf("%+v", st)
	}
	closeSpool(t, s)
}

func TestRefuse(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, spool.OS{}, dir, spool.Options{DeadSize: 2500})
	var ids []spool.ID
	for range 3 {
		ids = append(ids, put(t, s, strings.Repeat("d", 1000)))
	}
	for _, id := range ids {
		if err := s.Refuse(id, "poison"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // so that files differ in age
	}
	if err := s.Refuse(spool.ID{Epoch: 1, Seq: 1}, "poison"); !errors.Is(err, spool.ErrUnknown) {
		t.Error(err)
	}
	check := func(s *spool.Spool) {
		t.Helper()
		items := next(t, s, 10)
		if len(items) != 3 {
			t.Fatalf("%d items", len(items))
		}
		for _, it := range items {
			if it.Kind != spool.Gap || it.Reason != "poison" || string(it.Gap) != "sums of "+strings.Repeat("d", 20) || it.Data != nil || it.CRC != 7 || it.RawLen != 1000 {
				t.Errorf("%+v", it)
			}
		}
	}
	check(s)
	dead, err := os.ReadDir(filepath.Join(dir, "dead"))
	if err != nil || len(dead) != 2 {
		t.Fatalf("%d dead files: %v", len(dead), err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "dead", fmt.Sprintf("%016x-3.batch", ids[2].Epoch))); err != nil || len(got) != 1000 {
		t.Errorf("dead batch: %d bytes, %v", len(got), err)
	}
	if st := s.Stats(); st.DeadFiles != 3 || st.DeadRemoved != 1 || st.DroppedRefused != 3 || st.PendingGaps != 3 {
		t.Errorf("%+v", st)
	}
	closeSpool(t, s)
	s, _ = open(t, spool.OS{}, dir, spool.Options{})
	check(s)
	// A gap refused gives up its sums, then itself.
	for range 2 {
		if err := s.Refuse(ids[0], "poison"); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Pending != 2 || st.Abandoned != 1 {
		t.Errorf("%+v", st)
	}
	closeSpool(t, s)
}

func TestNewEpoch(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, spool.OS{}, dir, spool.Options{})
	before := put(t, s, "a", spool.Baseline{Key: "k", Full: true, Data: []byte("v")})
	if err := s.NewEpoch(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if !s.WantFull("k") {
		t.Error("the baseline is still there")
	}
	after := put(t, s, "b")
	if after.Epoch == before.Epoch || after.Seq != 1 {
		t.Errorf("%v after %v", after, before)
	}
	closeSpool(t, s)
	s, rec := open(t, spool.OS{}, dir, spool.Options{})
	if len(rec.Keys) != 0 || rec.Pending != 2 || rec.Last != after {
		t.Errorf("%+v", rec)
	}
	closeSpool(t, s)
}

// A full disk refuses batches, stays up, and takes them again.
func TestFullDisk(t *testing.T) {
	disk := simdisk.New(rand.IntN)
	now := time.Unix(1e9, 0)
	s, _ := open(t, disk, dir, spool.Options{Now: func() time.Time { return now }})
	first := put(t, s, "first")
	disk.Limit(1)
	build := func(_, prev spool.ID) (spool.Record, error) {
		if prev != first {
			t.Errorf("prev %v, want %v", prev, first)
		}
		return spool.Record{Data: []byte("second")}, nil
	}
	for range 3 {
		if _, err := s.Append(t.Context(), build); !errors.Is(err, spool.ErrNoSpace) {
			t.Fatalf("append on a full disk: %v", err)
		}
	}
	if st := s.Stats(); st.NoSpace != 1 || st.LastFailure == "" {
		t.Errorf("did not wait between writes: %+v", st)
	}
	if items := next(t, s, 10); len(items) != 1 {
		t.Errorf("ships %d on a full disk", len(items))
	}
	disk.Limit(0)
	now = now.Add(time.Minute)
	id, err := s.Append(t.Context(), build)
	if err != nil || id.Seq != 2 {
		t.Errorf("space is back: %v %v", id, err)
	}
	closeSpool(t, s)
}

// Many at once share writes, and a shipper runs beside them.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	opt := spool.Options{MaxSize: 4 << 20, SegmentSize: 64 << 10, FlushEvery: 5 * time.Millisecond}
	s, _ := open(t, spool.OS{}, dir, opt)
	ctx, cancel := context.WithCancel(t.Context())
	var background, appends sync.WaitGroup
	background.Go(func() { _ = s.Run(ctx) })
	var mu sync.Mutex
	got := map[spool.ID]int{}
	background.Go(func() {
		for ctx.Err() == nil {
			items, err := s.Next(ctx, 20, 1<<20, nil)
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			for i, it := range items {
				if i%5 == 4 {
					if err := s.Refuse(it.ID, "poison"); err != nil && !errors.Is(err, spool.ErrUnknown) {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				got[it.ID]++
				mu.Unlock()
				s.Ack(it.ID)
			}
			_ = s.Stats()
			if len(items) == 0 {
				select {
				case <-s.Appended():
				case <-time.After(5 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}
	})
	const workers, each = 16, 60
	for w := range workers {
		appends.Go(func() {
			key := fmt.Sprint("key ", w)
			for i := range each {
				_, err := s.Append(ctx, func(id, prev spool.ID) (spool.Record, error) {
					return spool.Record{
						Data: bytes.Repeat([]byte{byte(i)}, 2000), Gap: []byte("g"),
						Baselines: []spool.Baseline{{Key: key, Full: s.WantFull(key), Data: fmt.Append(nil, i)}},
					}, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	appends.Wait()
	for deadline := time.Now().Add(20 * time.Second); s.Stats().Pending > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	background.Wait()
	st := s.Stats()
	if len(got) != workers*each || st.Pending != 0 || st.Appends != workers*each {
		t.Errorf("%d of %d came, %+v", len(got), workers*each, st)
	}
	if st.Syncs >= st.Appends+uint64(len(got)) {
		t.Errorf("%d syncs for %d appends: nothing was shared", st.Syncs, st.Appends)
	}
	closeSpool(t, s)
	s, rec := open(t, spool.OS{}, dir, opt)
	if rec.Pending != 0 || len(rec.Keys) != workers {
		t.Errorf("recovered %+v", rec)
	}
	for w := range workers {
		full, patches, err := s.Baseline(fmt.Sprint("key ", w))
		last := full
		if len(patches) > 0 {
			last = patches[len(patches)-1]
		}
		if err != nil || string(last) != fmt.Sprint(each-1) {
			t.Errorf("baseline %d: %q, %v", w, last, err)
		}
	}
	closeSpool(t, s)
}

func TestIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	id, created, err := spool.LoadOrCreateIdentity(spool.OS{}, dir)
	if err != nil || !created || id == (spool.Identity{}) {
		t.Fatalf("%v %v %v", id, created, err)
	}
	again, created, err := spool.LoadOrCreateIdentity(spool.OS{}, dir)
	if err != nil || created || again != id {
		t.Errorf("%v %v %v, want %v", again, created, err, id)
	}
	for _, damaged := range []string{"", "x", id.String() + " 00000000\n", strings.Repeat("0", 500), id.String()[:20] + " 1\n"} {
		if err := os.WriteFile(filepath.Join(dir, "identity"), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		other, created, err := spool.LoadOrCreateIdentity(spool.OS{}, dir)
		if err != nil || !created || other == id {
			t.Errorf("%q: %v %v %v", damaged, other, created, err)
		}
	}
	if other, err := spool.NewIdentity(spool.OS{}, dir); err != nil || other == id {
		t.Errorf("%v %v", other, err)
	}
}

// An atomic file is old or new after a crash at any call, never something else.
func TestWriteFileAtomic(t *testing.T) {
	for at := 1; ; at++ {
		disk := simdisk.New(rand.IntN)
		if err := spool.WriteFileAtomic(disk, "/d/token", []byte("old")); err != nil {
			t.Fatal(err)
		}
		disk.CrashAt(at)
		err := spool.WriteFileAtomic(disk, "/d/token", []byte("new"))
		crashed := disk.Crashed()
		disk.PowerCut()
		got, rerr := spool.ReadFile(disk, "/d/token", 100)
		if rerr != nil || string(got) != "old" && string(got) != "new" || err == nil && string(got) != "new" {
			t.Fatalf("crash at call %d: %q, %v, %v", at, got, err, rerr)
		}
		if err := spool.WriteFileAtomic(disk, "/d/token", []byte("again")); err != nil {
			t.Fatalf("crash at call %d: then %v", at, err)
		}
		if !crashed {
			return
		}
	}
}

// A spool runs full and is drained at the same time: what is merged was never given
// to the shipper. Each batch counts 1, a gap the number of its batches.
func TestConcurrentFull(t *testing.T) {
	disk := simdisk.New(rand.IntN)
	opt := spool.Options{MaxSize: 256 << 10, SegmentSize: 8 << 10, Merge: func(gaps [][]byte) ([]byte, error) {
		time.Sleep(200 * time.Microsecond) // let the shipper in
		sum := 0
		for _, g := range gaps {
			n, err := strconv.Atoi(strings.TrimRight(string(g), "."))
			if err != nil {
				return nil, err
			}
			sum += n
		}
		return gapOf(sum), nil
	}}
	s, _ := open(t, disk, dir, opt)
	stored, claimed := 0, map[uint64]bool{}
	deliver := func(it spool.Item) {
		n, have := 1, 0
		if it.Kind == spool.Gap {
			n, _ = strconv.Atoi(strings.TrimRight(string(it.Gap), "."))
		}
		if want := int(it.ID.Seq - it.FirstSeq + 1); n != want {
			t.Errorf("a gap of %d batches counts %d", want, n)
		}
		for seq := it.FirstSeq; seq <= it.ID.Seq; seq++ {
			if claimed[seq] {
				have++
			}
			claimed[seq] = true
		}
		if have == 0 {
			stored += n
		} else if have < n {
			t.Errorf("%d of a gap of %d batches had come before", have, n)
		}
	}
	var appends, ship sync.WaitGroup
	done := make(chan struct{})
	ship.Go(func() {
		for i := 0; ; i++ {
			items, err := s.Next(t.Context(), 1+i%7, 20000, nil)
			if err != nil {
				t.Error(err)
				return
			}
			for _, it := range items {
				deliver(it)
				if rand.IntN(3) > 0 {
					s.Ack(it.ID)
				}
			}
			select {
			case <-done:
				if len(items) == 0 {
					return
				}
			case <-time.After(time.Millisecond):
			}
		}
	})
	var appended atomic.Int64
	for range 4 {
		appends.Go(func() {
			for range 400 {
				_, err := s.Append(t.Context(), func(_, _ spool.ID) (spool.Record, error) {
					return spool.Record{Data: bytes.Repeat([]byte("d"), 3000), Gap: gapOf(1)}, nil
				})
				switch {
				case err == nil:
					appended.Add(1)
				case errors.Is(err, spool.ErrFull):
					time.Sleep(time.Millisecond)
				default:
					t.Error(err)
				}
			}
		})
	}
	appends.Wait()
	close(done)
	ship.Wait()
	st := s.Stats()
	if int64(stored) != appended.Load() || st.Merged == 0 || st.DroppedFull == 0 {
		t.Errorf("%d stored of %d, %+v", stored, appended.Load(), st)
	}
	if msg := s.Check(); msg != "" {
		t.Error(msg)
	}
	closeSpool(t, s)
}

// gapOf is a gap form that counts n, large enough to be merged soon.
func gapOf(n int) []byte { return fmt.Appendf(nil, "%d%s", n, strings.Repeat(".", 900)) }
