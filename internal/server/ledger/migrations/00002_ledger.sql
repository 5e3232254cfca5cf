-- +goose Up
CREATE TABLE ledger_family (
    id   smallint PRIMARY KEY,
    name text NOT NULL UNIQUE
);

CREATE TABLE ledger_schedule (
    instance_id  bigint NOT NULL,
    database     text NOT NULL,
    family       text NOT NULL,
    valid_from   timestamptz NOT NULL,
    valid_to     timestamptz,
    lane         text NOT NULL,
    every_us     bigint NOT NULL,
    reason       text NOT NULL,
    limited      text NOT NULL,
    detail       text NOT NULL,
    remedy       text NOT NULL,
    absent       text[] NOT NULL,
    collector_id uuid NOT NULL,
    announced    timestamptz NOT NULL,
    PRIMARY KEY (instance_id, database, family, valid_from)
);
CREATE INDEX ON ledger_schedule (instance_id, family, valid_from);

-- Here a new database gets its layout, for good (store.FindLayout): all tables that are cut by time
-- follow this one.
-- +goose StatementBegin
DO $$
DECLARE
	timescale boolean := coalesce((SELECT string_to_array(substring(extversion FROM '^[0-9]+[.][0-9]+'), '.')::int[] >= '{2,18}' FROM pg_extension WHERE extname = 'timescaledb'), false);
BEGIN
	EXECUTE 'CREATE TABLE ledger (
    time        timestamptz NOT NULL,
    instance_id bigint NOT NULL,
    lane        text NOT NULL,
    database    text NOT NULL,
    families    smallint[] NOT NULL,
    at_ms       integer[] NOT NULL,
    since_ms    integer[] NOT NULL
)' || CASE WHEN timescale THEN '' ELSE ' PARTITION BY RANGE (time)' END;
	IF timescale THEN
		PERFORM create_hypertable('ledger', by_range('time', interval '1 day'), create_default_indexes => false);
	END IF;
END $$;
-- +goose StatementEnd
CREATE INDEX ON ledger (instance_id, time);

CREATE TABLE ledger_exception (
    instance_id bigint NOT NULL,
    first       timestamptz NOT NULL,
    last        timestamptz NOT NULL,
    n           bigint NOT NULL,
    every_us    bigint NOT NULL,
    lane        text NOT NULL,
    database    text NOT NULL,
    family      text NOT NULL,
    outcome     text NOT NULL,
    reason      text NOT NULL,
    detail      text NOT NULL
);
CREATE INDEX ON ledger_exception (instance_id, last);
CREATE INDEX ON ledger_exception (last);

CREATE TABLE ledger_unknown (
    instance_id bigint NOT NULL,
    name        text NOT NULL,
    first       timestamptz NOT NULL,
    PRIMARY KEY (instance_id, name)
);

CREATE VIEW metrics AS
    SELECT time, instance_id, lane, database, families, at_ms, since_ms FROM ledger;
COMMENT ON VIEW metrics IS 'One row for each stored tick of an (instance, database, lane).';

-- +goose Down
DROP VIEW metrics;
DROP TABLE ledger_unknown, ledger_exception, ledger, ledger_schedule, ledger_family;
