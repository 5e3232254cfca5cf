#!/usr/bin/env bash
# Runs the demo on a data directory of its own, which is kept between runs.
set -euo pipefail
cd "$(dirname "$0")/.."
exec bin/pganalytics up --demo --postgres-bin "$(scripts/demo-postgres.sh)" "$@"
