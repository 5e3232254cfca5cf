CREATE TABLE "settings_raw" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "name" text,
    "setting" text,
    "unit" text,
    "context" text,
    "pending_restart" boolean
);

CREATE INDEX ON "settings_raw" ("instance_id", "name", "time" DESC);

CREATE OR REPLACE VIEW "settings" AS SELECT
    r.time AS "time",
    i.name AS "instance",
    r.instance_id AS "instance_id",
    r."name" AS "name",
    r."setting" AS "setting",
    r."unit" AS "unit",
    r."context" AS "context",
    r."pending_restart" AS "pending_restart"
FROM "settings_raw" r JOIN fleet_instance i ON i.id = r.instance_id;

COMMENT ON VIEW "settings" IS 'Configuration in effect for new sessions of the collector''s role, from pg_settings; stored when it changes. The value is reset_val, since our own session sets time limits for itself. [7c1668d0db3e]';

COMMENT ON COLUMN "settings"."time" IS 'from when on the row holds';

COMMENT ON COLUMN "settings"."instance" IS 'name of the instance';

COMMENT ON COLUMN "settings"."instance_id" IS 'id of the instance';

COMMENT ON COLUMN "settings"."name" IS 'name of the setting';

COMMENT ON COLUMN "settings"."setting" IS 'its value, in its unit; passwords in connection strings are masked';

COMMENT ON COLUMN "settings"."unit" IS 'implicit unit of the value';

COMMENT ON COLUMN "settings"."context" IS 'what it takes to change it';

COMMENT ON COLUMN "settings"."pending_restart" IS 'changed in the configuration file but needs a restart';
