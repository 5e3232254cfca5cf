SELECT (queryid)::pg_catalog.int8 AS "queryid",
  (pg_catalog.left(query, 16384))::pg_catalog.text AS "query"
FROM "ext".pg_stat_statements(true)
WHERE queryid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int8[]);
