package counter

import (
	"errors"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// ErrMalformed is what every decoding error wraps. A baseline that can't be decoded
// is void: the next Count gets nil.
var ErrMalformed = errors.New("malformed baseline")

// Baseline is the reading that the next one is compared with.
type Baseline struct {
	at int64
}

// At is the watched server's clock at that reading, microseconds since the Unix epoch.
func (b *Baseline) At() int64 { return b.at }

// Settle is called when the baseline is safe: it lets go of the one before it,
// which must not be used any more, and AppendPatch gives a full baseline from then
// on.
func (b *Baseline) Settle() {}

// AppendFull appends the whole baseline to dst.
func (b *Baseline) AppendFull(dst []byte) []byte { return dst }

// AppendPatch appends what changed against the baseline that was given to the Count
// that made this one; a full baseline when there was none.
func (b *Baseline) AppendPatch(dst []byte) []byte { return b.AppendFull(dst) }

// Decode makes a baseline of its full encoding and the patches that followed it, in
// order. Columns that the family no longer has are ignored, new ones are NULL.
func Decode(f *catalog.Family, full []byte, patches ...[]byte) (*Baseline, error) {
	return nil, ErrMalformed
}
