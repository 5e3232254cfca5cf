-- +goose Up
CREATE TABLE fleet_collector (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    version      text NOT NULL DEFAULT '',
    hostname     text NOT NULL DEFAULT '',
    interval_us  bigint NOT NULL DEFAULT 0,
    token_hash   bytea NOT NULL UNIQUE,
    registered   timestamptz NOT NULL DEFAULT now(),
    last_push    timestamptz,
    newest_epoch bigint,
    newest_seq   bigint,
    newest_tick  timestamptz
) WITH (fillfactor = 50); -- updated at every push

CREATE TABLE fleet_instance (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name             text NOT NULL UNIQUE,
    collector_id     uuid NOT NULL REFERENCES fleet_collector,
    labels           jsonb NOT NULL DEFAULT '{}',
    interval_us      bigint NOT NULL DEFAULT 0,
    registered       timestamptz NOT NULL DEFAULT now(),
    first_seen       timestamptz,
    updated          timestamptz,
    system_id        bigint NOT NULL DEFAULT 0,
    incarnation      integer NOT NULL DEFAULT 0,
    version_num      integer NOT NULL DEFAULT 0,
    version          text NOT NULL DEFAULT '',
    in_recovery      boolean NOT NULL DEFAULT false,
    postmaster_start timestamptz,
    max_connections  integer NOT NULL DEFAULT 0,
    role             text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);
CREATE INDEX ON fleet_instance (collector_id);

CREATE TABLE fleet_holder (
    instance_id  bigint NOT NULL REFERENCES fleet_instance,
    since        timestamptz NOT NULL,
    collector_id uuid NOT NULL REFERENCES fleet_collector,
    PRIMARY KEY (instance_id, since)
);

CREATE TABLE fleet_state (
    instance_id      bigint NOT NULL REFERENCES fleet_instance,
    incarnation      integer NOT NULL,
    postmaster_start timestamptz NOT NULL,
    in_recovery      boolean NOT NULL,
    version_num      integer NOT NULL,
    version          text NOT NULL,
    system_id        bigint NOT NULL,
    since            timestamptz NOT NULL,
    PRIMARY KEY (instance_id, incarnation, postmaster_start, in_recovery, version_num)
);

-- +goose Down
DROP TABLE fleet_state, fleet_holder, fleet_instance, fleet_collector;
