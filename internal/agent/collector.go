package agent

import (
	"errors"
	"maps"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/agent/host"
	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// ownFamily adds the row of the family `collector`: what the process uses, and what
// it costs this instance. Its baseline is the process's start.
func (r *reading) ownFamily(l *line) {
	switch {
	case r.failure != nil:
		r.d.fail(l, target.ReasonOf(r.failure), r.failure)
		return
	case r.asked && !r.answered:
		r.d.fail(l, "lost", errors.New("nothing else was read, so the server's clock is not known"))
		return
	}
	a, in := r.a, r.ln.in
	f := catalog.Lookup(l.Family)
	p, err := a.own.Self()
	if err != nil {
		r.d.fail(l, "failed", err)
		return
	}
	if r.at == 0 {
		r.at = a.micros()
	}
	values := a.ownValues(p)
	in.mu.Lock()
	maps.Copy(values, in.work.values())
	base := in.own
	in.mu.Unlock()
	if base == nil {
		start := map[string]float64{"cpu_time": ms(a.began.CPU)}
		at := r.at - time.Since(a.started).Microseconds()
		base = counter.Count(f, nil, counter.Reading{Frame: ownFrame(f, at, start)}, counter.Options{}).Baseline
		base.Settle()
	}
	res := counter.Count(f, base, counter.Reading{Frame: ownFrame(f, r.at, values)}, counter.Options{})
	for i := range res.Frames {
		if res.Frames[i].N > 0 {
			r.d.batch.Frames = append(r.d.batch.Frames, res.Frames[i])
		}
	}
	r.d.own = res.Baseline
	r.d.stored(l, res.Frames[0].Since, res.Frames[0].At)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ownValues are the values of the whole process, in documented units.
func (a *Agent) ownValues(p host.Process) map[string]float64 {
	overflow, _ := a.workers.overflow.counts()
	last, busy := a.cycle.seen()
	st := a.journal.spool.Stats()
	age := 0.0
	if st.OldestTick != 0 {
		age = max(0, float64(a.micros()-st.OldestTick)/1e6)
	}
	return map[string]float64{
		"cpu_time": ms(p.CPU), "busy_time": ms(busy), "memory": float64(p.Memory), "memory_peak": float64(p.Peak), "cycle_time": ms(last.Duration),
		"workers": float64(a.workers.size), "overflow": float64(overflow), "instances": float64(len(a.instances)),
		"spool_bytes": float64(st.Bytes), "spool_max_bytes": float64(st.MaxBytes), "spool_batches": float64(st.Pending), "spool_oldest_age": age,
	}
}

// values are those of one instance.
func (w *instanceWork) values() map[string]float64 {
	return map[string]float64{
		"rounds": float64(w.rounds), "round_time": ms(w.roundTime), "round_trips": float64(w.trips), "server_time": ms(w.serverTime),
		"connects": float64(w.connects), "connect_time": ms(w.connectTime), "acquires": float64(w.acquires), "acquire_time": ms(w.acquireTime),
		"pool_open": float64(w.poolOpen), "pool_busy": float64(w.poolBusy), "pool_max": float64(w.poolMax),
	}
}

// ownFrame is one row of values in documented units; what is missing is 0.
func ownFrame(f *catalog.Family, at int64, values map[string]float64) *frame.Frame {
	n := len(f.Columns)
	out := &frame.Frame{Family: f.Name, Part: frame.Rows, At: at, N: 1, Columns: make([]frame.Column, n)}
	floats, ints := make([]float64, n), make([]int64, n)
	for i := range f.Columns {
		c, col := &f.Columns[i], &out.Columns[i]
		*col = frame.Column{Name: c.Name, Kind: c.Kind, Type: c.Wire()}
		if v := values[c.Name]; col.Type == catalog.Float {
			floats[i], col.Floats = v, floats[i:i+1:i+1]
		} else {
			ints[i], col.Ints = int64(v*float64(c.Scale())), ints[i:i+1:i+1]
		}
	}
	return out
}
