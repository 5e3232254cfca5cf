package fleet

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/server/snapshot"
)

// Watched is an instance as the store knows it. Times are microseconds since the
// Unix epoch, 0 when there is none.
type Watched struct {
	ID              int64
	Name            string
	Collector       [16]byte
	CollectorName   string
	Labels          map[string]string
	Interval        int64 // microseconds
	Registered      int64
	FirstSeen       int64
	Updated         int64 // 0 before first contact: then the columns behind are zero too
	SystemID        uint64
	Incarnation     int32
	VersionNum      int32
	Version         string
	InRecovery      bool
	PostmasterStart int64
	MaxConnections  int32
	Role            string
}

const instancesSQL = `
SELECT i.id, i.name, i.collector_id, c.name, i.labels, i.interval_us, i.registered, i.first_seen, i.updated, i.system_id, i.incarnation,
	i.version_num, i.version, i.in_recovery, i.postmaster_start, i.max_connections, i.role
FROM fleet_instance i JOIN fleet_collector c ON c.id = i.collector_id
WHERE $1 = 0 OR i.id = $1 ORDER BY i.name`

// Instances gives all instances in the order of their names, or (id <> 0) the one,
// an empty list when it does not exist.
func Instances(ctx context.Context, tx pgx.Tx, id int64) ([]Watched, error) {
	rows, err := tx.Query(ctx, instancesSQL, id)
	if err != nil {
		return nil, fmt.Errorf("read instances: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w Watched, err error) {
		var (
			registered                 snapshot.Micros
			first, updated, postmaster *snapshot.Micros
			system                     int64
		)
		err = row.Scan(&w.ID, &w.Name, &w.Collector, &w.CollectorName, &w.Labels, &w.Interval, &registered, &first, &updated, &system, &w.Incarnation,
			&w.VersionNum, &w.Version, &w.InRecovery, &postmaster, &w.MaxConnections, &w.Role)
		w.Registered, w.FirstSeen, w.Updated, w.PostmasterStart, w.SystemID = int64(registered), micros(first), micros(updated), micros(postmaster), uint64(system)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("read instances: %w", err)
	}
	return out, nil
}

// Reporter is a collector as the store knows it. Times are microseconds since the
// Unix epoch, 0 when there is none.
type Reporter struct {
	ID                      [16]byte
	Name, Version, Hostname string
	Interval                int64 // microseconds
	Registered              int64
	LastPush                int64 // by the backend's clock
	Kept                    int64 // it may still bring ticks from here on
}

// Alive reports whether what the collector has not delivered yet may still come: it
// pushed within max(3 intervals, 60 s).
func (r *Reporter) Alive(now int64) bool {
	return r.LastPush != 0 && now-r.LastPush <= max(3*r.Interval, 60_000_000)
}

// Reporters gives all collectors in the order of their names.
func Reporters(ctx context.Context, tx pgx.Tx) ([]Reporter, error) {
	rows, err := tx.Query(ctx, `SELECT c.id, name, version, hostname, interval_us, registered, last_push, k.since
FROM fleet_collector c LEFT JOIN fleet_kept k ON k.collector_id = c.id ORDER BY name, c.id`)
	if err != nil {
		return nil, fmt.Errorf("read collectors: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Reporter, err error) {
		var registered snapshot.Micros
		var push, kept *snapshot.Micros
		err = row.Scan(&r.ID, &r.Name, &r.Version, &r.Hostname, &r.Interval, &registered, &push, &kept)
		r.Registered, r.LastPush, r.Kept = int64(registered), micros(push), micros(kept)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read collectors: %w", err)
	}
	return out, nil
}

// Alive gives the collectors that may still deliver, and from which tick on.
func Alive(reporters []Reporter, now int64) map[[16]byte]int64 {
	out := map[[16]byte]int64{}
	for i := range reporters {
		if reporters[i].Alive(now) {
			out[reporters[i].ID] = reporters[i].Kept
		}
	}
	return out
}

// Change is something that happened to a server or to who watches it.
type Change struct {
	Instance int64
	Time     int64
	Kind     string // restart, promotion, incarnation, collector
	What     string
}

const statesSQL = `
SELECT instance_id, since, incarnation, postmaster_start, in_recovery, version, system_id FROM fleet_state
WHERE ($1 = 0 OR instance_id = $1) AND since <= $2 ORDER BY instance_id, since, incarnation, postmaster_start`

const holdersSQL = `
SELECT instance_id, since, new, old FROM (
	SELECT h.instance_id, h.since, c.name AS new, lag(c.name) OVER (PARTITION BY h.instance_id ORDER BY h.since) AS old
	FROM fleet_holder h JOIN fleet_collector c ON c.id = h.collector_id WHERE $1 = 0 OR h.instance_id = $1) s
WHERE since > $2 AND since <= $3 AND old IS NOT NULL`

// Changes gives what happened in (from, to], of one instance or (0) all, in the
// order of time.
func Changes(ctx context.Context, tx pgx.Tx, instance, from, to int64) ([]Change, error) {
	rows, err := tx.Query(ctx, statesSQL, instance, snapshot.Micros(to))
	if err != nil {
		return nil, fmt.Errorf("read server states: %w", err)
	}
	type state struct {
		instance          int64
		since, postmaster snapshot.Micros
		incarnation       int32
		recovery          bool
		version           string
		system            int64
	}
	var (
		out       []Change
		old, next state
	)
	_, err = pgx.ForEachRow(rows, []any{&next.instance, &next.since, &next.incarnation, &next.postmaster, &next.recovery, &next.version, &next.system}, func() error {
		if old.instance == next.instance && int64(next.since) > from {
			if kind, what := difference(old.incarnation != next.incarnation, old.postmaster != next.postmaster, old.recovery, next.recovery, old.version, next.version,
				uint64(old.system), uint64(next.system)); kind != "" {
				out = append(out, Change{next.instance, int64(next.since), kind, what})
			}
		}
		old = next
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read server states: %w", err)
	}
	rows, err = tx.Query(ctx, holdersSQL, instance, snapshot.Micros(from), snapshot.Micros(to))
	if err != nil {
		return nil, fmt.Errorf("read holders: %w", err)
	}
	var (
		id                  int64
		since               snapshot.Micros
		holder, predecessor string
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &since, &holder, &predecessor}, func() error {
		out = append(out, Change{id, int64(since), "collector", fmt.Sprintf("collector %s took over from %s", holder, predecessor)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read holders: %w", err)
	}
	slices.SortStableFunc(out, func(a, b Change) int { return compare(a.Time, b.Time) })
	return out, nil
}

// difference names what differs between two states of a server, the gravest first.
func difference(incarnation, restarted, wasStandby, isStandby bool, oldVersion, newVersion string, oldSystem, newSystem uint64) (kind, what string) {
	version := ""
	if oldVersion != newVersion {
		version = fmt.Sprintf(", version %s -> %s", oldVersion, newVersion)
	}
	switch {
	case incarnation:
		return "incarnation", fmt.Sprintf("another server under this name: system identifier %d -> %d%s", oldSystem, newSystem, version)
	case wasStandby && !isStandby:
		return "promotion", "promoted: no longer in recovery" + version
	case !wasStandby && isStandby:
		return "restart", "restarted as a standby" + version
	case restarted:
		return "restart", "restarted" + version
	}
	return "", ""
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func micros(m *snapshot.Micros) int64 {
	if m == nil || *m == math.MinInt64 {
		return 0
	}
	return int64(*m)
}
