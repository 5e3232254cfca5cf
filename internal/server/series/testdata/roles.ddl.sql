CREATE TABLE "roles_raw" (
    "time" timestamptz NOT NULL,
    "instance_id" bigint NOT NULL,
    "oid" bigint,
    "rolname" text
);

CREATE INDEX ON "roles_raw" ("instance_id", "oid", "time" DESC);

CREATE OR REPLACE VIEW "roles" AS SELECT
    r.time AS "time",
    i.name AS "instance",
    r.instance_id AS "instance_id",
    r."oid" AS "oid",
    r."rolname" AS "rolname"
FROM "roles_raw" r JOIN fleet_instance i ON i.id = r.instance_id;

COMMENT ON VIEW "roles" IS 'Names of the roles, from pg_roles; stored when they change. Rows of other families hold the OID, so that a renamed role stays one role. [3b9432423ace]';

COMMENT ON COLUMN "roles"."time" IS 'from when on the row holds';

COMMENT ON COLUMN "roles"."instance" IS 'name of the instance';

COMMENT ON COLUMN "roles"."instance_id" IS 'id of the instance';

COMMENT ON COLUMN "roles"."oid" IS 'OID of the role';

COMMENT ON COLUMN "roles"."rolname" IS 'name of the role';
