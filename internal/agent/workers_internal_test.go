package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// Rounds that hang free their slots, at once when others wait.
func TestHangingRoundsFreeTheirSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(2)
		hang := make(chan struct{})
		for range 30 {
			go func() {
				k, err := w.enter(t.Context(), catalog.Slow, false)
				if err != nil {
					t.Error(err)
					return
				}
				<-hang
				k.leave()
			}()
		}
		synctest.Wait()
		begun := time.Now()
		k, err := w.enter(t.Context(), catalog.Slow, false)
		if err != nil {
			t.Fatal(err)
		}
		// 30 rounds, 2 slots, 200 ms each.
		if d := time.Since(begun); d > 30/2*crowdedAfter+time.Millisecond {
			t.Errorf("waited %s", d)
		}
		k.leave()
		time.Sleep(2 * overflowAfter)
		if over, _ := w.overflow.counts(); over != 30 {
			t.Errorf("%d rounds in the overflow set, want 30", over)
		}
		close(hang)
		synctest.Wait()
		if used, waiting := w.slots.counts(); used != 0 || waiting != 0 {
			t.Errorf("%d slots used, %d waiting after all left", used, waiting)
		}
		if used, _ := w.overflow.counts(); used != 0 {
			t.Errorf("%d in the overflow set after all left", used)
		}
	})
}

// A full overflow set lets rounds keep their slots: they are bounded in any case.
func TestOverflowIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(4)
		hang := make(chan struct{})
		for range maxOverflow + 20 {
			go func() {
				k, err := w.enter(t.Context(), catalog.Slow, false)
				if err != nil {
					t.Error(err)
					return
				}
				<-hang
				k.leave()
			}()
		}
		time.Sleep(time.Minute)
		over, _ := w.overflow.counts()
		used, waiting := w.slots.counts()
		if over != maxOverflow || used != 4 || waiting != 16 {
			t.Errorf("%d in the overflow set, %d slots used, %d waiting, want %d, 4, 16", over, used, waiting, maxOverflow)
		}
		close(hang)
		synctest.Wait()
	})
}

func TestFastLaneGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(1)
		first, err := w.enter(t.Context(), catalog.Slow, false)
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan catalog.Lane, 3)
		for _, lane := range []catalog.Lane{catalog.Slow, catalog.Slow, catalog.Fast} {
			go func() {
				k, err := w.enter(t.Context(), lane, false)
				if err != nil {
					t.Error(err)
					return
				}
				order <- lane
				k.leave()
			}()
			synctest.Wait()
		}
		first.leave()
		synctest.Wait()
		if got := <-order; got != catalog.Fast {
			t.Errorf("the %s lane went first", got)
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(1)
		first, err := w.enter(t.Context(), catalog.Slow, false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := w.enter(ctx, catalog.Slow, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		first.leave()
		if used, waiting := w.slots.counts(); used != 0 || waiting != 0 {
			t.Errorf("%d slots used, %d waiting", used, waiting)
		}
	})
}
