# make run     install on first use, then start everything (Ctrl-C stops it)
# make test    all tests but the soak        make lint    ruff, mypy, import contracts
# make soak    long runs: kills, memory      make down    stop what `make run` started elsewhere
#
# Variables: PYTHON, TORCH_INDEX_URL, EXTRA_INDEX (see scripts/setup.sh), TESTS (what `make test` runs).

VENV := .venv/bin
TESTS ?= tests
export PYTHON TORCH_INDEX_URL EXTRA_INDEX

.PHONY: run test soak lint ruff mypy contracts down setup setup-dev

run: setup
	@echo "[4/4] Starting (about half a minute the first time)"
	@exec $(VENV)/llm-api up

test: setup-dev
	@$(VENV)/python -m pytest -m "not soak" $(TESTS)

soak: setup-dev
	@$(VENV)/python -m pytest -m soak --timeout=3600 tests

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
