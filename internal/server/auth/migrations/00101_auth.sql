-- +goose Up
-- A session of the page. Only the hash of what the cookie holds is kept: who reads
-- the table can't sign in.
CREATE TABLE auth_session (
    hash    bytea       PRIMARY KEY,
    created timestamptz NOT NULL DEFAULT now(),
    expires timestamptz NOT NULL
);
CREATE INDEX ON auth_session (expires);

-- +goose Down
DROP TABLE auth_session;
