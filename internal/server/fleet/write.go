package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// cache holds what never changes or was committed.
type cache struct {
	mu     *sync.Mutex // guards all
	ids    map[string]int64
	states map[state]int64 // since
}

func newCache() cache {
	return cache{mu: &sync.Mutex{}, ids: map[string]int64{}, states: map[state]int64{}}
}

type state struct {
	instance        int64
	incarnation     uint32
	postmasterStart int64
	inRecovery      bool
	version         int32
}

// IDs gives the ids of instances by name. A name that nobody registered is registered for the
// collector that pushes it: the store may be an older copy of itself.
func (f *Fleet) IDs(ctx context.Context, collector frame.CollectorID, instances []Named) (map[string]int64, error) {
	out := map[string]int64{}
	var missing []Named
	f.known.mu.Lock()
	for _, n := range instances {
		if id, ok := f.known.ids[n.Name]; ok {
			out[n.Name] = id
		} else if !slices.ContainsFunc(missing, func(m Named) bool { return m.Name == n.Name }) {
			missing = append(missing, n)
		}
	}
	f.known.mu.Unlock()
	if len(missing) == 0 {
		return out, nil
	}
	slices.SortFunc(missing, func(a, b Named) int { return strings.Compare(a.Name, b.Name) })
	err := pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error {
		for _, n := range missing {
			var id int64
			err := tx.QueryRow(ctx, "SELECT id FROM fleet_instance WHERE name = $1", n.Name).Scan(&id)
			if errors.Is(err, pgx.ErrNoRows) {
				var conflict *Conflict
				if id, conflict, err = f.claim(ctx, tx, collector, n, 0); conflict != nil { // registered just now
					err = tx.QueryRow(ctx, "SELECT id FROM fleet_instance WHERE name = $1", n.Name).Scan(&id)
				}
			}
			if err != nil {
				return fmt.Errorf("look up instance %s: %w", n.Name, err)
			}
			out[n.Name] = id
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f.known.mu.Lock()
	for _, n := range missing {
		f.known.ids[n.Name] = out[n.Name]
	}
	f.known.mu.Unlock()
	return out, nil
}

// Holder is who holds an instance from since on (microseconds).
type Holder struct {
	Since     int64
	Collector frame.CollectorID
}

// Holders gives the history of instances' holders, oldest first.
func Holders(ctx context.Context, tx pgx.Tx, instances []int64) (map[int64][]Holder, error) {
	rows, err := tx.Query(ctx, "SELECT instance_id, since, collector_id FROM fleet_holder WHERE instance_id = ANY ($1) ORDER BY instance_id, since", instances)
	if err != nil {
		return nil, fmt.Errorf("look up holders: %w", err)
	}
	out := map[int64][]Holder{}
	var id int64
	var since pgtype.Timestamptz
	var collector pgtype.UUID
	_, err = pgx.ForEachRow(rows, []any{&id, &since, &collector}, func() error {
		h := Holder{Since: math.MinInt64, Collector: collector.Bytes}
		if since.InfinityModifier == pgtype.Finite {
			h.Since = since.Time.UnixMicro()
		}
		out[id] = append(out[id], h)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up holders: %w", err)
	}
	return out, nil
}

// HeldAt says whether a collector held the instance at a time.
func HeldAt(history []Holder, collector frame.CollectorID, at int64) bool {
	for _, h := range slices.Backward(history) {
		if h.Since <= at {
			return h.Collector == collector
		}
	}
	return false
}

// Lock locks collectors' rows until the end of the transaction, in the order of their ids: two
// transactions with batches of one collector come one after the other.
func Lock(ctx context.Context, tx pgx.Tx, collectors []frame.CollectorID) error {
	_, err := tx.Exec(ctx, "SELECT FROM fleet_collector WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE", uuids(collectors))
	if err != nil {
		return fmt.Errorf("lock collectors: %w", err)
	}
	return nil
}

func uuids(list []frame.CollectorID) []pgtype.UUID {
	out := make([]pgtype.UUID, len(list))
	for i, id := range list {
		out[i] = uuid(id)
	}
	return out
}

// Pushed is what a push tells of a collector.
type Pushed struct {
	Collector frame.CollectorID
	Newest    frame.ID // Seq 0: nothing was stored
	Tick      int64    // of Newest
	Oldest    int64    // that the collector may still bring, microseconds; 0: it does not say
}

// Pushes records that collectors pushed, their newest batch and what they still keep. Within
// an epoch the newest is the highest seq, whatever its tick: clocks go back. What
// compares epochs can only be their ticks.
func Pushes(ctx context.Context, tx pgx.Tx, list []Pushed) error {
	ids, epochs, seqs := make([]pgtype.UUID, len(list)), make([]int64, len(list)), make([]int64, len(list))
	ticks, oldest := make([]int64, len(list)), make([]int64, len(list))
	for i, p := range list {
		ids[i], epochs[i], seqs[i], ticks[i], oldest[i] = uuid(p.Collector), int64(p.Newest.Epoch), int64(p.Newest.Seq), p.Tick, p.Oldest
	}
	q := &pgx.Batch{}
	q.Queue(`UPDATE fleet_collector c SET last_push = clock_timestamp(),
			newest_epoch = CASE WHEN n.newer THEN n.epoch ELSE newest_epoch END,
			newest_seq = CASE WHEN n.newer THEN n.seq ELSE newest_seq END,
			newest_tick = CASE WHEN n.newer THEN n.tick ELSE newest_tick END
		FROM (SELECT o.id, u.epoch, u.seq, u.tick, u.seq > 0 AND CASE WHEN o.newest_tick IS NULL THEN true
				WHEN u.epoch = o.newest_epoch THEN u.seq > o.newest_seq ELSE u.tick >= o.newest_tick END AS newer
			FROM (SELECT id, epoch, seq, `+store.SQLTime("tick")+` AS tick FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) AS u(id, epoch, seq, tick)) u
			JOIN fleet_collector o ON o.id = u.id) n
		WHERE c.id = n.id`, ids, epochs, seqs, ticks)
	// It moves with every push; a minute's delay is seen by nobody and saves the writes.
	q.Queue(`INSERT INTO fleet_kept AS k (collector_id, since)
		SELECT id, `+store.SQLTime("oldest")+` FROM unnest($1::uuid[], $2::bigint[]) AS u(id, oldest) WHERE oldest > 0 AND EXISTS (SELECT FROM fleet_collector c WHERE c.id = u.id)
		ON CONFLICT (collector_id) DO UPDATE SET since = EXCLUDED.since
		WHERE EXCLUDED.since < k.since OR EXCLUDED.since >= k.since + interval '1 minute'`, ids, oldest)
	if err := tx.SendBatch(ctx, q).Close(); err != nil {
		return fmt.Errorf("record pushes: %w", err)
	}
	return nil
}

// Seen is what a batch tells of an instance.
type Seen struct {
	Instance int64
	Tick     int64
	Server   *frame.Server
}

// Write stores what batches tell of servers. committed is called after COMMIT.
func (f *Fleet) Write(ctx context.Context, tx pgx.Tx, list []Seen) (committed func(), err error) {
	newest, oldest, states := map[int64]Seen{}, map[int64]int64{}, map[state]Seen{}
	for _, s := range list {
		if s.Server.SystemID == 0 {
			continue // no contact yet
		}
		if n, ok := newest[s.Instance]; !ok || s.Tick > n.Tick {
			newest[s.Instance] = s
		}
		if o, ok := oldest[s.Instance]; !ok || s.Tick < o {
			oldest[s.Instance] = s.Tick
		}
		k := state{s.Instance, s.Server.Incarnation, s.Server.PostmasterStart, s.Server.InRecovery, s.Server.Version}
		if have, ok := states[k]; (!ok || s.Tick < have.Tick) && !f.knowsState(k, s.Tick) {
			states[k] = s
		}
	}
	q := &pgx.Batch{}
	for _, id := range sortedKeys(newest) {
		s := newest[id]
		v := s.Server
		labels, err := json.Marshal(v.Labels)
		if err != nil {
			return nil, fmt.Errorf("store instance: %w", err)
		}
		if v.Labels == nil {
			labels = []byte("{}")
		}
		// Unchanged, it is written every 5 minutes only.
		q.Queue(`UPDATE fleet_instance SET updated = `+store.SQLTime("$2::bigint")+`, first_seen = least(first_seen, `+store.SQLTime("$3::bigint")+`), system_id = $4, incarnation = $5,
				version_num = $6, version = $7, in_recovery = $8, postmaster_start = `+store.SQLTime("nullif($9::bigint, 0)")+`, max_connections = $10, role = $11, labels = $12, interval_us = $13
			WHERE id = $1 AND (updated IS NULL OR updated < `+store.SQLTime("$2::bigint")+`) AND (updated IS NULL OR updated < `+store.SQLTime("$2::bigint")+` - interval '5 minutes'
				OR (system_id, incarnation, version_num, version, in_recovery, max_connections, role, labels, interval_us) IS DISTINCT FROM ($4::bigint, $5::int, $6::int, $7::text, $8::bool, $10::int, $11::text, $12::jsonb, $13::bigint)
				OR postmaster_start IS DISTINCT FROM `+store.SQLTime("nullif($9::bigint, 0)")+`)`,
			id, s.Tick, oldest[id], int64(v.SystemID), int32(v.Incarnation), v.Version, v.VersionText, v.InRecovery, v.PostmasterStart, v.MaxConnections, v.Role, labels, v.IntervalUs)
	}
	for _, id := range sortedKeys(oldest) {
		q.Queue(`UPDATE fleet_instance SET first_seen = `+store.SQLTime("$2::bigint")+` WHERE id = $1 AND first_seen > `+store.SQLTime("$2::bigint"), id, oldest[id])
	}
	keys := make([]state, 0, len(states))
	for k := range states {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareStates)
	for _, k := range keys {
		s := states[k]
		q.Queue(`INSERT INTO fleet_state AS s (instance_id, incarnation, postmaster_start, in_recovery, version_num, version, system_id, since)
			VALUES ($1, $2, `+store.SQLTime("$3::bigint")+`, $4, $5, $6, $7, `+store.SQLTime("$8::bigint")+`)
			ON CONFLICT (instance_id, incarnation, postmaster_start, in_recovery, version_num) DO UPDATE SET since = EXCLUDED.since WHERE EXCLUDED.since < s.since`,
			k.instance, int32(k.incarnation), k.postmasterStart, k.inRecovery, k.version, s.Server.VersionText, int64(s.Server.SystemID), s.Tick)
	}
	if q.Len() == 0 {
		return func() {}, nil
	}
	if err := tx.SendBatch(ctx, q).Close(); err != nil {
		return nil, fmt.Errorf("store instances: %w", err)
	}
	return func() {
		f.known.mu.Lock()
		defer f.known.mu.Unlock()
		if len(f.known.states) > 100_000 {
			clear(f.known.states) // only a cache
		}
		for k, s := range states {
			if since, ok := f.known.states[k]; !ok || s.Tick < since {
				f.known.states[k] = s.Tick
			}
		}
	}, nil
}

func (f *Fleet) knowsState(k state, tick int64) bool {
	f.known.mu.Lock()
	defer f.known.mu.Unlock()
	since, ok := f.known.states[k]
	return ok && since <= tick
}

func sortedKeys[V any](m map[int64]V) []int64 {
	out := make([]int64, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func compareStates(a, b state) int {
	return bytes.Compare(fmt.Appendf(nil, "%020d%010d%020d%t%d", a.instance, a.incarnation, a.postmasterStart, a.inRecovery, a.version),
		fmt.Appendf(nil, "%020d%010d%020d%t%d", b.instance, b.incarnation, b.postmasterStart, b.inRecovery, b.version))
}
