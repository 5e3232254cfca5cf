#!/usr/bin/env bash
# Every test. Each step's output is printed; the first failure ends it.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

step "gofmt, go vet"
unformatted=$(gofmt -l cmd internal web/*.go e2e 2>/dev/null || true)
[ -z "$unformatted" ] || { echo "not gofmt'ed: $unformatted" >&2; exit 1; }
go vet ./...

step "UI: types, lint, unit tests, build"
scripts/ui.sh deps
(cd web && npm run --silent lint && npm test --silent && npm run --silent build)

# One package at a time: most of them run several servers each, and what they say of
# time would say nothing if they disturbed each other.
step "Go: all packages, race detector, PostgreSQL 12 to 18"
go build -race ./...
go test -race -p 1 -count=1 -timeout 20m ./...

step "browser: the UI on the real program"
scripts/browser-test.sh

step "all passed"
