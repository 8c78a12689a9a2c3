# python3 (3.10 to 3.14) and make are enough: every target sets up what it needs. noxfile.py says how each is done.
.DEFAULT_GOAL := help

PYTHON ?= python3
export PYTHON

# More words for pytest, such as: make test PYTEST_ARGS="-k sensor -x"
PYTEST_ARGS ?=
# Which benchmarks, such as: make bench BENCH="--quick scale:main"; BENCH=--help tells their names
BENCH ?=
# Which versions, such as: make matrix MATRIX="2.11.2 3.3.2", or make cluster-tests MATRIX=3.1.8
MATRIX ?=
# More words for the storm and the soak, such as: make storm STORM="--minutes 5 --runs 60"; --help tells them
STORM ?=
SOAK ?=
# How many cases the fuzzer tries
FUZZ ?= 200000

NOX := scripts/nox.sh
SESSIONS := demo test preview check docs ci standalone installation record cluster cluster-tests storm soak browser fab stores screenshots fuzz bench constraints format

.PHONY: help matrix clean $(SESSIONS)

help:
	@$(NOX) --list

$(SESSIONS):
	@$(NOX) -s $@ -- $(ARGS)

test preview cluster-tests browser fab stores: ARGS = $(PYTEST_ARGS)
bench: ARGS = $(BENCH)
storm: ARGS = $(STORM)
soak: ARGS = $(SOAK)
fuzz: ARGS = --cases $(FUZZ)

matrix:
	@$(NOX) -s $(or $(patsubst %,'matrix(%)',$(MATRIX)),matrix) -- $(PYTEST_ARGS)

clean:
	rm -rf .venv .venv.lock .nox .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf .coverage .coverage.* htmlcov build dist docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
