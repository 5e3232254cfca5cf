package deploy

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/check"
)

// judge is pganalytics check, asked with the stack's own address and token.
// against and save name files in the repository, "" for none.
func (d *Deploy) judge(ctx context.Context, from, to time.Time, against, save string) ([]check.Row, error) {
	address, err := d.stack.address(ctx)
	if err != nil {
		return nil, err
	}
	token, err := d.stack.apiToken(ctx)
	if err != nil {
		return nil, err
	}
	var before *check.Report
	if against != "" {
		if before, err = check.Load(filepath.Join(d.Dir, against)); err != nil {
			d.sayf("no figures before: %v", err)
		}
	}
	facts, err := check.Gather(ctx, check.Options{URL: address, Token: token, From: from, To: to, Requests: 20, Inventory: before != nil || save != ""})
	if err != nil {
		return nil, err
	}
	report := check.Evaluate(facts, before)
	if save != "" {
		if err := report.Save(filepath.Join(d.Dir, save)); err != nil {
			return nil, err
		}
	}
	return report.Rows, nil
}

// must gives the criteria that must pass and have a verdict.
func must(rows []check.Row, verdict check.Verdict) (list []check.Row) {
	for _, r := range rows {
		if r.Must && r.Verdict == verdict {
			list = append(list, r)
		}
	}
	return list
}

func names(rows []check.Row) string {
	var list []string
	for _, r := range rows {
		list = append(list, r.ID)
	}
	return strings.Join(list, ", ")
}

// table is Markdown. Predicted is what the product holds itself to.
func table(rows []check.Row) string {
	var b strings.Builder
	b.WriteString("| criterion | must pass | target | predicted | before | after | verdict |\n|---|---|---|---|---|---|---|\n")
	cell := func(s string) string {
		if s == "" {
			return "–"
		}
		return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s)
	}
	for _, r := range rows {
		kind := "monitored"
		if r.Must {
			kind = "yes"
		}
		verdict := string(r.Verdict)
		if r.Verdict == check.Fail || r.Verdict == check.NoData {
			verdict = "**" + verdict + "**"
		}
		measured := r.Measured
		if r.Note != "" {
			measured += " (" + r.Note + ")"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", cell(r.Measure), kind, cell(r.Target), cell(r.Ours), cell(r.Before), cell(measured), verdict)
	}
	return b.String()
}
