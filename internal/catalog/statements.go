package catalog

import "time"

// Versions are those of the extension: 1.7 came with PostgreSQL 12, 1.8 with 13,
// 1.9 with 14, 1.10 with 15 and 16, 1.11 with 17, 1.12 with 18.

var _ = add(Family{
	Name:  "statements",
	Doc:   "What each statement did, from pg_stat_statements: one row per (dbid, userid, queryid, toplevel). The statements beyond query_stats_limit are in the sums `cut`.",
	Scope: Instance, Shape: Sample, Lane: Slow, Apart: true,
	Of:    "pg_stat_statements",
	From:  By{107: "{ext}.pg_stat_statements(false)"},
	Proof: By{109: "SELECT stats_reset::pg_catalog.timestamptz, dealloc::pg_catalog.int8 FROM {ext}.pg_stat_statements_info()"},
	Cut:   &Cut{By: []string{"total_exec_time", "calls"}, Limit: "query_stats_limit"},
	Sums:  []string{"dbid", "userid"},
	Columns: []Column{
		{Name: "dbid", Doc: "OID of the database", Kind: Key, Type: Int, Expr: By{107: "dbid"}},
		{Name: "userid", Doc: "OID of the user", Kind: Key, Type: Int, Expr: By{107: "userid"}},
		{Name: "queryid", Doc: "hash of the normalised statement; NULL when it is another user's and we may not see it", Kind: Key, Type: Int, Expr: By{107: "queryid"}},
		{Name: "toplevel", Doc: "whether it was executed as a top-level statement (1.9 and later, else true)", Kind: Key, Type: Bool, Expr: By{107: "true", 109: "toplevel"}},
		{Name: "stats_since", Kind: Reset, Type: Time, Expr: By{111: "stats_since"}},
		{Name: "calls", Doc: "executions", Kind: Counter, Type: Int, Unit: Calls, Agg: Sum, Expr: By{107: "calls"}},
		{Name: "total_exec_time", Doc: "time spent executing", Kind: Counter, Type: Float, Unit: Ms, Agg: Sum, Expr: By{107: "total_time", 108: "total_exec_time"}},
		{Name: "rows", Doc: "rows retrieved or affected", Kind: Counter, Type: Int, Unit: Rows, Agg: Sum, Expr: By{107: "rows"}},
		{Name: "plans", Doc: "plannings (pg_stat_statements.track_planning)", Kind: Counter, Type: Int, Unit: Count, Agg: Sum, Expr: By{108: "plans"}},
		{Name: "total_plan_time", Doc: "time spent planning (pg_stat_statements.track_planning)", Kind: Counter, Type: Float, Unit: Ms, Agg: Sum, Expr: By{108: "total_plan_time"}},
		{Name: "shared_blks_hit", Doc: "shared blocks found in the buffer cache", Kind: Counter, Type: Int, Unit: Blocks, Agg: Sum, Expr: By{107: "shared_blks_hit"}},
		{Name: "shared_blks_read", Doc: "shared blocks read from below the buffer cache", Kind: Counter, Type: Int, Unit: Blocks, Agg: Sum, Expr: By{107: "shared_blks_read"}},
		{Name: "shared_blks_dirtied", Doc: "shared blocks dirtied", Kind: Counter, Type: Int, Unit: Blocks, Agg: Sum, Expr: By{107: "shared_blks_dirtied"}},
		{Name: "shared_blks_written", Doc: "shared blocks written", Kind: Counter, Type: Int, Unit: Blocks, Agg: Sum, Expr: By{107: "shared_blks_written"}},
		{Name: "local_blks_hit", Doc: "blocks of temporary tables found in the local buffers", Kind: Counter, Type: Int, Unit: Blocks, Agg: Sum, Expr: By{107: "local_blks_hit"}},
		{Name: "local_blks_read", Doc: "blocks of temporary tables read", Kind: Counter, Type: Int, Unit: Blocks, Agg: Sum, Expr: By{107: "local_blks_read"}},
		{Name: "local_blks_dirtied", Doc: "blocks of temporary tables dirtied", Kind: Counter, Type: Int, Unit: Blocks, Agg: Sum, Expr: By{107: "local_blks_dirtied"}},
		{Name: "local_blks_written", Doc: "blocks of temporary tables written", Kind: Counter, Type: Int, Unit: Blocks, Agg: Sum, Expr: By{107: "local_blks_written"}},
		{Name: "temp_blks_read", Doc: "blocks of temporary files read", Kind: Counter, Type: Int, Unit: Blocks, Agg: Sum, Expr: By{107: "temp_blks_read"}},
		{Name: "temp_blks_written", Doc: "blocks of temporary files written", Kind: Counter, Type: Int, Unit: Blocks, Agg: Sum, Expr: By{107: "temp_blks_written"}},
		{Name: "shared_blk_read_time", Doc: "time spent reading shared blocks; before 1.11 local ones too (track_io_timing)", Kind: Counter, Type: Float, Unit: Ms, Agg: Sum, Expr: By{107: "blk_read_time", 111: "shared_blk_read_time"}},
		{Name: "shared_blk_write_time", Doc: "time spent writing shared blocks; before 1.11 local ones too (track_io_timing)", Kind: Counter, Type: Float, Unit: Ms, Agg: Sum, Expr: By{107: "blk_write_time", 111: "shared_blk_write_time"}},
		{Name: "local_blk_read_time", Doc: "time spent reading blocks of temporary tables (track_io_timing)", Kind: Counter, Type: Float, Unit: Ms, Agg: Sum, Expr: By{111: "local_blk_read_time"}},
		{Name: "local_blk_write_time", Doc: "time spent writing blocks of temporary tables (track_io_timing)", Kind: Counter, Type: Float, Unit: Ms, Agg: Sum, Expr: By{111: "local_blk_write_time"}},
		{Name: "temp_blk_read_time", Doc: "time spent reading blocks of temporary files (track_io_timing)", Kind: Counter, Type: Float, Unit: Ms, Agg: Sum, Expr: By{110: "temp_blk_read_time"}},
		{Name: "temp_blk_write_time", Doc: "time spent writing blocks of temporary files (track_io_timing)", Kind: Counter, Type: Float, Unit: Ms, Agg: Sum, Expr: By{110: "temp_blk_write_time"}},
		{Name: "wal_records", Doc: "WAL records generated", Kind: Counter, Type: Int, Unit: Count, Agg: Sum, Expr: By{108: "wal_records"}},
		{Name: "wal_fpi", Doc: "WAL full page images generated", Kind: Counter, Type: Int, Unit: Count, Agg: Sum, Expr: By{108: "wal_fpi"}},
		{Name: "wal_bytes", Doc: "WAL generated", Kind: Counter, Type: Int, Unit: Bytes, Agg: Sum, Expr: By{108: "wal_bytes"}},
		{Name: "wal_buffers_full", Doc: "times the WAL buffers became full", Kind: Counter, Type: Int, Unit: Count, Agg: Sum, Expr: By{112: "wal_buffers_full"}},
		{Name: "jit_functions", Doc: "functions compiled by JIT", Kind: Counter, Type: Int, Unit: Count, Agg: Sum, Expr: By{110: "jit_functions"}},
		{Name: "parallel_workers_to_launch", Doc: "parallel workers planned", Kind: Counter, Type: Int, Unit: Count, Agg: Sum, Expr: By{112: "parallel_workers_to_launch"}},
		{Name: "parallel_workers_launched", Doc: "parallel workers launched", Kind: Counter, Type: Int, Unit: Count, Agg: Sum, Expr: By{112: "parallel_workers_launched"}},
	},
})

var _ = add(Family{
	Name:  "statement_texts",
	Doc:   "Normalised texts of statements, from pg_stat_statements; read for statements not known yet, stored once per fleet. Passwords are masked by the collector; texts are cut at 16,384 characters.",
	Scope: Instance, Shape: Dictionary, Lane: Slow, Apart: true, Every: 5 * time.Minute,
	Of:      "pg_stat_statements",
	From:    By{107: "{ext}.pg_stat_statements(true)"},
	Where:   By{107: "queryid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int8[])"},
	TextsOf: "statements",
	Columns: []Column{
		{Name: "queryid", Doc: "hash of the normalised statement", Kind: Key, Type: Int, Expr: By{107: "queryid"}},
		{Name: "query", Doc: "normalised text", Kind: Gauge, Type: Text, Agg: Last, Redact: true, Expr: By{107: "pg_catalog.left(query, 16384)"}},
	},
})
