package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

func open(t *testing.T) (*pgxpool.Pool, *fleet.Fleet) {
	t.Helper()
	pool, err := store.Open(pgtest.Database(t, pgtest.Store(t, pgtest.StoreMajor(t))), store.Options{MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := store.Migrate(t.Context(), pool, store.MetricsTable, fleet.Migrations); err != nil {
		t.Fatal(err)
	}
	return pool, fleet.New(pool, func(context.Context, pgx.Tx, int64, int64, int64) error { return nil })
}

func TestRegistrationNamesTheField(t *testing.T) {
	_, f := open(t)
	good := fleet.Registration{ID: frame.CollectorID{1}, Name: "c", Instances: []fleet.Named{{Name: "a"}}}
	for what, change := range map[string]func(*fleet.Registration){
		"id":             func(r *fleet.Registration) { r.ID = frame.CollectorID{} },
		"name":           func(r *fleet.Registration) { r.Name = strings.Repeat("x", 256) },
		"name, empty":    func(r *fleet.Registration) { r.Name = "" },
		"hostname":       func(r *fleet.Registration) { r.Hostname = "a\x00b" },
		"interval":       func(r *fleet.Registration) { r.Interval = 25 * time.Hour },
		"instances.name": func(r *fleet.Registration) { r.Instances = []fleet.Named{{}} },
		"instances.name, twice": func(r *fleet.Registration) {
			r.Instances = []fleet.Named{{Name: "a"}, {Name: "b"}, {Name: "a"}}
		},
		"instances.labels": func(r *fleet.Registration) {
			r.Instances[0].Labels = map[string]string{"env": strings.Repeat("x", 256)}
		},
		"instances": func(r *fleet.Registration) { r.Instances = make([]fleet.Named, 10_001) },
	} {
		r := good
		r.Instances = []fleet.Named{{Name: "a"}}
		change(&r)
		field, _, _ := strings.Cut(what, ",")
		var fe *fleet.FieldError
		if _, err := f.Register(t.Context(), r); !errors.As(err, &fe) || fe.Field != field {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRegisterAtOnce: many collectors want the same names at once; each name has one holder, and
// everyone is told the same.
func TestRegisterAtOnce(t *testing.T) {
	pool, f := open(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	granted := map[string]int{}
	for n := range byte(8) {
		wg.Go(func() {
			r := fleet.Registration{ID: frame.CollectorID{1, n}, Name: fmt.Sprint("c", n)}
			for _, i := range rand.Perm(20) {
				r.Instances = append(r.Instances, fleet.Named{Name: fmt.Sprint("i", i)})
			}
			got, err := f.Register(context.Background(), r)
			if err != nil {
				t.Error(err)
				return
			}
			if len(got.Granted)+len(got.Conflicts) != 20 {
				t.Errorf("%d granted, %d conflicts", len(got.Granted), len(got.Conflicts))
			}
			mu.Lock()
			defer mu.Unlock()
			for _, g := range got.Granted {
				granted[g.Name]++
			}
		})
	}
	wg.Wait()
	for name, n := range granted {
		if n != 1 {
			t.Errorf("%s was granted %d times", name, n)
		}
	}
	var instances, holders int
	if err := pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM fleet_instance), (SELECT count(*) FROM fleet_holder)").Scan(&instances, &holders); err != nil || instances != 20 || holders != 20 || len(granted) != 20 {
		t.Error(instances, holders, len(granted), err)
	}
}

func TestTokens(t *testing.T) {
	pool, f := open(t)
	r := fleet.Registration{ID: frame.CollectorID{7}, Name: "c"}
	first, err := f.Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	var stored []byte
	if err := pool.QueryRow(t.Context(), "SELECT token_hash FROM fleet_collector").Scan(&stored); err != nil || len(stored) != 32 || strings.Contains(string(stored), second.Token) {
		t.Errorf("stored: %x (%v)", stored, err)
	}
	for _, x := range []struct {
		hash [32]byte
		ok   bool
	}{{fleet.HashOf(second.Token), true}, {fleet.HashOf(first.Token), false}, {fleet.HashOf(""), false}} {
		id, ok, err := f.CollectorByToken(t.Context(), x.hash)
		if err != nil || ok != x.ok || ok && id != r.ID {
			t.Errorf("%v %v %v", id, ok, err)
		}
	}
}

// TestServersInAnyOrder: what is known of a server does not depend on the order in which batches come.
func TestServersInAnyOrder(t *testing.T) {
	pool, f := open(t)
	const us = int64(1e6)
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	server := func(version int32, boot int64, recovery bool, incarnation uint32) *frame.Server {
		return &frame.Server{SystemID: uint64(1000 + incarnation), Incarnation: incarnation, Version: version, VersionText: fmt.Sprint(version), PostmasterStart: start + boot*us, InRecovery: recovery, Role: "r", IntervalUs: 10 * us, Labels: map[string]string{"k": "v"}}
	}
	var list []fleet.Seen
	for k := range int64(60) {
		s := server(170000, -100, true, 1)
		switch {
		case k >= 50:
			s = server(180000, 500, false, 2)
		case k >= 30:
			s = server(170000, 300, false, 1)
		case k >= 20:
			s = server(170000, -100, false, 1)
		case k < 2:
			s = &frame.Server{Labels: map[string]string{}} // no contact yet
		}
		list = append(list, fleet.Seen{Tick: start + k*10*us, Server: s})
	}
	want := ""
	for round := range 6 {
		name := fmt.Sprint("i", round)
		got, err := f.Register(t.Context(), fleet.Registration{ID: frame.CollectorID{1}, Name: "c", Instances: []fleet.Named{{Name: name}}})
		if err != nil {
			t.Fatal(err)
		}
		order := rand.New(rand.NewPCG(1, uint64(round))).Perm(len(list))
		if round == 0 {
			for i := range order {
				order[i] = i
			}
		}
		for len(order) > 0 {
			n := min(len(order), 1+round)
			var group []fleet.Seen
			for _, i := range order[:n] {
				s := list[i]
				s.Instance = got.Granted[0].ID
				group = append(group, s)
			}
			order = order[n:]
			var committed func()
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) (err error) {
				committed, err = f.Write(t.Context(), tx, group)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			committed()
		}
		var text string
		err = pool.QueryRow(t.Context(), `SELECT concat_ws(' ', i.first_seen, i.version_num, i.in_recovery, i.incarnation, i.system_id, i.postmaster_start, i.labels, (
				SELECT string_agg(concat_ws(' ', s.since, s.incarnation, s.in_recovery, s.version_num), ', ' ORDER BY s.since) FROM fleet_state s WHERE s.instance_id = i.id))
			FROM fleet_instance i WHERE name = $1`, name).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			want = text
			if !strings.HasPrefix(text, `2026-03-01 00:00:20+00 180000 f 2 1002 2026-03-01 00:08:20+00 {"k": "v"} 2026-03-01 00:00:20+00 1 t 170000, 2026-03-01 00:03:20+00 1 f 170000, 2026-03-01 00:05:00+00 1 f 170000, 2026-03-01 00:08:20+00 2 f 180000`) {
				t.Fatal(text)
			}
		}
		if text != want {
			t.Errorf("in another order:\n%s\nwant\n%s", text, want)
		}
	}
}
