package loadtest

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/check"
)

// Report is what a run found. `pganalytics deploy preflight` reads the first four.
type Report struct {
	Passed        int            `json:"passed"` // scenarios that meet every criterion of the deployment
	Of            int            `json:"of"`
	Commit        string         `json:"commit"`
	Time          time.Time      `json:"time"`
	Quick         bool           `json:"quick,omitempty"` // a look: too short for figures
	Machine       string         `json:"machine"`
	Load          string         `json:"load_average"` // at the start
	PostgreSQL    string         `json:"postgresql"`
	Interval      string         `json:"interval"`
	Duration      string         `json:"duration"`
	Backend       string         `json:"backend,omitempty"` // the one that was named
	Scenarios     []*Scenario    `json:"scenarios"`
	Saturation    *Saturation    `json:"saturation,omitempty"`
	Extrapolation *Extrapolation `json:"extrapolation,omitempty"`
}

// Scenario is one load.
type Scenario struct {
	Collectors int         `json:"collectors"`
	Instances  int         `json:"instances"`
	Passed     bool        `json:"passed"`
	Failed     []string    `json:"failed,omitempty"` // what the deployment demands
	Own        []string    `json:"own,omitempty"`    // the product's own targets that are missed
	Rows       []check.Row `json:"rows"`
	Relative   []Relative  `json:"relative,omitempty"`
	Simulated  *Simulated  `json:"simulated,omitempty"`
	Real       *Real       `json:"real,omitempty"`
	Naive      *Naive      `json:"naive,omitempty"`
}

func (t *test) newReport() *Report {
	r := &Report{Commit: t.Commit, Time: time.Now().UTC().Truncate(time.Second), Quick: t.Quick, PostgreSQL: t.place.Binaries.Version, Interval: t.Interval.String(), Duration: t.Duration.String(),
		Machine: fmt.Sprintf("%d cores, %.0f GiB, %s, %s", runtime.NumCPU(), memoryMB()/1024, runtime.GOOS, runtime.Version())}
	if t.URL != "" {
		r.Backend = redacted(t.URL)
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Load = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	return r
}

// AllPassed says whether every scenario met the criteria.
func (r *Report) AllPassed() bool { return r.Of > 0 && r.Passed == r.Of }

// Files of the reports in Options.Dir.
const (
	jsonFile     = "loadtest.json"
	markdownFile = "loadtest.md"
)

// write prints the report and keeps it.
func (r *Report) write(t *test) error {
	if t.Out != nil {
		r.print(t.Out, &table{})
	}
	if t.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(t.Dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	var md strings.Builder
	r.print(&md, &table{markdown: true})
	for name, content := range map[string]string{jsonFile: string(text) + "\n", markdownFile: md.String()} {
		path := filepath.Join(t.Dir, name)
		// As a whole or not at all: preflight may read it now.
		if err := os.WriteFile(path+".new", []byte(content), 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	t.progress("kept %s and %s", filepath.Join(t.Dir, jsonFile), filepath.Join(t.Dir, markdownFile))
	return nil
}

// table writes rows for a terminal or as Markdown.
type table struct {
	markdown bool
	rows     [][]string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) heading(w io.Writer, text string) {
	if t.markdown {
		text = "## " + text
	}
	fmt.Fprintf(w, "\n%s\n\n", text)
}

// flush writes the rows, the first of which names the columns.
func (t *table) flush(w io.Writer) {
	if t.markdown {
		for i, r := range t.rows {
			for k := range r {
				r[k] = strings.ReplaceAll(r[k], "|", "\\|")
			}
			fmt.Fprintf(w, "| %s |\n", strings.Join(r, " | "))
			if i == 0 {
				fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(r)))
			}
		}
	} else {
		tw := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
		for _, r := range t.rows {
			fmt.Fprintln(tw, strings.Join(r, "\t"))
		}
		_ = tw.Flush()
	}
	t.rows = nil
}

func (r *Report) print(w io.Writer, t *table) {
	title := fmt.Sprintf("Load test of %s, %s: %d of %d scenarios passed", or(r.Commit, "an unknown commit"), r.Time.Format(time.RFC3339), r.Passed, r.Of)
	if t.markdown {
		title = "# " + title
	}
	fmt.Fprintf(w, "%s\n\n%s, PostgreSQL %s, load average before %s; interval %s, measured over %s each.\n", title, r.Machine, r.PostgreSQL, r.Load, r.Interval, r.Duration)
	if r.Quick {
		fmt.Fprintln(w, "A look (--quick): too short for figures.")
	}
	if r.Backend != "" {
		fmt.Fprintf(w, "Backend: %s. CPU and memory of it and its store are not ours to read.\n", r.Backend)
	}
	for _, s := range r.Scenarios {
		s.print(w, t)
	}
	r.Extrapolation.print(w, t)
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (s *Scenario) title() string {
	var what []string
	if s.Collectors > 0 {
		what = append(what, fmt.Sprintf("%d simulated collectors", s.Collectors))
	}
	if s.Real != nil {
		on := fmt.Sprintf("a real collector on %d servers", s.Instances)
		if s.Real.Servers < s.Instances {
			on = fmt.Sprintf("a real collector on %d instances (names on %d servers)", s.Instances, s.Real.Servers)
		}
		what = append(what, on)
	}
	word := "passed"
	if !s.Passed {
		word = "FAILED: " + strings.Join(s.Failed, ", ")
	}
	return strings.Join(what, "; ") + ": " + word
}

func (s *Scenario) print(w io.Writer, t *table) {
	t.heading(w, s.title())
	t.row("criterion", "measured", "deployment", "", "ours", "", "note")
	for _, r := range s.Rows {
		t.row(r.Measure, r.Measured, r.Target, string(r.Verdict), r.Ours, string(r.OursVerdict), r.Note)
	}
	t.flush(w)
	t.row("part", "CPU, % of a core", "CPU per instance and interval, ms", "memory, MB")
	part := func(name string, u Used, own bool) {
		if !own {
			return
		}
		memory := figure(u.Memory)
		if u.Memory == 0 {
			memory = "-"
		}
		t.row(name, figure(u.CPU), figure(u.Cycle), memory)
	}
	if x := s.Simulated; x != nil {
		part("backend, simulated collectors", x.Backend, x.Backend.Memory > 0)
		part("store, simulated collectors", x.Store, x.Store.Memory > 0)
		part("this load test", x.Itself, true)
	}
	if x := s.Real; x != nil {
		part("collector", x.Collector, true)
		part("backend, real collector", x.Backend, x.Backend.Memory > 0)
		part("store, real collector", x.Store, x.Store.Memory > 0)
		t.row("our backends on a watched server, per instance", figure(x.Watched), "-", "-")
	}
	fmt.Fprintln(w)
	t.flush(w)
	if x := s.Simulated; x != nil {
		fmt.Fprintf(w, "\n%s rows/s, %s pushed in %d batches of %s bytes; memory: VmHWM, of the store the highest sum of shares (Pss).\n",
			figure(x.RowRate), size(x.Bytes), x.Batches, figure(float64(x.Bytes)/float64(max(1, x.Batches))))
	}
	if len(s.Relative) == 0 {
		return
	}
	fmt.Fprintln(w)
	t.row("before and after, same run", "naive design", "pgAnalytics", "gain", "target", "", "note")
	for _, r := range s.Relative {
		t.row(r.Measure, strings.TrimSpace(figure(r.Before)+" "+r.Unit), strings.TrimSpace(figure(r.After)+" "+r.Unit), r.Gain, r.Target, string(r.Verdict), r.Note)
	}
	t.flush(w)
	if s.Naive.Failed > 0 {
		fmt.Fprintf(w, "The naive design could not read %d times: %s\n", s.Naive.Failed, s.Naive.Why)
	}
}

func size(bytes int64) string { return figure(mb(bytes)) + " MB" }

func (e *Extrapolation) print(w io.Writer, t *table) {
	if e == nil || len(e.Resources) == 0 {
		return
	}
	t.heading(w, fmt.Sprintf("Extrapolated to %d instances, what breaks first on machines like this one", e.At))
	t.row("resource", "needed", "here", "enough for", "then")
	for _, r := range e.Resources {
		t.row(r.Name, figure(r.Need)+" "+r.Unit, figure(r.Have)+" "+r.Unit, figure(r.Until)+" instances", r.Then)
	}
	t.flush(w)
}
