# Two commands are all that a newcomer needs: `make demo` and `make test`. What they miss, they install (Debian, root).

.PHONY: help demo test lint unit e2e bench fmt bed clean-bed

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## builds loko, readies an engine, creates examples/quickstart and opens its URL
	@testbed/demo.sh

test: ## formatting, clippy, every test, and the end-to-end suite on the test bed
	@testbed/test

lint: ## formatting, clippy and shellcheck
	@testbed/test lint

unit: ## every test that needs no engine
	@testbed/test unit

e2e: ## the end-to-end suite on the test bed
	@testbed/test e2e

bench: ## loko create against kind create cluster, five times each
	@testbed/bench

fmt: ## formats the code
	@cargo fmt --all

bed: ## the test bed alone; `testbed/bed help` says more
	@testbed/bed up

clean-bed: ## stops the test bed's engine and removes all that the bed cached
	@testbed/bed down --purge
