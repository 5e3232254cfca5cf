package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ledger"
)

const (
	gridCells   = 60
	maxCells    = 1000
	gridReasons = 200
)

func counts(c ledger.Counts) LedgerCounts {
	return LedgerCounts{Planned: c.Planned, Stored: c.Stored, Failed: c.Failed, Skipped: c.Skipped, Dropped: c.Dropped, Pending: c.Pending, Missing: c.Missing}
}

// LedgerFull is the schema Ledger.
type LedgerFull struct {
	LedgerCounts
	Truncated bool           `json:"truncated"`
	Items     []LedgerItem   `json:"items"`
	Reasons   []LedgerReason `json:"reasons"`
}

// ledgerPart reads the parameters instance and family.
func (s *Server) ledgerPart(p *params) (ledger.Part, error) {
	var part ledger.Part
	var err error
	if part.Instance, err = p.instance(); err != nil {
		return part, err
	}
	if p.has("family") {
		part.Family = p.values.Get("family")
		if catalog.Lookup(part.Family) == nil {
			return part, badParameter("family", part.Family, "want one of "+strings.Join(catalog.Names(), ", "))
		}
	}
	return part, nil
}

// knownInstance refuses the id of an instance that does not exist, as a wrong value
// of the parameter.
func (s *Server) knownInstance(ctx context.Context, tx pgx.Tx, id int64) ([]fleet.Watched, error) {
	list, err := fleet.Instances(ctx, tx, id)
	if err == nil && id != 0 && len(list) == 0 {
		err = badParameter("instance", strconv.FormatInt(id, 10), "no such instance")
	}
	return list, err
}

func (s *Server) ledger(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	p, err := s.params(r, "instance", "family", "from", "to", "limit")
	if err != nil {
		return err
	}
	part, err := s.ledgerPart(p)
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
	out := LedgerFull{Items: []LedgerItem{}, Reasons: []LedgerReason{}}
	err = s.read(r, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := s.knownInstance(ctx, tx, part.Instance); err != nil {
			return err
		}
		a, err := s.account(ctx, tx, part, s.clip(sp), sp.Now)
		if err != nil {
			return err
		}
		var sum ledger.Counts
		for _, key := range a.Planned {
			sum.Add(a.Count(key))
		}
		out.LedgerCounts = counts(sum)
		items, more := a.Items(limit, a.Planned...)
		out.Truncated = more
		for _, it := range items {
			out.Items = append(out.Items, ledgerItem(it))
		}
		for _, reason := range a.Reasons() {
			out.Reasons = append(out.Reasons, LedgerReason{Outcome: reason.Outcome, Reason: reason.Reason, Ticks: reason.Ticks})
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, out)
	return nil
}

func ledgerItem(it ledger.Item) LedgerItem {
	return LedgerItem{Time: seconds(it.Tick), Instance: strconv.FormatInt(it.Instance, 10), Database: it.Database, Family: it.Family,
		Outcome: LedgerItemOutcome(it.Outcome), Reason: it.Reason, Detail: optional(it.Detail)}
}

func (s *Server) ledgerGrid(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	p, err := s.params(r, "instance", "from", "to", "step")
	if err != nil {
		return err
	}
	instance, err := p.instance()
	if err != nil {
		return err
	}
	sp, err := p.span()
	if err != nil {
		return err
	}
	step, err := p.step(sp, max(1, (sp.To-sp.From+gridCells-1)/gridCells))
	if err != nil {
		return err
	}
	cells := int((sp.To - sp.From + step - 1) / step)
	if cells > maxCells {
		return badParameter("step", p.values.Get("step"), "the window would have more than "+strconv.Itoa(maxCells)+" cells")
	}
	out := LedgerGrid{From: seconds(sp.From), To: seconds(sp.To), Step: seconds(step), Rows: []LedgerRow{}}
	err = s.read(r, func(ctx context.Context, tx pgx.Tx) error {
		watched, err := s.knownInstance(ctx, tx, instance)
		if err != nil {
			return err
		}
		reporters, err := fleet.Reporters(ctx, tx)
		if err != nil {
			return err
		}
		a, err := ledger.ReadAccount(ctx, tx, ledger.Part{Instance: instance}, s.clip(sp), fleet.Alive(reporters, sp.Now))
		if err != nil {
			return err
		}
		names := map[int64]string{}
		for i := range watched {
			names[watched[i].ID] = watched[i].Name
		}
		collectors := map[[16]byte]string{}
		for i := range reporters {
			collectors[reporters[i].ID] = reporters[i].Name
		}
		for _, key := range a.Planned {
			out.Rows = append(out.Rows, gridRow(a, key, names[key.Instance], collectors[key.Collector], sp.From, step, cells))
		}
		slices.SortStableFunc(out.Rows, func(x, y LedgerRow) int { return strings.Compare(x.InstanceName, y.InstanceName) })
		return nil
	})
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, out)
	return nil
}

func gridRow(a *ledger.Account, key *ledger.Planned, instance, collector string, from, step int64, cells int) LedgerRow {
	row := LedgerRow{Instance: strconv.FormatInt(key.Instance, 10), InstanceName: instance, Collector: collector, Database: key.Database, Family: key.Family,
		Cells: make([][]int64, cells)}
	var sum ledger.Counts
	for i, c := range a.Buckets(key, from, step, cells) {
		row.Cells[i] = []int64{c.Planned, c.Stored, c.Failed, c.Skipped, c.Dropped, c.Pending, c.Missing}
		sum.Add(c)
	}
	row.Counts = counts(sum)
	items, _ := a.Items(gridReasons, key)
	if len(items) > 0 {
		list := make([]RowException, len(items))
		for i, it := range items {
			list[i] = RowException{Time: seconds(it.Tick), Outcome: RowExceptionOutcome(it.Outcome), Reason: it.Reason, Detail: optional(it.Detail)}
		}
		row.Reasons = &list
	}
	return row
}
