CREATE TABLE "statement_texts_text" (
    "hash" uuid NOT NULL,
    "text" text NOT NULL,
    PRIMARY KEY ("hash")
);

CREATE TABLE "statement_texts_raw" (
    "instance_id" bigint NOT NULL,
    "queryid" bigint NOT NULL,
    "hash" uuid NOT NULL,
    "time" timestamptz NOT NULL,
    PRIMARY KEY ("instance_id", "queryid")
);

CREATE OR REPLACE VIEW "statement_texts" AS SELECT
    r.time AS "time",
    i.name AS "instance",
    r.instance_id AS "instance_id",
    r."queryid" AS "queryid",
    t.text AS "query"
FROM "statement_texts_raw" r JOIN fleet_instance i ON i.id = r.instance_id JOIN "statement_texts_text" t USING (hash);

COMMENT ON VIEW "statement_texts" IS 'Normalised texts of statements, from pg_stat_statements; read for statements not known yet, stored once per fleet. Passwords are masked by the collector; texts are cut at 16,384 characters. [00988ff5c1d6]';

COMMENT ON COLUMN "statement_texts"."time" IS 'planned time of the reading';

COMMENT ON COLUMN "statement_texts"."instance" IS 'name of the instance';

COMMENT ON COLUMN "statement_texts"."instance_id" IS 'id of the instance';

COMMENT ON COLUMN "statement_texts"."queryid" IS 'hash of the normalised statement';

COMMENT ON COLUMN "statement_texts"."query" IS 'normalised text';
