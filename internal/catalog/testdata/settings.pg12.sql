SELECT (name)::pg_catalog.text AS "name",
  (reset_val)::pg_catalog.text AS "setting",
  (unit)::pg_catalog.text AS "unit",
  (context)::pg_catalog.text AS "context",
  (pending_restart)::pg_catalog.bool AS "pending_restart"
FROM pg_catalog.pg_settings
WHERE name OPERATOR(pg_catalog.<>) 'application_name';
