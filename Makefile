# Tenfold. `make up` runs the reference app; `make test` proves that this checkout works. `make help` lists the rest.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(CURDIR)/$(VENV)/bin
STAMP  := $(VENV)/.installed
PIP    := $(BIN)/python -m pip --disable-pip-version-check -qq
EXAMPLE := examples/crewboard

.DEFAULT_GOAL := help
.PHONY: help env up check test test-full bench bench-regions bench-proof bench-brain soak lock pictures wheel clean

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer with venv is missing: apt-get install python3-venv, or name one with make PYTHON=..."; exit 1; }
	@echo "making the environment in $(VENV) (once, about half a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

env: $(STAMP) ## make the environment (.venv) from the lock file

# With a terminal the app gets a process group of its own, so that Ctrl-C is for Tenfold alone and make ends well.
up: $(STAMP) ## run the reference app, examples/crewboard, until Ctrl-C
	@cd $(EXAMPLE); export PATH="$(BIN):$$PATH"; \
	tenfold secrets list | grep -q '^SESSION_KEY  set' || tenfold secrets set --random SESSION_KEY >/dev/null; \
	if [ -t 0 ] && [ -t 1 ]; then set -m; tenfold up; else exec tenfold up; fi

check: $(STAMP) ## ruff, mypy --strict, import contracts, tidy rules (under a minute)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "to mend it: $(VENV)/bin/ruff format ."; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/mypy --no-error-summary --config-file $(EXAMPLE)/pyproject.toml $(EXAMPLE)/crewboard
	@PYTHONPATH=src $(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest tests/test_tidy.py tests/test_docs.py

# Most tests wait for engines: four at once fill two cores. Hundreds of commands and instances need not compile the same code each.
test: $(STAMP) ## everything that needs engines from pip alone, as root or not (under ten minutes on two cores)
	@PYTHONDONTWRITEBYTECODE= OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

test-full: $(STAMP) ## what needs root, or an environment of its own: limits, full disks, other users, the built wheel
	@$(BIN)/python -m pytest tests/full

bench: $(STAMP) ## the figures, beside their references (JSON=file writes them there too)
	@PATH="$(BIN):$$PATH" $(BIN)/python -m bench $(if $(JSON),--json $(JSON))

bench-regions: $(STAMP) ## the figures of several regions (as root the network between them is emulated)
	@PATH="$(BIN):$$PATH" $(BIN)/python -m bench --set regions $(if $(JSON),--json $(JSON))

bench-proof: $(STAMP) ## the figures of load engine, drills, measure, prove, console and anomalies
	@PATH="$(BIN):$$PATH" $(BIN)/python -m bench --set proof $(if $(JSON),--json $(JSON))

bench-brain: $(STAMP) ## the figures of forecasts, policies and the simulator, on recorded loads
	@PATH="$(BIN):$$PATH" $(BIN)/python -m bench --set brain $(if $(JSON),--json $(JSON))

HOURS ?= 1
soak: $(STAMP) ## run the reference app under load for HOURS=1 (0.05 for a try): is everything flat?
	@PATH="$(BIN):$$PATH" $(BIN)/python -m bench.soak --hours $(HOURS) $(if $(JSON),--json $(JSON))

pictures: $(STAMP) ## draw the console's pictures in docs/img anew, from a region that is really lost (root)
	@mkdir -p docs/img; PICTURES=docs/img $(BIN)/python -m pytest tests/full/console/test_region_lost.py

lock: $(STAMP) ## renew requirements.lock from pyproject.toml
	@$(PIP) install uv
	@$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --extra engines --extra keda --group dev --group crewboard \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  --output-file requirements.lock pyproject.toml

wheel: $(STAMP) ## build the wheel into dist/
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist . && ls dist/*.whl

clean: ## remove the environment, caches and what was built (never the app's data)
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.tenfold/*' -prune -exec rm -rf {} +
