SELECT (oid)::pg_catalog.int8 AS "oid",
  (rolname)::pg_catalog.text AS "rolname"
FROM pg_catalog.pg_roles;
