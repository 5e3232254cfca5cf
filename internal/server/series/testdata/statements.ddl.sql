CREATE TABLE "statements_raw" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "dbid" bigint,
    "userid" bigint,
    "queryid" bigint,
    "toplevel" boolean,
    "calls" bigint,
    "total_exec_time" bigint,
    "rows" bigint,
    "plans" bigint,
    "total_plan_time" bigint,
    "shared_blks_hit" bigint,
    "shared_blks_read" bigint,
    "shared_blks_dirtied" bigint,
    "shared_blks_written" bigint,
    "local_blks_hit" bigint,
    "local_blks_read" bigint,
    "local_blks_dirtied" bigint,
    "local_blks_written" bigint,
    "temp_blks_read" bigint,
    "temp_blks_written" bigint,
    "shared_blk_read_time" bigint,
    "shared_blk_write_time" bigint,
    "local_blk_read_time" bigint,
    "local_blk_write_time" bigint,
    "temp_blk_read_time" bigint,
    "temp_blk_write_time" bigint,
    "wal_records" bigint,
    "wal_fpi" bigint,
    "wal_bytes" bigint,
    "wal_buffers_full" bigint,
    "jit_functions" bigint,
    "parallel_workers_to_launch" bigint,
    "parallel_workers_launched" bigint
) PARTITION BY RANGE (time);

CREATE INDEX ON "statements_raw" ("instance_id", "time");

CREATE TABLE "statements_sum" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "kind" smallint NOT NULL,
    "since" timestamptz NOT NULL,
    "at" timestamptz NOT NULL,
    "dbid" bigint,
    "userid" bigint,
    "calls" bigint,
    "total_exec_time" bigint,
    "rows" bigint,
    "plans" bigint,
    "total_plan_time" bigint,
    "shared_blks_hit" bigint,
    "shared_blks_read" bigint,
    "shared_blks_dirtied" bigint,
    "shared_blks_written" bigint,
    "local_blks_hit" bigint,
    "local_blks_read" bigint,
    "local_blks_dirtied" bigint,
    "local_blks_written" bigint,
    "temp_blks_read" bigint,
    "temp_blks_written" bigint,
    "shared_blk_read_time" bigint,
    "shared_blk_write_time" bigint,
    "local_blk_read_time" bigint,
    "local_blk_write_time" bigint,
    "temp_blk_read_time" bigint,
    "temp_blk_write_time" bigint,
    "wal_records" bigint,
    "wal_fpi" bigint,
    "wal_bytes" bigint,
    "wal_buffers_full" bigint,
    "jit_functions" bigint,
    "parallel_workers_to_launch" bigint,
    "parallel_workers_launched" bigint
) PARTITION BY RANGE (time);

CREATE INDEX ON "statements_sum" ("instance_id", "time");

CREATE TABLE "statements_total" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "total_exec_time" bigint,
    "calls" bigint
) PARTITION BY RANGE (time);

CREATE INDEX ON "statements_total" ("instance_id", "time");

CREATE OR REPLACE VIEW "statements" AS SELECT
    r.time AS "time",
    i.name AS "instance",
    r.instance_id AS "instance_id",
    r."dbid" AS "dbid",
    r."userid" AS "userid",
    r."queryid" AS "queryid",
    r."toplevel" AS "toplevel",
    CASE WHEN r."calls" IS NULL AND NOT coalesce('calls' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."calls" END AS "calls",
    (CASE WHEN r."total_exec_time" IS NULL AND NOT coalesce('total_exec_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."total_exec_time" END)::double precision / 1000 AS "total_exec_time",
    CASE WHEN r."rows" IS NULL AND NOT coalesce('rows' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."rows" END AS "rows",
    CASE WHEN r."plans" IS NULL AND NOT coalesce('plans' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."plans" END AS "plans",
    (CASE WHEN r."total_plan_time" IS NULL AND NOT coalesce('total_plan_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."total_plan_time" END)::double precision / 1000 AS "total_plan_time",
    CASE WHEN r."shared_blks_hit" IS NULL AND NOT coalesce('shared_blks_hit' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."shared_blks_hit" END AS "shared_blks_hit",
    CASE WHEN r."shared_blks_read" IS NULL AND NOT coalesce('shared_blks_read' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."shared_blks_read" END AS "shared_blks_read",
    CASE WHEN r."shared_blks_dirtied" IS NULL AND NOT coalesce('shared_blks_dirtied' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."shared_blks_dirtied" END AS "shared_blks_dirtied",
    CASE WHEN r."shared_blks_written" IS NULL AND NOT coalesce('shared_blks_written' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."shared_blks_written" END AS "shared_blks_written",
    CASE WHEN r."local_blks_hit" IS NULL AND NOT coalesce('local_blks_hit' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."local_blks_hit" END AS "local_blks_hit",
    CASE WHEN r."local_blks_read" IS NULL AND NOT coalesce('local_blks_read' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."local_blks_read" END AS "local_blks_read",
    CASE WHEN r."local_blks_dirtied" IS NULL AND NOT coalesce('local_blks_dirtied' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."local_blks_dirtied" END AS "local_blks_dirtied",
    CASE WHEN r."local_blks_written" IS NULL AND NOT coalesce('local_blks_written' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."local_blks_written" END AS "local_blks_written",
    CASE WHEN r."temp_blks_read" IS NULL AND NOT coalesce('temp_blks_read' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."temp_blks_read" END AS "temp_blks_read",
    CASE WHEN r."temp_blks_written" IS NULL AND NOT coalesce('temp_blks_written' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."temp_blks_written" END AS "temp_blks_written",
    (CASE WHEN r."shared_blk_read_time" IS NULL AND NOT coalesce('shared_blk_read_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."shared_blk_read_time" END)::double precision / 1000 AS "shared_blk_read_time",
    (CASE WHEN r."shared_blk_write_time" IS NULL AND NOT coalesce('shared_blk_write_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."shared_blk_write_time" END)::double precision / 1000 AS "shared_blk_write_time",
    (CASE WHEN r."local_blk_read_time" IS NULL AND NOT coalesce('local_blk_read_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."local_blk_read_time" END)::double precision / 1000 AS "local_blk_read_time",
    (CASE WHEN r."local_blk_write_time" IS NULL AND NOT coalesce('local_blk_write_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."local_blk_write_time" END)::double precision / 1000 AS "local_blk_write_time",
    (CASE WHEN r."temp_blk_read_time" IS NULL AND NOT coalesce('temp_blk_read_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."temp_blk_read_time" END)::double precision / 1000 AS "temp_blk_read_time",
    (CASE WHEN r."temp_blk_write_time" IS NULL AND NOT coalesce('temp_blk_write_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."temp_blk_write_time" END)::double precision / 1000 AS "temp_blk_write_time",
    CASE WHEN r."wal_records" IS NULL AND NOT coalesce('wal_records' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."wal_records" END AS "wal_records",
    CASE WHEN r."wal_fpi" IS NULL AND NOT coalesce('wal_fpi' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."wal_fpi" END AS "wal_fpi",
    CASE WHEN r."wal_bytes" IS NULL AND NOT coalesce('wal_bytes' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."wal_bytes" END AS "wal_bytes",
    CASE WHEN r."wal_buffers_full" IS NULL AND NOT coalesce('wal_buffers_full' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."wal_buffers_full" END AS "wal_buffers_full",
    CASE WHEN r."jit_functions" IS NULL AND NOT coalesce('jit_functions' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."jit_functions" END AS "jit_functions",
    CASE WHEN r."parallel_workers_to_launch" IS NULL AND NOT coalesce('parallel_workers_to_launch' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."parallel_workers_to_launch" END AS "parallel_workers_to_launch",
    CASE WHEN r."parallel_workers_launched" IS NULL AND NOT coalesce('parallel_workers_launched' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'statements' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."parallel_workers_launched" END AS "parallel_workers_launched"
FROM "statements_raw" r JOIN fleet_instance i ON i.id = r.instance_id;

COMMENT ON VIEW "statements" IS 'What each statement did, from pg_stat_statements: one row per (dbid, userid, queryid, toplevel). The statements beyond query_stats_limit are in the sums `cut`. [9e5fa366ff93]';

COMMENT ON COLUMN "statements"."time" IS 'planned time of the reading';

COMMENT ON COLUMN "statements"."instance" IS 'name of the instance';

COMMENT ON COLUMN "statements"."instance_id" IS 'id of the instance';

COMMENT ON COLUMN "statements"."dbid" IS 'OID of the database';

COMMENT ON COLUMN "statements"."userid" IS 'OID of the user';

COMMENT ON COLUMN "statements"."queryid" IS 'hash of the normalised statement; NULL when it is another user''s and we may not see it';

COMMENT ON COLUMN "statements"."toplevel" IS 'whether it was executed as a top-level statement (1.9 and later, else true)';

COMMENT ON COLUMN "statements"."calls" IS 'executions';

COMMENT ON COLUMN "statements"."total_exec_time" IS 'time spent executing, in ms';

COMMENT ON COLUMN "statements"."rows" IS 'rows retrieved or affected';

COMMENT ON COLUMN "statements"."plans" IS 'plannings (pg_stat_statements.track_planning)';

COMMENT ON COLUMN "statements"."total_plan_time" IS 'time spent planning (pg_stat_statements.track_planning), in ms';

COMMENT ON COLUMN "statements"."shared_blks_hit" IS 'shared blocks found in the buffer cache, in blocks';

COMMENT ON COLUMN "statements"."shared_blks_read" IS 'shared blocks read from below the buffer cache, in blocks';

COMMENT ON COLUMN "statements"."shared_blks_dirtied" IS 'shared blocks dirtied, in blocks';

COMMENT ON COLUMN "statements"."shared_blks_written" IS 'shared blocks written, in blocks';

COMMENT ON COLUMN "statements"."local_blks_hit" IS 'blocks of temporary tables found in the local buffers, in blocks';

COMMENT ON COLUMN "statements"."local_blks_read" IS 'blocks of temporary tables read, in blocks';

COMMENT ON COLUMN "statements"."local_blks_dirtied" IS 'blocks of temporary tables dirtied, in blocks';

COMMENT ON COLUMN "statements"."local_blks_written" IS 'blocks of temporary tables written, in blocks';

COMMENT ON COLUMN "statements"."temp_blks_read" IS 'blocks of temporary files read, in blocks';

COMMENT ON COLUMN "statements"."temp_blks_written" IS 'blocks of temporary files written, in blocks';

COMMENT ON COLUMN "statements"."shared_blk_read_time" IS 'time spent reading shared blocks; before 1.11 local ones too (track_io_timing), in ms';

COMMENT ON COLUMN "statements"."shared_blk_write_time" IS 'time spent writing shared blocks; before 1.11 local ones too (track_io_timing), in ms';

COMMENT ON COLUMN "statements"."local_blk_read_time" IS 'time spent reading blocks of temporary tables (track_io_timing), in ms';

COMMENT ON COLUMN "statements"."local_blk_write_time" IS 'time spent writing blocks of temporary tables (track_io_timing), in ms';

COMMENT ON COLUMN "statements"."temp_blk_read_time" IS 'time spent reading blocks of temporary files (track_io_timing), in ms';

COMMENT ON COLUMN "statements"."temp_blk_write_time" IS 'time spent writing blocks of temporary files (track_io_timing), in ms';

COMMENT ON COLUMN "statements"."wal_records" IS 'WAL records generated';

COMMENT ON COLUMN "statements"."wal_fpi" IS 'WAL full page images generated';

COMMENT ON COLUMN "statements"."wal_bytes" IS 'WAL generated, in bytes';

COMMENT ON COLUMN "statements"."wal_buffers_full" IS 'times the WAL buffers became full';

COMMENT ON COLUMN "statements"."jit_functions" IS 'functions compiled by JIT';

COMMENT ON COLUMN "statements"."parallel_workers_to_launch" IS 'parallel workers planned';

COMMENT ON COLUMN "statements"."parallel_workers_launched" IS 'parallel workers launched';
