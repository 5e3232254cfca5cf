package agent

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/ship"
	"github.com/pganalytics/pganalytics/internal/agent/spool"
	"github.com/pganalytics/pganalytics/internal/agent/spool/simdisk"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// journalBackend keeps what is pushed by id, each once, and by the tick, which names
// a batch in these tests.
type journalBackend struct {
	byID   map[frame.ID]uint32
	ticks  map[int64]int
	cloned bool // an id came with other content
}

func newJournalBackend() *journalBackend {
	return &journalBackend{byID: map[frame.ID]uint32{}, ticks: map[int64]int{}}
}

// take pushes what waits, but at most n.
func (b *journalBackend) take(ctx context.Context, t *testing.T, q ship.Queue, n int) {
	t.Helper()
	for i := 0; i < n; {
		list, err := q.Pending(ctx, 1, 1<<20, func(frame.ID) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return
		}
		for _, e := range list[:min(len(list), n-i)] {
			i++
			crc, have := b.byID[e.ID]
			b.cloned = b.cloned || have && crc != e.CRC
			if !have {
				b.byID[e.ID] = e.CRC
				b.ticks[e.Tick]++
			}
			q.Ack(e.ID)
		}
	}
}

func openTestJournal(t *testing.T, disk spool.FS) (*journal, *spool.Recovered) {
	t.Helper()
	j, found, err := openJournal(t.Context(), disk, "/data", spool.Options{MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return j, found
}

func (j *journal) put(t *testing.T, ticks ...int64) {
	t.Helper()
	_, generation := j.identity()
	for _, tick := range ticks {
		b := &frame.Batch{Instance: "a", Lane: "slow", Tick: tick}
		base := spool.Baseline{Key: "k", Full: true, Data: strconv.AppendInt(nil, tick, 10)}
		if err := j.append(t.Context(), generation, b, []spool.Baseline{base}, new(scratch)); err != nil {
			t.Fatal(err)
		}
		if b.ID.Collector != j.collector {
			t.Fatalf("batch %d is of collector %s, not %s", tick, b.ID.Collector, j.collector)
		}
	}
}

// restoredJournal is a spool restored from a copy: the copy holds batches 3 to 5 of a
// former process; since then the backend got 3, and 6 and 7 of a process that this
// disk knows nothing of. Batch 8 was counted from the copy's baselines.
func restoredJournal(t *testing.T, b *journalBackend) (*simdisk.Disk, *journal) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	disk := simdisk.New(rng.IntN)
	j, _ := openTestJournal(t, disk)
	j.put(t, 1, 2)
	b.take(t.Context(), t, queue{j}, 2)
	j.put(t, 3, 4, 5)
	if err := j.spool.Close(); err != nil {
		t.Fatal(err)
	}
	copied := disk.Clone()
	j, _ = openTestJournal(t, disk)
	list, err := queue{j}.Pending(t.Context(), 10, 1<<20, func(frame.ID) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Tick == 3 {
			b.byID[e.ID] = e.CRC
			b.ticks[3]++
			j.spool.Ack(spool.ID{Epoch: e.ID.Epoch, Seq: e.ID.Seq})
		}
	}
	j.put(t, 6, 7)
	b.take(t.Context(), t, queue{j}, 1) // the newest
	if err := j.spool.Close(); err != nil {
		t.Fatal(err)
	}
	j, _ = openTestJournal(t, copied)
	j.put(t, 8)
	return copied, j
}

// A restored disk loses what it counted since from baselines of another past, and
// nothing else; nothing is stored twice.
func TestJournalResetShipsWhatTheCopyHeld(t *testing.T) {
	b := newJournalBackend()
	disk, j := restoredJournal(t, b)
	was, generation := j.identity()
	if err := j.saveToken("secret"); err != nil {
		t.Fatal(err)
	}
	err := j.reset(t.Context(), func(ctx context.Context, q ship.Queue, done func() bool) {
		if id, _ := j.identity(); id != was || j.token != "secret" || !q.Made(1, 1) {
			t.Error("the old identity is gone before its batches were shipped")
		}
		late := &frame.Batch{Instance: "a", Lane: "slow", Tick: 9}
		if _, g := j.identity(); j.append(ctx, g, late, nil, new(scratch)) == nil {
			t.Error("a batch was appended between two identities")
		}
		b.take(ctx, t, q, 100)
		if !done() {
			t.Error("not done though all was taken")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if id, g := j.identity(); id == was || g == generation || j.token != "" {
		t.Errorf("identity %s after %s, generation %d, token %q", id, was, g, j.token)
	}
	if err := j.append(t.Context(), generation, &frame.Batch{}, nil, new(scratch)); err == nil {
		t.Error("a batch counted from the old baselines was appended")
	}
	if full, _, _ := j.spool.Baseline("k"); full != nil {
		t.Error("a baseline of another past is still there")
	}
	j.put(t, 10)
	if err := j.spool.Close(); err != nil {
		t.Fatal(err)
	}
	disk.PowerCut()
	j, _ = openTestJournal(t, disk)
	b.take(t.Context(), t, queue{j}, 100)
	for tick, want := range map[int64]int{1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 7: 1, 8: 0, 9: 0, 10: 1} {
		if got := b.ticks[tick]; got != want {
			t.Errorf("batch %d was stored %d times, want %d", tick, got, want)
		}
	}
	if b.cloned {
		t.Error("an id came with two contents")
	}
}

// Wherever a reset is cut off: what waited is never shipped under a new identity, and
// no baseline of another past outlives the old one.
func TestJournalResetIsCutOff(t *testing.T) {
	for n := 1; ; n++ {
		b := newJournalBackend()
		disk, j := restoredJournal(t, b)
		was, _ := j.identity()
		disk.CrashAt(n)
		err := j.reset(t.Context(), func(ctx context.Context, q ship.Queue, _ func() bool) {
			if list, err := q.Pending(ctx, 1, 1<<20, func(frame.ID) bool { return false }); err == nil {
				for _, e := range list {
					b.byID[e.ID] = e.CRC
					b.ticks[e.Tick]++
					q.Ack(e.ID)
				}
			}
		})
		whole := !disk.Crashed()
		if whole && err != nil {
			t.Fatal(err)
		}
		disk.PowerCut()
		j, found := openTestJournal(t, disk)
		id, _ := j.identity()
		if whole && id == was {
			t.Fatal("the new identity is not durable")
		}
		if id != was && (found.Pending != 0 || len(found.Keys) != 0) {
			t.Fatalf("cut off at call %d: a new identity with %d batches and %d baselines of the old one", n, found.Pending, len(found.Keys))
		}
		if id == was { // it begins again
			if err := j.reset(t.Context(), func(ctx context.Context, q ship.Queue, _ func() bool) { b.take(ctx, t, q, 100) }); err != nil {
				t.Fatal(err)
			}
		}
		b.take(t.Context(), t, queue{j}, 100)
		for tick, times := range b.ticks {
			if times > 1 {
				t.Fatalf("cut off at call %d: batch %d was stored %d times", n, tick, times)
			}
		}
		if whole {
			if n < 10 {
				t.Errorf("a reset takes %d calls of the disk only", n)
			}
			return
		}
	}
}

// A reset waits for what is being appended, which needs the journal's lock.
func TestJournalResetAmongAppends(t *testing.T) {
	_, j := restoredJournal(t, newJournalBackend())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := int64(100); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_, generation := j.identity()
			_ = j.append(ctx, generation, &frame.Batch{Instance: "a", Lane: "slow", Tick: i}, nil, new(scratch)) // refused in between
		}
	}()
	var ids []frame.CollectorID
	for range 50 {
		if err := j.reset(ctx, func(context.Context, ship.Queue, func() bool) {}); err != nil {
			t.Fatal(err)
		}
		id, _ := j.identity()
		if ids = append(ids, id); slices.Index(ids, id) != len(ids)-1 {
			t.Fatal("an identity came twice")
		}
	}
	close(stop)
	<-ended
}
