#!/usr/bin/env bash
# golangci-lint is built from tools/go.mod, so that its version is the project's.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bin
[ bin/golangci-lint -nt tools/go.mod ] || go build -C tools -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
bin/golangci-lint run ./...
scripts/ui.sh deps
(cd web && npm run --silent lint)
