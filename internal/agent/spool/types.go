package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// ID names a batch of one collector: the epoch is 64 random bits per Open (or
// NewEpoch), Seq counts its batches from 1.
type ID struct{ Epoch, Seq uint64 }

// IsZero says that it names no batch.
func (id ID) IsZero() bool { return id == ID{} }

func (id ID) String() string { return fmt.Sprintf("%016x/%d", id.Epoch, id.Seq) }

// Kind says what a record is.
type Kind uint8

const (
	// Batch is a batch with its rows.
	Batch Kind = 1
	// Gap stands in a batch's place: its sums, no rows.
	Gap Kind = 2
)

func (k Kind) String() string {
	switch k {
	case Batch:
		return "batch"
	case Gap:
		return "gap"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Reasons that the spool itself gives to a gap.
const (
	// ReasonSpoolFull: MaxSize was reached. The sums are kept.
	ReasonSpoolFull = "spool_full"
	// ReasonCorrupt: the batch was damaged on disk. The sums are kept if their part
	// of the record was sound, else Item.Gap is empty.
	ReasonCorrupt = "corrupt"
	// ReasonTorn: a crash cut the write, nobody had been told that it was durable:
	// what the batch counted is counted again in the next one. Item.Gap is empty.
	ReasonTorn = "torn"
)

// Baseline is what counting starts from next time, under a key such as instance,
// database and family.
type Baseline struct {
	Key string
	// Full: Data is the whole baseline, else a patch to apply after what was
	// appended for the key since its last full one. Full without Data (nil): the key
	// is forgotten.
	Full bool
	Data []byte
}

// Record is what Append is given. The spool keeps all bytes as they are.
type Record struct {
	Kind Kind // 0: Batch
	// Tick is the planned tick, microseconds since the Unix epoch; for a gap of
	// neighbours the oldest.
	Tick   int64
	CRC    uint32 // of the raw bytes, part of the batch's identity at the backend
	RawLen int    // length of the raw bytes
	Data   []byte // the batch, compressed
	// Gap is the batch's gap form, to take its place. Empty: totals are lost when
	// the batch is dropped.
	Gap       []byte
	Reason    string // of a record that is a gap from the start
	Baselines []Baseline
}

// Item is a batch or gap to ship.
type Item struct {
	Kind Kind
	ID   ID
	Prev ID // the id before FirstSeq in the collector's chain; zero: the first, or unknown
	// FirstSeq: a gap made of neighbours stands for the ids FirstSeq to ID.Seq of
	// ID.Epoch, else FirstSeq == ID.Seq.
	FirstSeq uint64
	Tick     int64
	// CRC and RawLen are those of the batch, also when its gap form took its place;
	// 0 for a gap of several batches or of one that could not be read.
	CRC    uint32
	RawLen int
	Data   []byte // of a batch
	Gap    []byte // of a gap
	Reason string // of a gap
	Offers int    // how often Next gave it since Open, this time included
}

// Options are the limits of a spool. The zero value has the defaults.
type Options struct {
	// MaxSize bounds all segments together, in bytes; 0: 1 GiB, at least 256 KiB.
	MaxSize int64
	// SegmentSize in bytes; 0: 8 MiB, at most an eighth of MaxSize.
	SegmentSize int64
	// DeadSize bounds dead/ in bytes; 0: 64 MiB. The oldest go first.
	DeadSize int64
	// QuarantineSize bounds quarantine/ in bytes; 0: 64 MiB. What is more is not
	// kept.
	QuarantineSize int64
	// FlushEvery is how often Run makes acknowledgements durable that no Append
	// took along; 0: 1 s.
	FlushEvery time.Duration
	// Merge makes one gap of several, in order, so that they need less room. nil:
	// gaps are not merged, and a spool full of gaps refuses batches. Called while
	// no Append can proceed; it must not call the spool.
	Merge func(gaps [][]byte) ([]byte, error)
	// Lost makes what takes the place of batches that were lost with their records, nil:
	// gaps without content. Voided is told of each key that Recovered.Void will name,
	// with nothing behind; nil: nobody is. Both are called by Open.
	Lost   SeamFunc
	Voided func(Seam)
	// Now is the clock of back-off; nil: time.Now.
	Now func() time.Time
	Log *slog.Logger // nil: none
}

func (o *Options) defaults() {
	if o.MaxSize == 0 {
		o.MaxSize = 1 << 30
	}
	o.MaxSize = max(o.MaxSize, 256<<10)
	if o.SegmentSize == 0 {
		o.SegmentSize = 8 << 20
	}
	o.SegmentSize = min(o.SegmentSize, o.MaxSize/8)
	if o.DeadSize == 0 {
		o.DeadSize = 64 << 20
	}
	if o.QuarantineSize == 0 {
		o.QuarantineSize = 64 << 20
	}
	if o.FlushEvery == 0 {
		o.FlushEvery = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Recovered says what Open found.
type Recovered struct {
	// Last is the newest id of the chain; zero: none.
	Last    ID
	Pending int // batches and gaps to ship
	// Keys have a baseline, see Spool.Baseline. Not sorted.
	Keys []string
	// Void are keys whose baseline was lost; the spool has forgotten them, what was
	// counted since then is unobserved.
	Void []Void
	// Lost are batches of which not even the ids or the sums could be read. Where
	// the id is known, a gap without sums stands in its place.
	Lost []Lost
	// Damaged counts batches that became gaps, sums kept, because their data was
	// damaged.
	Damaged int
	// TornBytes were cut from the ends of segments: writes never confirmed.
	TornBytes int64
	// QuarantinedBytes were damaged, and are copied to quarantine/.
	QuarantinedBytes int64
}

// Void is a key without baseline, and why.
type Void struct{ Key, Reason string }

// Lost are batches after the id After up to the id Last (zero: unknown).
type Lost struct {
	After, Last ID
	Records     uint64 // damaged records; not all are batches
	Reason      string // ReasonCorrupt or ReasonTorn
}

// Errors that a caller of Append decides on. In every case the batch is not in the
// spool, its baselines do not count and its id is given out again.
var (
	// ErrFull: MaxSize is reached and nothing is left that could be dropped without
	// losing totals.
	ErrFull = errors.New("spool full")
	// ErrNoSpace: the disk is full. The spool waits a little before it tries again.
	ErrNoSpace = errors.New("no space on disk")
	// ErrTooLarge: no record may be that large.
	ErrTooLarge = errors.New("record too large")
	// ErrNoBaseline: a patch for a key that has no baseline.
	ErrNoBaseline = errors.New("patch without a baseline")
	// ErrClosed: the spool is closed.
	ErrClosed = errors.New("spool closed")
	// ErrUnknown: no such batch is pending.
	ErrUnknown = errors.New("no such batch in the spool")
)
