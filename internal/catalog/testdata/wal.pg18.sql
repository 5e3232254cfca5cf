SELECT (stats_reset)::pg_catalog.timestamptz AS "stats_reset",
  ((SELECT pg_catalog.max(i.stats_reset) FROM pg_catalog.pg_stat_io i WHERE i.object OPERATOR(pg_catalog.=) 'wal'))::pg_catalog.timestamptz AS "io_stats_reset",
  (wal_records)::pg_catalog.int8 AS "wal_records",
  (wal_fpi)::pg_catalog.int8 AS "wal_fpi",
  (wal_bytes)::pg_catalog.int8 AS "wal_bytes",
  (wal_buffers_full)::pg_catalog.int8 AS "wal_buffers_full",
  ((SELECT pg_catalog.sum(i.writes) FROM pg_catalog.pg_stat_io i WHERE i.object OPERATOR(pg_catalog.=) 'wal'))::pg_catalog.int8 AS "wal_write",
  ((SELECT pg_catalog.sum(i.fsyncs) FROM pg_catalog.pg_stat_io i WHERE i.object OPERATOR(pg_catalog.=) 'wal'))::pg_catalog.int8 AS "wal_sync",
  pg_catalog.round(((SELECT pg_catalog.sum(i.write_time) FROM pg_catalog.pg_stat_io i WHERE i.object OPERATOR(pg_catalog.=) 'wal'))::pg_catalog.float8 OPERATOR(pg_catalog.*) 1000::pg_catalog.float8)::pg_catalog.int8 AS "wal_write_time",
  pg_catalog.round(((SELECT pg_catalog.sum(i.fsync_time) FROM pg_catalog.pg_stat_io i WHERE i.object OPERATOR(pg_catalog.=) 'wal'))::pg_catalog.float8 OPERATOR(pg_catalog.*) 1000::pg_catalog.float8)::pg_catalog.int8 AS "wal_sync_time"
FROM pg_catalog.pg_stat_wal;
