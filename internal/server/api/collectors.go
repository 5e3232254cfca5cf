package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
)

// gauges of the family collector that the list shows, in the order of their use.
var collectorGauges = []string{"memory", "memory_peak", "cycle_time", "workers", "spool_bytes", "spool_max_bytes", "spool_batches", "spool_oldest_age", "pool_open", "pool_busy", "pool_max"}

func (s *Server) collectors(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	p, err := s.params(r, "from", "to")
	if err != nil {
		return err
	}
	sp, err := p.span()
	if err != nil {
		return err
	}
	out := struct {
		Items []Collector `json:"items"`
	}{[]Collector{}}
	err = s.read(r, func(ctx context.Context, tx pgx.Tx) error {
		v, err := s.view(ctx, tx, 0, sp)
		if err != nil {
			return err
		}
		ids := make([]int64, len(v.watched))
		for i := range v.watched {
			ids[i] = v.watched[i].ID
		}
		newest, err := series.Newest(ctx, tx, ids, v.window.To, collectorGauges...)
		if err != nil {
			return err
		}
		cycles, err := series.CycleTrend(ctx, tx, ids, v.window, v.step, trendBuckets)
		if err != nil {
			return err
		}
		for i := range v.reporters {
			out.Items = append(out.Items, v.collector(&v.reporters[i], newest, cycles))
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, out)
	return nil
}

func (v *view) collector(r *fleet.Reporter, newest map[int64]series.Row, cycles map[int64][]float64) Collector {
	out := Collector{Id: fmt.Sprintf("%x", r.ID), Name: r.Name, Version: r.Version, Hostname: optional(r.Hostname), State: Silent,
		LastPush: maybe(r.LastPush), Interval: new(seconds(r.Interval)), Instances: []CollectorInstance{}}
	if r.Alive(v.now) {
		out.State = Reporting
	}
	var sum ledger.Counts
	for _, p := range v.account.Planned {
		if p.Collector == r.ID {
			sum.Add(v.account.Count(p))
		}
	}
	out.Counts = counts(sum)
	var (
		latest     series.Row    // of the process: any instance's newest row
		process    *series.Total // the instance that observed it longest
		called     series.Coverage
		open, busy float64
		limit      float64
		pools      bool
		trend      = make([]*float64, trendBuckets)
		interval   = seconds(r.Interval)
	)
	for i := range v.watched {
		w := &v.watched[i]
		if w.Collector != r.ID {
			continue
		}
		state, _ := v.contacts[w.ID].State(v.now)
		one := CollectorInstance{Id: strconv.FormatInt(w.ID, 10), Name: w.Name, Status: new(CollectorInstanceStatus(state))}
		own := v.own[w.ID]
		cost, ok := own.Rate(0)
		one.CostPercent, one.CostMsPerCycle = known(cost/10, ok), known(cost*interval, ok)
		out.Instances = append(out.Instances, one)
		if own != nil && (process == nil || own.Seconds > process.Seconds) {
			process = own
		}
		if row, found := newest[w.ID]; found {
			if row.Time > latest.Time {
				latest = row
			}
			open, busy, limit, pools = open+value(row.Values[8]), busy+value(row.Values[9]), limit+value(row.Values[10]), true
		}
		if c := v.called[w.ID]; c != nil {
			called.Add(c)
		}
		for b, cycle := range cycles[w.ID] {
			if cycle > 0 && (trend[b] == nil || cycle > *trend[b]) {
				trend[b] = &cycle
			}
		}
	}
	reach(trend, make([]bool, trendBuckets), int((r.Interval-1)/v.step))
	out.CycleTrend = &trend
	out.CoverageCalls = known(called.Calls())
	if latest.Values != nil {
		g := latest.Values
		out.MemoryBytes, out.MemoryPeakBytes, out.CycleSeconds, out.Workers = g[0], g[1], milli(g[2]), g[3]
		out.SpoolBytes, out.SpoolMaxBytes, out.SpoolBatches, out.SpoolOldestAge = g[4], g[5], g[6], g[7]
	}
	out.PoolOpen, out.PoolBusy, out.PoolMax = known(open, pools), known(busy, pools), known(limit, pools)
	cpu, ok := process.Rate(1)
	out.CpuPercent = known(cpu/10, ok)
	if work, ok := process.Rate(2); ok && out.Workers != nil && *out.Workers > 0 {
		out.BusySeconds = new(work / 1000 * interval / *out.Workers)
	}
	return out
}

func value(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

// milli turns milliseconds into seconds.
func milli(v *float64) *float64 {
	if v == nil {
		return nil
	}
	return new(*v / 1000)
}
