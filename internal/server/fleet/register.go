package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/frame"
)

// Silence is how long a collector must have been silent before another may take over its
// instances.
const Silence = 10 * time.Minute

// FieldError names the field of a registration that is wrong.
type FieldError struct{ Field, Value, Want string }

func (e *FieldError) Error() string { return fmt.Sprintf("%s %q: %s", e.Field, e.Value, e.Want) }

// Fleet writes the fleet's tables. It is safe for concurrent use.
type Fleet struct {
	pool    *pgxpool.Pool
	started time.Time
	known   cache
	// OnTakeover records, in the same transaction, that nobody watched an instance from
	// since to until (microseconds).
	onTakeover func(ctx context.Context, tx pgx.Tx, instance int64, since, until int64) error
}

// New is for a migrated database.
func New(pool *pgxpool.Pool, onTakeover func(ctx context.Context, tx pgx.Tx, instance int64, since, until int64) error) *Fleet {
	return &Fleet{pool: pool, started: time.Now(), onTakeover: onTakeover, known: newCache()}
}

// StartedBefore says that this backend could hear collectors for longer than it runs, for tests.
func (f *Fleet) StartedBefore(d time.Duration) { f.started = f.started.Add(-d) }

// Registration is what a collector says of itself.
type Registration struct {
	ID        frame.CollectorID
	Name      string
	Version   string
	Hostname  string
	Interval  time.Duration
	Instances []Named
}

// Named is an instance by its name.
type Named struct {
	Name   string
	Labels map[string]string
}

// Granted is an instance that a collector holds.
type Granted struct {
	Name string
	ID   int64
}

// Conflict is an instance that another collector holds.
type Conflict struct {
	Instance string
	Holder   string        // name of that collector
	Silent   time.Duration // since it was last heard of
}

// Registered is the answer to a registration: the token is new, and replaces any other.
type Registered struct {
	Token     string
	Granted   []Granted
	Conflicts []Conflict
}

// Validate names the first field that cannot be.
func (r *Registration) Validate() error {
	switch {
	case r.ID == frame.CollectorID{}:
		return &FieldError{"id", r.ID.String(), "want 32 hexadecimal digits, not all 0"}
	case r.Name == "":
		return &FieldError{"name", "", "want a name"}
	case r.Interval < 0 || r.Interval > 24*time.Hour:
		return &FieldError{"interval", r.Interval.String(), "want 0 to 86400 seconds"}
	case len(r.Instances) > 10_000:
		return &FieldError{"instances", fmt.Sprint(len(r.Instances)), "want at most 10,000"}
	}
	texts := [][2]string{{"name", r.Name}, {"version", r.Version}, {"hostname", r.Hostname}}
	seen := make(map[string]bool, len(r.Instances))
	for _, i := range r.Instances {
		switch {
		case i.Name == "":
			return &FieldError{"instances.name", "", "want a name"}
		case seen[i.Name]:
			return &FieldError{"instances.name", i.Name[:min(len(i.Name), 50)], "is given twice"}
		}
		seen[i.Name] = true
		texts = append(texts, [2]string{"instances.name", i.Name})
		if len(i.Labels) > 100 {
			return &FieldError{"instances.labels", fmt.Sprint(len(i.Labels)), "want at most 100"}
		}
		for k, v := range i.Labels {
			texts = append(texts, [2]string{"instances.labels", k}, [2]string{"instances.labels", v})
		}
	}
	for _, t := range texts {
		if len(t[1]) > 255 || strings.ContainsRune(t[1], 0) {
			return &FieldError{t[0], t[1][:min(len(t[1]), 50)], "want at most 255 bytes without a zero byte"}
		}
	}
	return nil
}

func uuid(id frame.CollectorID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

// hashToken is how tokens are kept.
func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// Register makes or renews a collector and claims its instances' names, each alone: a name that
// another collector holds is a Conflict unless that one has been silent for Silence, and then it
// changes hands.
func (f *Fleet) Register(ctx context.Context, r Registration) (*Registered, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	out := &Registered{Token: base64.RawURLEncoding.EncodeToString(random[:])}
	err := pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO fleet_collector (id, name, version, hostname, interval_us, token_hash) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, version = EXCLUDED.version, hostname = EXCLUDED.hostname, interval_us = EXCLUDED.interval_us,
			token_hash = EXCLUDED.token_hash, registered = now()`, uuid(r.ID), r.Name, r.Version, r.Hostname, r.Interval.Microseconds(), hashToken(out.Token))
		if err != nil {
			return err
		}
		// In the order of names, so that two registrations don't wait for each other in a ring.
		list := slices.SortedFunc(slices.Values(r.Instances), func(a, b Named) int { return strings.Compare(a.Name, b.Name) })
		for _, n := range list {
			id, conflict, err := f.claim(ctx, tx, r.ID, n, r.Interval)
			switch {
			case err != nil:
				return fmt.Errorf("claim %s: %w", n.Name, err)
			case conflict != nil:
				out.Conflicts = append(out.Conflicts, *conflict)
			default:
				out.Granted = append(out.Granted, Granted{n.Name, id})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("register collector: %w", err)
	}
	return out, nil
}

// claim takes a name for a collector, or says who holds it.
func (f *Fleet) claim(ctx context.Context, tx pgx.Tx, collector frame.CollectorID, n Named, interval time.Duration) (int64, *Conflict, error) {
	labels, err := json.Marshal(n.Labels)
	if err != nil {
		return 0, nil, err
	}
	if n.Labels == nil {
		labels = []byte("{}")
	}
	var id int64
	err = tx.QueryRow(ctx, `INSERT INTO fleet_instance (name, collector_id, labels, interval_us) SELECT $1, $2, $3, $4
		WHERE NOT EXISTS (SELECT FROM fleet_instance WHERE name = $1) ON CONFLICT DO NOTHING RETURNING id`, n.Name, uuid(collector), labels, interval.Microseconds()).Scan(&id)
	if err == nil {
		_, err = tx.Exec(ctx, "INSERT INTO fleet_holder (instance_id, since, collector_id) VALUES ($1, '-infinity', $2)", id, uuid(collector))
		return id, nil, err
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return 0, nil, err
	}
	var holder pgtype.UUID
	var holderName string
	var heard, now time.Time
	err = tx.QueryRow(ctx, `SELECT i.id, i.collector_id, c.name, greatest(c.registered, coalesce(c.last_push, c.registered)), clock_timestamp()
		FROM fleet_instance i JOIN fleet_collector c ON c.id = i.collector_id WHERE i.name = $1 FOR UPDATE OF i`, n.Name).Scan(&id, &holder, &holderName, &heard, &now)
	if err != nil {
		return 0, nil, err
	}
	if holder.Bytes != [16]byte(collector) {
		// While no backend ran, nobody could be heard.
		silent := min(now.Sub(heard), time.Since(f.started))
		if silent < Silence {
			return 0, &Conflict{Instance: n.Name, Holder: holderName, Silent: max(0, now.Sub(heard))}, nil
		}
		if _, err := tx.Exec(ctx, "INSERT INTO fleet_holder (instance_id, since, collector_id) VALUES ($1, $2, $3)", id, now, uuid(collector)); err != nil {
			return 0, nil, err
		}
		if err := f.onTakeover(ctx, tx, id, heard.UnixMicro(), now.UnixMicro()); err != nil {
			return 0, nil, err
		}
	}
	_, err = tx.Exec(ctx, "UPDATE fleet_instance SET collector_id = $2, labels = $3, interval_us = $4 WHERE id = $1", id, uuid(collector), labels, interval.Microseconds())
	return id, nil, err
}

// CollectorByToken gives the collector whose bearer token has this SHA-256; false when there
// is none.
func (f *Fleet) CollectorByToken(ctx context.Context, hash [32]byte) (frame.CollectorID, bool, error) {
	var id pgtype.UUID
	err := f.pool.QueryRow(ctx, "SELECT id FROM fleet_collector WHERE token_hash = $1", hash[:]).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return frame.CollectorID{}, false, nil
	}
	if err != nil {
		return frame.CollectorID{}, false, fmt.Errorf("look up a collector's token: %w", err)
	}
	return id.Bytes, true, nil
}

// Newest gives the newest batch, by tick, that is stored of a collector; seq 0 when there is
// none.
func (f *Fleet) Newest(ctx context.Context, collector frame.CollectorID) (epoch, seq uint64, err error) {
	var e, s *int64
	err = f.pool.QueryRow(ctx, "SELECT newest_epoch, newest_seq FROM fleet_collector WHERE id = $1", uuid(collector)).Scan(&e, &s)
	if err != nil {
		return 0, 0, fmt.Errorf("look up a collector's newest batch: %w", err)
	}
	if e == nil || s == nil {
		return 0, 0, nil
	}
	return uint64(*e), uint64(*s), nil
}
