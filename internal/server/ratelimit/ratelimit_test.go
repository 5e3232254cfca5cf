package ratelimit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/server/ratelimit"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]ratelimit.Limit{
		"off": {}, "10/s": {10, 10}, "10/s burst 50": {10, 50}, "600/min": {10, 10}, "30/min burst 5": {.5, 5}, "1/h": {1. / 3600, 1}, "0.5/s": {.5, 1},
	} {
		if got, err := ratelimit.Parse(text); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "10/d", "-1/s", "0/s", "10/s burst 0", "10/s  burst 5", "1e9/s", "2000000/s", "10/s burst 99999999999999999999"} {
		if got, err := ratelimit.Parse(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
}

// TestNeverMore: over any requests of any callers, each gets at most burst + rate x
// time, and one who waits as told gets what he wants.
func TestNeverMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := ratelimit.Limit{PerSecond: float64(rapid.IntRange(1, 50).Draw(t, "rate")), Burst: rapid.IntRange(1, 20).Draw(t, "burst")}
		l := ratelimit.New(limit, 1000)
		begun := time.Unix(1000, 0)
		now := begun
		got := map[string]int{}
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "pause")) * time.Millisecond)
			key := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key")
			ok, after := l.Allow(key, now)
			if !ok {
				if after <= 0 {
					t.Fatalf("refused, to come back after %s", after)
				}
				now = now.Add(after)
				if ok, after = l.Allow(key, now); !ok {
					t.Fatalf("waited as told, refused for %s more", after)
				}
			}
			got[key]++
			if most := float64(limit.Burst) + limit.PerSecond*now.Sub(begun).Seconds() + 1e-6; float64(got[key]) > most {
				t.Fatalf("%s got %d, at most %.2f", key, got[key], most)
			}
		}
	})
}

// TestBounded: callers without end take no memory without end, and don't go free.
func TestBounded(t *testing.T) {
	l := ratelimit.New(ratelimit.Limit{PerSecond: 1, Burst: 2}, 100)
	now := time.Unix(1000, 0)
	passed := 0
	for i := range 10_000 {
		for range 2 {
			if ok, _ := l.Allow(fmt.Sprint(i), now); ok {
				passed++
			}
		}
	}
	kept, bound, refused := l.Keys()
	if kept > bound || passed != 2*100+2 || refused != 20_000-202 {
		t.Errorf("%d of %d keys, %d passed, %d refused", kept, bound, passed, refused)
	}
	// When the others are at rest, a new one has a bucket of its own again.
	if ok, _ := l.Allow("late", now.Add(time.Minute)); !ok {
		t.Error("refused after a minute of rest")
	}
	if kept, _, _ := l.Keys(); kept != 1 {
		t.Errorf("%d keys after a minute of rest", kept)
	}
}

func TestOff(t *testing.T) {
	l := ratelimit.New(ratelimit.Limit{}, 1)
	for range 1000 {
		if ok, _ := l.Allow("a", time.Time{}); !ok {
			t.Fatal("refused although off")
		}
	}
}
