-- +goose Up
CREATE TABLE series_unobserved (
    instance_id bigint NOT NULL,
    tick        timestamptz NOT NULL,
    family      text NOT NULL,
    database    text NOT NULL,
    reason      text NOT NULL,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    detail      text NOT NULL,
    upper       jsonb
);
CREATE INDEX ON series_unobserved (instance_id, tick);
CREATE INDEX ON series_unobserved (tick);

-- +goose Down
DROP TABLE series_unobserved;
