package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// commit gives every unit its verdict: the group in one transaction, or else each alone. The
// verdict is never better than what the database said: without an answer to COMMIT it is unavailable.
func (in *Ingest) commit(ctx context.Context, group []*unit) {
	if len(group) == 0 {
		return
	}
	started := time.Now()
	err := in.store(ctx, group)
	if err != nil && len(group) > 1 && !hopeless(err) {
		in.log.Warn("group not stored, trying each batch alone", "batches", len(group), "err", err)
		for _, u := range group {
			if err = in.store(ctx, []*unit{u}); err != nil {
				in.fail(u, err)
				if hopeless(err) {
					break
				}
			}
		}
	}
	if err != nil && hopeless(err) {
		in.failed.Store(time.Now().UnixNano())
	} else {
		in.failed.Store(0)
	}
	for _, u := range group {
		if u.verdict.Status == "" {
			in.fail(u, err)
		}
		in.count.verdict(u)
		u.contents = nil // no longer needed, and large
	}
	in.count.groups.Observe(time.Since(started).Seconds())
}

// fail gives the verdict on a unit that could not be stored.
func (in *Ingest) fail(u *unit, err error) {
	u.verdict = Verdict{Status: Unavailable, Detail: "the store did not confirm it"}
	var pe *pgconn.PgError
	if errors.As(err, &pe) && !hopeless(err) && (strings.HasPrefix(pe.Code, "22") || strings.HasPrefix(pe.Code, "23")) {
		// Its data can't be stored, now or later.
		u.verdict = Verdict{Status: Refused, Reason: ReasonPoison, Detail: pe.Message}
	}
	in.log.Warn("batch not stored", "collector", u.id.Collector.String(), "batch", u.id.String(), "verdict", string(u.verdict.Status), "err", err)
}

// noPartition is what PostgreSQL says of a row for which there is no partition.
func noPartition(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "23514" && strings.HasPrefix(pe.Message, "no partition")
}

// hopeless says that another transaction right now would fare no better: the store is gone,
// full, or shutting down.
func hopeless(err error) bool {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return true // the connection
	}
	switch pe.Code[:2] {
	case "08", "53", "57", "58", "XX", "25", "42", "28", "3D":
		return true
	}
	return noPartition(err)
}

// store commits units in one transaction. On success every unit has its verdict, on error none.
func (in *Ingest) store(ctx context.Context, group []*unit) error {
	err := in.storeOnce(ctx, group)
	if err != nil && noPartition(err) {
		in.partitions.Forget() // another backend's retention dropped it
		err = in.storeOnce(ctx, group)
	}
	return err
}

func (in *Ingest) storeOnce(ctx context.Context, group []*unit) error {
	ctx, cancel := context.WithTimeout(ctx, groupLimit)
	defer cancel()
	var times []int64
	for _, u := range group {
		for _, c := range u.contents {
			times = append(times, c.times...)
		}
	}
	slices.Sort(times)
	if err := in.partitions.Ensure(ctx, slices.Compact(times)...); err != nil {
		return err
	}
	conn, err := in.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("reach the store: %w", err)
	}
	defer conn.Release()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing after COMMIT
	verdicts, committed, err := in.write(ctx, tx, group)
	if err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for i, u := range group {
		u.verdict = verdicts[i]
	}
	for _, f := range committed {
		f()
	}
	return nil
}

// write does the work of the transaction. Only units that it claims bring rows.
func (in *Ingest) write(ctx context.Context, tx pgx.Tx, group []*unit) ([]Verdict, []func(), error) {
	if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on; SET LOCAL statement_timeout = '60s'"); err != nil {
		return nil, nil, fmt.Errorf("begin: %w", err)
	}
	var collectors []frame.CollectorID
	var instances []int64
	for _, u := range group {
		collectors = append(collectors, u.id.Collector)
		for _, c := range u.contents {
			instances = append(instances, c.instance)
		}
	}
	slices.SortFunc(collectors, func(a, b frame.CollectorID) int { return slices.Compare(a[:], b[:]) })
	collectors = slices.Compact(collectors)
	slices.Sort(instances)
	if err := fleet.Lock(ctx, tx, collectors); err != nil {
		return nil, nil, err
	}
	holders, err := fleet.Holders(ctx, tx, slices.Compact(instances))
	if err != nil {
		return nil, nil, err
	}
	verdicts := make([]Verdict, len(group))
	var open []int // units to claim
	for i, u := range group {
		if c := stranger(u, holders); c != nil && u.kind == frame.KindBatch {
			verdicts[i] = Verdict{Status: Refused, Reason: ReasonHolder, Detail: c.name + " is watched by another collector"}
			continue
		}
		open = append(open, i)
	}
	if err := claim(ctx, tx, group, open, verdicts, in.now()); err != nil {
		return nil, nil, err
	}
	var copies []store.CopyRows
	var names []*series.Content
	var ticks []*ledger.Content
	var seen []fleet.Seen
	var owners [][16]byte
	for i, u := range group {
		if verdicts[i].Status != Stored {
			continue
		}
		for _, c := range u.contents {
			if !fleet.HeldAt(holders[c.instance], u.id.Collector, c.tick) {
				continue // a part of a gap for an instance that is another's now
			}
			copies = append(copies, c.copies()...)
			names = append(names, &c.series)
			ticks = append(ticks, &c.ledger)
			owners = append(owners, u.id.Collector)
			seen = append(seen, fleet.Seen{Instance: c.instance, Tick: c.tick, Server: &c.server})
		}
	}
	rememberServers, err := in.fleet.Write(ctx, tx, seen)
	if err != nil {
		return nil, nil, err
	}
	rememberNames, err := in.ledger.Write(ctx, tx, owners, ticks)
	if err != nil {
		return nil, nil, err
	}
	if err := in.series.Write(ctx, tx, names); err != nil {
		return nil, nil, err
	}
	if err := store.CopyAll(ctx, tx.Conn().PgConn(), copies); err != nil {
		return nil, nil, err
	}
	if err := fleet.Pushes(ctx, tx, pushes(collectors, group, verdicts)); err != nil {
		return nil, nil, err
	}
	return verdicts, []func(){rememberServers, rememberNames}, nil
}

// stranger gives a content whose instance the unit's collector did not hold at its tick.
func stranger(u *unit, holders map[int64][]fleet.Holder) *content {
	for _, c := range u.contents {
		if !fleet.HeldAt(holders[c.instance], u.id.Collector, c.tick) {
			return c
		}
	}
	return nil
}

func pushes(collectors []frame.CollectorID, group []*unit, verdicts []Verdict) []fleet.Pushed {
	out := make([]fleet.Pushed, len(collectors))
	for i, id := range collectors {
		out[i].Collector = id
		for k, u := range group {
			if u.id.Collector != id {
				continue
			}
			if o := &out[i].Oldest; *o == 0 || u.oldest != 0 {
				*o = u.oldest
			}
			if verdicts[k].Status == Stored && u.kind == frame.KindBatch && newer(u, &out[i]) {
				out[i].Newest, out[i].Tick = u.id, u.tick
			}
		}
	}
	return out
}

// newer says whether a batch was made after the newest one known: of one epoch the higher
// seq, though a clock may have gone back between them.
func newer(u *unit, p *fleet.Pushed) bool {
	switch {
	case p.Newest.Seq == 0:
		return true
	case u.id.Epoch == p.Newest.Epoch:
		return u.id.Seq > p.Newest.Seq
	}
	return u.tick > p.Tick
}

// claim inserts the ids of the open units and gives each its verdict. A unit whose ids, or any of
// them, are claimed already is not claimed. The caller holds the collectors' locks.
func claim(ctx context.Context, tx pgx.Tx, group []*unit, open []int, verdicts []Verdict, now time.Time) error {
	open = slices.SortedFunc(slices.Values(open), func(a, b int) int { return compareIDs(group[a].id, group[b].id) })
	n := len(open)
	collectors := make([]pgtype.UUID, n)
	epochs, seqs, firsts, prevEpochs, prevSeqs := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	kinds, crcs, ticks := make([]int16, n), make([]int64, n), make([]int64, n)
	for k, i := range open {
		u := group[i]
		collectors[k] = pgtype.UUID{Bytes: u.id.Collector, Valid: true}
		epochs[k], seqs[k], firsts[k] = int64(u.id.Epoch), int64(u.id.Seq), int64(u.firstSeq)
		prevEpochs[k], prevSeqs[k] = int64(u.prev.Epoch), int64(u.prev.Seq)
		kinds[k], crcs[k], ticks[k] = int16(u.kind), int64(u.crc), u.tick
	}
	// Rows of an epoch never overlap: the first that ends at or behind our first id is the one
	// to look at. It is given back where it stands in the way.
	rows, err := tx.Query(ctx, `WITH u AS (
			SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::smallint[], $8::bigint[], $9::bigint[])
				WITH ORDINALITY AS u(collector, epoch, seq, first_seq, prev_epoch, prev_seq, kind, crc, us, n)),
		w AS (
			SELECT u.*, `+store.SQLTime("u.us")+` AS tick, b.kind AS have_kind, b.crc AS have_crc, b.first_seq <= u.seq AS taken, b.first_seq AS have_first, b.seq AS have_seq,
				EXISTS (SELECT FROM ingest_pruned p WHERE p.collector = u.collector AND p.epoch = u.epoch AND p.seq >= u.seq AND p.tick > `+store.SQLTime("u.us")+`) AS pruned
			FROM u LEFT JOIN LATERAL (SELECT kind, crc, first_seq, seq FROM ingest_batch b WHERE b.collector = u.collector AND b.epoch = u.epoch AND b.seq >= u.first_seq ORDER BY b.seq LIMIT 1) b ON true),
		claimed AS (
			INSERT INTO ingest_batch (collector, epoch, seq, first_seq, prev_epoch, prev_seq, kind, crc, tick, received)
			SELECT collector, epoch, seq, first_seq, prev_epoch, prev_seq, kind, crc, tick, `+store.SQLTime("$10::bigint")+` FROM w
			WHERE taken IS NOT TRUE AND NOT pruned ORDER BY collector, epoch, seq
			ON CONFLICT DO NOTHING RETURNING collector, epoch, seq)
		SELECT w.n, c.seq IS NOT NULL, w.taken IS TRUE, coalesce(w.have_kind, 0), coalesce(w.have_crc, 0), coalesce(w.have_first, 0), coalesce(w.have_seq, 0)
		FROM w LEFT JOIN claimed c USING (collector, epoch, seq)`,
		collectors, epochs, seqs, firsts, prevEpochs, prevSeqs, kinds, crcs, ticks, now.UnixMicro())
	if err != nil {
		return fmt.Errorf("claim batches: %w", err)
	}
	var ordinal, haveCRC, haveFirst, haveSeq int64
	var claimed, taken bool
	var haveKind int16
	_, err = pgx.ForEachRow(rows, []any{&ordinal, &claimed, &taken, &haveKind, &haveCRC, &haveFirst, &haveSeq}, func() error {
		i := open[ordinal-1]
		u := group[i]
		switch {
		case claimed:
			verdicts[i] = Verdict{Status: Stored}
		case taken && u.kind == frame.KindBatch && haveKind == int16(frame.KindBatch) && haveCRC != int64(u.crc):
			verdicts[i] = Verdict{Status: Cloned, Detail: "another batch has this id"}
		default:
			verdicts[i] = Verdict{Status: Duplicate}
			if taken && u.firstSeq != u.id.Seq && (haveFirst > int64(u.firstSeq) || haveSeq < int64(u.id.Seq)) {
				// Only gaps of batches that were never sent may be merged.
				verdicts[i].Detail = "some of its ids were stored alone: it added nothing"
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("claim batches: %w", err)
	}
	return nil
}

func compareIDs(a, b frame.ID) int {
	if c := slices.Compare(a.Collector[:], b.Collector[:]); c != 0 {
		return c
	}
	if a.Epoch != b.Epoch {
		if int64(a.Epoch) < int64(b.Epoch) {
			return -1
		}
		return 1
	}
	switch {
	case a.Seq < b.Seq:
		return -1
	case a.Seq > b.Seq:
		return 1
	}
	return 0
}
