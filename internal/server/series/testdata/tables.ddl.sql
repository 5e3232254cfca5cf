CREATE TABLE "tables_raw" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "datid" bigint,
    "relid" bigint,
    "seq_scan" bigint,
    "seq_tup_read" bigint,
    "idx_scan" bigint,
    "idx_tup_fetch" bigint,
    "n_tup_ins" bigint,
    "n_tup_upd" bigint,
    "n_tup_del" bigint,
    "n_tup_hot_upd" bigint,
    "n_tup_newpage_upd" bigint,
    "heap_blks_read" bigint,
    "heap_blks_hit" bigint,
    "vacuum_count" bigint,
    "autovacuum_count" bigint,
    "analyze_count" bigint,
    "autoanalyze_count" bigint,
    "total_vacuum_time" bigint,
    "total_autovacuum_time" bigint,
    "n_live_tup" bigint,
    "n_dead_tup" bigint,
    "n_mod_since_analyze" bigint,
    "n_ins_since_vacuum" bigint,
    "last_vacuum" timestamptz,
    "last_autovacuum" timestamptz,
    "last_analyze" timestamptz,
    "last_autoanalyze" timestamptz
) PARTITION BY RANGE (time);

CREATE INDEX ON "tables_raw" ("instance_id", "time");

CREATE TABLE "tables_label" (
    "instance_id" bigint NOT NULL,
    "datid" bigint NOT NULL,
    "relid" bigint NOT NULL,
    "valid_from" timestamptz NOT NULL,
    "schemaname" text,
    "relname" text,
    PRIMARY KEY ("instance_id", "datid", "relid", "valid_from")
);

CREATE TABLE "tables_sum" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "kind" smallint NOT NULL,
    "since" timestamptz NOT NULL,
    "at" timestamptz NOT NULL,
    "datid" bigint,
    "seq_scan" bigint,
    "seq_tup_read" bigint,
    "idx_scan" bigint,
    "idx_tup_fetch" bigint,
    "n_tup_ins" bigint,
    "n_tup_upd" bigint,
    "n_tup_del" bigint,
    "n_tup_hot_upd" bigint,
    "n_tup_newpage_upd" bigint,
    "heap_blks_read" bigint,
    "heap_blks_hit" bigint,
    "vacuum_count" bigint,
    "autovacuum_count" bigint,
    "analyze_count" bigint,
    "autoanalyze_count" bigint,
    "total_vacuum_time" bigint,
    "total_autovacuum_time" bigint
) PARTITION BY RANGE (time);

CREATE INDEX ON "tables_sum" ("instance_id", "time");

CREATE OR REPLACE VIEW "tables" AS SELECT
    r.time AS "time",
    i.name AS "instance",
    r.instance_id AS "instance_id",
    r."datid" AS "datid",
    r."relid" AS "relid",
    (SELECT l."schemaname" FROM "tables_label" l WHERE l.instance_id = r.instance_id AND l."datid" = r."datid" AND l."relid" = r."relid" AND l.valid_from <= r.time ORDER BY l.valid_from DESC LIMIT 1) AS "schemaname",
    (SELECT l."relname" FROM "tables_label" l WHERE l.instance_id = r.instance_id AND l."datid" = r."datid" AND l."relid" = r."relid" AND l.valid_from <= r.time ORDER BY l.valid_from DESC LIMIT 1) AS "relname",
    CASE WHEN r."seq_scan" IS NULL AND NOT coalesce('seq_scan' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."seq_scan" END AS "seq_scan",
    CASE WHEN r."seq_tup_read" IS NULL AND NOT coalesce('seq_tup_read' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."seq_tup_read" END AS "seq_tup_read",
    CASE WHEN r."idx_scan" IS NULL AND NOT coalesce('idx_scan' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."idx_scan" END AS "idx_scan",
    CASE WHEN r."idx_tup_fetch" IS NULL AND NOT coalesce('idx_tup_fetch' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."idx_tup_fetch" END AS "idx_tup_fetch",
    CASE WHEN r."n_tup_ins" IS NULL AND NOT coalesce('n_tup_ins' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."n_tup_ins" END AS "n_tup_ins",
    CASE WHEN r."n_tup_upd" IS NULL AND NOT coalesce('n_tup_upd' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."n_tup_upd" END AS "n_tup_upd",
    CASE WHEN r."n_tup_del" IS NULL AND NOT coalesce('n_tup_del' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."n_tup_del" END AS "n_tup_del",
    CASE WHEN r."n_tup_hot_upd" IS NULL AND NOT coalesce('n_tup_hot_upd' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."n_tup_hot_upd" END AS "n_tup_hot_upd",
    CASE WHEN r."n_tup_newpage_upd" IS NULL AND NOT coalesce('n_tup_newpage_upd' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."n_tup_newpage_upd" END AS "n_tup_newpage_upd",
    CASE WHEN r."heap_blks_read" IS NULL AND NOT coalesce('heap_blks_read' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."heap_blks_read" END AS "heap_blks_read",
    CASE WHEN r."heap_blks_hit" IS NULL AND NOT coalesce('heap_blks_hit' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."heap_blks_hit" END AS "heap_blks_hit",
    CASE WHEN r."vacuum_count" IS NULL AND NOT coalesce('vacuum_count' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."vacuum_count" END AS "vacuum_count",
    CASE WHEN r."autovacuum_count" IS NULL AND NOT coalesce('autovacuum_count' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."autovacuum_count" END AS "autovacuum_count",
    CASE WHEN r."analyze_count" IS NULL AND NOT coalesce('analyze_count' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."analyze_count" END AS "analyze_count",
    CASE WHEN r."autoanalyze_count" IS NULL AND NOT coalesce('autoanalyze_count' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."autoanalyze_count" END AS "autoanalyze_count",
    (CASE WHEN r."total_vacuum_time" IS NULL AND NOT coalesce('total_vacuum_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."total_vacuum_time" END)::double precision / 1000 AS "total_vacuum_time",
    (CASE WHEN r."total_autovacuum_time" IS NULL AND NOT coalesce('total_autovacuum_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'tables' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."total_autovacuum_time" END)::double precision / 1000 AS "total_autovacuum_time",
    r."n_live_tup" AS "n_live_tup",
    r."n_dead_tup" AS "n_dead_tup",
    r."n_mod_since_analyze" AS "n_mod_since_analyze",
    r."n_ins_since_vacuum" AS "n_ins_since_vacuum",
    r."last_vacuum" AS "last_vacuum",
    r."last_autovacuum" AS "last_autovacuum",
    r."last_analyze" AS "last_analyze",
    r."last_autoanalyze" AS "last_autoanalyze"
FROM "tables_raw" r JOIN fleet_instance i ON i.id = r.instance_id;

COMMENT ON VIEW "tables" IS 'Accesses to each user table of each database, from pg_stat_user_tables and the block counters of pg_statio_user_tables. Partitioned parents have no counters of their own. [dbae96c7f5fb]';

COMMENT ON COLUMN "tables"."time" IS 'planned time of the reading';

COMMENT ON COLUMN "tables"."instance" IS 'name of the instance';

COMMENT ON COLUMN "tables"."instance_id" IS 'id of the instance';

COMMENT ON COLUMN "tables"."datid" IS 'OID of the database';

COMMENT ON COLUMN "tables"."relid" IS 'OID of the table';

COMMENT ON COLUMN "tables"."schemaname" IS 'schema of the table';

COMMENT ON COLUMN "tables"."relname" IS 'name of the table';

COMMENT ON COLUMN "tables"."seq_scan" IS 'sequential scans';

COMMENT ON COLUMN "tables"."seq_tup_read" IS 'live rows fetched by sequential scans';

COMMENT ON COLUMN "tables"."idx_scan" IS 'index scans';

COMMENT ON COLUMN "tables"."idx_tup_fetch" IS 'live rows fetched by index scans';

COMMENT ON COLUMN "tables"."n_tup_ins" IS 'rows inserted';

COMMENT ON COLUMN "tables"."n_tup_upd" IS 'rows updated';

COMMENT ON COLUMN "tables"."n_tup_del" IS 'rows deleted';

COMMENT ON COLUMN "tables"."n_tup_hot_upd" IS 'rows updated without a new index entry';

COMMENT ON COLUMN "tables"."n_tup_newpage_upd" IS 'rows updated to a new page';

COMMENT ON COLUMN "tables"."heap_blks_read" IS 'blocks of the table read from below the buffer cache, in blocks';

COMMENT ON COLUMN "tables"."heap_blks_hit" IS 'blocks of the table found in the buffer cache, in blocks';

COMMENT ON COLUMN "tables"."vacuum_count" IS 'manual vacuums';

COMMENT ON COLUMN "tables"."autovacuum_count" IS 'vacuums by autovacuum';

COMMENT ON COLUMN "tables"."analyze_count" IS 'manual analyzes';

COMMENT ON COLUMN "tables"."autoanalyze_count" IS 'analyzes by autovacuum';

COMMENT ON COLUMN "tables"."total_vacuum_time" IS 'time spent in manual vacuums, in ms';

COMMENT ON COLUMN "tables"."total_autovacuum_time" IS 'time spent in vacuums by autovacuum, in ms';

COMMENT ON COLUMN "tables"."n_live_tup" IS 'estimated live rows';

COMMENT ON COLUMN "tables"."n_dead_tup" IS 'estimated dead rows';

COMMENT ON COLUMN "tables"."n_mod_since_analyze" IS 'estimated rows modified since the last analyze';

COMMENT ON COLUMN "tables"."n_ins_since_vacuum" IS 'estimated rows inserted since the last vacuum';

COMMENT ON COLUMN "tables"."last_vacuum" IS 'last manual vacuum';

COMMENT ON COLUMN "tables"."last_autovacuum" IS 'last vacuum by autovacuum';

COMMENT ON COLUMN "tables"."last_analyze" IS 'last manual analyze';

COMMENT ON COLUMN "tables"."last_autoanalyze" IS 'last analyze by autovacuum';
