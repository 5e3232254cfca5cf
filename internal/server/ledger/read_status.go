package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/snapshot"
)

// Contact is what the fast lane last said of an instance. Times are microseconds
// since the Unix epoch, 0 when there is none.
type Contact struct {
	Every       int64 // between two ticks of the fast lane as planned now, 0 when not planned
	Newest      int64 // newest stored tick of any lane
	Stored      int64 // newest stored tick of the fast lane
	StoredSince int64 // the first one stored after FailedBefore
	Failed      int64 // newest failed tick of the fast lane
	FailedSince int64 // the first one failed after StoredBefore
	Reason      string
	Detail      string
	connect     bool
}

// State is what can be said of an instance.
type State string

// The states.
const (
	Up      State = "up"
	Down    State = "down"
	Unknown State = "unknown"
)

// State decides by the newest outcome of the fast lane no older than
// max(3 x its interval, 30 s): stored is up, failed(connect) is down, none is
// unknown. A server that answers, but not this family, is up. since is when it was
// first seen so, 0 when unknown.
func (c *Contact) State(now int64) (state State, since int64) {
	oldest := now - max(3*c.Every, 30_000_000)
	newest := max(c.Stored, c.Failed)
	switch {
	case newest == 0 || newest < oldest:
		return Unknown, newest
	case c.Failed > c.Stored && c.connect:
		return Down, c.FailedSince
	default:
		return Up, c.StoredSince
	}
}

// contactsSQL walks each instance's index from its newest end; a fleet costs a few
// index descents per instance.
const contactsSQL = `
SELECT i.id, COALESCE(e.every_us, 0), n.time, s.time, ss.time, f.last, fs.first, COALESCE(f.reason, ''), COALESCE(f.detail, '')
FROM unnest($1::bigint[]) i(id)
LEFT JOIN LATERAL (SELECT every_us FROM ledger_schedule WHERE instance_id = i.id AND lane = 'fast' AND reason = '' AND valid_from <= $2
	ORDER BY valid_from DESC LIMIT 1) e ON true
LEFT JOIN LATERAL (SELECT time FROM ledger WHERE instance_id = i.id AND time <= $2 ORDER BY time DESC LIMIT 1) n ON true
LEFT JOIN LATERAL (SELECT time FROM ledger WHERE instance_id = i.id AND time <= $2 AND lane = 'fast' ORDER BY time DESC LIMIT 1) s ON true
LEFT JOIN LATERAL (SELECT last, reason, detail FROM ledger_exception WHERE instance_id = i.id AND last <= $2 AND lane = 'fast' AND outcome = 'failed'
	ORDER BY last DESC LIMIT 1) f ON true
LEFT JOIN LATERAL (SELECT last FROM ledger_exception WHERE instance_id = i.id AND last < s.time AND lane = 'fast' AND outcome = 'failed' AND reason = 'connect'
	ORDER BY last DESC LIMIT 1) fb ON true
LEFT JOIN LATERAL (SELECT time FROM ledger WHERE instance_id = i.id AND time > fb.last AND lane = 'fast' ORDER BY time LIMIT 1) ss ON true
LEFT JOIN LATERAL (SELECT min(first) AS first FROM ledger_exception WHERE instance_id = i.id AND last > COALESCE(s.time, '-infinity') AND last <= $2
	AND lane = 'fast' AND outcome = 'failed' AND reason = 'connect') fs ON f.last > COALESCE(s.time, '-infinity')`

// Contacts tells for each of the instances what the fast lane last said by now.
func Contacts(ctx context.Context, tx pgx.Tx, instances []int64, now int64) (map[int64]*Contact, error) {
	rows, err := tx.Query(ctx, contactsSQL, instances, snapshot.Micros(now))
	if err != nil {
		return nil, fmt.Errorf("read contacts: %w", err)
	}
	out := make(map[int64]*Contact, len(instances))
	var (
		id, every                                       int64
		newest, stored, storedSince, failed, failedFrom *snapshot.Micros
		reason, detail                                  string
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &every, &newest, &stored, &storedSince, &failed, &failedFrom, &reason, &detail}, func() error {
		out[id] = &Contact{
			Every: every, Newest: value(newest), Stored: value(stored), StoredSince: value(storedSince),
			Failed: value(failed), FailedSince: value(failedFrom), Reason: reason, Detail: detail, connect: reason == "connect",
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read contacts: %w", err)
	}
	return out, nil
}

func value(m *snapshot.Micros) int64 {
	if m == nil {
		return 0
	}
	return int64(*m)
}

// Current is the schedule in effect of one family.
type Current struct {
	Instance                      int64
	Database, Family              string
	Lane                          catalog.Lane
	Every                         int64 // microseconds
	From                          int64
	Reason, Limit, Detail, Remedy string // see frame.Schedule
	Absent                        []string
	Collector                     [16]byte
}

// Schedules gives the schedules in effect at a time, of one instance or (0) all,
// sorted by instance, database, family. Databases that are gone are left out.
func Schedules(ctx context.Context, tx pgx.Tx, instance, now int64) ([]Current, error) {
	rows, err := tx.Query(ctx, `
SELECT instance_id, database, family, lane, every_us, valid_from, reason, limited, detail, remedy, absent, collector_id FROM (
	SELECT DISTINCT ON (instance_id, database, family) * FROM ledger_schedule
	WHERE ($1 = 0 OR instance_id = $1) AND valid_from <= $2
	ORDER BY instance_id, database, family, (valid_to IS NULL OR valid_to >= $2) DESC, valid_from DESC) s
WHERE reason <> 'gone'`, instance, snapshot.Micros(now))
	if err != nil {
		return nil, fmt.Errorf("read schedules: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Current, err error) {
		var from snapshot.Micros
		err = row.Scan(&c.Instance, &c.Database, &c.Family, &c.Lane, &c.Every, &from, &c.Reason, &c.Limit, &c.Detail, &c.Remedy, &c.Absent, &c.Collector)
		c.From = int64(from)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("read schedules: %w", err)
	}
	return out, nil
}

// NewestTicks gives the newest stored tick of each family of an instance within
// (after, now], by database and family.
func NewestTicks(ctx context.Context, tx pgx.Tx, instance, after, now int64) (map[[2]string]int64, error) {
	rows, err := tx.Query(ctx, `
SELECT l.database, n.name, max(l.time) FROM ledger l, unnest(l.families) f(id) JOIN ledger_family n USING (id)
WHERE l.instance_id = $1 AND l.time > $2 AND l.time <= $3 GROUP BY 1, 2`, instance, snapshot.Micros(after), snapshot.Micros(now))
	if err != nil {
		return nil, fmt.Errorf("read newest ticks: %w", err)
	}
	out := map[[2]string]int64{}
	var (
		database, family string
		newest           snapshot.Micros
	)
	_, err = pgx.ForEachRow(rows, []any{&database, &family, &newest}, func() error {
		out[[2]string{database, family}] = int64(newest)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read newest ticks: %w", err)
	}
	return out, nil
}

// AbsentThroughout gives the columns of a family that no schedule of the window
// read: an instance has no such value there. ok is false when nothing was planned.
func AbsentThroughout(ctx context.Context, tx pgx.Tx, instance int64, family string, w Window) (absent map[string]bool, ok bool, err error) {
	rows, err := tx.Query(ctx, `
SELECT absent FROM `+followed+` s
WHERE reason = '' AND valid_from <= $4 AND (next IS NULL OR next > $3) AND (valid_to IS NULL OR valid_to > $3)`,
		instance, family, snapshot.Micros(w.From), snapshot.Micros(w.To))
	if err != nil {
		return nil, false, fmt.Errorf("read absent columns: %w", err)
	}
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&columns}, func() error {
		these := map[string]bool{}
		for _, c := range columns {
			these[c] = absent == nil || absent[c]
		}
		for c := range absent {
			these[c] = these[c] && absent[c]
		}
		absent = these
		ok = true
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("read absent columns: %w", err)
	}
	return absent, ok, nil
}
