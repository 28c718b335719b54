# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
REPO ?= .
# Overrides of the recipe: make demo SET="train.max_steps=50"
SET ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test test-slow check bench format

help:
	@echo "make demo [REPO=path]  the whole road on a git repository with the embedded base model, on a CPU"
	@echo "make test              everything that needs no GPU; says what it left out"
	@echo "make check             format, lint, types"
	@echo "make test-slow         the tests that take minutes"
	@echo "make bench             benchmarks"
	@echo "make setup             the virtual environment alone"

setup: $(VENV)/.ready

# torch first and alone: left to the resolver it may come as another build, gigabytes larger.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; type: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@echo "setting up $(VENV) (once, a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	@$(BIN)/finetune demo --repo "$(REPO)" $(SET)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest -m "not gpu and not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

bench: setup
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
