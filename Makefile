# Tenfold. `make up` runs the reference app; `make test` proves that this checkout works. `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help env up check test test-full bench lock wheel clean

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 with venv is missing: apt-get install python3 python3-venv, or name one with PYTHON=..."; exit 1; }
	@echo "Making the environment in $(VENV) (once; about half a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

env: $(STAMP) ## make the environment (.venv) from the lock file

up: $(STAMP) ## run the reference app, examples/crewboard, until Ctrl-C
	@cd examples/crewboard && PATH="$(CURDIR)/$(BIN):$$PATH" exec tenfold up

check: $(STAMP) ## ruff, mypy --strict, import contracts, tidy rules (under a minute)
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@PYTHONPATH=src $(BIN)/lint-imports --no-logo 2>&1 | tail -n 1
	@$(BIN)/python -m pytest tests/test_tidy.py

test: $(STAMP) ## everything that needs engines from pip alone (under ten minutes on two cores)
	@$(BIN)/python -m pytest

test-full: test ## also what needs root, namespaces and engines from apt
	@$(BIN)/python -m pytest tests/full --override-ini testpaths=tests/full

bench: $(STAMP) ## the figures, beside their references (JSON=file writes them there too)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench $(if $(JSON),--json $(JSON))

lock: ## renew requirements.lock from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --extra engines --group dev --group crewboard \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  --output-file requirements.lock pyproject.toml

wheel: $(STAMP) ## build the wheel into dist/
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean: ## remove the environment and caches
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
