package frame

import (
	"strings"
	"unicode/utf8"
)

// names are those of families and columns that travel as a number, which is most of
// what a small batch would else consist of. The list belongs to formatVersion: a
// number means the same name for ever, so nothing is changed or added here. A name
// that is not in the list (of a later family or column) travels as text, and the
// backends that know neither the name nor a longer list still read the batch.
var names = strings.Fields(`
statements dbid userid queryid toplevel calls total_exec_time rows plans total_plan_time shared_blks_hit
shared_blks_read shared_blks_dirtied shared_blks_written local_blks_hit local_blks_read local_blks_dirtied
local_blks_written temp_blks_read temp_blks_written shared_blk_read_time shared_blk_write_time
local_blk_read_time local_blk_write_time temp_blk_read_time temp_blk_write_time wal_records wal_fpi wal_bytes
wal_buffers_full jit_functions parallel_workers_to_launch parallel_workers_launched tables datid relid
schemaname relname seq_scan seq_tup_read idx_scan idx_tup_fetch n_tup_ins n_tup_upd n_tup_del n_tup_hot_upd
n_tup_newpage_upd heap_blks_read heap_blks_hit vacuum_count autovacuum_count analyze_count autoanalyze_count
total_vacuum_time total_autovacuum_time n_live_tup n_dead_tup n_mod_since_analyze n_ins_since_vacuum
last_vacuum last_autovacuum last_analyze last_autoanalyze database datname numbackends xact_commit
xact_rollback blks_read blks_hit tup_returned tup_fetched tup_inserted tup_updated tup_deleted conflicts
temp_files temp_bytes deadlocks checksum_failures blk_read_time blk_write_time session_time active_time
idle_in_transaction_time sessions sessions_abandoned sessions_fatal sessions_killed wal wal_write wal_sync
wal_write_time wal_sync_time activity usename application_name backend_type state wait_event_type wait_event
max_xact_age max_query_age collector cpu_time busy_time memory memory_peak cycle_time workers overflow
instances spool_bytes spool_max_bytes spool_batches spool_oldest_age rounds round_time round_trips
server_time connects connect_time acquires acquire_time pool_open pool_busy pool_max roles oid rolname
settings name setting unit context pending_restart statement_texts query`)

var nameNumber = func() map[string]uint64 {
	m := make(map[string]uint64, len(names))
	for i, n := range names {
		m[n] = uint64(i + 1)
	}
	return m
}()

// clean makes of any string one that PostgreSQL can hold and a decoder takes: a
// watched database of encoding SQL_ASCII gives bytes that are no UTF-8.
func clean(s string) string {
	if len(s) <= MaxText && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) > MaxText {
		s = strings.ToValidUTF8(s[:MaxText], "")
	}
	return s
}
