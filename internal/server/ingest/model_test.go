package ingest_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
)

// TestAgainstModel pushes batches, clones, gaps and merged gaps in random order, again and again, with
// pruning in between, through two backends, and holds every verdict and the sums against a
// model: a map of claimed ids.
func TestAgainstModel(t *testing.T) {
	const n, queries, steps = 40, 3, 500
	url := database(t)
	now := time.Now()
	clock := func(o *ingest.Options) { o.Now = func() time.Time { return now } }
	backends := []*backend{newBackend(t, url, clock), newBackend(t, url, clock)}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	c := newCollector(t, backends[0], "a")
	var batches, clones []*frame.Batch
	for k := range int64(n) {
		twin := *c
		batches = append(batches, c.batch("a", k, queries))
		clones = append(clones, twin.batch("a", k, queries+1))
	}
	const nothing, batch, gap = 0, 1, 2
	claimed := make([]int, n)
	forgotten := make([]bool, n) // its row was pruned
	var stored, dropped int64
	for range steps {
		b := backends[r.IntN(2)]
		i := r.IntN(n)
		var e *frame.Envelope
		var want ingest.Status
		switch op := r.IntN(10); {
		case op < 4: // the batch
			e, want = frame.NewEnvelope(batches[i]), "duplicate"
			if claimed[i] == nothing {
				want, claimed[i] = "stored", batch
				stored++
			}
		case op < 6: // another one under its id
			if claimed[i] == nothing {
				continue
			}
			e, want = frame.NewEnvelope(clones[i]), "duplicate"
			if claimed[i] == batch && !forgotten[i] {
				want = "cloned"
			}
		case op < 9: // a gap for it and some neighbours
			j := min(n, i+1+r.IntN(3))
			e, want = gapEnvelope("spool_full", batches[i:j]...), "duplicate"
			if !slices.ContainsFunc(claimed[i:j], func(x int) bool { return x != nothing }) {
				want = "stored"
				for k := i; k < j; k++ {
					claimed[k] = gap
					dropped++
				}
			} else if slices.Contains(forgotten[i:j], true) {
				continue // a collector that told us to forget an id has no gap over it
			}
		default: // everything before the first open one has been told to the collector
			open := slices.Index(claimed, nothing)
			if open < 1 || r.IntN(4) > 0 {
				continue
			}
			now = now.Add(2 * time.Hour)
			if err := b.Prune(t.Context(), c.id, batches[open].Tick); err != nil {
				t.Fatal(err)
			}
			for k := range open {
				forgotten[k] = true
			}
			continue
		}
		if got := push(t, b, c, e); got[0] != want {
			t.Fatalf("%s: %s, want %s", e.ID, got[0], want)
		}
	}
	w := expect(stored, queries)
	w.droppedCalls, w.dropped, w.walBytes = dropped*(queries*(queries+1)/2+1000), dropped, (stored+dropped)*100
	same(t, url, w)
	if stored == 0 || dropped == 0 {
		t.Errorf("%d stored, %d dropped: the test proves little", stored, dropped)
	}
	// Whether an id is pruned before all are claimed is the seed's to say; TestPruned always does.
	if !slices.Contains(forgotten, true) {
		t.Log("nothing was pruned with this seed")
	}
}
