PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-dev test-fast test-all check format docs recipes build bench proof clean lock audit

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCKED := --constraint constraints.txt --build-constraint constraints.txt
COMMA := ,

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One for each set of dependency groups, which its name lists. pip installs groups since 25.1, with locked build requirements since 25.3.
$(VENV)/.with-%: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt 'pip>=25.3'
	$(PIP) install $(LOCKED) --editable . $(foreach group,$(subst $(COMMA), ,$*),--group $(group))
	touch $@

$(VENV)/.with-cli: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable '.[cli]'
	touch $@

demo: $(VENV)/.with-cli ## follow three batches of an emulated server
	$(BIN)/python -m runflow_async demo

test: $(VENV)/.with-test ## run the whole test suite but for the site's, slow rows included, and gate its branch coverage
	$(BIN)/python -m pytest -n 4 --dist worksteal --ignore tests/test_site.py --cov --cov-report=term-missing:skip-covered

test-dev: $(VENV)/.with-test ## run the quick tests in Python's and asyncio's debug modes
	PYTHONASYNCIODEBUG=1 $(BIN)/python -X dev -m pytest -m 'not slow and not ordinary' -n 4 --dist worksteal -q

test-fast: $(VENV)/.with-test ## run the tests without the slow ones
	$(BIN)/python -m pytest -m 'not slow and not ordinary' --hypothesis-profile fast -n 4 --dist worksteal -q

test-all: $(VENV)/.with-release ## run the quick tests on the other Pythons found, on uvloop, and on the oldest dependencies
	$(BIN)/python -m nox

check: $(VENV)/.with-test,lint ## lint, format check, types, floors, workflows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet --persona auditor .github

format: $(VENV)/.with-test,lint ## format and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.with-docs ## build the documentation into site/
	$(BIN)/python -m mkdocs build --strict

RECIPES := airflow prefect

recipes: $(addprefix recipe-,$(RECIPES)) ## test the recipes whose packages take long to install, each in its own environment

recipe-%: pyproject.toml
	$(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/python -m pip --disable-pip-version-check --quiet install 'pip>=25.1'
	$(VENV)-$*/bin/python -m pip --disable-pip-version-check --quiet install --editable . --group recipe-$* 'mypy>=1.15'
	$(VENV)-$*/bin/python -m mypy examples/recipes/$*_*.py
	AIRFLOW_HOME=$(CURDIR)/$(VENV)-$*/home $(VENV)-$*/bin/python -m pytest -q tests/recipes/test_$*.py tests/recipes/test_checkpoints.py

build: $(VENV)/.with-test,lint,release ## make wheel and sdist, and try both as their users will
	rm -rf dist sbom
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python -m nox --session sdist wheel sbom

bench: $(VENV)/.with-bench ## run all benchmarks; figures and plots go to benchmarks/results/
	$(BIN)/python -m benchmarks

proof: $(VENV)/.with-bench,proof,test proofs/node/node_modules ## try every promise and print one table; takes a quarter of an hour, and node
	$(BIN)/python -m proofs

proofs/node/node_modules: proofs/node/package-lock.json
	cd proofs/node && npm ci --ignore-scripts --no-audit --no-fund --silent
	touch $@

clean: ## remove what make made
	rm -rf $(VENV) $(addprefix $(VENV)-,$(RECIPES)) .nox build dist sbom site .coverage .coverage.* .hypothesis
	rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache tests/axe/node_modules proofs/node/node_modules
	find . -name __pycache__ -prune -exec rm -rf {} +

lock: $(VENV)/.with-lock ## renew constraints.txt: the newest versions that have been out for a week
	echo '--editable .' | $(BIN)/uv pip compile - --quiet --upgrade --exclude-newer '7 days' --universal --python-version 3.11 \
		$(foreach group,bench docs lint lock notebook proof release test,--group $(group)) \
		--no-emit-package runflow-async --no-annotate --no-header --output-file constraints.txt

audit: $(VENV)/.with-lock ## look up the locked versions in a database of vulnerabilities; needs the internet
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict --vulnerability-service osv --progress-spinner off

.PHONY: docs-check docs-version

tests/axe/node_modules: tests/axe/package-lock.json
	cd tests/axe && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

docs-check: $(VENV)/.with-test,docs tests/axe/node_modules ## look at every page of the documentation in a browser
	$(BIN)/python -m pytest -q tests/test_site.py

docs-version: $(VENV)/.with-docs ## commit the documentation of this version to the branch gh-pages, beside the other versions
	version=$$($(BIN)/python -c 'import runflow_async; print(*runflow_async.__version__.split(".")[:2], sep=".")') && \
		export PATH="$(CURDIR)/$(BIN):$$PATH" && \
		mike deploy --update-aliases "$$version" latest && \
		mike set-default latest
