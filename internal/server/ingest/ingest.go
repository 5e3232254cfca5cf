package ingest

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

const (
	// MaxFuture is how far a batch's tick may lie ahead of our clock.
	MaxFuture = 5 * time.Minute
	// Retained is how long a batch's id is kept after it came, even when its collector has
	// long forgotten it.
	Retained = time.Hour

	linger     = 3 * time.Millisecond // for which a group waits for others
	groupRows  = 10_000               // it waits no longer with that many
	groupBytes = 64 << 20
	groupLimit = 60 * time.Second // of one transaction

	failingFor = 30 * time.Second

	// committers work at once: while one waits for COMMIT, the other copies. Groups with
	// batches of one collector follow each other through its lock.
	committers = 2
)

// Options of New.
type Options struct {
	Retention time.Duration
	Registry  prometheus.Registerer // nil: none
	Now       func() time.Time      // nil: time.Now
}

// Ingest takes pushes. Run must be running for them to be answered. Any number of backends may do so on one database.
type Ingest struct {
	pool       *pgxpool.Pool
	fleet      *fleet.Fleet
	ledger     *ledger.Ledger
	series     *series.Series
	partitions *store.Partitions
	log        *slog.Logger
	opt        Options
	budget     *budget
	queue      chan *job
	count      counters
	failed     atomic.Int64 // when the newest group was not stored, Unix ns; 0: it was
	pruned     pruneTimes
	ended      chan struct{}  // closed when Run has
	orphans    sync.WaitGroup // of requests that were aborted
}

// job is the part of a request that is committed together with others.
type job struct {
	units []*unit
	done  chan struct{} // closed when every unit has its verdict
}

// New is for a prepared database.
func New(pool *pgxpool.Pool, f *fleet.Fleet, l *ledger.Ledger, s *series.Series, p *store.Partitions, log *slog.Logger, opt Options) *Ingest {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	in := &Ingest{pool: pool, fleet: f, ledger: l, series: s, partitions: p, log: log, opt: opt,
		budget: newBudget(totalRaw), queue: make(chan *job, 256), count: newCounters(opt.Registry), pruned: newPruneTimes(), ended: make(chan struct{})}
	if opt.Registry != nil {
		opt.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pganalytics_ingest_queue", Help: "Parts of requests that wait for a group commit, at most 256."},
			func() float64 { return float64(len(in.queue)) }))
	}
	return in
}

func (in *Ingest) now() time.Time { return in.opt.Now() }

// cutoff is the oldest tick that is kept, in microseconds.
func (in *Ingest) cutoff(now time.Time) int64 { return now.Add(-in.opt.Retention).UnixMicro() }

// Failing says whether the newest group could not be stored, a short time ago: without
// pushes nothing shows that the store is well again.
func (in *Ingest) Failing() bool {
	at := in.failed.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < failingFor
}

// Run commits what is pushed until ctx ends. What is in a group then still gets its verdict; the
// HTTP server must have ended before. It runs once.
func (in *Ingest) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range committers {
		wg.Go(func() { in.commitGroups(ctx) })
	}
	wg.Wait()
	close(in.ended)
	in.orphans.Wait()
	return nil
}

// commitGroups commits one group after another.
func (in *Ingest) commitGroups(ctx context.Context) {
	var waiting []*job
	for {
		if len(waiting) == 0 {
			select {
			case j := <-in.queue:
				waiting = append(waiting, j)
			default:
				select {
				case j := <-in.queue:
					waiting = append(waiting, j)
				case <-ctx.Done():
					return
				}
			}
		}
		waiting = in.gather(ctx, waiting)
		in.commit(context.WithoutCancel(ctx), pick(waiting))
		waiting = answer(waiting)
	}
}

// gather waits shortly for more jobs.
func (in *Ingest) gather(ctx context.Context, waiting []*job) []*job {
	rows, bytes := 0, 0
	for _, j := range waiting {
		rows, bytes = rows+j.rows(), bytes+j.bytes()
	}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for rows < groupRows && bytes < groupBytes {
		select {
		case j := <-in.queue:
			waiting = append(waiting, j)
			rows, bytes = rows+j.rows(), bytes+j.bytes()
		case <-timer.C:
			return waiting
		case <-ctx.Done():
			return waiting
		}
	}
	return waiting
}

func (j *job) rows() (n int) {
	for _, u := range j.units {
		n += u.rows
	}
	return n
}

func (j *job) bytes() (n int) {
	for _, u := range j.units {
		n += u.bytes
	}
	return n
}

// pick takes the units that can be claimed in one transaction: those whose ids don't overlap with
// another's. The rest waits for the next one.
func pick(waiting []*job) []*unit {
	type epoch struct {
		collector [16]byte
		epoch     uint64
	}
	taken := map[epoch]map[uint64]bool{}
	ranges := map[epoch][][2]uint64{}
	var group []*unit
	for _, j := range waiting {
	units:
		for _, u := range j.units {
			if u.verdict.Status != "" {
				continue
			}
			k := epoch{u.id.Collector, u.id.Epoch}
			for _, r := range ranges[k] {
				if u.firstSeq <= r[1] && r[0] <= u.id.Seq {
					continue units
				}
			}
			if u.firstSeq == u.id.Seq {
				if taken[k][u.id.Seq] {
					continue
				}
			} else {
				for seq := range taken[k] {
					if u.firstSeq <= seq && seq <= u.id.Seq {
						continue units
					}
				}
				ranges[k] = append(ranges[k], [2]uint64{u.firstSeq, u.id.Seq})
			}
			if taken[k] == nil {
				taken[k] = map[uint64]bool{}
			}
			taken[k][u.id.Seq] = true
			group = append(group, u)
		}
	}
	return group
}

// answer ends the jobs that are done, and gives the others.
func answer(waiting []*job) (rest []*job) {
	for _, j := range waiting {
		done := true
		for _, u := range j.units {
			done = done && u.verdict.Status != ""
		}
		if done {
			close(j.done)
		} else {
			rest = append(rest, j)
		}
	}
	return rest
}
