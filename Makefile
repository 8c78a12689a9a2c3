# Every target sets up what it needs by itself: python3 (3.10 to 3.13) and make are enough.
.DEFAULT_GOAL := help

PYTHON ?= python3
export PYTHON

# More words for pytest, such as: make test PYTEST_ARGS="-k sensor -x"
PYTEST_ARGS ?=
# Which benchmarks, such as: make bench BENCH="--quick scale:main"; BENCH=--help tells their names
BENCH ?=
# Which versions, such as: make matrix MATRIX="2.11.2 3.3.2"
MATRIX ?=

# How many answers the fuzzer tries
FUZZ ?= 20000

BIN := .venv/bin
PY := $(BIN)/python
SETUP := @scripts/python.sh scripts/setup.py
IN_FRESH_HOME := scripts/with_airflow_home.sh

.PHONY: help demo test check docs standalone installation matrix cluster browser fab stores screenshots fuzz bench constraints format clean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## show a DAG running a workflow of a simulated Pixxel and paying once, in a minute
	$(SETUP)
	@$(PY) scripts/demo.py

test: ## run all tests but those of tests/cluster, tests/browser, tests/fab and tests/stores, with coverage
	$(SETUP) test
	@$(IN_FRESH_HOME) $(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal --ignore=tests/cluster --ignore=tests/browser --ignore=tests/fab --ignore=tests/stores --cov --cov-report=term $(PYTEST_ARGS)

check: ## lint, types, the house's layers, and what the package tells pip and Airflow
	$(SETUP) lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(IN_FRESH_HOME) $(PY) scripts/check_package.py

docs: ## build the documentation into docs/_build/html; warnings are errors
	$(SETUP) docs
	@$(IN_FRESH_HOME) $(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

standalone: ## a whole Airflow with its UI beside a simulated Pixxel, on this machine
	$(SETUP)
	@$(PY) scripts/standalone.py

installation: ## install the wheel into a fresh environment, start an Airflow with its defaults and look for errors
	$(SETUP) lint
	@$(PY) scripts/check_installation.py

matrix: ## run the tests on every supported Airflow version
	$(SETUP)
	@$(PY) scripts/matrix.py $(MATRIX)

cluster: ## run the tests that start a whole Airflow
	$(SETUP) test
	@$(IN_FRESH_HOME) $(PY) -m pytest tests/cluster $(PYTEST_ARGS)

browser: ## look at the pages inside Airflow with Chromium, which has to be installed; pictures in build/screenshots
	$(SETUP) test browser
	@$(IN_FRESH_HOME) $(PY) -m pytest tests/browser $(PYTEST_ARGS)

fab: ## ask for the pages as the stock roles of the FAB auth manager
	@scripts/python.sh scripts/setup.py --into .fab --constraints constraints/airflow-3.3.2-fab.txt test fab
	@$(IN_FRESH_HOME) .fab/bin/python -m pytest tests/fab $(PYTEST_ARGS)

stores: ## put packages into S3, Google Cloud Storage and Azure, as emulators on this machine; needs npm and Python 3.11
	@scripts/python.sh scripts/setup.py --into .stores --constraints constraints/airflow-3.3.2-stores.txt test stores
	@mkdir -p .stores/azurite && cp tests/stores/package.json .stores/azurite/
	@cd .stores/azurite && npm install --silent --no-audit --no-fund --no-package-lock
	@$(IN_FRESH_HOME) .stores/bin/python -m pytest tests/stores $(PYTEST_ARGS)

screenshots: ## take the documentation's pictures of the pages inside Airflow anew, with Chromium
	$(SETUP) browser
	@$(IN_FRESH_HOME) $(PY) scripts/screenshots.py

fuzz: ## send answers made by chance to both clients, so many of them: FUZZ=20000
	$(SETUP) test
	@$(IN_FRESH_HOME) $(PY) -m tests.hooks.fuzz_http --answers $(FUZZ) --seed 1

bench: ## measure the costs that the package promises to keep low, beside other providers
	@scripts/python.sh scripts/setup.py --into .bench bench
	@$(IN_FRESH_HOME) .bench/bin/python benchmarks/run.py $(BENCH)

constraints: ## resolve the tested versions of everything anew
	@scripts/python.sh scripts/constraints.py

format: ## let ruff put imports and layout in order
	$(SETUP) lint
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

clean: ## remove what the other targets made
	rm -rf .venv .venv.lock .bench .bench.lock .fab .fab.lock .stores .stores.lock .matrix .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf .coverage .coverage.* htmlcov build dist docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
