package ingest

import "github.com/prometheus/client_golang/prometheus"

// counters are the backend's own metrics of ingest.
type counters struct {
	batches *prometheus.CounterVec
	rows    prometheus.Counter
	groups  prometheus.Histogram
}

func newCounters(r prometheus.Registerer) counters {
	c := counters{
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pganalytics_ingest_batches_total", Help: "Batches and gaps pushed, by verdict."}, []string{"verdict", "reason"}),
		rows:    prometheus.NewCounter(prometheus.CounterOpts{Name: "pganalytics_ingest_rows_total", Help: "Rows stored."}),
		groups: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pganalytics_ingest_group_seconds", Help: "Time of group commits.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30}}),
	}
	if r != nil {
		r.MustRegister(c.batches, c.rows, c.groups)
	}
	return c
}

func (c *counters) verdict(u *unit) {
	c.batches.WithLabelValues(string(u.verdict.Status), u.verdict.Reason).Inc()
	if u.verdict.Status == Stored {
		c.rows.Add(float64(u.rows))
	}
}
