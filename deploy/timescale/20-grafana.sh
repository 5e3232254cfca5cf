#!/bin/sh
# The role that Grafana reads with, at the first start of the volume.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  -v grafana_password="$(cat /run/secrets/pganalytics/grafana-db-password)" -f /deploy/grafana-role.sql
