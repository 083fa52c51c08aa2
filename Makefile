# wconv-sweep: `make quickstart` runs a real study, `make test` runs every check.
# Everything happens in .venv; paths are relative, so a clone may lie anywhere.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: quickstart test test-fast lint docs bench clean

quickstart: .venv/.for-run
	$(BIN)/wconv-sweep launch --cluster local --study quickstart

# The quick checks come first: a mistake shows within a minute.
test: lint test-fast
	$(BIN)/python -m pytest -m slow
	$(MAKE) docs

test-fast: .venv/.for-tests
	$(BIN)/python -m pytest -m "not slow"

lint: .venv/.for-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/.for-tests
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# Speed is measured, never asserted: prints ratios of variants timed side by side.
bench: .venv/.for-tests
	$(BIN)/python tests/benchmarks/step_time.py
	$(BIN)/python tests/benchmarks/data_path.py
	$(BIN)/python tests/benchmarks/sampling.py
	$(BIN)/python -m tests.benchmarks.search

clean:
	rm -rf .venv build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "wconv-sweep needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; $(call system,python3-venv); $(PYTHON) -m venv .venv; }

.venv/.for-run: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing wconv-sweep into .venv (about 200 MB) ..."
	$(PIP) torch --editable .
	@touch $@

# torch.compile, which one test runs, needs a C++ compiler.
.venv/.for-tests: pyproject.toml constraints.txt | .venv/bin/python
	@command -v g++ > /dev/null || { $(call system,g++); }
	@echo "Installing wconv-sweep and its checks into .venv ..."
	$(PIP) torch --editable '.[test,lint,docs]'
	@touch $@ .venv/.for-run

# Install a Debian package, or say plainly that it is missing.
define system
if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; \
  then apt-get update -qq && apt-get install -y -qq $(1); \
  else echo "The Debian package $(1) is missing: sudo apt-get install $(1)"; exit 1; fi
endef
