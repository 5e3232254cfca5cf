package ingest_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
)

// What the collector asks for at its start, to learn whether its disk was rolled back, is
// the newest batch that it made, also when its clock went back meanwhile.
func TestNewestIsTheHighestSeqOfAnEpoch(t *testing.T) {
	url := database(t)
	b := newBackend(t, url)
	c := newCollector(t, b, "a:5432")
	newest := func(epoch, seq uint64) {
		t.Helper()
		e, s, err := b.fleet.Newest(t.Context(), c.id)
		if err != nil || e != epoch || s != seq {
			t.Errorf("newest is %x/%d (%v), want %x/%d", e, s, err, epoch, seq)
		}
	}
	first := c.epoch
	// Ticks 50, 51, then the clock is at 20; in one group, and in groups of their own.
	want(t, push(t, b, c, envelopes(c.batch("a:5432", 50, 1), c.batch("a:5432", 51, 1), c.batch("a:5432", 20, 1))...), "stored", "stored", "stored")
	newest(first, 3)
	late := c.batch("a:5432", 52, 1)
	want(t, push(t, b, c, envelopes(c.batch("a:5432", 21, 1))...), "stored")
	newest(first, 5)
	want(t, push(t, b, c, envelopes(late)...), "stored") // older, though its tick is newer
	newest(first, 5)
	// Of two epochs, ticks tell.
	c.epoch, c.seq = c.epoch+1000, 0
	want(t, push(t, b, c, envelopes(c.batch("a:5432", 22, 1))...), "stored")
	newest(c.epoch, 1)
	old := c.batch("a:5432", 10, 1)
	old.ID.Epoch, old.ID.Seq, old.Prev.Epoch, old.Prev.Seq = first, 6, first, 5
	want(t, push(t, b, c, envelopes(old)...), "stored")
	newest(c.epoch, 1)
}

// A tick older than all that its collector still keeps can't come any more.
func TestOldestKeptIsRemembered(t *testing.T) {
	url := database(t)
	b := newBackend(t, url)
	c := newCollector(t, b, "a:5432")
	kept := func() (us int64, ok bool) {
		t.Helper()
		tx, err := b.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(t.Context()) }()
		list, err := fleet.Reporters(t.Context(), tx)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		us, ok = fleet.Alive(list, time.Now().UnixMicro())[c.id]
		return us, ok
	}
	send := func(k, oldest int64) {
		t.Helper()
		raw := body(envelopes(c.batch("a:5432", k, 1))...)
		got, err := b.Push(t.Context(), c.id, bytes.NewReader(raw), int64(len(raw)), strconv.FormatInt(oldest, 10))
		if err != nil || got.Results[0].Status != ingest.Stored {
			t.Fatal(got, err)
		}
	}
	want(t, push(t, b, c, envelopes(c.batch("a:5432", 1, 1))...), "stored") // says nothing of what it keeps
	if us, ok := kept(); us != 0 || !ok {
		t.Errorf("kept from %d on (%v), want all", us, ok)
	}
	const minute = 60 * second
	for i, step := range []struct{ oldest, want int64 }{
		{c.start, c.start},
		{c.start + minute/2, c.start}, // too little to be written
		{c.start + 2*minute, c.start + 2*minute},
		{c.start + minute, c.start + minute}, // it found more
	} {
		send(int64(i)+2, step.oldest)
		if us, ok := kept(); us != step.want || !ok {
			t.Errorf("oldest %d: kept from %d on (%v), want %d", step.oldest-c.start, us-c.start, ok, step.want-c.start)
		}
	}
}
