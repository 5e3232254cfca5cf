package counter

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/pganalytics/pganalytics/internal/frame"
)

// notes are what was found of the server's forgetting, in rows.
type notes struct {
	whole    bool // Proof.Reset changed
	proved   int  // a Reset column or Proof.Reset shows that their counters began again
	fell     int  // their counters fell, so they began again
	partial  int  // counters that fell in rows that go on
	revealed int  // became visible or hidden
	vanished int

	hiddenBefore, hiddenNow map[string]bool // sums of rows that we may not see
}

// The reasons of frame.Unobserved that a Count can prove.
const (
	evicted   = "evicted"
	reset     = "reset"
	restart   = "restart"
	privilege = "privilege"
	vanished  = "vanished"
)

// unobserved tells what the server forgot since the last read: once for each
// reason, whatever number of rows it concerns. None has an upper bound, since
// nobody knows what was counted between the last read and the forgetting.
func (c *counting) unobserved() []frame.Unobserved {
	if c.base == nil {
		return nil
	}
	var out []frame.Unobserved
	note := func(reason, format string, args ...any) {
		detail := fmt.Sprintf(format, args...)
		for i := range out {
			if out[i].Reason == reason {
				out[i].Detail += "; " + detail
				return
			}
		}
		out = append(out, frame.Unobserved{
			Family: c.lay.family.Name, Database: c.r.Frame.Database, Reason: reason,
			Since: since(c.base, c.r), At: c.next.at, Detail: detail,
		})
	}
	n, old, now := &c.notes, c.base.proof, c.next.proof
	proof := old.Valid && now.Valid
	evictions := proof && now.Dealloc > old.Dealloc && !n.whole
	if evictions {
		note(evicted, "dealloc %d -> %d", old.Dealloc, now.Dealloc)
	}
	began := reset
	if c.restartedServer() {
		began = restart
	}
	if n.whole {
		note(began, "stats_reset %s", time.UnixMicro(now.Reset).UTC().Format(time.RFC3339Nano))
	}
	// Without a proof rows of a family that evicts tell: all of them gone or begun
	// again is a reset, some is an eviction.
	unproved := vanished
	if c.lay.hides {
		unproved = began
		if began == reset && !proof && n.fell+n.vanished < c.base.n {
			unproved = evicted
		}
	}
	explained := c.lay.hides && (evictions || n.whole) // noted above
	if n.proved > 0 && !explained {
		note(began, "%s began again", rows(n.proved))
	}
	if n.fell > 0 && !explained {
		reason := began
		if c.lay.hides {
			reason = unproved
		}
		note(reason, "%s fell", rows(n.fell))
	}
	if n.partial > 0 && !explained {
		note(unproved, "counters fell in rows that go on: %d", n.partial)
	}
	if n.vanished > 0 && !explained && len(c.lay.counters) > 0 {
		note(unproved, "%s vanished", rows(n.vanished))
	}
	if n.revealed > 0 {
		note(privilege, "%s became visible or hidden", rows(n.revealed))
	}
	return out
}

func rows(n int) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

// gone lists the rows of base that are not in next, and counts those that vanished
// in truth, not only from our sight.
func (c *counting) gone() []int32 {
	if c.taken == nil {
		return nil
	}
	var out []int32
	var visible map[string]bool
	for j, taken := range c.taken {
		if taken {
			continue
		}
		out = append(out, int32(j))
		if len(c.notes.hiddenBefore)+len(c.notes.hiddenNow) > 0 {
			if visible == nil {
				visible = map[string]bool{}
				for i := range c.n {
					if c.flags[i]&hidden == 0 {
						visible[c.sumKey(c.next, i)] = true
					}
				}
			}
			key, was := c.sumKey(c.base, j), c.base.isHidden(j)
			if was && visible[key] || !was && c.notes.hiddenNow[key] {
				continue
			}
		}
		c.notes.vanished++
	}
	return out
}

// sumKey is the part of a row's key that is visible always.
func (c *counting) sumKey(b *Baseline, i int) string {
	return string(appendSumKey(nil, b, i))
}

func appendSumKey(dst []byte, b *Baseline, i int) []byte {
	for _, k := range b.lay.sums {
		switch {
		case b.isNull(k, i):
			dst = append(dst, 0)
		case b.lay.text(k):
			s := b.textsOf(k)[i]
			dst = append(binary.AppendUvarint(append(dst, 1), uint64(len(s))), s...)
		default:
			dst = binary.LittleEndian.AppendUint64(append(dst, 1), uint64(b.intsOf(k)[i]))
		}
	}
	return dst
}
