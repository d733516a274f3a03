# `make demo` and `make test` set up all they need in .venv; outside of it only caches are written (~/.cache: pip, kernels).
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean tools

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

# The first of these that runs and is 3.11 or newer; `make PYTHON=...` chooses another.
PYTHON ?= python3
GOOD := import sys; sys.exit(sys.version_info < (3, 11))
FOUND = $(shell for p in '$(PYTHON)' python3.11 python3.12 python3.13 python3.14; do \
	"$$p" -c '$(GOOD)' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

help:
	@echo "make demo    compile a shipped network, run it on the simulated chip, write demo/page.html"
	@echo "make test    all checks: style, types, imports, tests"
	@echo "make lint    the checks without the tests"
	@echo "make bench   timings of the simulator"
	@echo "make clean   remove .venv and everything that the other targets wrote"

demo: $(VENV)/.installed
	@$(BIN)/spikeloom demo

test: tools lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/many_core.py

tools:
	@for tool in g++ make perl; do command -v $$tool >/dev/null || \
		{ echo "make test needs g++, make and perl; $$tool is missing (Debian: apt-get install g++ make perl)" >&2; exit 1; }; done

# Only a finished environment has the mark, so that an interrupted one is made anew.
$(VENV)/.made:
	@test -n '$(FOUND)' || { echo "spikeloom needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>&1 || true). Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	'$(FOUND)' -m venv --clear $(VENV) || { rm -rf $(VENV); echo "cannot make an environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.made
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.made
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist demo *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
