package agent_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// A record that is damaged on disk costs one batch, and no more than that in silence:
// its ticks are dropped(corrupt), what it counted is unobserved(corrupt), and what only
// it announced is announced again.
func TestDamagedRecordIsAccountedFor(t *testing.T) {
	t.Parallel()
	for name, which := range map[string]func(n int) int{
		"first":  func(int) int { return 0 }, // announces the lane's schedules
		"middle": func(n int) int { return n / 2 },
		"last":   func(n int) int { return n - 1 }, // other lanes go on
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, instance := watched(t)
			r := newReceiver(t)
			r.setDown(true)
			cfg := config(t, r, 1, instance)
			d := &driver{conn: pgtest.Connect(t, server.URLAs("worker", "work")), calls: map[int]int64{}}
			p := spawn(t, cfg)
			for end := time.Now().Add(9 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				d.call(t, 3)
			}
			p.kill()
			hurt(t, cfg, which)
			r.setDown(false)
			restarted := time.Now()
			p = spawn(t, cfg)
			r.waitStored(t, "db1", "statements", restarted.Add(2*time.Second))
			p.end(t)

			ranges := r.wholeTime(t)
			account := r.account()
			if name == "first" {
				// What was over before the restart is not announced again: its tick was lost.
				k := seriesKey{"db1", "", "statements"}
				newest := r.newestStored("db1", "statements")
				if !slices.Contains(plannedTicks(account.schedules[k], newest), newest) {
					t.Errorf("nobody planned the tick %s: %+v", stamp(newest), account.schedules[k])
				}
				return
			}
			dropped := 0
			counts := account.balance(t) // planned = all outcomes
			for _, words := range counts {
				dropped += words["dropped(corrupt)"]
			}
			// Without a batch behind it, its ticks passed without a collector, and its counts are
			// lost only where something else was written behind it.
			// Its baselines were patches, or patches follow it: then there are two such ranges, the
			// second up to the first read after the restart.
			if name == "middle" && (dropped < 4 || ranges["statements"] == 0 || ranges["database"] == 0) {
				t.Errorf("%d ticks are dropped(corrupt), ranges that are unobserved(corrupt): %v; want all of a batch\n%v", dropped, ranges, counts)
			}
			rows, cut := r.sums("db1", "statements", "calls", nil)
			if got := rows[""] + cut; got == 0 {
				t.Error("nothing was counted")
			}
		})
	}
}

// hurt flips a bit in one of the records of the slow lane that the spool holds.
func hurt(t *testing.T, cfg agent.Config, which func(n int) int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(cfg.Collector.DataDir, "spool", "*.seg"))
	if err != nil || len(names) != 1 {
		t.Fatalf("segments: %v, %v", names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	const header = 52
	var leads []int
	for at := 0; at+header < len(data); {
		lead, body := int(binary.LittleEndian.Uint32(data[at+8:])), int(binary.LittleEndian.Uint32(data[at+12:]))
		if data[at+4] == 1 && bytes.Contains(data[at+header:at+header+lead], []byte("\x00\x00@slow")) {
			leads = append(leads, at+header)
		}
		at += header + lead + body
	}
	if len(leads) < 4 {
		t.Fatalf("only %d batches in the spool", len(leads))
	}
	data[leads[which(len(leads))]+5] ^= 4
	if err := os.WriteFile(names[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wholeTime checks that frames follow each other without a hole in time, unless it is
// said to be unobserved; it counts such ranges by family.
func (r *receiver) wholeTime(t *testing.T) map[string]int {
	t.Helper()
	type read struct{ since, at int64 }
	reads := map[seriesKey][]read{}
	unobserved := map[seriesKey][]read{}
	for _, b := range r.all() {
		for _, o := range b.Outcomes {
			if f := catalog.Lookup(o.Family); o.Code == frame.Stored && f.HasCounters() && f.Reader == "" {
				k := seriesKey{b.Instance, o.Database, o.Family}
				reads[k] = append(reads[k], read{o.Since, o.At})
			}
		}
		for _, u := range b.Unobserved {
			if u.Reason != "corrupt" || len(u.Upper) != 0 {
				t.Errorf("unobserved: %+v", u)
			}
			k := seriesKey{b.Instance, u.Database, u.Family}
			unobserved[k] = append(unobserved[k], read{u.Since, u.At})
		}
	}
	ranges := map[string]int{}
	for k, list := range reads {
		slices.SortFunc(list, func(x, y read) int { return int(x.at - y.at) })
		for i, x := range list[1:] {
			hole := read{list[i].at, x.since}
			switch known := slices.Contains(unobserved[k], hole); {
			case hole.at < hole.since:
				t.Errorf("%v: read twice from %s to %s", k, stamp(hole.at), stamp(hole.since))
			case known && hole.since < hole.at:
				ranges[k.family]++
			case hole.since < hole.at:
				t.Errorf("%v: nobody says what was from %s to %s: %v", k, stamp(hole.since), stamp(hole.at), unobserved[k])
			}
		}
	}
	for k := range unobserved {
		if reads[k] == nil {
			t.Errorf("%v has no reads: %v", k, slices.Collect(maps.Keys(reads)))
		}
	}
	return ranges
}
