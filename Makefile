# SPDX-License-Identifier: Apache-2.0
# Every target does its own set-up; tools/bootstrap.py does nothing when all is there.

BIN := .venv/bin

# Also where the environment forbids it, Python keeps what it has compiled: all tests together start it some hundred times.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help prove test scenarios lint bench clean setup setup-tests setup-bench

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1 /p' Makefile | awk '{ printf "  make %-10s", $$2; $$1 = $$2 = ""; print $$0 }'

prove: setup ## build the images and cut the power of one board at the worst moments (the main job)
	@$(BIN)/bootproof images build
	@$(BIN)/bootproof run prove

test: setup-tests lint ## check and test the tools themselves
	$(BIN)/pytest -n 2 --dist worksteal tests/

scenarios: setup ## run every scenario
	$(BIN)/pytest -n 2 scenarios/

lint: setup ## ruff, mypy and the import contracts
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-bench ## measure; prints JSON
	@for bench in bench/*.py; do echo "$$bench"; $(BIN)/python $$bench || exit; done

clean: ## remove what runs and checks have left here (images stay: see bootproof images clean)
	rm -rf runs allure-results .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

setup:
	@python3 tools/bootstrap.py

setup-tests:
	@python3 tools/bootstrap.py --tests

setup-bench:
	@python3 tools/bootstrap.py --bench
