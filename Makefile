# What a developer and an operator need: `make help`.
PYTHON ?= python3
PORT ?= 8000
DATA_DIR ?= .data

venv := .venv
python := $(venv)/bin/python
installed := $(venv)/installed
sources := app.py routes.py cli.py settings schema resolvers services models jobs commands dev benchmarks alembic tests

.PHONY: help install run test check format bench lock

help: ## Say what can be made.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

install: $(installed) ## Set up .venv from the lock file; nothing to do when it is up to date.

$(installed): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { echo "Python 3.11 to 3.14 is needed: make PYTHON=..."; exit 1; }
	@echo "Installing into $(venv) ..."
	@$(PYTHON) -m venv --clear $(venv)
	@$(python) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $(installed)

run: install ## Run the mall with demo data on http://127.0.0.1:8000 (PORT=, DATA_DIR=).
	@MALL_PORT="$(PORT)" MALL_DATA_DIR="$(DATA_DIR)" exec $(python) cli.py dev

test: install ## Run every test against real servers of its own.
	@$(python) -m pytest -n 2 --dist loadgroup

check: install ## Format, lint, types, architecture rules.
	@$(python) -m ruff format --check $(sources)
	@$(python) -m ruff check $(sources)
	@$(venv)/bin/basedpyright
	@$(python) -m pytest -q -p no:cacheprovider tests/architecture

format: install ## Rewrite the sources as `make check` wants them.
	@$(python) -m ruff format $(sources)
	@$(python) -m ruff check --fix $(sources)

bench: install ## Run the benchmarks: ratios against baselines measured in the same run.
	@$(python) -m benchmarks

lock: install ## Resolve the dependencies anew and pin them with hashes.
	@$(python) -m uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --upgrade pyproject.toml -o requirements.lock
	@$(python) -m uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --upgrade --extra dev pyproject.toml -o requirements-dev.lock
