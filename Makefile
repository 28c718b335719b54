# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
REPO ?= .
# Overrides of the recipe: make demo SET="train.max_steps=50"
SET ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test test-slow test-gpu transformers-4 check bench format

help:
	@echo "make demo [REPO=path]  the whole road on a git repository with the embedded base model, on a CPU"
	@echo "make test              everything that needs no GPU; says what it left out"
	@echo "make check             format, lint, types"
	@echo "make test-slow         the tests that take minutes"
	@echo "make test-gpu          the tests that need a CUDA GPU"
	@echo "make transformers-4    transformers 4.57.6 in the user's cache, for the test that it reads exports"
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

# The last transformers of version 4, beside the tested set: exports are read by it too. 10 CPU-seconds once, 140 MB, then kept.
V4 := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/octotune/transformers-4.57.6
V4_PACKAGES := transformers==4.57.6 tokenizers==0.22.1 huggingface_hub==0.36.0 requests urllib3 charset-normalizer idna certifi

transformers-4: setup
	@test -d "$(V4)/transformers" || { rm -rf "$(V4).partial" && \
	  $(BIN)/pip install --quiet --no-deps --target "$(V4).partial" $(V4_PACKAGES) && rm -rf "$(V4)" && mv "$(V4).partial" "$(V4)"; } || \
	  echo "transformers 4.57.6 can not be installed here: its test is left out"

# A process a core, each with one thread: most of what a test does runs on one core.
test: check transformers-4
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu and not slow" -n logical --maxprocesses 4 --dist loadgroup

test-slow: setup
	$(BIN)/python -m pytest -m slow

# Every device of the machine is used; a CUDA build of torch must be in $(VENV): docs/benchmarks/gpu.md.
test-gpu: setup
	OCTOTUNE_TEST_GPU=1 $(BIN)/python -m pytest -m gpu

bench: setup
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
