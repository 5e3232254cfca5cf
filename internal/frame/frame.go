package frame

import (
	"encoding/hex"
	"fmt"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// Part says which rows of a family a frame holds.
type Part uint8

const (
	// Rows are the family's own rows: deltas of counters, values of gauges.
	Rows Part = iota
	// Cut are exact sums over the changed rows beyond the top N, by Family.Sums.
	Cut
	// Dropped are the sums (rows and cut together) that a gap keeps, by Family.Sums.
	Dropped
)

func (p Part) String() string {
	switch p {
	case Rows:
		return "rows"
	case Cut:
		return "cut"
	case Dropped:
		return "dropped"
	}
	return fmt.Sprintf("part(%d)", uint8(p))
}

// Column holds one column of a frame; exactly one of Ints (for int, time, bool),
// Floats and Texts has Frame.N entries. Null is nil when no value is NULL.
// A counter's NULL means "the server has no such value", never zero.
type Column struct {
	Name   string
	Kind   catalog.Kind
	Type   catalog.Type // the wire type: catalog.Column.Wire
	Ints   []int64
	Floats []float64
	Texts  []string
	Null   []bool
}

// IsNull reports whether row i is NULL.
func (c *Column) IsNull(i int) bool { return c.Null != nil && c.Null[i] }

// Frame is the rows of one family from one tick. Since and At are the watched
// server's clock at the baseline's and at this read, in microseconds since the
// Unix epoch; Since == At when this read only set baselines.
type Frame struct {
	Family   string
	Database string // "" for families of scope instance
	Part     Part
	Since    int64
	At       int64
	N        int
	Columns  []Column
}

// Column gives a column by name, nil when the frame has none.
func (f *Frame) Column(name string) *Column {
	for i := range f.Columns {
		if f.Columns[i].Name == name {
			return &f.Columns[i]
		}
	}
	return nil
}

// ID names a batch for ever: the collector's 128 random bits, the process start's
// 64 random bits, and a sequence number from 1.
type ID struct {
	Collector CollectorID
	Epoch     uint64
	Seq       uint64
}

func (id ID) String() string { return fmt.Sprintf("%s/%016x/%d", id.Collector, id.Epoch, id.Seq) }

// CollectorID is a collector's identity.
type CollectorID [16]byte

func (c CollectorID) String() string { return hex.EncodeToString(c[:]) }

// ParseCollectorID reads 32 hexadecimal digits.
func ParseCollectorID(s string) (CollectorID, error) {
	var id CollectorID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("collector id %q: want 32 hexadecimal digits", s)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return CollectorID{}, fmt.Errorf("collector id %q: want 32 hexadecimal digits", s)
	}
	return id, nil
}

// Code is what became of a planned tick of a family.
type Code uint8

const (
	Stored Code = iota + 1
	Failed
	Skipped
	OutcomeDropped
)

func (c Code) String() string {
	switch c {
	case Stored:
		return "stored"
	case Failed:
		return "failed"
	case Skipped:
		return "skipped"
	case OutcomeDropped:
		return "dropped"
	}
	return fmt.Sprintf("outcome(%d)", uint8(c))
}

// Outcome is what became of one planned tick of one family, or of a run of
// ticks: N ticks from First on, Every apart, the last one being Last. Times are
// microseconds since the Unix epoch; At and Since are as in Frame, 0 unless
// Stored.
type Outcome struct {
	Family   string
	Database string
	Lane     catalog.Lane
	First    int64
	Last     int64
	N        int64
	Code     Code
	Reason   string // a short fixed word: connect, lock_timeout, statement_timeout, collector_down …
	Detail   string // for people; never a secret
	At       int64
	Since    int64
}

// Schedule says from when on a family is planned, and how often. It holds until
// the next one of the same (instance, database, family) begins, or until Until.
// Ticks are at From, From+Every, … ; a Schedule with a Reason plans nothing.
type Schedule struct {
	Family   string
	Database string
	Lane     catalog.Lane
	From     int64 // the first tick, microseconds since the Unix epoch
	Until    int64 // the last possible tick, 0: open
	Every    int64 // microseconds
	// Reason: why it is not planned: version, extension_missing, not_loaded,
	// no_connect, disabled, gone. "" when it is planned. See Closed.
	Reason string
	// Limit: it is planned, but sees less than it could: ids_hidden,
	// activity_hidden, columns_missing.
	Limit string
	// Detail explains Reason or Limit; Remedy is the SQL or setting that mends it.
	Detail string
	Remedy string
	Absent []string // columns that are NULL on this server
}

// Closed is the Reason of a row that says no more than when a schedule ends which was
// announced before: that of the same Family and Database with the same From ends at
// Until, whatever begins before or after it.
const Closed = "closed"

// Unobserved is what the server itself forgot between two reads: beside the
// total, with its proof. Upper bounds are by column in wire units; a column
// without one has no bound. The lower bound is always 0.
type Unobserved struct {
	Family   string
	Database string
	Reason   string // evicted, reset, restart, privilege, collector_change, restored, corrupt, vanished
	Since    int64
	At       int64
	Detail   string
	Upper    map[string]int64
}

// Server is what the collector knows of the watched server at a round.
type Server struct {
	SystemID        uint64 // pg_control_system(), 0 before first contact
	Incarnation     uint32 // counts changes of SystemID
	Version         int32  // server_version_num
	VersionText     string // server_version
	InRecovery      bool
	PostmasterStart int64
	MaxConnections  int32
	Role            string // the role that we are connected as
	Labels          map[string]string
	IntervalUs      int64
}

// Batch is what one round leaves: everything due on one (instance, database,
// lane) at a tick.
type Batch struct {
	ID         ID
	Prev       ID // of the same collector; zero for the first
	Instance   string
	Database   string // the database that the round was connected to
	Lane       catalog.Lane
	Tick       int64
	Server     Server
	Schedules  []Schedule
	Outcomes   []Outcome
	Unobserved []Unobserved
	Frames     []Frame
}
