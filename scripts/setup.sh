#!/usr/bin/env bash
# Brings what a target needs and the machine lacks: scripts/setup.sh demo|test|bench.
# Go and Node must be there. Debian packages are installed when we are root; else
# it says what to install. Prints nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?usage: scripts/setup.sh demo|test|bench}

need() { # need COMMAND HINT
  command -v "$1" >/dev/null || { echo "make $what needs $1: $2" >&2; exit 2; }
}
need go "install Go 1.26 or later from https://go.dev/dl/"
need node "install Node 20 or later"
need npm "install npm, which comes with Node"

missing=()
package() { command -v "$1" >/dev/null || missing+=("$2"); } # package COMMAND DEBIAN-PACKAGE
case $what in
test)
  # cgo for the race detector; a browser for the UI's tests.
  package gcc gcc
  [ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
  package chromium chromium
  package pgbouncer pgbouncer
  ;;
esac
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "make $what needs: ${missing[*]}. On Debian, as root: apt-get install ${missing[*]}" >&2
    exit 2
  fi
fi

case $what in
demo)
  # The store and the demo server need a PostgreSQL; without one on the machine a
  # private copy is fetched into .cache/postgres.
  scripts/demo-postgres.sh >/dev/null
  ;;
test) scripts/postgres-majors.sh ;;
bench) scripts/postgres-majors.sh 16 17 ;;
esac
