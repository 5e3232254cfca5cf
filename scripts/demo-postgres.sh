#!/usr/bin/env bash
# Prints the folder of PostgreSQL's programs that the demo uses: the machine's own
# (14 or later, with pg_stat_statements), else a private copy of 17 in
# .cache/postgres, fetched when it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
for bin in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
  major=${bin#/usr/lib/postgresql/}; major=${major%/bin}
  if [ "${major%%.*}" -ge 14 ] && [ -x "$bin/initdb" ] && [ -e "/usr/share/postgresql/$major/extension/pg_stat_statements.control" ]; then
    echo "$bin"
    exit
  fi
done
scripts/postgres-majors.sh 17 >&2
echo "$PWD/.cache/postgres/17/native/bin"
