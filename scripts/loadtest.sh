#!/usr/bin/env bash
# The load test: scripts/loadtest.sh runs the three scenarios (10, 50, 100 collectors),
# prints pass or fail and the table of before and after, and leaves reports/loadtest.json
# and reports/loadtest.md. Arguments replace --suite: --quick looks in less than a
# minute, --collectors N, --instances N, --help.
set -euo pipefail
cd "$(dirname "$0")/.."
make --no-print-directory build
postgres=$(ls -d "$PWD"/.cache/postgres/17 2>/dev/null || true)
case " $* " in
" ") set -- --suite --reports reports ;;
" --quick ") set -- --suite --quick ;; # its figures are no proof: it leaves no report
esac
exec bin/pganalytics loadtest ${postgres:+--postgres-bin "$postgres"} "$@"
