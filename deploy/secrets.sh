#!/bin/sh
# The passwords and tokens of the compose stack, made at its first start, each in the
# volumes of those who need it and nowhere else. What is there stays.
#
#   docker-compose run --rm secrets show           names
#   docker-compose run --rm secrets show api-token  one of them
set -eu
umask 022
cd "${PGANALYTICS_SECRETS:-/secrets}"

all='postgres-password pganalytics-password monitor-password grafana-db-password grafana-admin-password api-token registration-token'

# holders NAME: the folders (volumes) that get it.
holders() {
  case $1 in
  postgres-password) echo database ;;
  pganalytics-password) echo 'database backend' ;;
  monitor-password) echo 'database collector' ;;
  grafana-db-password) echo 'database grafana' ;;
  grafana-admin-password) echo grafana ;;
  api-token) echo backend ;;
  registration-token) echo 'backend collector' ;;
  *) return 1 ;;
  esac
}

if [ "${1:-make}" = show ]; then
  [ -n "${2:-}" ] || { echo "$all" | tr ' ' '\n'; exit 0; }
  first=$(holders "$2") || { echo "no secret \"$2\": want one of $all" >&2; exit 2; }
  cat "${first%% *}/$2"
  exit 0
fi

# put FILE TEXT: whole or not at all, also when the machine stops in between.
put() {
  printf '%s\n' "$2" >"$1.new"
  chmod 0444 "$1.new" # those who can see the volume are those who need it
  mv "$1.new" "$1"
}

for name in $all; do
  value=
  for folder in $(holders "$name"); do
    [ ! -s "$folder/$name" ] || value=$(cat "$folder/$name")
  done
  [ -n "$value" ] || value=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  for folder in $(holders "$name"); do
    [ -s "$folder/$name" ] || put "$folder/$name" "$value"
  done
done
# libpq's form: the backend's URLs hold no password.
[ -s backend/pgpass ] || put backend/pgpass "*:*:*:pganalytics:$(cat backend/pganalytics-password)"
sync
