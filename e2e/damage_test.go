package e2e

import (
	"bytes"
	"context"
	le "encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestDamagedSpool: while the backend is away the collector is killed, and one bit of a
// batch in the middle of what it has flips. That batch is lost, and everyone who asks
// learns of it: its ticks are dropped(corrupt), the time that it counted is unobserved.
func TestDamagedSpool(t *testing.T) {
	t.Parallel()
	p := startParts(t, 16, "")
	id := p.instance("watched")
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, p.watched.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	p.backend.kill()
	from := time.Now()
	for time.Since(from) < 9*time.Second {
		if _, err := conn.PgConn().Exec(ctx, "select 1, 2, 3").ReadAll(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.collector.kill()
	to := time.Now()
	flipRecord(t, filepath.Join(p.dir, "collector", "spool"))
	p.startBackend()
	p.startCollector()

	window := []string{"from", strconv.FormatInt(from.Unix(), 10), "to", strconv.FormatInt(to.Unix(), 10)}
	eventually(t, 20*time.Second, func() string {
		var l outcomes
		if _, err := p.try(&l, "/api/v1/ledger", append([]string{"instance", id, "limit", "10000"}, window...)...); err != nil {
			return err.Error()
		}
		corrupt := 0
		for _, i := range l.Items {
			if i.Outcome == "dropped" && i.Reason == "corrupt" && i.Family == "statements" {
				corrupt++
			}
		}
		if l.Planned != l.sum() || l.Pending > 0 || l.Missing > 0 || corrupt != 1 {
			return l.String()
		}
		return ""
	})
	hour := []string{"from", strconv.FormatInt(from.Unix()-3600, 10)}
	eventually(t, 10*time.Second, func() string {
		var a struct {
			Unobserved []struct {
				Reason       string
				Since, Until float64
				Upper        *struct{}
			}
		}
		p.get(&a, "/api/v1/instances/"+id+"/statements", hour...)
		for _, u := range a.Unobserved {
			if u.Reason == "corrupt" && u.Until > u.Since && u.Until-u.Since < 5 && u.Upper == nil {
				return ""
			}
		}
		return fmt.Sprintf("unobserved: %+v", a.Unobserved)
	})
	var s struct {
		Gaps []struct{ Outcome, Reason string }
	}
	p.get(&s, "/api/v1/instances/"+id+"/series", append([]string{"family", "statements", "column", "calls", "fn", "delta"}, hour...)...)
	if !strings.Contains(fmt.Sprint(s.Gaps), "{dropped corrupt}") {
		t.Errorf("gaps of the series: %+v", s.Gaps)
	}
	names, err := os.ReadDir(filepath.Join(p.dir, "collector", "spool", "quarantine"))
	if err != nil || len(names) != 1 {
		t.Errorf("quarantine: %v, %v", names, err)
	}
}

// flipRecord flips a bit of the lead of a batch of the slow lane, in the middle of those in
// the newest segment.
func flipRecord(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatalf("segments: %v, %v", names, err)
	}
	name := names[len(names)-1]
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const header, batch = 52, 1
	var leads []int
	for at := 0; at+header < len(data); {
		lead, body := int(le.LittleEndian.Uint32(data[at+8:])), int(le.LittleEndian.Uint32(data[at+12:]))
		if data[at+4] == batch && bytes.Contains(data[at+header:at+header+lead], []byte("watched\x00\x00@slow")) {
			leads = append(leads, at+header)
		}
		at += header + lead + body
	}
	if len(leads) < 8 {
		t.Fatalf("only %d batches in %s", len(leads), name)
	}
	data[leads[len(leads)-4]+3] ^= 0x10
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
