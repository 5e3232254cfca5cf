#!/usr/bin/env bash
# Prints the folder of PostgreSQL's programs that the demo uses: the machine's own
# (14 or later, with pg_stat_statements), else a private copy of 17, fetched when it
# is not there. As root PostgreSQL runs as another user, who may not be able to pass
# the folders above this one: then the copy goes to /var/cache/pganalytics.
set -euo pipefail
cd "$(dirname "$0")/.."
for bin in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
  major=${bin#/usr/lib/postgresql/}; major=${major%/bin}
  if [ "${major%%.*}" -ge 14 ] && [ -x "$bin/initdb" ] && [ -e "/usr/share/postgresql/$major/extension/pg_stat_statements.control" ]; then
    echo "$bin"
    exit
  fi
done
passable() { # can everybody pass all folders from $1 up?
  local d=$1
  while [ "$d" != / ]; do
    [ $(( 0$(stat -c %a "$d") & 1 )) = 1 ] || return 1
    d=$(dirname "$d")
  done
}
dir=$PWD/.cache/postgres
if [ "$(id -u)" = 0 ] && ! passable "$PWD"; then dir=/var/cache/pganalytics/postgres; fi
(umask 022; mkdir -p "$dir")
PGA_TEST_POSTGRES_DIR=$dir scripts/postgres-majors.sh 17 >&2
echo "$dir/17/native/bin"
