// Package series stores what was measured. Its tables follow from the catalog
// and are reconciled at start: created, widened, never dropped. For a family f:
//
//	f_raw, shape Sample (and Event):
//	    (time timestamptz, instance_id bigint, keys…, counters…, gauges…) in the catalog's order,
//	    in wire units (Ms: bigint µs). time is the planned tick; since and at are the ledger's.
//	    A counter is the delta of that frame, NULL when it is 0 (or when the server has no such
//	    value: ledger_schedule.absent). No row at a stored tick: counters 0, gauges as before (look
//	    back at most 1 h); Full families: absent. All gauges NULL: the row vanished. Label and
//	    Reset columns are not here. Daily partitions f_raw_pYYYYMMDD (UTC), btree (instance_id, time).
//
//	f_label, for families with Label columns:
//	    (instance_id, keys…, valid_from, labels…), primary key up to valid_from. A name holds
//	    from valid_from until the next row of the same keys.
//
//	f_sum, for Samples with counters:
//	    (time, instance_id, kind smallint, since timestamptz, at timestamptz, keys of Sums…,
//	    counters…). kind 1 = cut (beyond the top N of a stored tick), 2 = dropped (of ticks that
//	    were not stored: spool full or refused; time is the last of them). NULL is 0. Daily
//	    partitions.
//
//	f_total, for families with a Cut: (time, instance_id, the counters that it is cut by): their
//	    sums over f_raw's rows of a tick; no row for a tick without rows. Daily partitions.
//
//	f_raw, shape State: (time, instance_id, keys…, values…), not partitioned. A row holds from time
//	    until the next of the same keys; all values NULL: gone. The same row may be stored
//	    again (a collector that lost its state): compare with lag() to find changes.
//
//	f_text and f_raw, shape Dictionary: f_text (hash uuid, text), texts once per fleet;
//	    f_raw (instance_id, keys…, hash, time), primary key up to hash: the newest text.
//
//	view f: time, instance (its name), instance_id, keys, labels, counters, gauges in documented
//	    names and units (Ms: double precision ms; counters 0 instead of NULL unless absent).
//	    Dictionary: instance, instance_id, keys, the text under its column's name, time.
//
//	series_unobserved (instance_id, tick, family, database, reason, since, until, detail, upper jsonb)
//	    What the servers themselves forgot: beside every total. upper is {column: wire units} or
//	    NULL. reason collector_change has family '': all families of the instance.
//
// Where the database has TimescaleDB, what has daily partitions here is a hypertable with chunks of a
// day instead: the same columns and indexes, segments by instance_id ordered by (keys, time DESC).
//
// Types: Int bigint, Float double precision, Text text, Time timestamptz, Bool boolean.
package series

import "embed"

// Migrations are the package's hand-written tables, for store.Migrate.
//
//go:embed migrations/*.sql
var Migrations embed.FS
