package api

import (
	"math"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/ratelimit"
)

// Limits bound how often callers may ask.
type Limits struct {
	Push     ratelimit.Limit // per collector
	Register ratelimit.Limit // per address
	SignIn   ratelimit.Limit // per address
}

// DefaultLimits let a collector of thousands of instances through, also when it has a
// backlog, and a building full of collectors behind one address.
var DefaultLimits = Limits{
	Push:     ratelimit.Limit{PerSecond: 20, Burst: 200},
	Register: ratelimit.Limit{PerSecond: 10, Burst: 500},
	SignIn:   ratelimit.Limit{PerSecond: 1, Burst: 20},
}

// bucket names what a route is bounded by.
type bucket string

const (
	byPush     bucket = "push"
	byRegister bucket = "register"
	bySignIn   bucket = "sign_in"
)

type limits struct {
	by      map[bucket]*ratelimit.Limiter
	refused *prometheus.CounterVec
}

func newLimits(l Limits, metrics prometheus.Registerer) *limits {
	out := &limits{by: map[bucket]*ratelimit.Limiter{}}
	out.refused = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pganalytics_rate_limited_total", Help: "Requests answered with 429, by what bounds them."}, []string{"bucket"})
	metrics.MustRegister(out.refused)
	for name, limit := range map[bucket]ratelimit.Limit{byPush: l.Push, byRegister: l.Register, bySignIn: l.SignIn} {
		limiter := ratelimit.New(limit, ratelimit.DefaultKeys)
		out.by[name] = limiter
		out.refused.WithLabelValues(string(name)) // there from the start, so that its rate is 0
		labels := prometheus.Labels{"bucket": string(name)}
		for _, g := range []struct {
			name, help string
			value      func() float64
		}{
			{"pganalytics_rate_limit_per_second", "Tokens that each caller gets per second; 0: no limit.", func() float64 { return limit.PerSecond }},
			{"pganalytics_rate_limit_callers", "Callers that have a bucket of their own now.", func() float64 { n, _, _ := limiter.Keys(); return float64(n) }},
			{"pganalytics_rate_limit_callers_limit", "Callers that may have one; the others share one.", func() float64 { _, n, _ := limiter.Keys(); return float64(n) }},
		} {
			metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help, ConstLabels: labels}, g.value))
		}
	}
	return out
}

// address bounds routes whose caller is not known yet by where he comes from. What a
// proxy says of it is not believed: anyone can say it.
func (l *limits) address(b bucket, r *http.Request, now time.Time) error {
	if b != byRegister && b != bySignIn {
		return nil
	}
	return l.allow(b, addressKey(r.RemoteAddr), now)
}

// collector bounds pushes by who pushes.
func (l *limits) collector(b bucket, id frame.CollectorID, now time.Time) error {
	if b != byPush {
		return nil
	}
	return l.allow(b, string(id[:]), now)
}

func (l *limits) allow(b bucket, key string, now time.Time) error {
	ok, after := l.by[b].Allow(key, now)
	if ok {
		return nil
	}
	l.refused.WithLabelValues(string(b)).Inc()
	p := newProblem(http.StatusTooManyRequests, "too many requests; the next one may come in %s", after)
	p.retry = max(1, int(math.Ceil(after.Seconds())))
	return p
}

// addressKey is an IPv4 address, or the network of an IPv6 one: a host has a whole
// /64 to itself.
func addressKey(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote // a request of our own process has none
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
