package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// report is what `check --format json` prints, as far as tests look.
type report struct {
	Passed                              bool
	Failed, Unjudged, Monitored, Unread []string
	Rows                                []reportRow
	Families                            []struct{ Instance, Family string }
}

type reportRow struct {
	ID, Verdict, Measured, Note, Before string
	Value                               *float64
	Parts                               []struct {
		Name                          string
		Numerator, Denominator, Value *float64
	}
}

func (r *report) row(t *testing.T, id string) *reportRow {
	t.Helper()
	i := slices.IndexFunc(r.Rows, func(row reportRow) bool { return row.ID == id })
	if i < 0 {
		t.Fatalf("no row %q in %+v", id, r)
	}
	return &r.Rows[i]
}

// part gives numerator, denominator and value of one of the parts.
func (r *reportRow) part(t *testing.T, name string) (num, den, value float64) {
	t.Helper()
	for _, p := range r.Parts {
		if p.Name == name && p.Numerator != nil && p.Denominator != nil && p.Value != nil {
			return *p.Numerator, *p.Denominator, *p.Value
		}
	}
	t.Fatalf("%s has no part %q with numbers: %+v", r.ID, name, r.Parts)
	return 0, 0, 0
}

// TestCheck: two collectors and a backend as processes. What check prints are the
// numbers of the API and of the store's tables; a collector that is killed fails it
// and is named.
func TestCheck(t *testing.T) {
	t.Parallel()
	p := startParts(t, 16, "")
	second := filepath.Join(p.dir, "second.toml")
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer(`"e2e"`, `"second"`, `"watched"`, `"also-watched"`, filepath.Join(p.dir, "collector"), filepath.Join(p.dir, "second")).Replace(string(text))
	if err := os.WriteFile(second, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	victim := start(t, nil, "collector", "--config", second)
	ids := map[string]string{"e2e": p.instance("watched"), "second": p.instance("also-watched")}

	from := time.Now().Unix()
	pgtest.Exec(t, p.watched.URL("postgres"), slices.Repeat([]string{"SELECT 42"}, 25)...)
	time.Sleep(6 * time.Second)
	to := time.Now().Unix() - 1
	window := []string{"from", strconv.FormatInt(from, 10), "to", strconv.FormatInt(to, 10)}
	var account outcomes
	eventually(t, 20*time.Second, func() string { // what is not settled changes between two looks
		if p.get(&account, "/api/v1/ledger", append(window, "limit", "1000")...); account.Pending > 0 || account.Planned == 0 {
			return account.String()
		}
		return ""
	})

	log, saved := filepath.Join(p.dir, "collector.log"), filepath.Join(p.dir, "before.json")
	if err := os.WriteFile(log, []byte(p.collector.out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(more ...string) (r report, out, stderr string, code int) {
		t.Helper()
		args := append([]string{"check", "--url", p.base, "--token-file", filepath.Join(p.dir, "api-token"), "--requests", "20", "--format", "json"}, more...)
		out, stderr, code = run(t, nil, args...)
		if err := json.Unmarshal([]byte(out), &r); err != nil && code != 2 {
			t.Fatalf("exit code %d, not JSON: %v\n%s\n%s", code, err, out, stderr)
		}
		return r, out, stderr, code
	}
	past := []string{"--from", strconv.FormatInt(from, 10), "--to", strconv.FormatInt(to, 10)}
	r, out, stderr, code := check(append(past, "--log", log, "--save", saved)...)
	if code != 0 || !r.Passed || len(r.Failed)+len(r.Unread) > 0 || !slices.Equal(r.Unjudged, []string{"regressions"}) {
		t.Fatalf("exit code %d, failed %v, unread %v, not asked for %v\n%s\n%s", code, r.Failed, r.Unread, r.Unjudged, out, stderr)
	}
	for _, f := range []string{"wal", "statements", "collector"} {
		if !slices.ContainsFunc(r.Families, func(x struct{ Instance, Family string }) bool { return x.Instance == "watched" && x.Family == f }) {
			t.Errorf("%s of watched is not among the families of the report", f)
		}
	}

	// As the API says it.
	var collectors struct {
		Items []struct {
			Name       string
			CPU        float64    `json:"cpu_percent"`
			Memory     float64    `json:"memory_peak_bytes"`
			Coverage   float64    `json:"coverage_calls"`
			CycleTrend []*float64 `json:"cycle_trend"`
			Counts     outcomes
		}
	}
	p.get(&collectors, "/api/v1/collectors", window...)
	if len(collectors.Items) != 2 {
		t.Fatalf("%d collectors", len(collectors.Items))
	}
	for _, c := range collectors.Items {
		num, den, value := r.row(t, "success").part(t, c.Name)
		if num != float64(c.Counts.Stored) || den != float64(c.Counts.Planned) || value != 100*num/den || num == 0 {
			t.Errorf("success of %s: %v = %v / %v, the API has %s", c.Name, value, num, den, &c.Counts)
		}
		if _, _, value := r.row(t, "cpu").part(t, c.Name); !agree(value, c.CPU) || value == 0 {
			t.Errorf("CPU of %s: %v, the API has %v", c.Name, value, c.CPU)
		}
		if _, _, value := r.row(t, "coverage").part(t, c.Name); !agree(value, 100*c.Coverage) || value == 0 {
			t.Errorf("coverage of %s: %v, the API has %v", c.Name, value, c.Coverage)
		}
		longest := 0.0
		for _, v := range c.CycleTrend {
			if v != nil {
				longest = max(longest, *v)
			}
		}
		if row := r.row(t, "cycle"); *row.Value < longest || longest == 0 {
			t.Errorf("cycle %v, that of %s was %v", *row.Value, c.Name, longest)
		}
	}
	// And as the tables have it.
	for name, id := range ids {
		var cpu, acquires, acquire, rounds, peak float64
		p.row(`SELECT sum(cpu_time)::float8 / 1000, sum(acquires)::float8, sum(acquire_time)::float8 / 1000, sum(rounds)::float8, max(memory_peak)::float8 / 1048576
			FROM collector_raw WHERE instance_id = $1 AND time > to_timestamp($2) AND time <= to_timestamp($3)`, []any{id, from, to}, &cpu, &acquires, &acquire, &rounds, &peak)
		if num, den, _ := r.row(t, "cpu").part(t, name); !agree(num, cpu) || den < 4000 || den > 1000*float64(to-from+2) {
			t.Errorf("CPU of %s: %v ms in %v ms, the table has %v ms", name, num, den, cpu)
		}
		if num, den, _ := r.row(t, "overhead").part(t, name); !agree(num, acquire) || den != acquires || den == 0 {
			t.Errorf("overhead of %s: %v / %v, the table has %v / %v", name, num, den, acquire, acquires)
		}
		if _, den, _ := r.row(t, "round_trips").part(t, name); den != rounds {
			t.Errorf("rounds of %s: %v, the table has %v", name, den, rounds)
		}
		if _, _, value := r.row(t, "memory").part(t, name); !agree(value, peak) {
			t.Errorf("memory of %s: %v, the table has %v", name, value, peak)
		}
	}
	var stored float64
	p.row(`SELECT sum(cardinality(families))::float8 FROM ledger WHERE time > to_timestamp($1) AND time <= to_timestamp($2)`, []any{from, to}, &stored)
	if want := fmt.Sprintf("%.0f of %d due ticks", stored, account.Planned); !strings.HasPrefix(r.row(t, "success").Note, want) {
		t.Errorf("success says %q, the table has %s", r.row(t, "success").Note, want)
	}

	// Nothing changed since: no regression. An error in a log is one.
	r, out, _, code = check(append(past, "--against", saved)...)
	if row := r.row(t, "regressions"); code != 0 || row.Verdict != "pass" || len(r.Unjudged) > 0 || r.row(t, "success").Before == "" {
		t.Errorf("exit code %d, regressions: %s %s\n%s", code, row.Verdict, row.Measured, out)
	}
	if err := os.WriteFile(log, []byte("level=ERROR msg=boom\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, _, _, code = check(append(past, "--log", log)...); code != 1 || !slices.Equal(r.Failed, []string{"starts"}) || !strings.Contains(r.row(t, "starts").Measured, "boom") {
		t.Errorf("an error in a log: exit code %d, failed %v", code, r.Failed)
	}
	refusals(t, p, saved)

	victim.kill()
	eventually(t, 40*time.Second, func() string {
		r, out, _, code = check("--window", "8s", "--against", saved)
		if services := r.row(t, "services"); code != 1 || services.Verdict != "FAIL" || !strings.Contains(services.Measured, "collector second: silent for") || r.row(t, "cpu").Verdict != "no data" {
			return fmt.Sprintf("exit code %d, services: %s %s, cpu: %s", code, services.Verdict, services.Measured, r.row(t, "cpu").Verdict)
		}
		return ""
	})
	if strings.Contains(r.row(t, "services").Measured, "collector e2e") || !strings.Contains(r.row(t, "cpu").Note, "no data of second") {
		t.Errorf("services: %s; cpu: %s [%s]", r.row(t, "services").Measured, r.row(t, "cpu").Measured, r.row(t, "cpu").Note)
	}
	if r.row(t, "regressions").Verdict == "pass" {
		t.Error("nothing of also-watched arrives, and that is no regression")
	}
	table, _, code := run(t, nil, "check", "--url", p.base, "--token-file", filepath.Join(p.dir, "api-token"), "--requests", "10", "--window", "8s")
	if code != 1 || !strings.Contains(table, "failed: all services healthy: FAIL, collector second: silent for") {
		t.Errorf("exit code %d, the table does not name what failed:\n%s", code, table)
	}

	p.backend.kill()
	if r, out, _, code = check(); code != 1 || !strings.Contains(r.row(t, "services").Measured, "backend: no answer") {
		t.Errorf("without a backend: exit code %d\n%s", code, out)
	}
}

func agree(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(a), math.Abs(b)) }

// refusals: what is wrong with the command line is named, and the exit code is 2.
func refusals(t *testing.T, p *parts, saved string) {
	t.Helper()
	token := filepath.Join(p.dir, "api-token")
	other := filepath.Join(p.dir, "other-token")
	if err := os.WriteFile(other, []byte("none of yours"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--format", "xml"}, `--format = "xml"`},
		{[]string{"--window", "0s"}, `--window = "0s"`},
		{[]string{"--window", "1h", "--from", "2026-01-01T00:00:00Z"}, "--window and --from"},
		{[]string{"--from", "yesterday"}, `--from = "yesterday"`},
		{[]string{"--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"}, "before --to"},
		{[]string{"--requests", "1"}, "--requests = 1"},
		{[]string{"--service", "grafana"}, `--service = "grafana"`},
		{[]string{"--log", filepath.Join(p.dir, "none")}, "--log"},
		{[]string{"--against", token}, "--against"},
		{[]string{"--save", filepath.Join(p.dir, "none", "x")}, "--save"},
		{[]string{"--ca-file", token}, "--ca-file"},
		{[]string{"--token-file", other}, "--token-file"},
		{[]string{"--url", "localhost:8080"}, "--url"},
		{[]string{"--data-dir", p.dir}, "want one of them"},
	} {
		args := append([]string{"check", "--url", p.base, "--token-file", token}, c.args...)
		if i := slices.Index(c.args, "--url"); i >= 0 {
			args = append([]string{"check", "--token-file", token}, c.args...)
		}
		if c.args[0] == "--token-file" {
			args = append([]string{"check", "--url", p.base}, c.args...)
		}
		if _, stderr, code := run(t, nil, args...); code != 2 || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d, %q, want %q", c.args, code, stderr, c.want)
		}
	}
	if _, err := os.Stat(saved); err != nil {
		t.Error(err)
	}
}
