#!/usr/bin/env bash
# Types of the API in Go and TypeScript, and the JSON form of its specification.
set -euo pipefail
cd "$(dirname "$0")/.."
go generate ./api ./internal/server/api
scripts/ui.sh deps
(cd web && npm run --silent gen)
