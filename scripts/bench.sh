#!/usr/bin/env bash
# Figures beside references of the same run (docs/benchmarks.md). Arguments go to the
# program: -h tells which, -quick looks in two minutes, -full is what the page shows.
set -euo pipefail
cd "$(dirname "$0")/.."
make --no-print-directory build
go build -trimpath -o bin/bench ./internal/tool/bench
exec bin/bench "$@"
