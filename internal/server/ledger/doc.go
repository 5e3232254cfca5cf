// Package ledger records what became of every planned tick (invariant I4). It
// owns these tables of the metrics database:
//
//	ledger_schedule (instance_id, database, family, valid_from, valid_to, lane, every_us, reason,
//	    limited, detail, remedy, absent text[], collector_id, announced)
//	    Ticks are planned at valid_from + k x every_us, until valid_to (inclusive) or, when that is
//	    NULL, until just before the next valid_from of a row of the same (instance_id, database,
//	    family) whose valid_to is NULL: found at query time, so the order of arrival does not
//	    matter. Rows with a valid_to may overlap others, where a collector's clock went back; then
//	    the ticks of both are planned (one that both have counts once). A row announced again
//	    takes the earlier valid_to of both. reason
//	    <> '': nothing is planned, and why. limited <> '': planned, but sees less. database is ''
//	    for families of scope instance. absent names columns that are NULL on this server.
//	    announced is the tick of the batch that said so.
//
//	ledger (time, instance_id, lane, database, families smallint[], at_ms int[], since_ms int[])
//	    Stored ticks: time is the planned tick, families the ids (ledger_family) that were stored
//	    at it; at_ms[i] is families[i]'s `at`, in ms after time; since_ms[i] its `since`, in ms
//	    before its `at` (0: the read only set baselines). at_ms and since_ms have one element when
//	    it holds for all families: at_ms[least(i, cardinality(at_ms))]. Several rows may have the
//	    same (instance_id, database, lane, time), from rounds over different databases, never with
//	    the same family. Daily partitions ledger_pYYYYMMDD (UTC), or
//	    a hypertable.
//
//	ledger_exception (instance_id, first, last, n, every_us, lane, database, family, outcome,
//	    reason, detail)
//	    Runs of ticks that were not stored: n ticks, first … last, every_us apart (0 when n = 1).
//	    outcome is failed, skipped or dropped. A tick may be both here and in ledger, or twice here:
//	    it counts once; stored wins, then dropped, failed, skipped.
//
//	ledger_family (id smallint, name)
//	    Ids of families, also of unknown ones that newer collectors named.
//
//	ledger_unknown (instance_id, name, first)
//	    Families and family.columns that this backend does not know and ignored; first is the
//	    oldest tick. Ticks of an unknown family are exceptions dropped(unknown_family).
//
//	view metrics: the rows of ledger.
package ledger

import "embed"

// Migrations are the package's tables, for store.Migrate.
//
//go:embed migrations/*.sql
var Migrations embed.FS
