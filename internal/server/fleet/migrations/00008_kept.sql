-- From when on a collector may still bring something: a tick before that which has no outcome is
-- missing, however often the collector pushes. A table of its own, so that readers may see it.

-- +goose Up
CREATE TABLE fleet_kept (
    collector_id uuid PRIMARY KEY REFERENCES fleet_collector,
    since        timestamptz NOT NULL
) WITH (fillfactor = 50);

-- +goose Down
DROP TABLE fleet_kept;
