package api

import (
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

// trendBuckets is the number of buckets of every trend of a list.
const trendBuckets = 60

// InstanceFull is the schema InstanceDetail.
type InstanceFull struct {
	Instance
	DatabaseNames []string      `json:"database_names"`
	Families      []FamilyState `json:"families"`
}

func (s *Server) instances(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	p, err := s.params(r, "from", "to")
	if err != nil {
		return err
	}
	sp, err := p.span()
	if err != nil {
		return err
	}
	out := struct {
		Items []Instance `json:"items"`
	}{[]Instance{}}
	err = s.read(r, func(ctx context.Context, tx pgx.Tx) error {
		v, err := s.view(ctx, tx, 0, sp)
		if err != nil {
			return err
		}
		for i := range v.watched {
			out.Items = append(out.Items, v.instance(&v.watched[i]))
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, out)
	return nil
}

func (s *Server) instance(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	p, err := s.params(r, "from", "to")
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
	var out InstanceFull
	err = s.read(r, func(ctx context.Context, tx pgx.Tx) error {
		v, err := s.view(ctx, tx, id, sp)
		if err != nil {
			return err
		}
		if len(v.watched) == 0 {
			return notFound("instance", r.PathValue("id"))
		}
		out = InstanceFull{Instance: v.instance(&v.watched[0]), DatabaseNames: []string{}, Families: []FamilyState{}}
		newest, err := v.newestTicks(ctx, tx, id)
		if err != nil {
			return err
		}
		for i := range v.schedules {
			c := &v.schedules[i]
			f := FamilyState{Family: c.Family, Database: c.Database, Lane: FamilyStateLane(c.Lane), Every: seconds(c.Every), Planned: c.Reason == "",
				Reason: optional(c.Reason + c.Limit), Newest: maybe(newest[[2]string{c.Database, c.Family}])}
			if len(c.Absent) > 0 {
				f.Absent = &c.Absent
			}
			out.Families = append(out.Families, f)
			if c.Database != "" && !slices.Contains(out.DatabaseNames, c.Database) {
				out.DatabaseNames = append(out.DatabaseNames, c.Database)
			}
		}
		slices.Sort(out.DatabaseNames)
		return nil
	})
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, out)
	return nil
}

// view is what the lists show, read for all instances at once.
type view struct {
	now       int64
	window    ledger.Window
	step      int64
	watched   []fleet.Watched
	reporters []fleet.Reporter
	account   *ledger.Account
	planned   map[int64][]*ledger.Planned
	contacts  map[int64]*ledger.Contact
	schedules []ledger.Current
	sessions  map[int64]series.Sessions
	active    map[int64][]float64
	databases map[int64]*series.Total // xact_commit, xact_rollback, blks_hit, blks_read
	wal       map[int64]*series.Total // wal_bytes
	own       map[int64]*series.Total // server_time, cpu_time, busy_time
	called    map[int64]*series.Coverage
}

// view reads everything of one instance or (0) all in a dozen statements.
func (s *Server) view(ctx context.Context, tx pgx.Tx, id int64, sp span) (*view, error) {
	v := &view{now: sp.Now, window: s.clip(sp)}
	v.step = max(1, (sp.To-v.window.From+trendBuckets-1)/trendBuckets)
	var err error
	read := func(f func() error) {
		if err == nil {
			err = f()
		}
	}
	read(func() (e error) { v.watched, e = fleet.Instances(ctx, tx, id); return })
	read(func() (e error) { v.reporters, e = fleet.Reporters(ctx, tx); return })
	read(func() (e error) {
		v.account, e = ledger.ReadAccount(ctx, tx, ledger.Part{Instance: id}, v.window, fleet.Alive(v.reporters, sp.Now))
		return
	})
	ids := make([]int64, len(v.watched))
	for i := range v.watched {
		ids[i] = v.watched[i].ID
	}
	read(func() (e error) { v.contacts, e = ledger.Contacts(ctx, tx, ids, sp.Now); return })
	read(func() (e error) { v.schedules, e = ledger.Schedules(ctx, tx, id, sp.Now); return })
	read(func() (e error) { v.sessions, e = v.readSessions(ctx, tx); return })
	read(func() (e error) {
		v.active, e = series.ActiveTrend(ctx, tx, ids, v.window, v.step, trendBuckets)
		return
	})
	var spans map[int64]map[string]int64
	read(func() (e error) { spans, e = ledger.Spans(ctx, tx, ids, v.window); return })
	read(func() (e error) {
		v.databases, e = series.Totals(ctx, tx, "database", ids, v.window, spans, "xact_commit", "xact_rollback", "blks_hit", "blks_read")
		return
	})
	read(func() (e error) { v.wal, e = series.Totals(ctx, tx, "wal", ids, v.window, spans, "wal_bytes"); return })
	read(func() (e error) {
		v.own, e = series.Totals(ctx, tx, "collector", ids, v.window, spans, "server_time", "cpu_time", "busy_time")
		return
	})
	read(func() (e error) { v.called, e = series.Coverages(ctx, tx, ids, v.window); return })
	if err != nil {
		return nil, err
	}
	v.planned = map[int64][]*ledger.Planned{}
	for _, p := range v.account.Planned {
		v.planned[p.Instance] = append(v.planned[p.Instance], p)
	}
	return v, nil
}

// newestTicks gives the newest stored tick of each family of the last hour, or of the
// last day when one that is planned has none there.
func (v *view) newestTicks(ctx context.Context, tx pgx.Tx, id int64) (map[[2]string]int64, error) {
	const hour = 3600 * 1_000_000
	newest, err := ledger.NewestTicks(ctx, tx, id, v.now-hour, v.now)
	if err != nil {
		return nil, err
	}
	for i := range v.schedules {
		c := &v.schedules[i]
		if _, found := newest[[2]string{c.Database, c.Family}]; !found && c.Reason == "" {
			return ledger.NewestTicks(ctx, tx, id, v.now-24*hour, v.now)
		}
	}
	return newest, nil
}

func (v *view) readSessions(ctx context.Context, tx pgx.Tx) (map[int64]series.Sessions, error) {
	var ids, ticks []int64
	for id, c := range v.contacts {
		if state, _ := c.State(v.now); state == ledger.Up && c.Stored != 0 {
			ids, ticks = append(ids, id), append(ticks, c.Stored)
		}
	}
	return series.SessionsAt(ctx, tx, ids, ticks)
}

func (v *view) instance(w *fleet.Watched) Instance {
	contact := v.contacts[w.ID]
	state, since := contact.State(v.now)
	out := Instance{
		Id: strconv.FormatInt(w.ID, 10), Name: w.Name, Status: InstanceStatus(state), Version: w.Version, Labels: w.Labels, Notes: []Note{},
		Collector: &w.CollectorName, CollectorId: new(fmt.Sprintf("%x", w.Collector)), Interval: new(seconds(w.Interval)),
		FirstSeen: maybe(w.FirstSeen), NewestData: maybe(contact.Newest), Counts: counts(v.count(w.ID)),
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if since == 0 && state == ledger.Up {
		since = w.FirstSeen
	}
	if since == 0 {
		since = w.Registered
	}
	out.StatusSince = maybe(since)
	out.Reason = optional(v.why(state, contact, w))
	if w.Updated != 0 {
		out.InRecovery, out.SystemIdentifier, out.Incarnation = &w.InRecovery, new(strconv.FormatUint(w.SystemID, 10)), new(int64(w.Incarnation))
		out.PostmasterStart, out.MaxConnections, out.Role = maybe(w.PostmasterStart), new(int64(w.MaxConnections)), optional(w.Role)
	}
	v.notes(w.ID, &out)
	v.numbers(w.ID, &out)
	return out
}

// why says what stands behind a state that is not simply up.
func (v *view) why(state ledger.State, c *ledger.Contact, w *fleet.Watched) string {
	switch {
	case state == ledger.Down && c.Detail != "":
		if strings.HasPrefix(c.Detail, c.Reason+" ") { // "connect to database …" says it already
			return c.Detail
		}
		return c.Reason + ": " + c.Detail
	case state == ledger.Down:
		return c.Reason
	case state == ledger.Up && c.Failed > c.Stored:
		return "answers, but sessions can't be read: " + c.Reason
	case state == ledger.Up:
		return ""
	}
	for i := range v.reporters {
		if r := &v.reporters[i]; r.ID == w.Collector && !r.Alive(v.now) {
			return "collector " + r.Name + " is silent"
		}
	}
	if c.Newest == 0 && c.Failed == 0 {
		return "nothing heard yet"
	}
	return "no recent outcome"
}

func (v *view) count(instance int64) ledger.Counts {
	var sum ledger.Counts
	for _, p := range v.planned[instance] {
		sum.Add(v.account.Count(p))
	}
	return sum
}

// notes tells what is not read, or only in part, and how to mend it.
func (v *view) notes(id int64, out *Instance) {
	databases := map[string]bool{}
	first, _ := slices.BinarySearchFunc(v.schedules, id, func(c ledger.Current, id int64) int { return int(min(1, max(-1, c.Instance-id))) })
	for i := first; i < len(v.schedules) && v.schedules[i].Instance == id; i++ {
		c := &v.schedules[i]
		if c.Database != "" {
			databases[c.Database] = true
		}
		if c.Reason == "" && c.Limit == "" {
			continue
		}
		n := Note{Family: c.Family, Database: &c.Database, Planned: new(c.Reason == ""), Reason: c.Reason + c.Limit, Detail: c.Detail, Remedy: optional(c.Remedy), Since: seconds(c.From)}
		if c.Reason != "" {
			n.Reason = c.Reason
		}
		out.Notes = append(out.Notes, n)
	}
	if len(databases) > 0 {
		out.Databases = new(int64(len(databases)))
	}
}

func (v *view) numbers(id int64, out *Instance) {
	if n, found := v.sessions[id]; found {
		out.Sessions, out.Active = &n.All, &n.Active
	}
	v.activity(id, out)
	gaps := make([]int64, trendBuckets)
	for _, p := range v.planned[id] {
		for i, c := range v.account.Buckets(p, v.window.From, v.step, trendBuckets) {
			gaps[i] += c.Failed + c.Skipped + c.Dropped + c.Missing
		}
	}
	out.GapTrend = &gaps
	if t := v.databases[id]; t != nil {
		commits, ok := t.Rate(0)
		rollbacks, _ := t.Rate(1)
		out.XactsPerSecond = known(commits+rollbacks, ok)
		out.HitPercent = known(100*t.Sums[2]/(t.Sums[2]+t.Sums[3]), t.Sums[2]+t.Sums[3] > 0)
	}
	wal, ok := v.wal[id].Rate(0)
	out.WalBytesPerSecond = known(wal, ok)
	cost, ok := v.own[id].Rate(0) // ms of server time per second
	out.CostPercent = known(cost/10, ok)
	if c := v.called[id]; c != nil {
		out.CoverageCalls, out.CoverageTime = known(c.Calls()), known(c.Time())
	}
}

// activity divides what was seen by the samples that were stored; a bucket without one
// is a gap.
func (v *view) activity(id int64, out *Instance) {
	seen := v.active[id]
	ticks, planned := make([]float64, trendBuckets), make([]bool, trendBuckets)
	all, sum, every := 0.0, 0.0, int64(0)
	for _, p := range v.planned[id] {
		if p.Family != "activity" {
			continue
		}
		for i, c := range v.account.Buckets(p, v.window.From, v.step, trendBuckets) {
			ticks[i] += float64(c.Stored)
			all += float64(c.Stored)
			planned[i] = planned[i] || c.Planned > 0
		}
		every = max(every, p.Every)
	}
	trend := make([]*float64, trendBuckets)
	for i := range trend {
		active := 0.0
		if seen != nil {
			active = seen[i]
		}
		sum += active
		trend[i] = known(active/ticks[i], ticks[i] > 0)
	}
	reach(trend, planned, int((every-1)/v.step))
	out.ActiveTrend = &trend
	out.ActiveMean = known(sum/all, all > 0)
}

// reach lets a sample count for the buckets since the sample before it, at most n of
// them, when buckets are shorter than the interval. A bucket in which a sample was
// planned stays as it is: a gap there is a gap.
func reach(trend []*float64, planned []bool, n int) {
	for i, v := range trend {
		if v == nil {
			continue
		}
		for k := i - 1; k >= max(0, i-n) && trend[k] == nil && !planned[k]; k-- {
			trend[k] = v
		}
	}
}
