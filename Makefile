PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-again test-dev test-fast check format bench clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	touch $@

$(VENV)/.runtime: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

demo: $(VENV)/.runtime ## await three batches of an emulated server, with every transition
	$(BIN)/python -m runflow_async demo

test: $(STAMP) ## run the whole test suite, slow rows included, and gate its branch coverage
	$(BIN)/python -m pytest -n 3 --dist worksteal --cov --cov-report=term-missing:skip-covered

test-again: $(STAMP) ## run only what failed last, one after the other
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none

test-dev: $(STAMP) ## run the quick tests in Python's and asyncio's debug modes
	PYTHONASYNCIODEBUG=1 $(BIN)/python -X dev -m pytest -m 'not slow' -n 2 -q

test-fast: $(STAMP) ## run the tests without the slow ones
	$(BIN)/python -m pytest -m 'not slow' -q

check: $(STAMP) ## lint, format check, types, floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(STAMP) ## format and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP) ## run all benchmarks; figures and plots go to benchmarks/results/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m benchmarks

clean: ## remove what make made
	rm -rf $(VENV) build dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
