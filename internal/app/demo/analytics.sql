SELECT setseed(0.42);

CREATE TABLE events (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL, kind text NOT NULL, customer_id int NOT NULL, payload jsonb NOT NULL);
INSERT INTO events (at, kind, customer_id, payload)
SELECT now() - (50000 - i) * interval '150 milliseconds', (ARRAY['view','view','view','search','cart','checkout'])[1 + i % 6],
       1 + (random() * 19999)::int, jsonb_build_object('page', '/p/' || i % 2000, 'ms', (random() * 900)::int)
FROM generate_series(1, 50000) i;
CREATE INDEX events_at ON events (at);

CREATE TABLE minutes (minute timestamptz NOT NULL, kind text NOT NULL, events bigint NOT NULL, PRIMARY KEY (minute, kind));

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reporting;
