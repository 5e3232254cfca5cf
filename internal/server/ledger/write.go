package ledger

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

// PartitionedTables are the tables that are cut by time.
var PartitionedTables = []store.Table{{Name: "ledger", Keys: []string{"database", "lane"}}}

// ReasonUnknownFamily is why a tick of a family that our catalog lacks is dropped.
const ReasonUnknownFamily = "unknown_family"

var (
	storedTarget    = store.NewCopyTarget("ledger", "time", "instance_id", "lane", "database", "families", "at_ms", "since_ms")
	exceptionTarget = store.NewCopyTarget("ledger_exception", "instance_id", "first", "last", "n", "every_us", "lane", "database", "family", "outcome", "reason", "detail")
)

// lockFamilies is the advisory lock under which families get their ids.
const lockFamilies = 0x70676134

// Ledger writes the ledger's tables. It is safe for concurrent use.
type Ledger struct {
	ids map[string]int16

	mu      sync.Mutex // guards unknown
	unknown map[unknownName]bool
}

type unknownName struct {
	instance int64
	name     string
}

// Prepare gives every family of the catalog its id.
func Prepare(ctx context.Context, pool *pgxpool.Pool, families []string) (*Ledger, error) {
	l := &Ledger{ids: map[string]int16{}, unknown: map[unknownName]bool{}}
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockFamilies)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO ledger_family (id, name)
			SELECT (SELECT coalesce(max(id), 0) FROM ledger_family) + row_number() OVER (ORDER BY name), name
			FROM unnest($1::text[]) AS u(name) WHERE NOT EXISTS (SELECT FROM ledger_family f WHERE f.name = u.name)`, families)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT id, name FROM ledger_family")
		if err != nil {
			return err
		}
		var id int16
		var name string
		_, err = pgx.ForEachRow(rows, []any{&id, &name}, func() error { l.ids[name] = id; return nil })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("give families their ids: %w", err)
	}
	return l, nil
}

// Content is what a batch says of ticks: rows to copy, and schedules.
type Content struct {
	Copies    []store.CopyRows
	schedules []scheduleRow
	unknown   []unknownName
	tick      int64
}

type scheduleRow struct {
	instance int64
	frame.Schedule
}

// Add encodes a batch's outcomes and schedules for an instance. knows says which families' rows are
// stored: a stored tick of another is recorded as dropped. unknown are names for ledger_unknown.
func (l *Ledger) Add(c *Content, instance int64, b *frame.Batch, knows func(family string) bool, unknown []string) {
	c.tick = b.Tick
	for i := range b.Schedules {
		c.schedules = append(c.schedules, scheduleRow{instance, b.Schedules[i]})
	}
	for _, name := range unknown {
		c.unknown = append(c.unknown, unknownName{instance, name})
	}
	type place struct {
		database string
		lane     catalog.Lane
	}
	stored := map[place][]*frame.Outcome{}
	var order []place
	var exceptions []byte
	n := 0
	for i := range b.Outcomes {
		o := b.Outcomes[i]
		if o.Code == frame.Stored && !knows(o.Family) {
			o.Code, o.Reason = frame.OutcomeDropped, ReasonUnknownFamily
		}
		if o.Code == frame.Stored {
			p := place{o.Database, o.Lane}
			if stored[p] == nil {
				order = append(order, p)
			}
			stored[p] = append(stored[p], &o)
			continue
		}
		var every int64
		if o.N > 1 {
			every = (o.Last - o.First) / (o.N - 1)
		}
		n++
		exceptions = store.AppendInt8(store.AppendRow(exceptions, exceptionTarget.Fields), instance)
		exceptions = store.AppendTime(store.AppendTime(exceptions, o.First), o.Last)
		exceptions = store.AppendInt8(store.AppendInt8(exceptions, o.N), every)
		for _, s := range []string{string(o.Lane), o.Database, o.Family, o.Code.String(), o.Reason, o.Detail} {
			exceptions = store.AppendText(exceptions, s)
		}
	}
	if n > 0 {
		c.Copies = append(c.Copies, store.CopyRows{Target: exceptionTarget, N: n, Data: exceptions})
	}
	var rows []byte
	for _, p := range order {
		list := stored[p]
		families, at, since := make([]int16, len(list)), make([]int32, len(list)), make([]int32, len(list))
		for i, o := range list {
			families[i], at[i], since[i] = l.ids[o.Family], toMs(o.At-b.Tick), toMs(o.At-o.Since)
			if o.At == 0 {
				at[i], since[i] = 0, 0
			}
		}
		rows = store.AppendInt8(store.AppendTime(store.AppendRow(rows, storedTarget.Fields), b.Tick), instance)
		rows = store.AppendText(store.AppendText(rows, string(p.lane)), p.database)
		rows = store.AppendInt2Array(rows, families)
		rows = store.AppendInt4Array(store.AppendInt4Array(rows, short(at)), short(since))
	}
	if len(order) > 0 {
		c.Copies = append(c.Copies, store.CopyRows{Target: storedTarget, N: len(order), Data: rows})
	}
}

// toMs rounds to milliseconds, within what an integer holds (24 days).
func toMs(us int64) int32 {
	return int32(min(math.MaxInt32, max(math.MinInt32, int64(math.Round(float64(us)/1000)))))
}

// short leaves one element when all are the same.
func short(list []int32) []int32 {
	for _, v := range list {
		if v != list[0] {
			return list
		}
	}
	return list[:1]
}

// Write stores what the contents hold beside their Copies: schedules and unknown names. Of two
// schedules that begin at the same moment, the one announced later holds, to the earlier end of
// both: once it has ended nothing makes it go on, in whatever order they come.
func (l *Ledger) Write(ctx context.Context, tx pgx.Tx, collectors [][16]byte, contents []*Content) (committed func(), err error) {
	q := &pgx.Batch{}
	var fresh []unknownName
	for i, c := range contents {
		for _, s := range c.schedules {
			absent, announced := s.Absent, c.tick
			if s.Reason == frame.Closed {
				announced = 0 // an end only: all else is as it was, or will be, announced
			}
			if absent == nil {
				absent = []string{}
			}
			q.Queue(`INSERT INTO ledger_schedule AS s (instance_id, database, family, valid_from, valid_to, lane, every_us, reason, limited, detail, remedy, absent, collector_id, announced)
				VALUES ($1, $2, $3, `+store.SQLTime("$4::bigint")+`, `+store.SQLTime("nullif($5::bigint, 0)")+`, $6, $7, $8, $9, $10, $11, $12, $13, `+store.SQLTime("$14::bigint")+`)
				ON CONFLICT (instance_id, database, family, valid_from) DO UPDATE SET valid_to = least(s.valid_to, EXCLUDED.valid_to),
				(lane, every_us, reason, limited, detail, remedy, absent, collector_id, announced) = (SELECT n.lane, n.every_us, n.reason, n.limited, n.detail, n.remedy, n.absent, n.collector_id, n.announced
					FROM (VALUES (s.lane, s.every_us, s.reason, s.limited, s.detail, s.remedy, s.absent, s.collector_id, s.announced, 1),
						(EXCLUDED.lane, EXCLUDED.every_us, EXCLUDED.reason, EXCLUDED.limited, EXCLUDED.detail, EXCLUDED.remedy, EXCLUDED.absent, EXCLUDED.collector_id, EXCLUDED.announced, 2))
					AS n(lane, every_us, reason, limited, detail, remedy, absent, collector_id, announced, i) ORDER BY n.announced DESC, n.i LIMIT 1)
				WHERE EXCLUDED.announced > s.announced OR EXCLUDED.valid_to < coalesce(s.valid_to, 'infinity')`,
				s.instance, s.Database, s.Family, s.From, s.Until, string(s.Lane), s.Every, s.Reason, s.Limit, s.Detail, s.Remedy, absent, pgtype.UUID{Bytes: collectors[i], Valid: true}, announced)
		}
		for _, u := range c.unknown {
			if !l.seen(u) && !slices.Contains(fresh, u) {
				fresh = append(fresh, u)
				q.Queue(`INSERT INTO ledger_unknown AS u (instance_id, name, first) VALUES ($1, $2, `+store.SQLTime("$3::bigint")+`)
					ON CONFLICT (instance_id, name) DO UPDATE SET first = EXCLUDED.first WHERE EXCLUDED.first < u.first`, u.instance, u.name, c.tick)
			}
		}
	}
	if q.Len() > 0 {
		if err := tx.SendBatch(ctx, q).Close(); err != nil {
			return nil, fmt.Errorf("store schedules: %w", err)
		}
	}
	return func() { l.remember(fresh) }, nil
}

func (l *Ledger) seen(u unknownName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unknown[u]
}

func (l *Ledger) remember(list []unknownName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.unknown) > 100_000 {
		clear(l.unknown) // only a cache
	}
	for _, u := range list {
		l.unknown[u] = true
	}
}
