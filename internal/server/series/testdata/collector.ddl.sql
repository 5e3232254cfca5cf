CREATE TABLE "collector_raw" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "cpu_time" bigint,
    "busy_time" bigint,
    "memory" bigint,
    "memory_peak" bigint,
    "cycle_time" bigint,
    "workers" bigint,
    "overflow" bigint,
    "instances" bigint,
    "spool_bytes" bigint,
    "spool_max_bytes" bigint,
    "spool_batches" bigint,
    "spool_oldest_age" double precision,
    "rounds" bigint,
    "round_time" bigint,
    "round_trips" bigint,
    "server_time" bigint,
    "connects" bigint,
    "connect_time" bigint,
    "acquires" bigint,
    "acquire_time" bigint,
    "pool_open" bigint,
    "pool_busy" bigint,
    "pool_max" bigint
) PARTITION BY RANGE (time);

CREATE INDEX ON "collector_raw" ("instance_id", "time");

CREATE TABLE "collector_sum" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "kind" smallint NOT NULL,
    "since" timestamptz NOT NULL,
    "at" timestamptz NOT NULL,
    "cpu_time" bigint,
    "busy_time" bigint,
    "rounds" bigint,
    "round_time" bigint,
    "round_trips" bigint,
    "server_time" bigint,
    "connects" bigint,
    "connect_time" bigint,
    "acquires" bigint,
    "acquire_time" bigint
) PARTITION BY RANGE (time);

CREATE INDEX ON "collector_sum" ("instance_id", "time");

CREATE OR REPLACE VIEW "collector" AS SELECT
    r.time AS "time",
    i.name AS "instance",
    r.instance_id AS "instance_id",
    (CASE WHEN r."cpu_time" IS NULL AND NOT coalesce('cpu_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'collector' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."cpu_time" END)::double precision / 1000 AS "cpu_time",
    (CASE WHEN r."busy_time" IS NULL AND NOT coalesce('busy_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'collector' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."busy_time" END)::double precision / 1000 AS "busy_time",
    r."memory" AS "memory",
    r."memory_peak" AS "memory_peak",
    r."cycle_time"::double precision / 1000 AS "cycle_time",
    r."workers" AS "workers",
    r."overflow" AS "overflow",
    r."instances" AS "instances",
    r."spool_bytes" AS "spool_bytes",
    r."spool_max_bytes" AS "spool_max_bytes",
    r."spool_batches" AS "spool_batches",
    r."spool_oldest_age" AS "spool_oldest_age",
    CASE WHEN r."rounds" IS NULL AND NOT coalesce('rounds' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'collector' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."rounds" END AS "rounds",
    (CASE WHEN r."round_time" IS NULL AND NOT coalesce('round_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'collector' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."round_time" END)::double precision / 1000 AS "round_time",
    CASE WHEN r."round_trips" IS NULL AND NOT coalesce('round_trips' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'collector' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."round_trips" END AS "round_trips",
    (CASE WHEN r."server_time" IS NULL AND NOT coalesce('server_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'collector' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."server_time" END)::double precision / 1000 AS "server_time",
    CASE WHEN r."connects" IS NULL AND NOT coalesce('connects' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'collector' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."connects" END AS "connects",
    (CASE WHEN r."connect_time" IS NULL AND NOT coalesce('connect_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'collector' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."connect_time" END)::double precision / 1000 AS "connect_time",
    CASE WHEN r."acquires" IS NULL AND NOT coalesce('acquires' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'collector' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."acquires" END AS "acquires",
    (CASE WHEN r."acquire_time" IS NULL AND NOT coalesce('acquire_time' = ANY ((SELECT s.absent FROM ledger_schedule s WHERE s.instance_id = r.instance_id AND s.family = 'collector' AND s.valid_from <= r.time ORDER BY s.valid_from DESC LIMIT 1)::text[]), false) THEN 0 ELSE r."acquire_time" END)::double precision / 1000 AS "acquire_time",
    r."pool_open" AS "pool_open",
    r."pool_busy" AS "pool_busy",
    r."pool_max" AS "pool_max"
FROM "collector_raw" r JOIN fleet_instance i ON i.id = r.instance_id;

COMMENT ON VIEW "collector" IS 'The collector itself, at each slow round of an instance: what the whole process uses (the same for all its instances) and what it costs this instance. [2aa2b59ba97b]';

COMMENT ON COLUMN "collector"."time" IS 'planned time of the reading';

COMMENT ON COLUMN "collector"."instance" IS 'name of the instance';

COMMENT ON COLUMN "collector"."instance_id" IS 'id of the instance';

COMMENT ON COLUMN "collector"."cpu_time" IS 'CPU time, user and system, of the whole process (/proc/self/stat), in ms';

COMMENT ON COLUMN "collector"."busy_time" IS 'time of rounds of the whole process, summed over workers, in ms';

COMMENT ON COLUMN "collector"."memory" IS 'resident memory of the process (VmRSS), in bytes';

COMMENT ON COLUMN "collector"."memory_peak" IS 'peak resident memory of the process (VmHWM), in bytes';

COMMENT ON COLUMN "collector"."cycle_time" IS 'longest of (last frame spooled - planned start of the round) among the instances that answered, last complete cycle, in ms';

COMMENT ON COLUMN "collector"."workers" IS 'size of the thread pool';

COMMENT ON COLUMN "collector"."overflow" IS 'rounds in the overflow set, which hold no worker';

COMMENT ON COLUMN "collector"."instances" IS 'instances watched by the process';

COMMENT ON COLUMN "collector"."spool_bytes" IS 'size of the spool on disk, in bytes';

COMMENT ON COLUMN "collector"."spool_max_bytes" IS 'limit of the spool, in bytes';

COMMENT ON COLUMN "collector"."spool_batches" IS 'batches in the spool that are not acknowledged';

COMMENT ON COLUMN "collector"."spool_oldest_age" IS 'age of the oldest of them, in s';

COMMENT ON COLUMN "collector"."rounds" IS 'rounds on this instance';

COMMENT ON COLUMN "collector"."round_time" IS 'time of the rounds on this instance, seen by the collector, in ms';

COMMENT ON COLUMN "collector"."round_trips" IS 'network round trips to this instance';

COMMENT ON COLUMN "collector"."server_time" IS 'own cost: time between the first and the last statement of each round on the watched server''s clock, an upper bound of the CPU time of our backends, in ms';

COMMENT ON COLUMN "collector"."connects" IS 'connections opened to this instance';

COMMENT ON COLUMN "collector"."connect_time" IS 'time spent opening them, in ms';

COMMENT ON COLUMN "collector"."acquires" IS 'pooled connections taken';

COMMENT ON COLUMN "collector"."acquire_time" IS 'time spent waiting for them, in ms';

COMMENT ON COLUMN "collector"."pool_open" IS 'connections open to this instance';

COMMENT ON COLUMN "collector"."pool_busy" IS 'connections at work on this instance';

COMMENT ON COLUMN "collector"."pool_max" IS 'limit of open connections to this instance';
