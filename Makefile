# Two commands matter: `make demo` and `make test`. Both set up what they need on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Bytecode is kept, whatever the caller's environment says: a node is several processes, and the tests start hundreds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test lint bench smoke clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   17 houses and their district, live; prints the address of the page"
	@echo "make test   all tests; a peer that is not installed is skipped with its reason"
	@echo "make lint   ruff, mypy, import contracts"
	@echo "make bench  every benchmark beside its peers"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
	  "Taihu needs Python 3.11 or newer, and $(PYTHON) is older or not there: name another, as in make PYTHON=/usr/bin/python3.13 demo" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo \
	  "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt dev-requirements.txt | $(BIN)/python
	@# Without bytecode: most of what the tools bring is never imported, and the rest is compiled when it is.
	$(INSTALL) --no-compile --editable . --requirement dev-requirements.txt
	@touch $(VENV)/.core $@

$(VENV)/.demo: $(VENV)/.core
	@$(INSTALL) --editable '.[opcua]'
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/taihu demo

test: $(VENV)/.dev
	$(BIN)/python tests/twice.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m bench.all

smoke: $(VENV)/.dev
	@# Side by side in two halves: nothing is measured here.
	$(BIN)/python -m bench.all --smoke --part 0 & $(BIN)/python -m bench.all --smoke --part 1; code=$$?; wait $$! && exit $$code

clean:
	rm -rf $(VENV) build dist
