package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one figure: ours beside a reference of the same run.
type row struct {
	What      string  `json:"what"`
	Ours      float64 `json:"ours"`
	Reference float64 `json:"reference,omitempty"` // 0: none
	Unit      string  `json:"unit"`
	Of        string  `json:"of,omitempty"` // what the reference is
	Ratio     float64 `json:"ratio,omitempty"`
	Target    string  `json:"target,omitempty"` // "" for figures that are only printed
	Met       *bool   `json:"met,omitempty"`
	Note      string  `json:"note,omitempty"`
}

type report struct {
	When    string            `json:"when"`
	Machine map[string]string `json:"machine"`
	Run     map[string]string `json:"run"`
	Rows    []row             `json:"rows"`
}

func newReport(opt options) *report {
	return &report{When: time.Now().UTC().Format(time.RFC3339), Run: map[string]string{
		"instances": strconv.Itoa(opt.instances), "names on the server of 1,000 statements": strconv.Itoa(opt.names),
		"interval": opt.interval.String(), "query_stats_limit": strconv.Itoa(opt.limit), "warm-up": opt.warmup.String(),
		"measured": opt.measure.String(), "outage": opt.outage.String(),
	}}
}

func (r *report) add(row row) {
	if row.Reference != 0 && row.Ratio == 0 {
		row.Ratio = row.Ours / row.Reference
	}
	r.Rows = append(r.Rows, row)
}

// judge adds a row whose ratio, or value where it has no reference, must not be
// beyond bound.
func (r *report) judge(row row, atMost bool, bound float64) {
	value := row.Ours
	if row.Reference != 0 {
		if row.Ratio == 0 {
			row.Ratio = row.Ours / row.Reference
		}
		value = row.Ratio
	}
	met := value <= bound == atMost || value == bound
	sign := "≥"
	if atMost {
		sign = "≤"
	}
	suffix := " " + row.Unit
	if row.Reference != 0 {
		suffix = "x"
	}
	row.Target, row.Met = strings.TrimSpace(sign+" "+number(bound)+suffix), &met
	r.Rows = append(r.Rows, row)
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s, %s cores, %s, PostgreSQL %s, %s\n", r.Machine["cpu"], r.Machine["cores"], r.Machine["os"], r.Machine["postgres"], r.Machine["go"])
	fmt.Fprintf(w, "%s servers, interval %s, query_stats_limit %s, measured over %s, outage %s\n\n", r.Run["instances"], r.Run["interval"], r.Run["query_stats_limit"], r.Run["measured"], r.Run["outage"])
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tours\treference\tratio\ttarget\t")
	for _, row := range r.Rows {
		reference, ratio, verdict := "-", "-", ""
		if row.Reference != 0 {
			reference, ratio = number(row.Reference)+" "+row.Unit, number(row.Ratio)+"x"
			if row.Of != "" {
				reference += " (" + row.Of + ")"
			}
		}
		if row.Met != nil {
			verdict = map[bool]string{true: "met", false: "MISSED"}[*row.Met]
		}
		fmt.Fprintf(t, "%s\t%s %s\t%s\t%s\t%s\t%s\n", row.What, number(row.Ours), row.Unit, reference, ratio, row.Target, verdict)
	}
	_ = t.Flush()
	for _, row := range r.Rows {
		if row.Note != "" {
			fmt.Fprintf(w, "%s: %s\n", row.What, row.Note)
		}
	}
}

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// number is a figure with three significant digits.
func number(v float64) string {
	switch {
	case v == float64(int64(v)) && v < 1e6 && v > -1e6:
		return strconv.FormatInt(int64(v), 10)
	case v >= 100_000:
		return strconv.FormatFloat(v/1000, 'f', 0, 64) + "k"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func machine(postgres string) map[string]string {
	m := map[string]string{"cores": strconv.Itoa(runtime.NumCPU()), "go": runtime.Version(), "postgres": postgres, "cpu": "unknown CPU", "os": runtime.GOOS}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m["cpu"] = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m["os"] = "Linux " + strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		if f := strings.Fields(string(text)); len(f) > 1 {
			if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				m["memory"] = fmt.Sprintf("%d GiB", (kb+1<<19)>>20)
			}
		}
	}
	return m
}
