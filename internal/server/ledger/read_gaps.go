package ledger

import (
	"cmp"
	"slices"
)

// Gap is a run of planned ticks of one database that were not stored, for one
// reason. Times are microseconds since the Unix epoch.
type Gap struct {
	Database        string
	From            int64 // one interval before the first of them
	To              int64 // the last of them
	Ticks           int64
	Outcome, Reason string
	Detail          string // of the last of them
	// Closed: a tick behind them was stored.
	Closed bool
}

// Gaps joins neighbouring ticks of each key that were not stored, in the order of
// time. Pending ticks are none.
func (a *Account) Gaps() []Gap {
	var out []Gap
	for _, p := range a.Planned {
		out = append(out, a.gaps(p)...)
	}
	slices.SortStableFunc(out, func(x, y Gap) int { return cmp.Compare(x.From, y.From) })
	return out
}

func (a *Account) gaps(p *Planned) []Gap {
	var out []Gap
	open := false // the last of out may grow
	closed := 0   // how many of out are
	a.each(p, func(tick int64, outcome string, e *exception) {
		if outcome == "stored" || outcome == "pending" {
			open = false
			if outcome == "stored" {
				for ; closed < len(out); closed++ {
					out[closed].Closed = true
				}
			}
			return
		}
		g := Gap{Database: p.Database, From: tick - p.Every, To: tick, Ticks: 1, Outcome: outcome, Reason: NoOutcome}
		if e != nil {
			g.Reason, g.Detail = e.reason, e.detail
		}
		if open {
			if last := &out[len(out)-1]; last.Outcome == g.Outcome && last.Reason == g.Reason {
				last.To, last.Detail = g.To, g.Detail
				last.Ticks++
				return
			}
			g.From = out[len(out)-1].To
		}
		out = append(out, g)
		open = true
	})
	return out
}
