package target

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// settingsSQL is the target list of the head: what holds for the transaction of
// one Sync group, and for nothing after it. client_encoding: else a database in
// LATIN1 sends LATIN1; one in SQL_ASCII can't be converted, only checked, which
// would fail.
func settingsSQL(l Limits) string {
	ms := func(d time.Duration) int64 { return max(d.Milliseconds(), 1) }
	return fmt.Sprintf("SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),\n"+
		"  pg_catalog.set_config('statement_timeout', '%d', true),\n"+
		"  pg_catalog.set_config('lock_timeout', '%d', true),\n"+
		"  pg_catalog.set_config('idle_in_transaction_session_timeout', '%d', true),\n"+
		"  pg_catalog.set_config('transaction_read_only', 'on', true),\n"+
		"  pg_catalog.set_config('client_encoding', CASE WHEN pg_catalog.current_setting('server_encoding') OPERATOR(pg_catalog.=) 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END, true)",
		ms(l.Statement), ms(l.Lock), ms(2*l.Statement+time.Second))
}

// headResults: six settings, the time, the postmaster's start, in recovery, guard.
const (
	headTime = 6 + iota
	headStart
	headRecovery
	headGuard
	headColumns
)

// headStmt is the first statement of a Sync group. guard is checked in it; "" none.
func headStmt(settings, guard string) *stmt {
	if guard == "" {
		guard = "0::pg_catalog.int8"
	}
	return newStmt(settings+",\n  pg_catalog.clock_timestamp(), pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_is_in_recovery(), "+guard, nil,
		oidText, oidText, oidText, oidText, oidText, oidText, oidTimestamptz, oidTimestamptz, oidBool, oidInt8)
}

var (
	// tailStmt ends a round, in a Sync of its own so that it is answered whatever
	// failed: the time between head and tail is our cost.
	tailStmt = newStmt("SELECT pg_catalog.clock_timestamp()", nil, oidTimestamptz)
	// helloStmt tells which cluster is behind a connection. It has a Sync of its
	// own: somebody may have revoked the function.
	helloStmt = newStmt("SELECT c.system_identifier::pg_catalog.int8 FROM pg_catalog.pg_control_system() c", nil, oidInt8)

	watchStmt      = map[bool]*stmt{true: newStmt(watchSQL(true), nil, oidText), false: newStmt(watchSQL(false), nil, oidText)}
	serverStmt     = newStmt(serverSQL, nil, oidInt8, oidText, oidInt8, oidText, oidBool, oidBool, oidBool, oidText)
	databasesStmt  = newStmt(databasesSQL, nil, oidInt8, oidText, oidBool, oidBool)
	loadedStmt     = newStmt(loadedSQL(), nil, oidText)
	extensionsStmt = newStmt(extensionsSQL(), nil, oidText, oidText, oidText, oidBool, oidInt8, oidText, oidBool, oidText, oidBool, oidBool)
)

// extensions are those that families live in.
func extensionNames() (out []string) {
	for _, f := range catalog.All() {
		if f.Of != "" && !contains(out, f.Of) {
			out = append(out, f.Of)
		}
	}
	return out
}

func contains(list []string, s string) bool {
	return slices.Contains(list, s)
}

// extWatchSQL is a text that changes when an extension of ours comes, goes or is
// updated in the database that it runs in.
func extWatchSQL() string {
	return "(SELECT pg_catalog.string_agg(pg_catalog.concat_ws('/', e.oid, e.extname, e.extversion, e.extnamespace), ',' ORDER BY e.oid)\n" +
		"  FROM pg_catalog.pg_extension e WHERE e.extname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (" + textArray(extensionNames()) + "))"
}

// watchSQL rides in the slow rounds: one text that changes when what Contact found
// is not so any more. In home that is also the databases, and what we may do.
func watchSQL(home bool) string {
	if !home {
		return "SELECT COALESCE(" + extWatchSQL() + ", '')::pg_catalog.text"
	}
	return "SELECT pg_catalog.concat_ws('|', " + extWatchSQL() + ",\n" +
		"  (SELECT pg_catalog.concat_ws('/', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws('/', d.oid, d.datname, d.datallowconn, d.datistemplate,\n" +
		"    pg_catalog.has_database_privilege(d.oid, 'CONNECT')) COLLATE pg_catalog.\"C\", 0))) FROM pg_catalog.pg_database d),\n" +
		"  pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), CURRENT_USER)::pg_catalog.text"
}

func textArray(items []string) string {
	var s strings.Builder
	for i, x := range items {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(quoteLiteral(x))
	}
	return "ARRAY[" + s.String() + "]::pg_catalog.text[]"
}

const serverSQL = `SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int8,
  pg_catalog.current_setting('server_version'),
  pg_catalog.current_setting('max_connections')::pg_catalog.int8,
  CURRENT_USER::pg_catalog.text,
  r.rolsuper,
  pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'),
  pg_catalog.pg_has_role('pg_read_server_files', 'MEMBER') OR pg_catalog.pg_has_role('pg_write_server_files', 'MEMBER') OR pg_catalog.pg_has_role('pg_execute_server_program', 'MEMBER'),
  (SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'shared_preload_libraries')
FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER`

const databasesSQL = `SELECT d.oid::pg_catalog.int8, d.datname::pg_catalog.text, d.datallowconn,
  pg_catalog.has_database_privilege(d.oid, 'CONNECT')
FROM pg_catalog.pg_database d WHERE NOT d.datistemplate ORDER BY d.datname`

// loadedSQL: which of the extensions' libraries were preloaded. Each defines its
// settings only then.
func loadedSQL() string {
	var first []string
	for _, name := range extensionNames() {
		first = append(first, preloaded[name])
	}
	return "SELECT s.name::pg_catalog.text FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) ANY (" + textArray(first) + ")"
}

// preloaded gives the setting that an extension's library defines when
// shared_preload_libraries has it.
var preloaded = map[string]string{"pg_stat_statements": "pg_stat_statements.max"}

// extensionsSQL: the extensions in a database and the objects that families name,
// one row each, the extension's own columns repeated.
func extensionsSQL() string {
	var objects []string
	for _, f := range catalog.All() {
		if f.Of == "" {
			continue
		}
		for _, by := range []catalog.By{f.From, f.Proof} {
			for _, sql := range by {
				for _, o := range namedObjects(sql) {
					if !contains(objects, o.name) {
						objects = append(objects, o.name)
					}
				}
			}
		}
	}
	member := func(class string) string {
		return "EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog." + class + "'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) o.oid" +
			" AND d.deptype OPERATOR(pg_catalog.=) 'e' AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid OPERATOR(pg_catalog.=) e.oid)"
	}
	names := textArray(objects)
	return "SELECT e.extname::pg_catalog.text, e.extversion::pg_catalog.text, n.nspname::pg_catalog.text, pg_catalog.has_schema_privilege(n.oid, 'USAGE'),\n" +
		"  o.oid::pg_catalog.int8, o.name, o.function, o.args, o.member, o.allowed\n" +
		"FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace\n" +
		"LEFT JOIN LATERAL (\n" +
		"  SELECT o.oid, o.proname::pg_catalog.text AS name, true AS function, o.proargtypes::pg_catalog.text AS args, " + member("pg_proc") + " AS member, pg_catalog.has_function_privilege(o.oid, 'EXECUTE') AS allowed\n" +
		"  FROM pg_catalog.pg_proc o WHERE o.pronamespace OPERATOR(pg_catalog.=) e.extnamespace AND o.proname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (" + names + ")\n" +
		"  UNION ALL\n" +
		"  SELECT o.oid, o.relname::pg_catalog.text, false, '', " + member("pg_class") + ", pg_catalog.has_table_privilege(o.oid, 'SELECT')\n" +
		"  FROM pg_catalog.pg_class o WHERE o.relnamespace OPERATOR(pg_catalog.=) e.extnamespace AND o.relname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (" + names + ")\n" +
		") o ON true\n" +
		"WHERE e.extname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (" + textArray(extensionNames()) + ")"
}
