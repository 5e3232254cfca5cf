package loadtest

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/measure"
)

// usage is what the parts had used of the CPU at a moment.
type usage struct {
	at                                time.Time
	collector, backend, store, itself time.Duration
}

// use reads it. What is not ours stays 0.
func (k *backend) use(collector *measure.Child) (u usage, err error) {
	u.at = time.Now()
	if u.itself, err = measure.OwnCPU(); err != nil {
		return u, err
	}
	if collector != nil {
		if u.collector, err = measure.CPU(collector.PID()); err != nil {
			return u, err
		}
	}
	if k.process != nil {
		if u.backend, err = measure.CPU(k.process.PID()); err != nil {
			return u, err
		}
		u.store, err = k.store.CPU()
	}
	return u, err
}

// Used is what a part used over a measurement.
type Used struct {
	CPU    float64 `json:"cpu_percent"`      // of one core
	Memory float64 `json:"memory_mb"`        // peak
	Cycle  float64 `json:"cpu_ms_per_cycle"` // per instance and interval
	Note   string  `json:"note,omitempty"`
}

func used(d time.Duration, from, to usage, cycles float64) Used {
	return Used{CPU: 100 * d.Seconds() / to.at.Sub(from.at).Seconds(), Cycle: ms(d) / cycles}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// peak samples the store's memory each second until stopped.
type peak struct {
	stop context.CancelFunc
	done chan struct{}
	high int64
}

func (k *backend) peak(ctx context.Context) *peak {
	p := &peak{done: make(chan struct{})}
	ctx, p.stop = context.WithCancel(ctx)
	go func() {
		defer close(p.done)
		for k.store != nil {
			if n, err := k.store.Memory(); err == nil {
				p.high = max(p.high, n)
			}
			if measure.Sleep(ctx, 2*time.Second) != nil {
				return
			}
		}
	}()
	return p
}

// end gives the highest sum that was seen.
func (p *peak) end() int64 {
	p.stop()
	<-p.done
	return p.high
}

// Latency are nearest-rank percentiles in ms.
type Latency struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func latency(list []time.Duration) Latency {
	if len(list) == 0 {
		return Latency{}
	}
	sorted := slices.Sorted(slices.Values(list))
	rank := func(p float64) float64 {
		return ms(sorted[max(1, int(math.Ceil(p/100*float64(len(sorted)))))-1])
	}
	return Latency{len(list), rank(50), rank(95), rank(99), rank(100)}
}
