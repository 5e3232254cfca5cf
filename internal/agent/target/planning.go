package target

import (
	"fmt"
	"strings"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// plan makes the plans of all families that SQL reads.
func (t *Target) plan(f *found, vias map[string]string) (plans []Plan) {
	major := catalog.Version(f.server.Version / 10000)
	for _, fam := range catalog.All() {
		if fam.Reader != "" {
			continue
		}
		base := Plan{Family: fam, Lane: fam.Lane, Via: t.home}
		switch {
		case t.cfg.Enabled != nil && !t.cfg.Enabled(fam.Name):
			base.Reason, base.Detail = reasonDisabled, "switched off in the collector's configuration"
		case fam.Of != "":
			t.planExtension(&base, f, vias[fam.Of])
		case !fam.Available(major):
			base.Reason, base.Detail = reasonVersion, availability(fam, "PostgreSQL", strings.Fields(f.server.VersionText + " ?")[0])
		}
		if base.Reason == "" && !f.readStats {
			limitHidden(&base, f.server.Role)
		}
		if base.Reason != "" {
			base.Via = ""
		}
		if fam.Scope == catalog.Instance {
			plans = append(plans, base)
			continue
		}
		for _, d := range f.databases {
			if !chosen(t.cfg.Databases, d.Name) {
				continue
			}
			p := base
			p.Database = d.Name
			if p.Reason == "" {
				p.Via = d.Name
				if !d.Connectable {
					p.Via, p.Reason, p.Detail, p.Remedy = "", d.Reason, d.Detail, d.Remedy
				}
			}
			plans = append(plans, p)
		}
	}
	for i := range plans {
		p := &plans[i]
		if p.Reason != "" {
			continue
		}
		src := t.source(p)
		p.query = compile(p.Family, src, t.settings)
		p.Absent = p.query.absent
	}
	return plans
}

// planExtension plans a family that lives in an extension.
func (t *Target) planExtension(p *Plan, f *found, via string) {
	name := p.Family.Of
	create := fmt.Sprintf("CREATE EXTENSION %s;", name)
	var ext *extension
	if via != "" {
		t.mu.Lock()
		ext = t.extension[via].found[name]
		t.mu.Unlock()
	}
	p.Via = via
	switch {
	case !f.loaded[name]:
		p.Reason, p.Detail = reasonNotLoaded, fmt.Sprintf("shared_preload_libraries doesn't have %s, or the server wasn't restarted since", name)
		p.Remedy = fmt.Sprintf("-- add %s to shared_preload_libraries and restart the server", name)
		if f.preload != nil {
			var quoted []string
			for lib := range strings.SplitSeq(*f.preload, ",") {
				if lib = strings.TrimSpace(lib); lib != "" && lib != name {
					quoted = append(quoted, quoteLiteral(lib))
				}
			}
			p.Remedy = fmt.Sprintf("ALTER SYSTEM SET shared_preload_libraries = %s; -- then restart the server", strings.Join(append(quoted, quoteLiteral(name)), ", "))
		}
		if ext == nil {
			p.Remedy += "\n" + create
		}
	case ext == nil:
		p.Reason, p.Detail, p.Remedy = reasonExtensionMissing, fmt.Sprintf("no database that %s may connect to has the extension %s", f.server.Role, name), create
	case !p.Family.Available(ext.version):
		p.Reason, p.Detail = reasonVersion, availability(p.Family, "the extension "+name, ext.text)
		p.Remedy = fmt.Sprintf("ALTER EXTENSION %s UPDATE;", name)
	default:
		p.Reason, p.Detail, p.Remedy = ext.check(p.Family, f.server.Role)
	}
}

func availability(f *catalog.Family, what, is string) string {
	first := catalog.Version(0)
	for v := range f.From {
		if first == 0 || v < first {
			first = v
		}
	}
	need := fmt.Sprint(int(first))
	if f.Of != "" {
		need = fmt.Sprintf("%d.%d", first/100, first%100)
	}
	return fmt.Sprintf("needs %s %s, this is %s", what, need, is)
}

// limitHidden notes what a role without pg_read_all_stats doesn't see.
func limitHidden(p *Plan, role string) {
	grant := fmt.Sprintf("GRANT pg_read_all_stats TO %s;", quoteIdent(role))
	switch p.Family.Name {
	case "statements", "statement_texts":
		p.Limit, p.Remedy = "ids_hidden", grant
		p.Detail = fmt.Sprintf("%s sees the ids and texts of its own statements only; what others' counted is in the sums", role)
	case "activity":
		p.Limit, p.Remedy = "activity_hidden", grant
		p.Detail = fmt.Sprintf("%s sees what its own sessions do only; others are counted without state", role)
	}
}

// source is what a plan is compiled for.
func (t *Target) source(p *Plan) source {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := source{missing: t.missing[p.key()]}
	if p.Family.Of != "" {
		if e := t.extension[p.Via]; e != nil {
			s.ext = e.found[p.Family.Of]
		}
		if s.ext != nil {
			s.version = s.ext.version
		}
		return s
	}
	s.version = t.version
	return s
}
