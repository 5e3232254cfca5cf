// Package fleet knows the instances that are watched and the collectors that
// watch them. It owns these tables of the metrics database:
//
//	fleet_collector (id uuid, name, version, hostname, interval_us bigint, token_hash bytea,
//	    registered, last_push, newest_epoch bigint, newest_seq bigint, newest_tick)
//	    One row per collector identity. token_hash is the SHA-256 of its bearer token. last_push is
//	    the backend's clock at the newest push that stored anything; newest_* the newest batch:
//	    the highest seq of an epoch, of several epochs the one with the newest tick (epoch is the
//	    bit pattern of a uint64).
//
//	fleet_kept (collector_id, since)
//	    The oldest tick that the collector may still bring a batch of, to the minute, as it said
//	    with its newest push that stored anything.
//
//	fleet_instance (id bigint, name UNIQUE, collector_id, labels jsonb, interval_us, registered,
//	    first_seen, updated, system_id bigint, incarnation int, version_num int, version,
//	    in_recovery, postmaster_start, max_connections int, role)
//	    id exists from registration. first_seen is the oldest tick with contact; updated the tick
//	    that the columns behind it come from, NULL before first contact. system_id is the bit
//	    pattern of a uint64. collector_id is who holds the name now.
//
//	fleet_holder (instance_id, since, collector_id)
//	    Who held the name from since on (the first one: '-infinity') until the next row. A batch
//	    counts only when its collector held the instance at its tick.
//
//	fleet_state (instance_id, incarnation, postmaster_start, in_recovery, version_num, version,
//	    system_id, since)
//	    A row for each distinct state of the server; since is the oldest tick that saw it. In the
//	    order of since, a changed postmaster_start is a restart, a changed incarnation another
//	    server under the same name, a changed in_recovery a promotion. It does not depend on the
//	    order in which batches arrive.
package fleet

import "embed"

// Migrations are the package's tables, for store.Migrate.
//
//go:embed migrations/*.sql
var Migrations embed.FS
