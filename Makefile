# pgAnalytics. `make` alone lists the targets; deploy-preflight, deploy-up, deploy-validate and
# deploy-rollback are what `pganalytics deploy` does (ARGS=--dry-run).
SHELL := /bin/bash
.DEFAULT_GOAL := help
VERSION := $(shell cat VERSION)
COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/pganalytics/pganalytics/internal/app.Version=$(VERSION) -X github.com/pganalytics/pganalytics/internal/app.Commit=$(COMMIT)
ARGS ?=

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9* -]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## watch a small demo shop: open the link that it prints (ARGS="--listen …" for more)
	@scripts/setup.sh demo
	@$(MAKE) --no-print-directory ui build
	@scripts/demo.sh $(ARGS)

test: ## run every test, on PostgreSQL 12 to 18, with the race detector and a browser
	@scripts/setup.sh test
	@scripts/test.sh

build: ## build bin/pganalytics (static; holds the UI that `make ui` built, else a placeholder)
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/pganalytics ./cmd/pganalytics

ui: ## build the web UI into web/dist/app
	@scripts/ui.sh

gen: ## write what follows from the catalog and the API's specification
	go run ./internal/tool/gen
	go run ./internal/tool/dashboard
	scripts/gen.sh

bench: ## measure against references in the same run; figures in docs/benchmarks.md
	@scripts/setup.sh bench
	@scripts/bench.sh $(ARGS)

loadtest: ## measure the success criteria at 10, 50 and 100 collectors (ARGS=--quick: a look)
	@scripts/setup.sh bench
	@scripts/loadtest.sh $(ARGS)

e2e-compose: ## run docs/deployment.md on a real compose stack (root; ARGS="-run Name")
	@scripts/e2e-compose.sh $(ARGS)

deploy-preflight deploy-up deploy-validate deploy-rollback: build
	@bin/pganalytics deploy $(@:deploy-%=%) $(ARGS)

lint: ## golangci-lint, gofmt, oxlint and the type check
	@scripts/lint.sh

clean: ## remove what was built and fetched
	rm -rf bin .cache web/dist/app web/node_modules

.PHONY: help demo test build ui gen bench loadtest lint clean e2e-compose deploy-preflight deploy-up deploy-validate deploy-rollback
