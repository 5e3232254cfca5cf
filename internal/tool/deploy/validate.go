package deploy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/check"
)

// window is a part of the time since a deployment.
type window struct {
	name       string
	begin, end time.Duration
}

var windows = []window{
	{"immediate", 0, 15 * time.Minute},
	{"short", 15 * time.Minute, 2 * time.Hour},
	{"medium", 2 * time.Hour, 24 * time.Hour},
	{"follow-up", 24 * time.Hour, 72 * time.Hour},
}

// signOff is what ends a deployment. What a machine knows is ticked by judge; the
// others stay open for a person.
type signOff struct {
	text  string
	judge func(*validation) (done bool, why string) // nil: only a person can tell
}

var signOffs = []signOff{
	{"code reviewed", nil},
	{"load tests passing 3/3", func(v *validation) (bool, string) {
		if err := v.d.loadTest(v.record.Commit); err != nil {
			return false, err.Error()
		}
		return true, LoadTestFile
	}},
	{"rollback plan documented", func(v *validation) (bool, string) {
		return exists(filepath.Join(v.d.Dir, "docs/deployment.md")), "docs/deployment.md"
	}},
	{"monitoring configured", func(v *validation) (bool, string) {
		return exists(filepath.Join(v.d.Dir, "grafana/provisioning/alerting")), "grafana/provisioning/alerting, five alerts"
	}},
	{"team notified", nil},
	{"24-hour monitoring complete", func(v *validation) (bool, string) {
		age := v.d.begun.Sub(v.record.Finished)
		return age >= 24*time.Hour, fmt.Sprintf("%s since the deployment", age.Round(time.Minute))
	}},
	{"all metrics within targets", func(v *validation) (bool, string) { return v.all(func(r check.Row) bool { return passed(r) }) }},
	{"zero regressions", func(v *validation) (bool, string) {
		return v.all(func(r check.Row) bool { return passed(r) || !strings.Contains(r.ID, "regression") })
	}},
	{"performance targets achieved", func(v *validation) (bool, string) {
		return v.all(func(r check.Row) bool { return passed(r) || !r.Must })
	}},
	{"ready for the next phase", nil},
}

type validation struct {
	d       *Deploy
	record  *Record
	results []windowResult
}

type windowResult struct {
	window
	from, to time.Time // the real window
	rows     []check.Row
}

// passed: nothing is amiss; what another command measures is that one's to say.
func passed(r check.Row) bool { return r.Verdict != check.Fail && r.Verdict != check.NoData }

// all: of the windows that have begun, every row is fine.
func (v *validation) all(fine func(check.Row) bool) (bool, string) {
	var bad []string
	for _, w := range v.results {
		for _, r := range w.rows {
			if !fine(r) {
				bad = append(bad, w.name+": "+r.ID)
			}
		}
	}
	if len(bad) > 0 {
		return false, strings.Join(bad, "; ")
	}
	return len(v.results) > 0, fmt.Sprintf("in %d of %d windows so far", len(v.results), len(windows))
}

// Validate judges the recorded deployment over the windows since then and leaves a
// report. It fails when a criterion that must pass does not.
func (d *Deploy) Validate(ctx context.Context) error {
	r := d.state.current()
	if r == nil {
		return errors.New("no deployment is recorded: pganalytics deploy up records one")
	}
	v := &validation{d: d, record: r}
	failed := false
	for _, w := range windows {
		from, to := r.Finished.Add(w.begin), r.Finished.Add(w.end)
		if !from.Before(d.begun) {
			break
		}
		if to.After(d.begun) {
			to = d.begun
		}
		against := r.Baseline
		if against != "" && !exists(filepath.Join(d.Dir, against)) {
			against = ""
		}
		if d.DryRun {
			d.sayf("would judge %s: %s to %s", w.name, from.Format(time.DateTime), to.Format(time.DateTime))
			continue
		}
		rows, err := d.judge(ctx, from, to, against, "")
		if err != nil {
			return fmt.Errorf("window %s: %w", w.name, err)
		}
		failed = failed || len(must(rows, check.Fail)) > 0
		v.results = append(v.results, windowResult{w, from, to, rows})
	}
	if d.DryRun {
		return nil
	}
	text := v.report()
	path := filepath.Join("reports", "validation_"+d.begun.Format("20060102_150405")+".md")
	if err := writeFile(filepath.Join(d.Dir, path), []byte(text)); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	fmt.Fprint(d.Out, text)
	fmt.Fprintf(d.Out, "\nreport: %s\n", path)
	if failed {
		return ErrFailed
	}
	return nil
}

func (v *validation) report() string {
	var b strings.Builder
	r := v.record
	fmt.Fprintf(&b, "# Validation of %s\n\nDeployed %s, judged %s.", r.Commit, r.Finished.Format(time.RFC3339), v.d.begun.Format(time.RFC3339))
	for _, s := range built {
		if gap, ok := r.Gaps[s]; ok {
			fmt.Fprintf(&b, " %s was away %.1f s.", s, gap.Seconds())
		}
	}
	if len(r.Accepted) > 0 {
		fmt.Fprintf(&b, " Accepted although they failed before: %s.", strings.Join(r.Accepted, ", "))
	}
	b.WriteString("\n")
	for i, w := range windows {
		fmt.Fprintf(&b, "\n## %s: %s to %s after it\n\n", w.name, hours(w.begin), hours(w.end))
		if i >= len(v.results) {
			fmt.Fprintf(&b, "Not begun yet: from %s.\n", r.Finished.Add(w.begin).Format(time.RFC3339))
			continue
		}
		w := v.results[i]
		state := "complete"
		if w.to.Sub(w.from) < w.end-w.begin {
			state = "not over yet"
		}
		fmt.Fprintf(&b, "Real window: %s to %s (%s, %s).\n\n%s", w.from.Format(time.RFC3339), w.to.Format(time.RFC3339), w.to.Sub(w.from).Round(time.Second), state, table(w.rows))
	}
	b.WriteString("\n## Sign-off\n\n")
	for _, s := range signOffs {
		mark, why := " ", "a person's to tick"
		if s.judge != nil {
			var done bool
			if done, why = s.judge(v); done {
				mark = "x"
			}
		}
		fmt.Fprintf(&b, "- [%s] %s (%s)\n", mark, s.text, why)
	}
	return b.String()
}

func hours(d time.Duration) string {
	if d < time.Hour {
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}
