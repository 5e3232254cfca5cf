package series

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/snapshot"
)

// Unobserved is what a server itself forgot: beside every total. Times are
// microseconds since the Unix epoch.
type Unobserved struct {
	Instance       int64
	Family         string // "" for all families
	Database       string
	Reason, Detail string
	Since, Until   int64
	Upper          map[string]int64 // in wire units, nil when there is no bound
	Times          int64            // how many were joined
}

// ReadUnobserved gives what was forgotten at ticks of the window, of one instance or
// (0) all, of one family or ("") all, in the order of time. Neighbours with the same
// reason and detail are joined, their bounds added.
func ReadUnobserved(ctx context.Context, tx pgx.Tx, instance int64, family string, w ledger.Window) ([]Unobserved, error) {
	rows, err := tx.Query(ctx, `SELECT instance_id, family, database, reason, detail, since, until, upper FROM series_unobserved
WHERE ($1 = 0 OR instance_id = $1) AND ($2 = '' OR family IN ($2, '')) AND tick > $3 AND tick <= $4 ORDER BY since, until, instance_id, family, database`,
		instance, family, snapshot.Micros(w.From), snapshot.Micros(w.To))
	if err != nil {
		return nil, fmt.Errorf("read unobserved: %w", err)
	}
	var (
		out          []Unobserved
		u            Unobserved
		since, until snapshot.Micros
		upper        []byte
	)
	type key struct {
		instance                         int64
		family, database, reason, detail string
	}
	newest := map[key]int{}
	_, err = pgx.ForEachRow(rows, []any{&u.Instance, &u.Family, &u.Database, &u.Reason, &u.Detail, &since, &until, &upper}, func() error {
		u.Since, u.Until, u.Upper, u.Times = int64(since), int64(until), nil, 1
		if upper != nil {
			if err := json.Unmarshal(upper, &u.Upper); err != nil {
				return err
			}
		}
		k := key{u.Instance, u.Family, u.Database, u.Reason, u.Detail}
		// A second of slack: the watched server's clock has milliseconds in the ledger.
		if i, found := newest[k]; found && u.Since <= out[i].Until+1_000_000 && (out[i].Upper == nil) == (u.Upper == nil) {
			p := &out[i]
			p.Until = max(p.Until, u.Until)
			p.Times++
			for c, v := range u.Upper {
				p.Upper[c] += v
			}
			return nil
		}
		newest[k] = len(out)
		out = append(out, u)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read unobserved: %w", err)
	}
	return out, nil
}

// Setting is a changed setting. Values are nil when it was not there.
type Setting struct {
	Instance int64
	Time     int64
	Name     string
	Old, New *string
	Unit     string
	Pending  bool // needs a restart to take effect
}

const settingsSQL = `
SELECT n.instance_id, n.time, n.name, o.setting, n.setting, COALESCE(n.unit, o.unit, ''), COALESCE(n.pending_restart, false)
FROM settings_raw n
CROSS JOIN LATERAL (SELECT setting, unit, pending_restart FROM settings_raw p
	WHERE p.instance_id = n.instance_id AND p.name = n.name AND p.time < n.time ORDER BY p.time DESC LIMIT 1) o
WHERE n.time > $2 AND n.time <= $3 AND ($1 = 0 OR n.instance_id = $1)
	AND (n.setting IS DISTINCT FROM o.setting OR COALESCE(n.pending_restart, false) AND NOT COALESCE(o.pending_restart, false))
ORDER BY n.time DESC, n.instance_id, n.name LIMIT $4`

// SettingChanges gives the newest changes of settings in the window, newest first.
// What was there at the first look is no change.
func SettingChanges(ctx context.Context, tx pgx.Tx, instance int64, w ledger.Window, limit int) ([]Setting, error) {
	rows, err := tx.Query(ctx, settingsSQL, instance, snapshot.Micros(w.From), snapshot.Micros(w.To), limit)
	if err != nil {
		return nil, fmt.Errorf("read changed settings: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Setting, err error) {
		var t snapshot.Micros
		err = row.Scan(&s.Instance, &t, &s.Name, &s.Old, &s.New, &s.Unit, &s.Pending)
		s.Time = int64(t)
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("read changed settings: %w", err)
	}
	return out, nil
}
