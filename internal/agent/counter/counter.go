package counter

import (
	"time"

	"github.com/pganalytics/pganalytics/internal/frame"
)

// Reading is one reading of a family as the server gives it: cumulative counters,
// columns as catalog.Family.Columns (Reset ones too), Frame.At the watched server's
// clock at the head of the read in microseconds since the Unix epoch. Count keeps
// no reference to the frame's slices of numbers; it keeps its strings.
type Reading struct {
	Frame *frame.Frame
	// Proof must have been read before the rows, in the same Sync group: rows older
	// than their proof would be taken for ones that began again. Zero when the
	// family or the version has none.
	Proof           Proof
	PostmasterStart int64  // microseconds since the Unix epoch, 0 unknown
	SystemID        uint64 // 0 unknown
}

// Proof is what the server tells of its own forgetting (catalog.Family.Proof).
type Proof struct {
	Valid   bool
	Reset   int64 // stats_reset, microseconds since the Unix epoch
	Dealloc int64 // times that the server evicted rows
}

// Options of a Count.
type Options struct {
	// Limit is the number of rows of a family with a Cut that are sent one by one;
	// 0 sends all.
	Limit int
	// Hourly is the time after which rows with labels or gauges are sent whole
	// though nothing changed; 0 means an hour.
	Hourly time.Duration
}

// Coverage says how much of a counter went row by row.
type Coverage struct {
	Column      string // one of Family.Cut.By
	Sent, Total int64  // wire units: of the rows sent one by one; of these and the cut
}

// Percent is Sent of Total, 100 when nothing was counted.
func (c Coverage) Percent() float64 {
	if c.Total == 0 {
		return 100
	}
	return 100 * float64(c.Sent) / float64(c.Total)
}

// Result is what a Count gives.
type Result struct {
	// Frames holds the Rows frame, always, though it may have no rows (and then no
	// columns); then the Cut frame, when something was cut.
	Frames     []frame.Frame
	Memory     *Memory // theirs; nil: none to give back
	Unobserved []frame.Unobserved
	// Baseline replaces the one given, once the frames are safe; until then the old
	// one stays in force, and the next Count spans both.
	Baseline *Baseline
	Read     int        // rows read
	Changed  int        // rows that changed, vanished or are due to be sent whole
	Items    int        // rows sent one by one
	Coverage []Coverage // of each counter in Family.Cut.By; nil without a Cut
}
