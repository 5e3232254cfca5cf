package agent

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
)

// survey is what a look at one instance found.
type survey struct {
	in    InstanceConfig
	facts *target.Facts
	err   error
	took  time.Duration
	reads []readOnce
}

type readOnce struct {
	plan   target.Plan
	rows   int
	took   time.Duration // of its whole round
	reason string
	detail string
}

// look contacts every instance, at most thread_pool_size at once, and with read
// reads everything that can be read.
func look(ctx context.Context, cfg *Config, read bool) ([]survey, error) {
	cfg.Normalize()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	out := make([]survey, len(cfg.Instances))
	slots := make(chan struct{}, cfg.Threading.ThreadPoolSize)
	var all sync.WaitGroup
	for i, in := range cfg.Instances {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out[i] = lookAt(ctx, cfg, in, read)
		})
	}
	all.Wait()
	return out, ctx.Err()
}

func lookAt(ctx context.Context, cfg *Config, in InstanceConfig, read bool) survey {
	s := survey{in: in}
	password, err := in.password()
	if err != nil {
		s.err = err
		return s
	}
	t, err := target.New(targetConfig(cfg, in, password), slog.New(slog.DiscardHandler))
	if err != nil {
		s.err = err
		return s
	}
	defer t.Close()
	begun := time.Now()
	s.facts, s.err = t.Contact(ctx)
	s.took = time.Since(begun)
	if s.err != nil || !read {
		return s
	}
	type group struct {
		via  string
		lane catalog.Lane
	}
	groups := map[group][]target.Plan{}
	var order []group
	for _, p := range s.facts.Plans {
		if p.Reason != "" {
			s.reads = append(s.reads, readOnce{plan: p, reason: p.Reason, detail: p.Detail})
			continue
		}
		g := group{p.Via, p.Lane}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], p)
	}
	for _, g := range order {
		begun := time.Now()
		readings, _, _ := t.Read(ctx, g.via, g.lane, groups[g], nil) // each reading has the error
		took := time.Since(begun)
		for _, r := range readings {
			o := readOnce{plan: r.Plan, took: took, reason: r.Reason}
			if r.Err != nil {
				o.detail = r.Err.Error()
			} else if r.Frame != nil {
				o.rows = r.Frame.N
			}
			s.reads = append(s.reads, o)
		}
		target.Release(readings)
	}
	slices.SortStableFunc(s.reads, func(a, b readOnce) int {
		return cmp.Or(strings.Compare(a.plan.Database, b.plan.Database), strings.Compare(a.plan.Family.Name, b.plan.Family.Name))
	})
	return s
}

// Once reads everything once and prints it as a table: no spool, no state, no push.
// The error says that something could not be read.
func Once(ctx context.Context, cfg Config, w io.Writer) error {
	found, err := look(ctx, &cfg, true)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "INSTANCE\tDATABASE\tFAMILY\tROWS\tTIME\tOUTCOME")
	failed := 0
	for _, s := range found {
		if s.err != nil {
			failed++
			fmt.Fprintf(table, "%s\t\t\t\t%s\tfailed: %s\n", s.in.Name, short(s.took), s.err)
			continue
		}
		for _, r := range s.reads {
			outcome := "read"
			switch {
			case r.plan.Reason != "":
				outcome = "not planned: " + r.reason + detail(r.detail)
			case r.reason != "":
				failed++
				outcome = "failed: " + r.reason + detail(r.detail)
			case r.plan.Limit != "":
				outcome = "read, " + r.plan.Limit + detail(r.plan.Detail)
			case r.plan.Family.Shape == catalog.Dictionary:
				outcome = "read when needed"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", s.in.Name, cmp.Or(r.plan.Database, "-"), r.plan.Family.Name, r.rows, short(r.took), outcome)
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	if failed > 0 {
		return fmt.Errorf("%d of the reads failed", failed)
	}
	return nil
}

func short(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }

func detail(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// Check tests configuration, connections and privileges, and prints what is missing
// with what mends it. ok: nothing is missing.
func Check(ctx context.Context, cfg Config, w io.Writer) (ok bool, err error) {
	found, err := look(ctx, &cfg, false)
	if err != nil {
		return false, err
	}
	ok = true
	say := func(mark, format string, args ...any) {
		if mark == "failed" || mark == "missing" {
			ok = false
		}
		fmt.Fprintf(w, "%-7s %s\n", mark, fmt.Sprintf(format, args...))
	}
	say("ok", "configuration: %d instances every %s", len(cfg.Instances), cfg.interval())
	if cfg.Backend.TokenFile != "" {
		if _, err := readToken(cfg.Backend.TokenFile); err != nil {
			say("failed", "%s", err)
		} else {
			say("ok", "backend.token_file holds a token")
		}
	}
	for _, s := range found {
		if s.err != nil {
			say("failed", "%s: %s", s.in.Name, s.err)
			continue
		}
		checkInstance(&s, say)
	}
	return ok, nil
}

func checkInstance(s *survey, say func(mark, format string, args ...any)) {
	f := s.facts
	say("ok", "%s: PostgreSQL %s as %s, %d databases, connected in %s", s.in.Name, f.Server.VersionText, f.Server.Role, len(f.Databases), short(s.took))
	if f.Superuser {
		say("warning", "%s: %s is a superuser; it needs pg_monitor, no more. A role of its own:\n        CREATE ROLE pganalytics LOGIN CONNECTION LIMIT 10 PASSWORD '…';\n        GRANT pg_monitor TO pganalytics;", s.in.Name, f.Server.Role)
	}
	if f.ReadFiles {
		say("warning", "%s: %s may read or write files of the server, or run programs there; it needs pg_monitor, no more", s.in.Name, f.Server.Role)
	}
	type lack struct{ what, detail, remedy string }
	seen := map[lack][]string{}
	var order []lack
	note := func(p *target.Plan, what string) {
		l := lack{what, p.Detail, p.Remedy}
		name := p.Family.Name
		if p.Database != "" {
			name += " of " + p.Database
		}
		if seen[l] == nil {
			order = append(order, l)
		}
		seen[l] = append(seen[l], name)
	}
	for i := range f.Plans {
		switch p := &f.Plans[i]; {
		case p.Reason != "":
			note(p, p.Reason)
		case p.Limit != "":
			note(p, p.Limit)
		}
	}
	for _, l := range order {
		mark := "missing"
		if l.what == "version" || l.what == "disabled" || l.what == "columns_missing" {
			mark = "note"
		}
		families := seen[l]
		text := strings.Join(families[:min(len(families), 5)], ", ")
		if len(families) > 5 {
			text += fmt.Sprintf(" and %d more", len(families)-5)
		}
		text = fmt.Sprintf("%s: %s: %s", s.in.Name, text, l.what) + detail(l.detail)
		if l.remedy != "" {
			text += "\n        " + l.remedy
		}
		say(mark, "%s", text)
	}
}
