# make run     install on first use, then start everything (Ctrl-C stops it)
# make test    quick tests (minutes)          make lint    ruff, mypy, import contracts
# make check   slow tests (half an hour)      make soak    long runs: random kills, memory, containers
# make down    stop what `make run` started elsewhere
#
# Variables: PYTHON, TORCH_INDEX_URL, EXTRA_INDEX, GPU (see scripts/setup.sh), TESTS (the folders or files to take tests
# from), PYTEST (more options of pytest, such as PYTEST="-n 0 -x").

VENV := .venv/bin
TESTS ?= tests
PYTEST ?=
# Which tests run beside each other, and which do not: tests/tiers.py.
PARALLEL := -n 2
export PYTHON TORCH_INDEX_URL EXTRA_INDEX GPU

.PHONY: run test check soak lint ruff mypy contracts down setup setup-dev

run: setup
	@echo "[4/4] Starting (about half a minute the first time)"
	@exec $(VENV)/llm-api up

test: setup-dev
	@$(VENV)/python -m pytest $(PARALLEL) -m "not check and not soak" $(PYTEST) $(TESTS)

check: setup-dev
	@$(VENV)/python -m pytest $(PARALLEL) -m check $(PYTEST) $(TESTS)

soak: setup-dev
	@$(VENV)/python -m pytest -m soak --timeout=3600 $(PYTEST) $(TESTS)

lint: ruff mypy contracts

ruff: setup-dev
	$(VENV)/ruff check .

mypy: setup-dev
	$(VENV)/mypy

contracts: setup-dev
	$(VENV)/lint-imports --no-cache

down:
	@$(VENV)/llm-api down

setup:
	@scripts/setup.sh run

setup-dev:
	@scripts/setup.sh dev
