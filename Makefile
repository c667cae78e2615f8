# make demo   installs what the demo needs, trains the default rule, ends with pictures and a report
# make test   installs what the tests need and runs all of them; PYTEST="tests/laws -k dense" for some
# make test-fast  runs the tests that take a second at most: a minute and a half in all
# make nightly    runs all with fresh random examples, all pairs of settings, fuzzers: before a large change is closed
# make faults  hurts runs and checkpoints, ours and those of peers in .venv-faults: docs/reliability.md; five minutes on two cores
# make check  lint and types only
# make lock   resolves the versions that both install, after a change of constraints.txt
# make clean  removes the virtual environment and caches
# make graphics compiler browser   Debian packages that pip can't bring; demo and test ask for them themselves
# make SYSTEM=0 …  installs no Debian packages and says what goes without them

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c requirements.lock

# One thread a process: two processes with two threads each stall one another on two cores.
RUN_TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

.PHONY: demo test test-fast nightly faults check lock clean graphics compiler browser

demo: .venv/.installed-demo graphics compiler
	$(BIN)/nca3d train default

test: .venv/.installed-test graphics compiler browser
	$(MAKE) --no-print-directory check
	$(RUN_TESTS) $(PYTEST)

test-fast: .venv/.installed-test
	NCA3D_EXAMPLES=fast $(RUN_TESTS) --dist worksteal -m "not slow and not nightly" $(PYTEST)

nightly: .venv/.installed-test graphics compiler browser
	NCA3D_EXAMPLES=nightly $(RUN_TESTS) -m "" $(PYTEST)

faults: .venv/.installed-demo compiler .venv-faults/.installed
	$(BIN)/python benchmarks/faults.py --write docs/reliability.md

check: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

# Each extra is tried on its own if they can't be had together: what is missing is said, and the rest goes on.
.venv/.installed-demo: setup.cfg requirements.lock | .venv/bin/python
	@$(PIP) -e '.[viz]' || { $(PIP) -e . && \
	  echo "not installed: extra viz. Pictures come from the built-in ray-marcher, films are GIFs, meshes can't be read." >&2; }
	@touch $@

.venv/.installed-test: setup.cfg requirements.lock | .venv/bin/python
	@$(PIP) -e '.[test]' || { $(PIP) -e . pytest pytest-xdist hypothesis mmh3 playwright ruff mypy import-linter && \
	  for extra in viz zarr gpu tensorboard graph teacher export serve sweep notebooks; do \
	    $(PIP) -e ".[$$extra]" || echo "not installed: extra $$extra; its tests are skipped." >&2; done; }
	@touch $@

# What nca3d is compared with; a Python of its own, so that nothing of it is a dependency of ours. Without it less is compared.
PEERS := torch numpy safetensors lightning==2.6.6
.venv-faults/.installed: constraints.txt
	@{ $(PYTHON) -m venv .venv-faults && \
	  .venv-faults/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt $(PEERS) && touch $@; } || \
	  { rm -rf .venv-faults; echo "not installed: $(PEERS). Lightning's column says so; the others run in .venv." >&2; }

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "nca3d needs Python 3.11 or newer; found $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }
	@echo "making a virtual environment in .venv and installing (a few minutes the first time)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "no venv module: on Debian, apt-get install python3-venv" >&2; exit 1; }

# System packages, where they are missing. What is about to be installed is said first; SYSTEM=0 installs none.
export SYSTEM

# A browser for the tests of pages: they open the real files in it.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  tools/system_packages.sh "chromium" "Tests of pages are skipped."

# Headless OpenGL: without these Debian libraries pyvista ends in a segmentation fault, so nca3d draws with its own ray-marcher.
graphics:
	@{ ldconfig -p 2>/dev/null | grep -q libEGL.so.1 && ls /usr/lib/*/dri/*swrast* /usr/lib/*/libgallium* 2>/dev/null | grep -q .; } || \
	  tools/system_packages.sh "libegl1 libgl1 libgl1-mesa-dri" "Pictures come from the built-in ray-marcher."

# A C compiler for the event-driven executor.
compiler:
	@command -v cc gcc clang >/dev/null || \
	  tools/system_packages.sh "gcc libc6-dev" "Living cells run through torch, several times slower."

# The versions that both commands install: constraints.txt pins what we name ourselves, pip resolves the rest.
lock:
	@set -o pipefail; folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder" && \
	  "$$folder/bin/python" -m pip --disable-pip-version-check install -q -c constraints.txt -e '.[test]' && \
	  { echo '# Every version that `make demo` and `make test` install with; made by `make lock`.'; \
	    "$$folder/bin/python" -m pip freeze --exclude-editable | sed -E 's/\+[a-z0-9.]+$$//' | LC_ALL=C sort -f; } > "$$folder/lock" && \
	  mv "$$folder/lock" requirements.lock

clean:
	rm -rf .venv .venv-faults build *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache
