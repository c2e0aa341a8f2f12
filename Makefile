# Each target sets up what it needs in .venv and can be run first on a fresh machine:
# Python 3.11 or newer, pip and make are enough. Versions are those of constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
DEMO_ARGS ?=
PYTEST_ARGS ?= --numprocesses auto --dist worksteal
# Changes all keyed noise and every seed of training: the tests hold for any salt.
SALT ?= 0

.PHONY: help demo test lint types docs docs-fast clean
.SECONDARY:

help:
	@echo "make demo   a table, images and missing values in two minutes; see gud-demo/index.html"
	@echo "make test   run the tests and the doctests"
	@echo "make lint   run ruff"
	@echo "make types  run mypy over scripts of users"
	@echo "make docs   build the documentation into docs/_build/html"
	@echo "make docs-fast  the same in less than a minute, without running the examples"
	@echo "make clean  remove what docs and demo wrote (the environment stays)"

demo: $(VENV)/.installed-report
	$(BIN)/python -m gudlearn demo $(DEMO_ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS) --salt $(SALT)

lint: $(VENV)/.installed-ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .

types: $(VENV)/.installed-types
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	@echo "The documentation is in docs/_build/html/index.html"

docs-fast: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html -D plot_gallery=0 docs docs/_build/fast
	@echo "The documentation, without figures of examples, is in docs/_build/fast/index.html"

clean:
	rm -rf gud-demo docs/_build docs/generated docs/auto_examples docs/sg_execution_times.rst

# The stamps: an environment is set up once, and again when the pins or the extras change.
$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit("gudlearn needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-ruff: $(VENV)/.created constraints.txt
	$(INSTALL) ruff
	@touch $@

$(VENV)/.installed-torch: $(VENV)/.created constraints.txt
	$(INSTALL) torch==2.13.0
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed-torch constraints.txt pyproject.toml
	$(INSTALL) --editable ".[$*]"
	@touch $@
