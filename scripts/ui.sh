#!/usr/bin/env bash
# Builds the UI into web/dist/app. node_modules follows the lock file.
set -euo pipefail
cd "$(dirname "$0")/../web"
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi
if [ "${1:-build}" = build ]; then npm run --silent build; fi
