package ingest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// pruneEvery is how often a collector's ids are pruned.
const pruneEvery = 10 * time.Minute

type pruneTimes struct {
	mu   *sync.Mutex // guards last
	last map[frame.CollectorID]time.Time
}

func newPruneTimes() pruneTimes {
	return pruneTimes{&sync.Mutex{}, map[frame.CollectorID]time.Time{}}
}

func (p *pruneTimes) due(id frame.CollectorID, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.last[id]) < pruneEvery {
		return false
	}
	p.last[id] = now
	return true
}

// prune forgets ids that the collector no longer has anything for, at most every pruneEvery. The
// push was answered by the database already, so a failure only waits for the next time.
func (in *Ingest) prune(ctx context.Context, collector frame.CollectorID, oldest int64) {
	if !in.pruned.due(collector, in.now()) {
		return
	}
	if err := in.Prune(ctx, collector, oldest); err != nil {
		in.log.Warn("ids not pruned", "collector", collector.String(), "err", err)
	}
}

// Prune forgets the ids of a collector whose tick is before oldest (microseconds) and that came
// more than Retained ago. An id can't be taken for a forgotten one by its tick alone (a
// clock may jump back) nor by its number alone (the newest go first), so both are kept.
func (in *Ingest) Prune(ctx context.Context, collector frame.CollectorID, oldest int64) error {
	ctx, cancel := context.WithTimeout(ctx, groupLimit)
	defer cancel()
	err := pgx.BeginFunc(ctx, in.pool, func(tx pgx.Tx) error {
		if err := fleet.Lock(ctx, tx, []frame.CollectorID{collector}); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `WITH gone AS (
				DELETE FROM ingest_batch WHERE collector = $1 AND tick < `+store.SQLTime("$2::bigint")+` AND received < `+store.SQLTime("$3::bigint")+`
				RETURNING epoch, seq)
			INSERT INTO ingest_pruned AS p (collector, epoch, seq, tick)
			SELECT $1, epoch, max(seq), `+store.SQLTime("$2::bigint")+` FROM gone GROUP BY epoch
			ON CONFLICT (collector, epoch) DO UPDATE SET seq = greatest(p.seq, EXCLUDED.seq), tick = greatest(p.tick, EXCLUDED.tick)`,
			pgtype.UUID{Bytes: collector, Valid: true}, oldest, in.now().Add(-Retained).UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("prune ids: %w", err)
	}
	return nil
}

// Retain forgets ids whose ticks are too old to be stored again, in pieces.
func (in *Ingest) Retain(ctx context.Context) error {
	cutoff := in.cutoff(in.now())
	for _, sql := range []string{
		// A gap's tick is the oldest of many: its id goes a day later than a batch's could come.
		`DELETE FROM ingest_batch WHERE ctid = ANY (ARRAY(SELECT ctid FROM ingest_batch WHERE tick < ` + store.SQLTime("$1::bigint") + ` - interval '1 day' AND received < ` + store.SQLTime("$2::bigint") + ` LIMIT 10000))`,
		`DELETE FROM ingest_pruned WHERE ctid = ANY (ARRAY(SELECT ctid FROM ingest_pruned WHERE tick < ` + store.SQLTime("$1::bigint") + ` - interval '1 day' AND ` + store.SQLTime("$2::bigint") + ` IS NOT NULL LIMIT 10000))`,
	} {
		for {
			tag, err := in.pool.Exec(ctx, sql, cutoff, in.now().Add(-Retained).UnixMicro())
			if err != nil {
				return fmt.Errorf("forget old ids: %w", err)
			}
			if tag.RowsAffected() < 10000 {
				break
			}
		}
	}
	return nil
}
