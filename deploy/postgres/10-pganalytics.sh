#!/bin/sh
# Roles of a PostgreSQL of the compose stack, at the first start of its volume. The
# image's entry point runs it; POSTGRES_DB is the database of pgAnalytics there.
set -eu
secret() { cat "/run/secrets/pganalytics/$1"; }
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  -v db="$POSTGRES_DB" -v owner_password="$(secret pganalytics-password)" -v monitor_password="$(secret monitor-password)" <<'SQL'
CREATE ROLE pganalytics LOGIN PASSWORD :'owner_password';
ALTER DATABASE :"db" OWNER TO pganalytics;
ALTER SCHEMA public OWNER TO pganalytics;
-- What the collector reads with: pg_monitor and no more.
CREATE ROLE pganalytics_monitor LOGIN PASSWORD :'monitor_password' CONNECTION LIMIT 12;
GRANT pg_monitor TO pganalytics_monitor;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
SQL
# Connections first go to the database postgres: the statements are read there.
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres -c 'CREATE EXTENSION IF NOT EXISTS pg_stat_statements'
