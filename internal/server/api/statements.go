package api

import (
	"context"
	"maps"
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

const (
	maxTrend  = 120
	listText  = 4096 // characters of a text in a list
	wholeText = 1 << 20
)

// pathInstance gives the instance that the path names, 404 when there is none.
func (s *Server) pathInstance(ctx context.Context, tx pgx.Tx, id int64) (*fleet.Watched, error) {
	list, err := fleet.Instances(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, notFound("instance", strconv.FormatInt(id, 10))
	}
	return &list[0], nil
}

// clip keeps a window within what is retained: older ticks are neither planned nor
// missing, as their records are gone.
func (s *Server) clip(sp span) ledger.Window {
	w := sp.window()
	if s.cfg.Retention > 0 {
		w.From = max(w.From, min(w.To, sp.Now-s.cfg.Retention.Microseconds()))
	}
	return w
}

func (s *Server) statements(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	p, err := s.params(r, "from", "to", "sort", "limit", "database", "user", "text", "trend")
	if err != nil {
		return err
	}
	id, err := parseID("id", r.PathValue("id"))
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
	sort := "total_exec_time"
	if p.has("sort") {
		sort = p.values.Get("sort")
	}
	column := series.Additive(sort)
	if column == nil {
		return badParameter("sort", sort, "want one of "+strings.Join(series.AdditiveNames(), ", "))
	}
	buckets, err := p.integer("trend", 0, 0, maxTrend)
	if err != nil {
		return err
	}
	var f series.Filter
	if f.Database, err = p.filter("database"); err != nil {
		return err
	}
	if f.User, err = p.filter("user"); err != nil {
		return err
	}
	text, err := p.filter("text")
	if err != nil {
		return err
	}
	out := Statements{From: seconds(sp.From), To: seconds(sp.To), Items: []StatementItem{}, Unobserved: []Unobserved{}}
	err = s.read(r, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := s.pathInstance(ctx, tx, id); err != nil {
			return err
		}
		win := sp.window()
		all, err := series.ReadStatements(ctx, tx, id, win, nil)
		if err != nil {
			return err
		}
		if text != "" {
			if f.Matching, err = series.Matching(ctx, tx, id, queryIDs(all.Items), text); err != nil {
				return err
			}
		}
		a := all.Account(f, sort, limit)
		texts, err := series.Texts(ctx, tx, id, queryIDs(a.Items), listText)
		if err != nil {
			return err
		}
		trends, err := series.Trend(ctx, tx, id, win, column, a.Items, int(buckets))
		if err != nil {
			return err
		}
		for i, it := range a.Items {
			out.Items = append(out.Items, item(it, a.Columns, texts, trends[i]))
		}
		sums := func(values []int64) Sums { return Sums{a.Columns, values} }
		out.Count, out.Seconds = int64(a.Count), seconds(all.Micros)
		out.Rest, out.Cut, out.Dropped, out.Total = sums(a.Rest), sums(a.Cut), sums(a.Dropped), sums(a.Total)
		if a.Unmatched != nil {
			out.Unmatched = new(sums(a.Unmatched))
		}
		out.Databases, out.Users = &a.Databases, &a.Users
		out.Coverage = coverage(a)
		return s.unobserved(ctx, tx, id, win, &out)
	})
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, out)
	return nil
}

func queryIDs(items []series.Statement) []int64 {
	set := map[int64]bool{}
	for _, it := range items {
		set[it.QueryID] = true
	}
	return slices.Collect(maps.Keys(set))
}

func item(it series.Statement, columns []*catalogColumn, texts map[int64]series.Text, trend []float64) Item {
	out := Item{QueryID: strconv.FormatInt(it.QueryID, 10), Database: it.Database, User: it.User, Sums: Sums{columns, it.Sums}, Trend: trend}
	if t, read := texts[it.QueryID]; read {
		if !t.Whole {
			t.Query += "…"
		}
		out.Query = &t.Query
	}
	return out
}

// coverage is (items + rest) / total of calls and time; null when nothing was called.
func coverage(a *series.Account) Coverage {
	ratio := func(name string) *float64 {
		for i, c := range a.Columns {
			if c.Name == name && a.TotalWhole[i] > 0 {
				return new(float64(a.StoredWhole[i]) / float64(a.TotalWhole[i]))
			}
		}
		return nil
	}
	return Coverage{Calls: ratio("calls"), Time: ratio("total_exec_time")}
}

func (s *Server) unobserved(ctx context.Context, tx pgx.Tx, id int64, w ledger.Window, out *Statements) error {
	list, err := series.ReadUnobserved(ctx, tx, id, "statements", w)
	if err != nil {
		return err
	}
	for _, u := range list {
		lower := Sums{}
		var upper *Sums
		if u.Upper != nil {
			upper = &Sums{}
		}
		for _, name := range []string{"calls", "total_exec_time", "rows"} {
			lower.Columns, lower.Values = append(lower.Columns, series.Additive(name)), append(lower.Values, 0)
		}
		for _, name := range slices.Sorted(maps.Keys(u.Upper)) {
			if c := series.Additive(name); c != nil {
				upper.Columns, upper.Values = append(upper.Columns, c), append(upper.Values, u.Upper[name])
			}
		}
		out.Unobserved = append(out.Unobserved, Unobserved{Reason: u.Reason, Detail: optional(u.Detail), Since: seconds(u.Since), Until: seconds(u.Until), Lower: lower, Upper: upper})
	}
	return nil
}

func (s *Server) statement(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	p, err := s.params(r, "from", "to")
	if err != nil {
		return err
	}
	id, err := parseID("id", r.PathValue("id"))
	if err != nil {
		return err
	}
	query, err := strconv.ParseInt(r.PathValue("query_id"), 10, 64)
	if err != nil || strconv.FormatInt(query, 10) != r.PathValue("query_id") {
		return badParameter("query_id", r.PathValue("query_id"), "want the id of a statement, a decimal number of 64 bits")
	}
	sp, err := p.span()
	if err != nil {
		return err
	}
	out := Statement{QueryId: strconv.FormatInt(query, 10), Items: []StatementItem{}}
	err = s.read(r, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := s.pathInstance(ctx, tx, id); err != nil {
			return err
		}
		all, err := series.ReadStatements(ctx, tx, id, sp.window(), &query)
		if err != nil {
			return err
		}
		a := all.Account(series.Filter{}, "total_exec_time", maxLimit)
		texts, err := series.Texts(ctx, tx, id, []int64{query}, wholeText)
		if err != nil {
			return err
		}
		if t, read := texts[query]; read {
			out.Query = &t.Query
		} else if len(a.Items) == 0 {
			return notFound("statement", out.QueryId)
		}
		first, err := series.TextRead(ctx, tx, id, query)
		if err != nil {
			return err
		}
		out.FirstSeen, out.Seconds = maybe(first), new(seconds(all.Micros))
		for _, it := range a.Items {
			out.Items = append(out.Items, item(it, a.Columns, texts, nil))
		}
		out.Total = Sums{a.Columns, a.Total}
		return nil
	})
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, out)
	return nil
}
