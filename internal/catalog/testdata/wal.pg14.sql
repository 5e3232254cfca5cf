SELECT (stats_reset)::pg_catalog.timestamptz AS "stats_reset",
  (stats_reset)::pg_catalog.timestamptz AS "io_stats_reset",
  (wal_records)::pg_catalog.int8 AS "wal_records",
  (wal_fpi)::pg_catalog.int8 AS "wal_fpi",
  (wal_bytes)::pg_catalog.int8 AS "wal_bytes",
  (wal_buffers_full)::pg_catalog.int8 AS "wal_buffers_full",
  (wal_write)::pg_catalog.int8 AS "wal_write",
  (wal_sync)::pg_catalog.int8 AS "wal_sync",
  pg_catalog.round((wal_write_time)::pg_catalog.float8 OPERATOR(pg_catalog.*) 1000::pg_catalog.float8)::pg_catalog.int8 AS "wal_write_time",
  pg_catalog.round((wal_sync_time)::pg_catalog.float8 OPERATOR(pg_catalog.*) 1000::pg_catalog.float8)::pg_catalog.int8 AS "wal_sync_time"
FROM pg_catalog.pg_stat_wal;
