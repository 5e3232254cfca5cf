// Package ratelimit bounds how often each of many callers may do something: a token
// bucket per key. Memory is bounded too: keys whose bucket is full again are
// forgotten, and when too many callers are busy at once the new ones share a bucket.
package ratelimit

import (
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limit is how many tokens a bucket gets per second, and how many it holds. The zero
// Limit allows everything.
type Limit struct {
	PerSecond float64
	Burst     int
}

var form = regexp.MustCompile(`^(\d+(?:\.\d+)?)/(s|min|h)(?: burst (\d+))?$`)

// Parse reads "10/s", "600/min burst 50" or "off". Without burst a bucket holds what
// comes in a second, at least one.
func Parse(text string) (Limit, error) {
	if text == "off" {
		return Limit{}, nil
	}
	m := form.FindStringSubmatch(text)
	if m == nil {
		return Limit{}, fmt.Errorf("%q: want NUMBER/s, /min or /h, such as \"10/s burst 50\", or off", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	per := map[string]float64{"s": 1, "min": 60, "h": 3600}[m[2]]
	l := Limit{PerSecond: n / per}
	if l.Burst = max(1, int(l.PerSecond)); m[3] != "" && err == nil {
		l.Burst, err = strconv.Atoi(m[3])
	}
	if err != nil || l.PerSecond <= 0 || l.PerSecond > 1e6 || l.Burst < 1 || l.Burst > 1e6 {
		return Limit{}, fmt.Errorf("%q: want more than 0, at most 1,000,000 per second and a burst of 1 to 1,000,000", text)
	}
	return l, nil
}

func (l Limit) String() string {
	if l == (Limit{}) {
		return "off"
	}
	return fmt.Sprintf("%g/s burst %d", l.PerSecond, l.Burst)
}

// DefaultKeys bounds the buckets that New keeps.
const DefaultKeys = 20_000

// Limiter holds the buckets.
type Limiter struct {
	limit Limit
	keys  int

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
	crowd   *rate.Limiter // of callers beyond keys
	refused uint64
}

// New makes a Limiter of at most keys buckets.
func New(l Limit, keys int) *Limiter {
	r := &Limiter{limit: l, keys: keys, buckets: map[string]*rate.Limiter{}}
	r.crowd = r.bucket()
	return r
}

func (l *Limiter) bucket() *rate.Limiter {
	return rate.NewLimiter(rate.Limit(l.limit.PerSecond), l.limit.Burst)
}

// Allow takes a token of the key's bucket. When there is none, it says how long it
// takes until there is one.
func (l *Limiter) Allow(key string, now time.Time) (ok bool, after time.Duration) {
	if l.limit == (Limit{}) {
		return true, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	if b == nil {
		if len(l.buckets) >= l.keys {
			l.forget(now)
		}
		if b = l.crowd; len(l.buckets) < l.keys {
			b = l.bucket()
			l.buckets[key] = b
		}
	}
	r := b.ReserveN(now, 1)
	if after = r.DelayFrom(now); after > 0 {
		r.CancelAt(now)
		l.refused++
		return false, after.Truncate(time.Millisecond) + time.Millisecond // the bucket computes in floats
	}
	return true, 0
}

// forget drops full buckets: a new one would be the same.
func (l *Limiter) forget(now time.Time) {
	for key, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.limit.Burst) {
			delete(l.buckets, key)
		}
	}
}

// Keys gives the buckets kept and their bound, and how often Allow refused.
func (l *Limiter) Keys() (kept, bound int, refused uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buckets), l.keys, l.refused
}
