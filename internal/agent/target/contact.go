package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// oldest is the first major whose views we know.
const oldest = 12

// extInDB is what a database has of the extensions that families live in.
type extInDB struct {
	found map[string]*extension
	err   error // why it could not be looked at; tried again at the next Contact
}

// found is what the server told at a Contact.
type found struct {
	server    frame.Server
	superuser bool
	readStats bool
	readFiles bool
	preload   *string         // shared_preload_libraries, nil when we may not see it
	loaded    map[string]bool // extensions whose library was preloaded
	databases []DB
	ext       *extInDB // home's
	watch     string
}

// Contact connects or reuses a connection, inspects the instance and gives what
// can be planned. An error leaves the former facts in force.
func (t *Target) Contact(ctx context.Context) (*Facts, error) {
	if err := t.enter(ctx, catalog.Slow); err != nil {
		return nil, err
	}
	defer t.leave(catalog.Slow)
	var f *found
	err := t.with(ctx, t.home, func(c *conn) error {
		var err error
		f, err = t.inspect(c)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.extension[t.home], t.watched[t.home] = f.ext, f.watch
	maps.DeleteFunc(t.extension, func(name string, _ *extInDB) bool {
		return name != t.home && !slices.ContainsFunc(f.databases, func(d DB) bool { return d.Name == name && d.Connectable })
	})
	clear(t.queries)
	if major := catalog.Version(f.server.Version / 10000); t.facts == nil || t.facts.Server.VersionText != f.server.VersionText || t.facts.Server.SystemID != f.server.SystemID {
		// Another server: what was learned of the former one says nothing of it.
		t.version = major
		clear(t.missing)
		clear(t.checked)
		clear(t.alone)
		clear(t.last)
		maps.DeleteFunc(t.extension, func(name string, _ *extInDB) bool { return name != t.home })
		maps.DeleteFunc(t.watched, func(name string, _ string) bool { return name != t.home })
	}
	t.mu.Unlock()
	vias := map[string]string{}
	for _, name := range extensionNames() {
		via, err := t.search(ctx, f, name)
		if err != nil {
			return nil, err
		}
		vias[name] = via
	}
	plans := t.plan(f, vias)
	if err := t.with(ctx, t.home, func(c *conn) error { return t.verify(c, plans) }); err != nil {
		return nil, err
	}
	facts := &Facts{Server: f.server, Database: t.home, Plans: plans, Superuser: f.superuser, ReadFiles: f.readFiles, Pooled: t.isPooled()}
	for _, d := range f.databases {
		if chosen(t.cfg.Databases, d.Name) {
			facts.Databases = append(facts.Databases, d)
		}
	}
	t.mu.Lock()
	t.facts = facts
	warn := !t.warned && (f.superuser || f.readFiles)
	t.warned = t.warned || warn
	t.mu.Unlock()
	if warn {
		t.log.Warn("the role can do harm: give the collector one that is NOSUPERUSER and a member of pg_monitor only",
			"role", f.server.Role, "superuser", f.superuser, "server_files", f.readFiles)
	}
	t.pool.keep(func(database string) bool {
		return database == t.home || slices.ContainsFunc(f.databases, func(d DB) bool { return d.Name == database && d.Connectable })
	})
	return facts, nil
}

// with runs do on a connection; once more on a fresh one when an idle one was dead.
func (t *Target) with(ctx context.Context, database string, do func(*conn) error) error {
	for fresh := false; ; fresh = true {
		r, opened, err := t.pool.acquire(ctx, database, fresh)
		if err != nil {
			return err
		}
		c := r.Value()
		end := c.begin(ctx)
		err = do(c)
		end()
		broken := c.broken
		t.pool.release(r)
		if err != nil && broken && !opened && ctx.Err() == nil && roundReason(err) == reasonLost {
			continue
		}
		if err != nil && ReasonOf(err) == reasonFailed {
			err = fail(roundReason(err), "inspect database "+quoteIdent(database), err)
		}
		return err
	}
}

// inspect asks what the instance is, in one round trip.
func (t *Target) inspect(c *conn) (*found, error) {
	f := &found{loaded: map[string]bool{}, ext: &extInDB{found: map[string]*extension{}}}
	h := &header{step: step{stmt: t.head}}
	h.row = func(v [][]byte) error {
		h.start, h.inRecovery = timeOf(v[headStart]), boolOf(v[headRecovery])
		return nil
	}
	server := &step{stmt: serverStmt, row: func(v [][]byte) error {
		version, _ := int8Of(v[0])
		connections, _ := int8Of(v[2])
		f.server.Version, f.server.VersionText, f.server.MaxConnections = int32(version), string(v[1]), int32(connections)
		f.server.Role = valid(string(v[3]))
		f.superuser, f.readStats, f.readFiles = boolOf(v[4]), boolOf(v[5]), boolOf(v[6])
		if v[7] != nil {
			s := valid(string(v[7]))
			f.preload = &s
		}
		return nil
	}}
	databases := &step{stmt: databasesStmt, row: func(v [][]byte) error {
		if len(f.databases) >= maxRows {
			return failf(reasonTooBig, "list databases", "more than %d", maxRows)
		}
		oid, _ := int8Of(v[0])
		d := DB{OID: uint32(oid), Name: string(v[1]), Connectable: true}
		switch {
		case !boolOf(v[2]):
			d.Connectable, d.Reason, d.Detail = false, reasonNoConnect, "the database allows no connections"
		case !boolOf(v[3]):
			d.Connectable, d.Reason = false, reasonNoConnect
			d.Detail = fmt.Sprintf("%s may not connect to it", f.server.Role)
			d.Remedy = fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s;", quoteIdent(d.Name), quoteIdent(f.server.Role))
		}
		f.databases = append(f.databases, d)
		return nil
	}}
	loaded := &step{stmt: loadedStmt, row: func(v [][]byte) error {
		for name, setting := range preloaded {
			if setting == string(v[0]) {
				f.loaded[name] = true
			}
		}
		return nil
	}}
	watch := &step{stmt: watchStmt[true], row: func(v [][]byte) error { f.watch = string(v[0]); return nil }}
	hello := &step{stmt: helloStmt, row: func(v [][]byte) error {
		id, _ := int8Of(v[0])
		f.server.SystemID = uint64(id)
		return nil
	}}
	group := []*step{&h.step, server, databases, extensionStep(f.ext), loaded, watch}
	if err := t.exchange(c, group, []*step{hello}); err != nil {
		return nil, err
	}
	if hello.state == done {
		c.systemID = f.server.SystemID
	}
	f.server.PostmasterStart, f.server.InRecovery = h.start, h.inRecovery
	f.server.Labels, f.server.IntervalUs = t.cfg.Labels, t.cfg.Interval.Microseconds()
	if f.server.Version/10000 < oldest {
		return nil, failf(reasonVersion, "inspect", "PostgreSQL %s is older than %d", f.server.VersionText, oldest)
	}
	return f, nil
}

// exchange sends groups; the first one must succeed. A pooler is found out here:
// the groups are sent once more without names then.
func (t *Target) exchange(c *conn, groups ...[]*step) error {
	for range 2 {
		pooled := t.isPooled()
		if err := exchange(c, groups, pooled, t.patience()); err != nil {
			return err
		}
		var err error
		for _, s := range groups[0] {
			err = errors.Join(err, s.err)
		}
		if s := sqlState(err); err != nil && !pooled && (s == "42P05" || s == "26000") {
			t.setPooled()
			for _, g := range groups {
				for _, s := range g {
					s.state, s.err, s.parse, s.described = pending, nil, false, false
				}
			}
			continue
		}
		return err
	}
	return nil
}

// extensionStep reads the extensions of a database.
func extensionStep(into *extInDB) *step {
	return &step{stmt: extensionsStmt, row: func(v [][]byte) error {
		name := string(v[0])
		e := into.found[name]
		if e == nil {
			version, err := catalog.ParseExtVersion(string(v[1]))
			if err != nil {
				return nil // a version that nobody published: as if it weren't there
			}
			e = &extension{name: name, version: version, text: string(v[1]), schema: valid(string(v[2])), usage: boolOf(v[3])}
			into.found[name] = e
		}
		if oid, ok := int8Of(v[4]); ok && len(e.objects) < 1000 {
			e.objects = append(e.objects, object{oid: uint32(oid), name: string(v[5]), function: boolOf(v[6]), args: string(v[7]), member: boolOf(v[8]), allowed: boolOf(v[9])})
		}
		return nil
	}}
}

// search finds a database whose extension can be read: home, else any. It returns
// the best there is, "" when no database has it. What was looked at before is not
// looked at again: the watch of its slow rounds tells when it changes.
func (t *Target) search(ctx context.Context, f *found, name string) (via string, err error) {
	usable := func(e *extInDB) bool {
		if e == nil || e.found[name] == nil {
			return false
		}
		ext := e.found[name]
		for _, fam := range catalog.All() {
			if fam.Of == name {
				if reason, _, _ := ext.check(fam, f.server.Role); reason != "" {
					return false
				}
			}
		}
		return true
	}
	if usable(f.ext) {
		return t.home, nil
	}
	if f.ext.found[name] != nil {
		via = t.home
	}
	for _, d := range f.databases {
		if !d.Connectable || d.Name == t.home {
			continue
		}
		t.mu.Lock()
		e := t.extension[d.Name]
		t.mu.Unlock()
		if e == nil || e.err != nil {
			e = &extInDB{found: map[string]*extension{}}
			e.err = t.with(ctx, d.Name, func(c *conn) error {
				clear(e.found)
				return t.exchange(c, []*step{{stmt: t.head}, extensionStep(e)})
			})
			if ctx.Err() != nil {
				return "", fail(reasonConnect, "search extension "+name, context.Cause(ctx))
			}
			t.mu.Lock()
			t.extension[d.Name] = e
			t.mu.Unlock()
		}
		if usable(e) {
			return d.Name, nil
		}
		if via == "" && e.found[name] != nil {
			via = d.Name
		}
	}
	return via, nil
}
