package agent

import (
	"slices"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// texts remembers which statements of an instance still need their texts sent. The
// zero value knows none.
type texts struct {
	known  map[int64]struct{}
	wanted map[int64]struct{}
	top    []int64 // the most expensive ones of the last reading, sent or not
	since  time.Time
}

const (
	maxTexts   = 1000 // asked for at once
	maxKnown   = 50_000
	textsAgain = 6 * time.Hour // after which texts are sent again: a batch with them may have been dropped
)

// see notes the statements of a reading and those of them that are sent.
func (t *texts) see(reading *frame.Frame, sent []frame.Frame, now time.Time) {
	if t.known == nil || len(t.known) > maxKnown || now.Sub(t.since) > textsAgain {
		t.known, t.wanted, t.since = map[int64]struct{}{}, map[int64]struct{}{}, now
	}
	for i := range sent {
		if f := &sent[i]; f.Part == frame.Rows {
			if c := f.Column("queryid"); c != nil {
				for r, id := range c.Ints {
					if _, known := t.known[id]; !known && !c.IsNull(r) && len(t.wanted) < maxKnown {
						t.wanted[id] = struct{}{}
					}
				}
			}
		}
	}
	t.top = t.top[:0]
	id, cost := reading.Column("queryid"), reading.Column("total_exec_time")
	if id == nil || cost == nil {
		return
	}
	rows := make([]int, 0, reading.N)
	for r := range reading.N {
		if _, known := t.known[id.Ints[r]]; !known && !id.IsNull(r) {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b int) int { return int(min(1, max(-1, cost.Ints[b]-cost.Ints[a]))) })
	for _, r := range rows[:min(len(rows), maxTexts)] {
		t.top = append(t.top, id.Ints[r])
	}
}

// ask gives the statements whose texts are to be fetched: those that were sent, then
// the most expensive others, since they will be.
func (t *texts) ask() []int64 {
	var out []int64
	for id := range t.wanted {
		if len(out) == maxTexts {
			return out
		}
		out = append(out, id)
	}
	for _, id := range t.top {
		if _, twice := t.wanted[id]; !twice && len(out) < maxTexts {
			out = append(out, id)
		}
	}
	return out
}

// got notes that a frame of texts is safe, and that what was asked for and is not in
// it has none.
func (t *texts) got(asked []int64) {
	for _, id := range asked {
		t.known[id] = struct{}{}
		delete(t.wanted, id)
	}
	t.top = t.top[:0]
}

// once drops rows of keys that a frame already has: a statement has a row for each
// user and database.
func once(f *frame.Frame) frame.Frame {
	out := frame.Frame{Family: f.Family, Database: f.Database, Part: frame.Rows, Since: f.At, At: f.At}
	key, text := f.Column("queryid"), f.Column("query")
	if key == nil || text == nil {
		return out
	}
	ids := frame.Column{Name: "queryid", Kind: catalog.Key, Type: catalog.Int}
	queries := frame.Column{Name: "query", Kind: catalog.Gauge, Type: catalog.Text}
	seen := map[int64]struct{}{}
	for r := range f.N {
		if key.IsNull(r) || text.IsNull(r) {
			continue
		}
		if _, twice := seen[key.Ints[r]]; twice {
			continue
		}
		seen[key.Ints[r]] = struct{}{}
		ids.Ints = append(ids.Ints, key.Ints[r])
		queries.Texts = append(queries.Texts, text.Texts[r])
		out.N++
	}
	if out.N > 0 {
		out.Columns = []frame.Column{ids, queries}
	}
	return out
}
