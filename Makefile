# One word a task; `make help` lists them. Everything is installed into .venv from the hash-pinned lock files.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv

.DEFAULT_GOAL := help
.PHONY: help demo ui test test-all lint format bench odcs lock docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

demo: $(VENV)/.run ## run the lake end to end on stand-ins of Stripe and GitHub: no account, no network
	@$(BIN)/datalake demo

ui: $(VENV)/.run ## open Dagster's UI on http://127.0.0.1:3000 over the demo's lake
	@$(BIN)/datalake demo --ui

test: $(VENV)/.dev ## the fast tests
	$(BIN)/pytest -q -n 3 --dist loadscope -m "not slow"

test-all: $(VENV)/.dev ## the fast tests and the slow ones
	$(BIN)/pytest -q -n 3 --dist loadscope

lint: $(VENV)/.dev ## style, types, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## the figures: CPU seconds, memory and ratios, median of three (QUICK=1: small sizes, once)
	$(BIN)/python -m bench $(if $(QUICK),--quick)

odcs: $(VENV)/.dev .venv-odcs/.done ## export every contract to ODCS v3.1 and let datacontract-cli judge it
	rm -rf build/odcs
	$(BIN)/datalake contract export -o build/odcs
	DATACONTRACT=$(CURDIR)/.venv-odcs/bin/datacontract $(BIN)/pytest -q -m slow datalake_tests/contracts

lock: $(VENV)/.uv ## renew the lock files from setup.py
	rm -f requirements.lock requirements-dev.lock
	$(UV) pip compile setup.py --extra aws --extra sandbox --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -q -o requirements.lock
	$(UV) pip compile setup.py --extra aws --extra sandbox --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -c requirements.lock -q -o requirements-dev.lock

docs: $(VENV)/.dev ## generated pages
	$(BIN)/python -m datalake.contracts.docs
	$(BIN)/python -c 'from datalake.settings import example; print(example(), end="")' > .env.example

clean: ## remove what the demo and the builds left
	rm -rf demo build .dagster lake

$(VENV)/.uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check uv==0.13.9
	@touch $@

$(VENV)/.run: $(VENV)/.uv requirements.lock setup.py
	$(UV) pip install -q --require-hashes -r requirements.lock
	$(UV) pip install -q --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.uv requirements-dev.lock setup.py
	$(UV) pip install -q --require-hashes -r requirements-dev.lock
	$(UV) pip install -q --no-deps -e .
	@touch $@ $(VENV)/.run

.venv-odcs/.done:
	$(PYTHON) -m venv .venv-odcs
	.venv-odcs/bin/pip install -q --disable-pip-version-check datacontract-cli
	@touch $@
