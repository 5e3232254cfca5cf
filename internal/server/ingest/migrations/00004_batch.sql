-- +goose Up
CREATE TABLE ingest_batch (
    collector  uuid NOT NULL,
    epoch      bigint NOT NULL,
    seq        bigint NOT NULL,
    first_seq  bigint NOT NULL,
    prev_epoch bigint NOT NULL,
    prev_seq   bigint NOT NULL,
    kind       smallint NOT NULL,
    crc        bigint NOT NULL,
    tick       timestamptz NOT NULL,
    received   timestamptz NOT NULL,
    PRIMARY KEY (collector, epoch, seq),
    CHECK (first_seq <= seq)
);
CREATE INDEX ON ingest_batch (collector, tick);

CREATE TABLE ingest_pruned (
    collector uuid NOT NULL,
    epoch     bigint NOT NULL,
    seq       bigint NOT NULL,
    tick      timestamptz NOT NULL,
    PRIMARY KEY (collector, epoch)
);

-- +goose Down
DROP TABLE ingest_pruned, ingest_batch;
