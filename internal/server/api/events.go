package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
	"github.com/pganalytics/pganalytics/internal/server/series"
)

func (s *Server) events(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	p, err := s.params(r, "from", "to", "instance", "limit")
	if err != nil {
		return err
	}
	id, err := p.instance()
	if err != nil {
		return err
	}
	sp, err := p.span()
	if err != nil {
		return err
	}
	limit, err := p.limit()
	if err != nil {
		return err
	}
	out := struct {
		Items []Event `json:"items"`
	}{[]Event{}}
	err = s.read(r, func(ctx context.Context, tx pgx.Tx) error {
		watched, err := s.knownInstance(ctx, tx, id)
		if err != nil {
			return err
		}
		e := eventReader{win: s.clip(sp), names: map[int64]string{}}
		for i := range watched {
			e.names[watched[i].ID] = watched[i].Name
		}
		if err := e.read(ctx, tx, id, limit); err != nil {
			return err
		}
		slices.SortStableFunc(e.events, func(a, b Event) int {
			return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.InstanceName, b.InstanceName), cmp.Compare(a.Kind, b.Kind))
		})
		out.Items = append(out.Items, e.events[:min(limit, len(e.events))]...)
		return nil
	})
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, out)
	return nil
}

type eventReader struct {
	win    ledger.Window
	names  map[int64]string
	events []Event
}

func (e *eventReader) add(instance, from, until int64, kind EventKind, effect, format string, args ...any) {
	ev := Event{Time: seconds(from), Instance: strconv.FormatInt(instance, 10), InstanceName: e.names[instance], Kind: kind, What: fmt.Sprintf(format, args...), Effect: optional(effect)}
	if until > from {
		ev.Until = maybe(until)
	}
	e.events = append(e.events, ev)
}

func (e *eventReader) read(ctx context.Context, tx pgx.Tx, id int64, limit int) error {
	settings, err := series.SettingChanges(ctx, tx, id, e.win, limit)
	if err != nil {
		return err
	}
	for _, c := range settings {
		e.setting(c)
	}
	changes, err := fleet.Changes(ctx, tx, id, e.win.From, e.win.To)
	if err != nil {
		return err
	}
	effects := map[string]string{
		"restart":     "statistics since the last reading before it are kept or lost as PostgreSQL kept them",
		"incarnation": "counters begin anew: nothing is carried over between the two servers",
		"collector":   "counters begin anew: what happened between the two is unobserved",
	}
	for _, c := range changes {
		e.add(c.Instance, c.Time, 0, EventKind(c.Kind), effects[c.Kind], "%s", c.What)
	}
	runs, err := ledger.Runs(ctx, tx, id, e.win, limit)
	if err != nil {
		return err
	}
	for _, r := range runs {
		e.run(r)
	}
	forgotten, err := series.ReadUnobserved(ctx, tx, id, "", e.win)
	if err != nil {
		return err
	}
	for _, u := range forgotten {
		e.unobserved(u)
	}
	return nil
}

func (e *eventReader) setting(c series.Setting) {
	value := func(v *string) string {
		switch {
		case v == nil:
			return "(none)"
		case *v == "":
			return `""`
		}
		return *v
	}
	what := fmt.Sprintf("%s: %s -> %s", c.Name, value(c.Old), value(c.New))
	if value(c.Old) == value(c.New) {
		what = fmt.Sprintf("%s stays %s until a restart", c.Name, value(c.New))
	} else if c.Unit != "" {
		what += " (" + c.Unit + ")"
	}
	effect := ""
	if c.Pending {
		effect = "needs a restart to take effect"
	}
	e.add(c.Instance, c.Time, 0, EventKindSetting, effect, "%s", what)
}

func (e *eventReader) run(r ledger.Run) {
	detail := ""
	if r.Detail != "" {
		detail = ": " + r.Detail
	}
	if r.Outcome == "failed" && r.Reason == "connect" {
		e.add(r.Instance, r.First, r.Last, EventKindDown, fmt.Sprintf("%s of %s without data; counters go on from the next reading", tickCount(r.Ticks), strings.Join(r.Families, ", ")),
			"no connection%s", detail)
		return
	}
	effect := "counters go on from the next reading, gauges have a gap"
	if r.Outcome == "dropped" {
		effect = "rows are lost, sums of counters are kept"
	}
	e.add(r.Instance, r.First, r.Last, EventKindGap, effect, "%s (%s): %s of %s%s", r.Outcome, r.Reason, tickCount(r.Ticks), strings.Join(r.Families, ", "), detail)
}

func (e *eventReader) unobserved(u series.Unobserved) {
	what := u.Family
	if what == "" {
		what = "all families"
	}
	if u.Database != "" {
		what += " of " + u.Database
	}
	if u.Times > 1 {
		what += fmt.Sprintf(" (%d times)", u.Times)
	}
	if u.Detail != "" {
		what += ": " + u.Detail
	}
	e.add(u.Instance, u.Since, u.Until, EventKindUnobserved, "what the server forgot is beside the totals, not in them", "%s: %s", u.Reason, what)
}

// tickCount is "1 tick" or "N ticks".
func tickCount(n int64) string {
	if n == 1 {
		return "1 tick"
	}
	return fmt.Sprintf("%d ticks", n)
}
