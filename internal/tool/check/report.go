package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Verdict is what became of one criterion.
type Verdict string

// The verdicts. Only Pass is a pass.
const (
	Pass      Verdict = "pass"
	Fail      Verdict = "FAIL"
	NoData    Verdict = "no data"
	Elsewhere Verdict = "not here" // another command measures it
	None      Verdict = "-"        // there is no target
)

// Row is one criterion.
type Row struct {
	ID      string `json:"id"`
	Measure string `json:"measure"`
	Must    bool   `json:"must"`
	Unit    string `json:"unit,omitempty"`

	Target        string   `json:"target,omitempty"` // the deployment's
	Verdict       Verdict  `json:"verdict"`
	Ours          string   `json:"ours,omitempty"` // the product's own, the stricter one
	OursVerdict   Verdict  `json:"ours_verdict"`
	Before        string   `json:"before,omitempty"`
	Measured      string   `json:"measured"`
	Note          string   `json:"note,omitempty"`
	Value         *float64 `json:"value"`
	Parts         []Part   `json:"parts,omitempty"`
	NumeratorIs   string   `json:"numerator_is,omitempty"`
	DenominatorIs string   `json:"denominator_is,omitempty"`
	Window        string   `json:"window,omitempty"`
	Source        string   `json:"source,omitempty"`
}

// Part is what a row found at one collector, instance or service; Value is nil when
// it has no data.
type Part struct {
	Name        string   `json:"name"`
	Numerator   *float64 `json:"numerator,omitempty"`
	Denominator *float64 `json:"denominator,omitempty"`
	Value       *float64 `json:"value"`
	Note        string   `json:"note,omitempty"`
}

// Report is the judgement of a deployment, and what a later one compares with.
type Report struct {
	Format     int       `json:"format"`
	URL        string    `json:"url"`
	Version    string    `json:"version"` // of the backend
	At         time.Time `json:"at"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Collectors int       `json:"collectors"`
	Instances  int       `json:"instances"`
	Interval   float64   `json:"interval"`  // seconds, the shortest of the collectors'
	Passed     bool      `json:"passed"`    // all must-pass rows
	Failed     []string  `json:"failed"`    // must-pass rows that did not
	Unjudged   []string  `json:"unjudged"`  // must-pass rows that could not be asked for
	Monitored  []string  `json:"monitored"` // other rows that do not meet the deployment's target
	Own        []string  `json:"own"`       // rows that do not meet the product's own
	Rows       []Row     `json:"rows"`
	Unread     []string  `json:"unread,omitempty"`
	Families   []Family  `json:"families,omitempty"` // with an inventory
	Backend    *Backend  `json:"backend,omitempty"`
}

const format = 1

// Save writes a report to compare with later.
func (r *Report) Save(path string) error {
	var text bytes.Buffer
	if err := r.JSON(&text); err != nil {
		return err
	}
	next := path + ".new"
	if err := os.WriteFile(next, text.Bytes(), 0o600); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		os.Remove(next)
		return err
	}
	return nil
}

// Load reads what Save wrote.
func Load(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: not a report of check: %w", path, err)
	}
	if r.Format != format {
		return nil, fmt.Errorf("%s: format %d, want %d: save it with this version", path, r.Format, format)
	}
	if len(r.Families) == 0 {
		return nil, fmt.Errorf("%s: tells of no families; save one with --save while the deployment is healthy", path)
	}
	return &r, nil
}
