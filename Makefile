# `make` alone says what there is.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Test processes. Each starts servers of its own, so more than cores is slower.
JOBS ?= 2
# What `make bench` runs; each ends with a line that says whether it is as promised.
BENCHMARKS ?= ingest memory idle windows state changes postgres

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DAGSTER_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help install demo dev dev-postgres test check format prove bench soak clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with everything in it, at the tested versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Headwater needs Python 3.11 or newer; '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>/dev/null || echo 'not there')." \
	    "Name another: make $(or $(MAKECMDGOALS),install) PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV) (a few minutes the first time) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP) ## See it all in a minute: batches, a kill, the proof, what it saves
	@$(BIN)/headwater demo

dev: $(STAMP) ## Open Dagster on the same data, the sensors on
	@$(BIN)/headwater dev

dev-postgres: $(STAMP) ## Dagster beside a private PostgreSQL that a small shop writes to
	@$(BIN)/headwater dev-postgres

test: $(STAMP) ## Run the tests
	@$(BIN)/python -m pytest -q -m 'not slow' -n $(JOBS) --dist loadfile

check: $(STAMP) ## Lint, format, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP) ## Format the code, and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

prove: $(STAMP) ## Kill the demo's query at every step, and compare the tables
	@test -e landing/web_logs || $(BIN)/headwater demo
	@$(BIN)/headwater prove web_logs_clean

bench: $(STAMP) ## Measure speed, memory, idle runs, windows, state and changes against what is promised
	@failed=; for name in $(BENCHMARKS); do \
	  $(BIN)/python -m benchmarks.$$name || failed="$$failed $$name"; \
	done; test -z "$$failed" || { echo "not as promised:$$failed"; exit 1; }

soak: $(STAMP) ## Kill runs again and again while files keep coming, and compare every row
	@$(BIN)/python -m benchmarks.soak
	@$(BIN)/python -m benchmarks.soak_events
	@$(BIN)/python -m benchmarks.soak_events --s3 --postgres
	@$(BIN)/python -m benchmarks.soak_postgres

clean: ## Delete .venv and caches; tables, state and landing files stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
