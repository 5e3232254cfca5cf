CREATE TABLE "activity_raw" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "datname" text,
    "usename" text,
    "application_name" text,
    "backend_type" text,
    "state" text,
    "wait_event_type" text,
    "wait_event" text,
    "sessions" bigint,
    "max_xact_age" double precision,
    "max_query_age" double precision
) PARTITION BY RANGE (time);

CREATE INDEX ON "activity_raw" ("instance_id", "time");

CREATE INDEX ON "activity_raw" ("instance_id", "time") INCLUDE ("wait_event_type", "sessions") WHERE "backend_type" = 'client backend' AND "state" = 'active';

CREATE OR REPLACE VIEW "activity" AS SELECT
    r.time AS "time",
    i.name AS "instance",
    r.instance_id AS "instance_id",
    r."datname" AS "datname",
    r."usename" AS "usename",
    r."application_name" AS "application_name",
    r."backend_type" AS "backend_type",
    r."state" AS "state",
    r."wait_event_type" AS "wait_event_type",
    r."wait_event" AS "wait_event",
    r."sessions" AS "sessions",
    r."max_xact_age" AS "max_xact_age",
    r."max_query_age" AS "max_query_age"
FROM "activity_raw" r JOIN fleet_instance i ON i.id = r.instance_id;

COMMENT ON VIEW "activity" IS 'Sessions and server processes at a moment, grouped by what they are and what they do, from pg_stat_activity. The collector''s own session is left out. [1f0d1e3c456d]';

COMMENT ON COLUMN "activity"."time" IS 'planned time of the reading';

COMMENT ON COLUMN "activity"."instance" IS 'name of the instance';

COMMENT ON COLUMN "activity"."instance_id" IS 'id of the instance';

COMMENT ON COLUMN "activity"."datname" IS 'database, empty for processes without one';

COMMENT ON COLUMN "activity"."usename" IS 'user, empty for processes without one';

COMMENT ON COLUMN "activity"."application_name" IS 'application_name of the session';

COMMENT ON COLUMN "activity"."backend_type" IS 'type of the process';

COMMENT ON COLUMN "activity"."state" IS 'state of the session, empty for other processes and for those that we may not see';

COMMENT ON COLUMN "activity"."wait_event_type" IS 'type of event that is waited for, empty when none is';

COMMENT ON COLUMN "activity"."wait_event" IS 'event that is waited for';

COMMENT ON COLUMN "activity"."sessions" IS 'number of processes';

COMMENT ON COLUMN "activity"."max_xact_age" IS 'age of the oldest transaction, in s';

COMMENT ON COLUMN "activity"."max_query_age" IS 'age of the oldest running statement of an active session, in s';
