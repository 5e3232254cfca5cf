CREATE TABLE "database_raw" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "datid" bigint,
    "numbackends" bigint,
    "xact_commit" bigint,
    "xact_rollback" bigint,
    "blks_read" bigint,
    "blks_hit" bigint,
    "tup_returned" bigint,
    "tup_fetched" bigint,
    "tup_inserted" bigint,
    "tup_updated" bigint,
    "tup_deleted" bigint,
    "conflicts" bigint,
    "temp_files" bigint,
    "temp_bytes" bigint,
    "deadlocks" bigint,
    "checksum_failures" bigint,
    "blk_read_time" bigint,
    "blk_write_time" bigint,
    "session_time" bigint,
    "active_time" bigint,
    "idle_in_transaction_time" bigint,
    "sessions" bigint,
    "sessions_abandoned" bigint,
    "sessions_fatal" bigint,
    "sessions_killed" bigint,
    "parallel_workers_to_launch" bigint,
    "parallel_workers_launched" bigint
) PARTITION BY RANGE (time);

CREATE INDEX ON "database_raw" ("instance_id", "time");

CREATE TABLE "database_label" (
    "instance_id" bigint NOT NULL,
    "datid" bigint NOT NULL,
    "valid_from" timestamptz NOT NULL,
    "datname" text,
    PRIMARY KEY ("instance_id", "datid", "valid_from")
);

CREATE TABLE "database_sum" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "kind" smallint NOT NULL,
    "since" timestamptz NOT NULL,
    "at" timestamptz NOT NULL,
    "xact_commit" bigint,
    "xact_rollback" bigint,
    "blks_read" bigint,
    "blks_hit" bigint,
    "tup_returned" bigint,
    "tup_fetched" bigint,
    "tup_inserted" bigint,
    "tup_updated" bigint,
    "tup_deleted" bigint,
    "conflicts" bigint,
    "temp_files" bigint,
    "temp_bytes" bigint,
    "deadlocks" bigint,
    "checksum_failures" bigint,
    "blk_read_time" bigint,
    "blk_write_time" bigint,
    "session_time" bigint,
    "active_time" bigint,
    "idle_in_transaction_time" bigint,
    "sessions" bigint,
    "sessions_abandoned" bigint,
    "sessions_fatal" bigint,
    "sessions_killed" bigint,
    "parallel_workers_to_launch" bigint,
    "parallel_workers_launched" bigint
) PARTITION BY RANGE (time);

CREATE INDEX ON "database_sum" ("instance_id", "time");

CREATE OR REPLACE VIEW "database" AS SELECT
    r.time AS "time",
    i.name AS "instance",
    r.instance_id AS "instance_id",
    r."datid" AS "datid",
    (SELECT l."datname" FROM "database_label" l WHERE l.instance_id = r.instance_id AND l."datid" = r."datid" AND l.valid_from <= r.time ORDER BY l.valid_from DESC LIMIT 1) AS "datname",
    r."numbackends" AS "numbackends",
    CASE WHEN r."xact_commit" IS NULL AND NOT coalesce('xact_commit' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."xact_commit" END AS "xact_commit",
    CASE WHEN r."xact_rollback" IS NULL AND NOT coalesce('xact_rollback' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."xact_rollback" END AS "xact_rollback",
    CASE WHEN r."blks_read" IS NULL AND NOT coalesce('blks_read' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."blks_read" END AS "blks_read",
    CASE WHEN r."blks_hit" IS NULL AND NOT coalesce('blks_hit' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."blks_hit" END AS "blks_hit",
    CASE WHEN r."tup_returned" IS NULL AND NOT coalesce('tup_returned' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."tup_returned" END AS "tup_returned",
    CASE WHEN r."tup_fetched" IS NULL AND NOT coalesce('tup_fetched' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."tup_fetched" END AS "tup_fetched",
    CASE WHEN r."tup_inserted" IS NULL AND NOT coalesce('tup_inserted' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."tup_inserted" END AS "tup_inserted",
    CASE WHEN r."tup_updated" IS NULL AND NOT coalesce('tup_updated' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."tup_updated" END AS "tup_updated",
    CASE WHEN r."tup_deleted" IS NULL AND NOT coalesce('tup_deleted' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."tup_deleted" END AS "tup_deleted",
    CASE WHEN r."conflicts" IS NULL AND NOT coalesce('conflicts' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."conflicts" END AS "conflicts",
    CASE WHEN r."temp_files" IS NULL AND NOT coalesce('temp_files' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."temp_files" END AS "temp_files",
    CASE WHEN r."temp_bytes" IS NULL AND NOT coalesce('temp_bytes' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."temp_bytes" END AS "temp_bytes",
    CASE WHEN r."deadlocks" IS NULL AND NOT coalesce('deadlocks' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."deadlocks" END AS "deadlocks",
    CASE WHEN r."checksum_failures" IS NULL AND NOT coalesce('checksum_failures' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."checksum_failures" END AS "checksum_failures",
    (CASE WHEN r."blk_read_time" IS NULL AND NOT coalesce('blk_read_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."blk_read_time" END)::double precision / 1000 AS "blk_read_time",
    (CASE WHEN r."blk_write_time" IS NULL AND NOT coalesce('blk_write_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."blk_write_time" END)::double precision / 1000 AS "blk_write_time",
    (CASE WHEN r."session_time" IS NULL AND NOT coalesce('session_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."session_time" END)::double precision / 1000 AS "session_time",
    (CASE WHEN r."active_time" IS NULL AND NOT coalesce('active_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."active_time" END)::double precision / 1000 AS "active_time",
    (CASE WHEN r."idle_in_transaction_time" IS NULL AND NOT coalesce('idle_in_transaction_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."idle_in_transaction_time" END)::double precision / 1000 AS "idle_in_transaction_time",
    CASE WHEN r."sessions" IS NULL AND NOT coalesce('sessions' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."sessions" END AS "sessions",
    CASE WHEN r."sessions_abandoned" IS NULL AND NOT coalesce('sessions_abandoned' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."sessions_abandoned" END AS "sessions_abandoned",
    CASE WHEN r."sessions_fatal" IS NULL AND NOT coalesce('sessions_fatal' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."sessions_fatal" END AS "sessions_fatal",
    CASE WHEN r."sessions_killed" IS NULL AND NOT coalesce('sessions_killed' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."sessions_killed" END AS "sessions_killed",
    CASE WHEN r."parallel_workers_to_launch" IS NULL AND NOT coalesce('parallel_workers_to_launch' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."parallel_workers_to_launch" END AS "parallel_workers_to_launch",
    CASE WHEN r."parallel_workers_launched" IS NULL AND NOT coalesce('parallel_workers_launched' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'database' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."parallel_workers_launched" END AS "parallel_workers_launched"
FROM "database_raw" r JOIN fleet_instance i ON i.id = r.instance_id;

COMMENT ON VIEW "database" IS 'Activity of each database of an instance, from pg_stat_database. The row with datid 0 counts shared relations. [a3b412fb51cd]';

COMMENT ON COLUMN "database"."time" IS 'planned time of the reading';

COMMENT ON COLUMN "database"."instance" IS 'name of the instance';

COMMENT ON COLUMN "database"."instance_id" IS 'id of the instance';

COMMENT ON COLUMN "database"."datid" IS 'OID of the database';

COMMENT ON COLUMN "database"."datname" IS 'name of the database';

COMMENT ON COLUMN "database"."numbackends" IS 'backends connected';

COMMENT ON COLUMN "database"."xact_commit" IS 'transactions committed';

COMMENT ON COLUMN "database"."xact_rollback" IS 'transactions rolled back';

COMMENT ON COLUMN "database"."blks_read" IS 'blocks read from below the buffer cache, in blocks';

COMMENT ON COLUMN "database"."blks_hit" IS 'blocks found in the buffer cache, in blocks';

COMMENT ON COLUMN "database"."tup_returned" IS 'live rows fetched by sequential scans and index entries returned by index scans';

COMMENT ON COLUMN "database"."tup_fetched" IS 'live rows fetched by index scans';

COMMENT ON COLUMN "database"."tup_inserted" IS 'rows inserted';

COMMENT ON COLUMN "database"."tup_updated" IS 'rows updated';

COMMENT ON COLUMN "database"."tup_deleted" IS 'rows deleted';

COMMENT ON COLUMN "database"."conflicts" IS 'queries cancelled by conflicts with recovery';

COMMENT ON COLUMN "database"."temp_files" IS 'temporary files created by queries';

COMMENT ON COLUMN "database"."temp_bytes" IS 'data written to temporary files by queries, in bytes';

COMMENT ON COLUMN "database"."deadlocks" IS 'deadlocks detected';

COMMENT ON COLUMN "database"."checksum_failures" IS 'data page checksum failures detected';

COMMENT ON COLUMN "database"."blk_read_time" IS 'time spent reading data file blocks (track_io_timing), in ms';

COMMENT ON COLUMN "database"."blk_write_time" IS 'time spent writing data file blocks (track_io_timing), in ms';

COMMENT ON COLUMN "database"."session_time" IS 'time spent by sessions, in ms';

COMMENT ON COLUMN "database"."active_time" IS 'time spent executing statements, in ms';

COMMENT ON COLUMN "database"."idle_in_transaction_time" IS 'time spent idling in transactions, in ms';

COMMENT ON COLUMN "database"."sessions" IS 'sessions established';

COMMENT ON COLUMN "database"."sessions_abandoned" IS 'sessions ended because the client was lost';

COMMENT ON COLUMN "database"."sessions_fatal" IS 'sessions ended by fatal errors';

COMMENT ON COLUMN "database"."sessions_killed" IS 'sessions ended by an operator';

COMMENT ON COLUMN "database"."parallel_workers_to_launch" IS 'parallel workers planned';

COMMENT ON COLUMN "database"."parallel_workers_launched" IS 'parallel workers launched';
