#!/usr/bin/env bash
# Runs the UI's browser tests (web/tests) against a demo of its own: real program,
# real servers, Chromium.
set -euo pipefail
cd "$(dirname "$0")/.."
make --no-print-directory build
dir=$(mktemp -d /var/tmp/pganalytics-browser.XXXXXX)
chmod 711 "$dir"
port=$(node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})')
bin/pganalytics up --demo --data-dir "$dir/data" --listen "127.0.0.1:$port" --interval 2s --postgres-bin "$(scripts/demo-postgres.sh)" >"$dir/log" 2>&1 &
pid=$!
finish() {
  code=$?
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  [ $code = 0 ] || tail -30 "$dir/log"
  rm -rf "$dir"
  exit $code
}
trap finish EXIT
for _ in $(seq 120); do
  bin/pganalytics health --url "http://127.0.0.1:$port" >/dev/null 2>&1 && break
  kill -0 "$pid" || exit 1
  sleep 0.5
done
export PGA_TEST_URL=http://127.0.0.1:$port PGA_TEST_TOKEN
PGA_TEST_TOKEN=$(cat "$dir/data/token")
(cd web && npx playwright test --reporter=line)
