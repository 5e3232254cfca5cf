package catalog

var _ = add(Family{
	Name:  "settings",
	Doc:   "Configuration in effect for new sessions of the collector's role, from pg_settings; stored when it changes. The value is reset_val, since our own session sets time limits for itself.",
	Scope: Instance, Shape: State, Lane: Slow,
	From:  Always("pg_catalog.pg_settings"),
	Where: Always("name OPERATOR(pg_catalog.<>) 'application_name'"),
	Columns: []Column{
		{Name: "name", Doc: "name of the setting", Kind: Key, Type: Text, Expr: Always("name")},
		{Name: "setting", Doc: "its value, in its unit; passwords in connection strings are masked", Kind: Gauge, Type: Text, Agg: Last, Redact: true, Expr: Always("reset_val")},
		{Name: "unit", Doc: "implicit unit of the value", Kind: Gauge, Type: Text, Agg: Last, Expr: Always("unit")},
		{Name: "context", Doc: "what it takes to change it", Kind: Gauge, Type: Text, Agg: Last, Expr: Always("context")},
		{Name: "pending_restart", Doc: "changed in the configuration file but needs a restart", Kind: Gauge, Type: Bool, Agg: Last, Expr: Always("pending_restart")},
	},
})

var _ = add(Family{
	Name:  "roles",
	Doc:   "Names of the roles, from pg_roles; stored when they change. Rows of other families hold the OID, so that a renamed role stays one role.",
	Scope: Instance, Shape: State, Lane: Slow,
	From: Always("pg_catalog.pg_roles"),
	Columns: []Column{
		{Name: "oid", Doc: "OID of the role", Kind: Key, Type: Int, Expr: Always("oid")},
		{Name: "rolname", Doc: "name of the role", Kind: Gauge, Type: Text, Agg: Last, Expr: Always("rolname")},
	},
})
