package catalog

var _ = add(Family{
	Name:  "activity",
	Doc:   "Sessions and server processes at a moment, grouped by what they are and what they do, from pg_stat_activity. The collector's own session is left out.",
	Scope: Instance, Shape: Sample, Lane: Fast, Full: true,
	From:  Always("pg_catalog.pg_stat_activity"),
	Where: Always("pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()"),
	Group: "datname, usename, application_name, backend_type, state, wait_event_type, wait_event",
	Columns: []Column{
		{Name: "datname", Doc: "database, empty for processes without one", Kind: Key, Type: Text, Expr: Always("COALESCE(datname, '')")},
		{Name: "usename", Doc: "user, empty for processes without one", Kind: Key, Type: Text, Expr: Always("COALESCE(usename, '')")},
		{Name: "application_name", Doc: "application_name of the session", Kind: Key, Type: Text, Expr: Always("COALESCE(application_name, '')")},
		{Name: "backend_type", Doc: "type of the process", Kind: Key, Type: Text, Expr: Always("COALESCE(backend_type, '')")},
		{Name: "state", Doc: "state of the session, empty for other processes and for those that we may not see", Kind: Key, Type: Text, Expr: Always("COALESCE(state, '')")},
		{Name: "wait_event_type", Doc: "type of event that is waited for, empty when none is", Kind: Key, Type: Text, Expr: Always("COALESCE(wait_event_type, '')")},
		{Name: "wait_event", Doc: "event that is waited for", Kind: Key, Type: Text, Expr: Always("COALESCE(wait_event, '')")},
		{Name: "sessions", Doc: "number of processes", Kind: Gauge, Type: Int, Unit: Count, Agg: Sum, Expr: Always("pg_catalog.count(*)")},
		{Name: "max_xact_age", Doc: "age of the oldest transaction", Kind: Gauge, Type: Float, Unit: Seconds, Agg: Max, Expr: Always("EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.min(xact_start))")},
		{Name: "max_query_age", Doc: "age of the oldest running statement of an active session", Kind: Gauge, Type: Float, Unit: Seconds, Agg: Max, Expr: Always("EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.min(query_start) FILTER (WHERE state OPERATOR(pg_catalog.=) 'active'))")},
	},
	Panels: []Panel{
		{Title: "Sessions by state", Unit: Count, Fn: "avg", Stack: true, Of: []Line{
			{Column: "sessions", Label: "active", Where: map[string]string{"state": "active", "backend_type": "client backend"}},
			{Column: "sessions", Label: "idle in xact", Where: map[string]string{"state": "idle in transaction", "backend_type": "client backend"}},
			{Column: "sessions", Label: "aborted", Where: map[string]string{"state": "idle in transaction (aborted)", "backend_type": "client backend"}},
			{Column: "sessions", Label: "idle", Where: map[string]string{"state": "idle", "backend_type": "client backend"}},
		}},
		{Title: "Active sessions by wait", Doc: "Active client sessions by the type of event they wait for; no event is CPU.", Unit: Count, Fn: "avg", Stack: true, By: "wait_event_type", Of: []Line{
			{Column: "sessions", Where: map[string]string{"state": "active", "backend_type": "client backend"}},
		}},
	},
})
