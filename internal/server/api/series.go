package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
)

type catalogColumn = catalog.Column

// maxPoints is the default number of points of a series.
const maxPoints = 400

func (s *Server) series(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	p, err := s.anyParams(r)
	if err != nil {
		return err
	}
	q := series.Query{Where: map[string]string{}}
	if q.Instance, err = parseID("id", r.PathValue("id")); err != nil {
		return err
	}
	if q.Family = catalog.Lookup(p.values.Get("family")); q.Family == nil {
		return badParameter("family", p.values.Get("family"), "want one of "+strings.Join(catalog.Names(), ", "))
	}
	if q.Column = q.Family.Column(p.values.Get("column")); q.Column == nil || q.Column.Kind == catalog.Reset {
		return badParameter("column", p.values.Get("column"), "want a column of "+q.Family.Name)
	}
	fixed := []string{"family", "column", "fn", "by", "from", "to", "step"}
	for _, name := range p.names() {
		switch {
		case slices.Contains(fixed, name):
		case series.Splits(q.Family, name):
			if q.Where[name], err = p.text(name); err != nil {
				return err
			}
		default:
			return badParameter(name, p.values.Get(name), unknownParameter(append(fixed, "the keys and labels of "+q.Family.Name)))
		}
	}
	for _, name := range []string{"fn", "by"} {
		if p.has(name) && p.values.Get(name) == "" {
			return badParameter(name, "", "is empty")
		}
	}
	q.Fn, q.By = p.values.Get("fn"), p.values.Get("by")
	if q.Fn != "" && !slices.Contains([]string{"rate", "delta", "avg", "max", "last"}, q.Fn) {
		return badParameter("fn", q.Fn, "want rate, delta, avg, max or last")
	}
	if err := q.Validate(); err != nil {
		return err
	}
	sp, err := p.span()
	if err != nil {
		return err
	}
	if q.Step, err = p.step(sp, 0); err != nil {
		return err
	}
	var out Series
	err = s.read(r, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := s.pathInstance(ctx, tx, q.Instance); err != nil {
			return err
		}
		q.Window = s.clip(sp)
		account, err := s.account(ctx, tx, ledger.Part{Instance: q.Instance, Family: q.Family.Name}, q.Window, sp.Now)
		if err != nil {
			return err
		}
		q.Every = every(account)
		if q.Step == 0 {
			q.Step = defaultStep(sp, q.Every)
		}
		res, err := series.Read(ctx, tx, q)
		if err != nil {
			return err
		}
		out = seriesAnswer(&q, res, sp)
		gaps := gapsOf(account, q.Column.Kind == catalog.Counter)
		if q.Column.Kind == catalog.Counter {
			forgotten, err := series.ReadUnobserved(ctx, tx, q.Instance, q.Family.Name, q.Window)
			if err != nil {
				return err
			}
			gaps = append(gaps, forgottenGaps(forgotten)...)
		}
		out.Gaps = &gaps
		return nil
	})
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, out)
	return nil
}

// account reads the ledger's account with what is known of the collectors.
func (s *Server) account(ctx context.Context, tx pgx.Tx, part ledger.Part, w ledger.Window, now int64) (*ledger.Account, error) {
	reporters, err := fleet.Reporters(ctx, tx)
	if err != nil {
		return nil, err
	}
	return ledger.ReadAccount(ctx, tx, part, w, fleet.Alive(reporters, now))
}

// every is the longest interval at which the account's keys were planned.
func every(a *ledger.Account) int64 {
	longest := int64(0)
	for _, p := range a.Planned {
		longest = max(longest, p.Every)
	}
	if longest == 0 {
		return 60_000_000 // nothing was planned, and nothing will be shown
	}
	return longest
}

// defaultStep is the least multiple of the interval (and of a second) that gives at
// most maxPoints.
func defaultStep(sp span, every int64) int64 {
	every = max(every, 1_000_000)
	every = (every + 999_999) / 1_000_000 * 1_000_000
	points := (sp.To - sp.From + every - 1) / every
	return every * max(1, (points+maxPoints-1)/maxPoints)
}

func seriesAnswer(q *series.Query, res *series.Result, sp span) Series {
	out := Series{Unit: q.Unit(), Step: seconds(res.Step), From: new(seconds(sp.From)), To: new(seconds(sp.To)), Series: []Line{}}
	for _, l := range res.Lines {
		line := Line{Labels: map[string]string{}, Points: make([]Point, len(l.Values))}
		if q.By != "" {
			line.Labels[q.By] = l.Label
		}
		for i, v := range l.Values {
			line.Points[i] = Point{Start: res.Start + int64(i)*res.Step, Value: v}
			if l.Exact != nil {
				line.Points[i].Exact, line.Points[i].Scale = l.Exact[i], q.Column.Scale()
			}
		}
		out.Series = append(out.Series, line)
	}
	return out
}

func gapsOf(a *ledger.Account, counter bool) []Gap {
	out := []Gap{}
	for _, g := range a.Gaps() {
		out = append(out, Gap{
			From: seconds(g.From), To: seconds(g.To), Outcome: GapOutcome(g.Outcome), Reason: g.Reason, Detail: optional(g.Detail), Database: optional(g.Database),
			Ticks: g.Ticks, Spanned: counter && g.Closed && g.Outcome != "dropped",
		})
	}
	return out
}

// forgottenGaps are the spans of a counter whose amount nobody knows: what is drawn
// there is a lower bound. What concerns single rows of a frame (evicted, vanished,
// privilege) is no gap; the account of the statements tells it.
func forgottenGaps(list []series.Unobserved) (out []Gap) {
	for _, u := range list {
		switch u.Reason {
		case "evicted", "vanished", "privilege":
			continue
		}
		out = append(out, Gap{
			From: seconds(u.Since), To: seconds(u.Until), Outcome: GapOutcomeUnobserved, Reason: u.Reason, Detail: optional(u.Detail), Database: optional(u.Database),
			Ticks: u.Times, Spanned: true,
		})
	}
	return out
}
