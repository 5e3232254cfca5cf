SELECT (COALESCE(datname, ''))::pg_catalog.text AS "datname",
  (COALESCE(usename, ''))::pg_catalog.text AS "usename",
  (COALESCE(application_name, ''))::pg_catalog.text AS "application_name",
  (COALESCE(backend_type, ''))::pg_catalog.text AS "backend_type",
  (COALESCE(state, ''))::pg_catalog.text AS "state",
  (COALESCE(wait_event_type, ''))::pg_catalog.text AS "wait_event_type",
  (COALESCE(wait_event, ''))::pg_catalog.text AS "wait_event",
  (pg_catalog.count(*))::pg_catalog.int8 AS "sessions",
  (EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.min(xact_start)))::pg_catalog.float8 AS "max_xact_age",
  (EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.min(query_start) FILTER (WHERE state OPERATOR(pg_catalog.=) 'active')))::pg_catalog.float8 AS "max_query_age"
FROM pg_catalog.pg_stat_activity
WHERE pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
GROUP BY datname, usename, application_name, backend_type, state, wait_event_type, wait_event;
