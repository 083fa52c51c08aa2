# wconv-sweep: `make quickstart` runs a real study, `make test` runs every check.
# Everything happens in .venv; paths are relative, so a clone may lie anywhere.

PYTHON ?= python3
BIN := .venv/bin
# Compiling all of torch and its like takes longer than installing it; what is loaded is compiled then.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
  -c constraints.txt

# What Python compiles is kept: tests start hundreds of programs.
unexport PYTHONDONTWRITEBYTECODE
# What they compute is small: more threads than cores wait for each other, and take twice as long.
test test-fast test-lowest: export OMP_NUM_THREADS := 1
# They pass images of 512 x 512 pixels in float64, in blocks that are larger than what ranks keep by
# themselves: two thirds of that time the kernel clears pages.
test test-fast test-lowest: export MALLOC_MMAP_MAX_ := 0
test test-fast test-lowest: export MALLOC_TRIM_THRESHOLD_ := 2147483647

.PHONY: quickstart test test-fast test-lowest lint slurm slurm-programs slurm-versions slurm-recordings docs bench bench-gpu
.PHONY: screenshots clean browser

quickstart: .venv/.for-run
	$(BIN)/wconv-sweep launch --cluster local --study quickstart

# The quick checks come first: a mistake shows within two minutes. The slow ones wait much of their
# time, for SLURM, leases and servers, so there are more of them at once than cores.
test: .venv/.for-tests slurm browser
	$(MAKE) --jobs 2 --output-sync lint docs test-fast
	$(BIN)/python -m pytest -m "slow and not by_hand" -n 4 --dist loadscope --no-loadscope-reorder

test-fast: .venv/.for-tests
	$(BIN)/python -m pytest -m "not slow" -n 3 --dist loadfile

# The quick tests with the lowest versions that pyproject.toml allows, in an environment of its own.
# Python must be as old as they are: 3.11. What they need themselves is as new as they let it be.
LOWEST := .venv-lowest
test-lowest:
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tests/lowest.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  -c $(LOWEST)/lowest.txt "$$(grep '^torch==' constraints.txt)" --editable '.[test]'
	$(LOWEST)/bin/python -m pytest -m "not slow" -n 2 --dist loadfile

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
	$(BIN)/python -m tests.benchmarks.memory_format
	$(BIN)/python tests/benchmarks/data_path.py
	$(BIN)/python -m tests.benchmarks.freed_memory
	$(BIN)/python tests/benchmarks/sampling.py
	$(BIN)/python -m tests.benchmarks.trial_overhead
	$(BIN)/python -m tests.benchmarks.slurm_launch
	$(BIN)/python -m tests.benchmarks.storage
	$(BIN)/python -m tests.benchmarks.status
	$(BIN)/python -m tests.benchmarks.search
	$(BIN)/python -m tests.benchmarks.search_end
	$(BIN)/python -m tests.benchmarks.arms

# What one GPU gives, in at most eight minutes; says so where there is none.
bench-gpu: .venv/.for-tests
	$(BIN)/python -m tests.benchmarks.gpu

# The pictures of the documentation, from a real study.
screenshots: .venv/.for-tests browser
	$(BIN)/python -m tests.screenshots

clean:
	rm -rf .venv $(LOWEST) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

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

# Some of the slow tests run a SLURM cluster on this machine. Where its programs are not and cannot
# be installed, these tests are skipped and say so.
SLURM := slurm-wlm slurmdbd munge mariadb-server-core iproute2
slurm:
	@for program in slurmctld slurmd slurmdbd munged mariadbd ip; do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v $$program > /dev/null || missing=yes; done; \
	if [ "$$missing" ]; then ( $(call system,$(SLURM)) ) || echo "Tests on a SLURM cluster: skipped"; fi

# What happens to studies on SLURM, once more with a program of the user's as each trial: takes ten
# minutes, and is no part of CI, nor are the tests of such programs that a person reads.
slurm-programs: .venv/.for-tests slurm
	$(BIN)/python -m pytest -m by_hand -n 2 --dist loadscope --no-loadscope-reorder

# All tests on SLURM with each of three versions of it, installed from Debian's packages into roots
# of their own: takes root, 3 GB and an hour, and is no part of CI. What the quick tests know of a
# version is recorded in the same roots.
SLURM_ROOTS := /var/tmp/wconv-slurm-roots
slurm-versions: VERB := test
slurm-recordings: VERB := record
slurm-versions slurm-recordings: .venv/.for-tests slurm
	@command -v debootstrap > /dev/null || { $(call system,debootstrap); }
	$(BIN)/python -m tests.slurm.versions $(SLURM_ROOTS) $(VERB)

# The tests that look at pages take Chromium; without it they are skipped and say so.
browser:
	@command -v chromium > /dev/null || ( $(call system,chromium) ) || echo "Tests in a browser: skipped"

# Install Debian packages, or say plainly that they are missing. A service that comes with one is
# not started: the tests run daemons of their own.
POLICY := /usr/sbin/policy-rc.d
define system
if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
  if ! [ -e $(POLICY) ]; then \
    printf '#!/bin/sh\nexit 101\n' > $(POLICY) && chmod +x $(POLICY) && trap 'rm $(POLICY)' EXIT; fi; \
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1); \
  else echo "Debian packages are missing: sudo apt-get install $(1)"; exit 1; fi
endef
