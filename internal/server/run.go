package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/api"
	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 5 * time.Second
	// prepareLimit bounds one attempt to prepare the store; another backend's migration counts.
	prepareLimit = 2 * time.Minute
	// keepEvery is how often partitions are made ahead and old data are dropped.
	keepEvery = time.Hour
	// ahead is how many days have partitions before they begin.
	ahead = 2
)

// state is what exists once the store is ready.
type state struct {
	fleet      *fleet.Fleet
	ledger     *ledger.Ledger
	series     *series.Series
	ingest     *ingest.Ingest
	partitions *store.Partitions
}

// Migrate brings both databases up to this program: hand-written tables, then families. It is
// what a starting backend does, and the command `migrate`.
func (b *Backend) Migrate(ctx context.Context) error {
	if err := store.Check(ctx, b.metrics, store.Options{AllowFsyncOff: b.cfg.AllowFsyncOff}); err != nil {
		return err
	}
	if err := store.Migrate(ctx, b.metrics, store.MetricsTable, fleet.Migrations, ledger.Migrations, series.Migrations, ingest.Migrations); err != nil {
		return fmt.Errorf("metrics database: %w", err)
	}
	if err := store.Migrate(ctx, b.app, store.AppTable, auth.Migrations); err != nil {
		return fmt.Errorf("configuration database: %w", err)
	}
	return series.Reconcile(ctx, b.metrics, catalog.All())
}

// Ready says whether the store has been prepared.
func (b *Backend) Ready() bool { return b.state.Load() != nil }

// prepare makes the store ready.
func (b *Backend) prepare(ctx context.Context) (*state, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	if err := b.Migrate(ctx); err != nil {
		return nil, err
	}
	var st state
	var err error
	if st.series, err = series.New(b.metrics, catalog.All()); err != nil {
		return nil, err
	}
	if st.ledger, err = ledger.Prepare(ctx, b.metrics, catalog.Names()); err != nil {
		return nil, err
	}
	if st.partitions, err = store.NewPartitions(ctx, b.metrics, append(series.PartitionedTables(catalog.All()), ledger.PartitionedTables...)); err != nil {
		return nil, err
	}
	if err := st.partitions.Configure(ctx, b.cfg.Retention); err != nil {
		return nil, err
	}
	if err := st.makeAhead(ctx); err != nil {
		return nil, err
	}
	st.fleet = fleet.New(b.metrics, series.TakenOver)
	st.ingest = ingest.New(b.metrics, st.fleet, st.ledger, st.series, st.partitions, b.log, ingest.Options{Retention: b.cfg.Retention, Registry: b.registry})
	return &st, nil
}

// makeAhead makes the partitions of yesterday to the day after tomorrow.
func (st *state) makeAhead(ctx context.Context) error {
	var days []int64
	for d := -1; d <= ahead; d++ {
		days = append(days, time.Now().Add(time.Duration(d)*24*time.Hour).UnixMicro())
	}
	return st.partitions.Ensure(ctx, days...)
}

// runStore prepares the store, trying until it can, then stores and keeps house until ctx ends.
func (b *Backend) runStore(ctx context.Context) error {
	var st *state
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		var err error
		if st, err = b.prepare(ctx); err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, store.ErrUnfit) {
			return err
		}
		if before := b.waiting.Swap(new(err.Error())); before == nil || *before != err.Error() {
			b.log.Warn("store not ready, trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
	b.state.Store(st)
	b.api.SetStore(&api.Store{Metrics: b.metrics, Sessions: b.sessions, Fleet: st.fleet, Ingest: st.ingest})
	b.log.Info("store ready", "layout", st.partitions.Layout().Detail)
	var wg sync.WaitGroup
	wg.Go(func() { _ = st.ingest.Run(ctx) }) // has no error but the end
	wg.Go(func() { b.keep(ctx, st) })
	wg.Wait()
	return nil
}

// keep keeps house. A failure waits for the next time: partitions are also made on demand.
func (b *Backend) keep(ctx context.Context, st *state) {
	for wait := time.Minute; ; wait = keepEvery { // not in the middle of a start
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := b.Keep(ctx); err != nil && ctx.Err() == nil {
			b.log.Warn("housekeeping failed", "err", err)
		}
	}
}

// Keep makes partitions ahead and drops what is older than the retention. Run does it every hour.
func (b *Backend) Keep(ctx context.Context) error {
	st := b.state.Load()
	if st == nil {
		return errors.New("the store is not ready")
	}
	cutoff := time.Now().Add(-b.cfg.Retention).UnixMicro()
	dropped, err := st.partitions.Expire(ctx, cutoff)
	if len(dropped) > 0 {
		b.log.Info("old days dropped", "count", len(dropped), "oldest", dropped[0])
	}
	ran, failed := st.partitions.RunJobs(ctx)
	if len(ran) > 0 {
		b.log.Warn("policies run that TimescaleDB's workers did not", "count", len(ran), "first", ran[0])
	}
	return errors.Join(err, failed, st.makeAhead(ctx), st.ingest.Retain(ctx), st.ledger.Retain(ctx, b.metrics, cutoff), st.series.Retain(ctx, cutoff))
}
