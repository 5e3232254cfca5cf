package check

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// JSON writes everything that is known.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

func (r *Report) head() string {
	return fmt.Sprintf("%s, version %s; %s, %s, interval %s; %s", r.URL, orNone(r.Version), plural(r.Collectors, "collector"), plural(r.Instances, "instance"),
		time.Duration(r.Interval*float64(time.Second)), window(r.From, r.To))
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

var columns = []string{"MEASURE", "TARGET", "VERDICT", "OURS", "VERDICT", "BEFORE", "MEASURED"}

func (row *Row) cells() []string {
	measured := row.Measured
	if row.Note != "" {
		measured += " [" + row.Note + "]"
	}
	return []string{row.Measure, orNone(row.Target), string(row.Verdict), orNone(row.Ours), string(row.OursVerdict), orNone(row.Before), measured}
}

// sections are the must-pass rows, those that are watched, and those that are not
// measured here.
func (r *Report) sections(each func(title string, rows []*Row) error) error {
	var must, watched, elsewhere []*Row
	for i := range r.Rows {
		switch row := &r.Rows[i]; {
		case row.Must:
			must = append(must, row)
		case row.Verdict == Elsewhere:
			elsewhere = append(elsewhere, row)
		default:
			watched = append(watched, row)
		}
	}
	for _, s := range []struct {
		title string
		rows  []*Row
	}{{"Must pass", must}, {"Monitored", watched}, {"Not measured here", elsewhere}} {
		if err := each(s.title, s.rows); err != nil {
			return err
		}
	}
	return nil
}

// Table writes the report for a terminal.
func (r *Report) Table(w io.Writer, explain bool) error {
	fmt.Fprintln(w, r.head())
	err := r.sections(func(title string, rows []*Row) error {
		fmt.Fprintf(w, "\n%s\n", title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, strings.Join(columns, "\t"))
		for _, row := range rows {
			fmt.Fprintln(t, strings.Join(oneLine(row.cells(), "\t", " "), "\t"))
		}
		return t.Flush()
	})
	if err != nil {
		return err
	}
	if explain {
		fmt.Fprintln(w, "\nHow each row was measured")
		for i := range r.Rows {
			if row := &r.Rows[i]; row.Verdict != Elsewhere || row.Must {
				row.explain(w, "")
			}
		}
	}
	fmt.Fprint(w, "\n", r.summary())
	return nil
}

// Markdown writes the report for a page.
func (r *Report) Markdown(w io.Writer, explain bool) error {
	fmt.Fprintf(w, "# Check of the deployment\n\n%s\n", escape(r.head()))
	err := r.sections(func(title string, rows []*Row) error {
		fmt.Fprintf(w, "\n## %s\n\n| measure | target | verdict | ours | verdict | before | measured |\n|---|---|---|---|---|---|---|\n", title)
		for _, row := range rows {
			cells := oneLine(row.cells(), "|", `\|`)
			for i := range cells {
				cells[i] = escape(cells[i])
				if cells[i] == string(Fail) {
					cells[i] = "**" + cells[i] + "**"
				}
			}
			fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if explain {
		fmt.Fprint(w, "\n## How each row was measured\n\n")
		for i := range r.Rows {
			if row := &r.Rows[i]; row.Verdict != Elsewhere || row.Must {
				row.explain(w, "- ")
			}
		}
	}
	fmt.Fprint(w, "\n", escape(r.summary()))
	return nil
}

func oneLine(cells []string, old, new string) []string {
	for i := range cells {
		cells[i] = strings.NewReplacer("\n", " ", "\r", " ", old, new).Replace(cells[i])
	}
	return cells
}

// escape keeps targets such as "< 40 %" from being read as a tag.
func escape(s string) string { return strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(s) }

const maxParts = 20

// explain tells numerators, denominators, window and source.
func (row *Row) explain(w io.Writer, bullet string) {
	line := func(indent, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if bullet != "" {
			indent, text = strings.Repeat("  ", len(indent)/2)+bullet, escape(text)
		}
		fmt.Fprintf(w, "%s%s\n", indent, text)
	}
	line("", "%s (%s): %s", row.Measure, row.ID, row.Measured)
	if row.NumeratorIs != "" {
		line("  ", "numerator: %s", row.NumeratorIs)
	}
	if row.DenominatorIs != "" {
		line("  ", "denominator: %s", row.DenominatorIs)
	}
	if row.Window != "" {
		line("  ", "window: %s", row.Window)
	}
	line("  ", "source: %s", row.Source)
	if row.Note != "" {
		line("  ", "note: %s", row.Note)
	}
	parts := row.Parts
	if len(parts) > maxParts {
		// The worst are what is asked for; JSON has them all.
		parts = parts[:0:0]
		for _, p := range row.Parts {
			if p.Value == nil || row.Value == nil || *p.Value == *row.Value || p.Note != "" {
				parts = append(parts, p)
			}
		}
		parts = parts[:min(len(parts), maxParts)]
		line("  ", "%d of %d parts:", len(parts), len(row.Parts))
	}
	for _, p := range parts {
		text := "no data"
		if p.Value != nil {
			text = value(*p.Value, row.Unit)
		}
		if p.Numerator != nil && p.Denominator != nil {
			text += fmt.Sprintf(" = %s / %s", short(*p.Numerator), short(*p.Denominator))
		}
		if p.Note != "" {
			text += "; " + p.Note
		}
		name := p.Name
		if name == "" {
			name = "all"
		}
		line("  ", "%s: %s", name, text)
	}
}

func short(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", v), "0"), ".")
}

func (r *Report) summary() string {
	var b strings.Builder
	list := func(what string, ids []string) {
		if len(ids) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", what, strings.Join(ids, ", "))
		}
	}
	list("could not be read", r.Unread)
	list("monitored rows that do not meet the target", r.Monitored)
	list("rows that do not meet our own target", r.Own)
	list("must-pass rows that nobody asked for", r.Unjudged)
	if r.Passed {
		fmt.Fprintln(&b, "passed: every must-pass row that was asked for")
	}
	for _, id := range r.Failed {
		for i := range r.Rows {
			if row := &r.Rows[i]; row.ID == id {
				fmt.Fprintf(&b, "failed: %s: %s, %s\n", row.Measure, row.Verdict, row.Measured)
			}
		}
	}
	return b.String()
}
