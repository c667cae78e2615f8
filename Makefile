# make demo   installs what the demo needs, trains the default rule, ends with pictures and a report
# make test   installs what the tests need and runs all of them
# make check  lint and types only
# make clean  removes the virtual environment and caches

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt

.PHONY: demo test check clean graphics compiler browser

demo: .venv/.installed-demo graphics compiler
	$(BIN)/nca3d train quick

test: .venv/.installed-test graphics compiler browser
	$(MAKE) --no-print-directory check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST)

check: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

# Each extra is tried on its own if they can't be had together: what is missing is said, and the rest goes on.
.venv/.installed-demo: setup.cfg constraints.txt | .venv/bin/python
	@$(PIP) -e '.[viz]' || { $(PIP) -e . && \
	  echo "not installed: extra viz. Pictures come from the built-in ray-marcher, films are GIFs, meshes can't be read." >&2; }
	@touch $@

.venv/.installed-test: setup.cfg constraints.txt | .venv/bin/python
	@$(PIP) -e '.[test]' || { $(PIP) -e . pytest pytest-xdist hypothesis mmh3 playwright ruff mypy import-linter && \
	  for extra in viz zarr gpu tensorboard graph teacher export serve notebooks; do \
	    $(PIP) -e ".[$$extra]" || echo "not installed: extra $$extra; its tests are skipped." >&2; done; }
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "nca3d needs Python 3.11 or newer; found $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }
	@echo "making a virtual environment in .venv and installing (a few minutes the first time)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "no venv module: on Debian, apt-get install python3-venv" >&2; exit 1; }

# A browser for the tests of pages: they open the real files in it. Without one those tests are skipped.
browser:
	@if command -v chromium chromium-browser google-chrome >/dev/null; then :; \
	elif command -v apt-get >/dev/null && { [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then \
	  run=; [ "$$(id -u)" = 0 ] || run=sudo; \
	  $$run apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$run apt-get install -qq -y --no-install-recommends chromium >/dev/null \
	    || echo "not installed: chromium. Tests of pages are skipped." >&2; \
	else echo "no browser: apt-get install chromium for the tests of pages; they are skipped until then." >&2; fi

# Headless OpenGL: without these Debian libraries pyvista ends in a segmentation fault, so nca3d draws with its own ray-marcher.
graphics:
	@if ldconfig -p 2>/dev/null | grep -q libEGL.so.1 && ls /usr/lib/*/dri/*swrast* /usr/lib/*/libgallium* 2>/dev/null | grep -q .; then :; \
	elif command -v apt-get >/dev/null && { [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then \
	  run=; [ "$$(id -u)" = 0 ] || run=sudo; \
	  $$run apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$run apt-get install -qq -y --no-install-recommends libegl1 libgl1 libgl1-mesa-dri >/dev/null \
	    || echo "not installed: libegl1 libgl1 libgl1-mesa-dri. Pictures come from the built-in ray-marcher." >&2; \
	else echo "no OpenGL: apt-get install libegl1 libgl1 libgl1-mesa-dri for it; pictures come from the built-in ray-marcher until then." >&2; fi

# A C compiler for the event-driven executor: without one it runs through torch, several times slower.
compiler:
	@if command -v cc gcc clang >/dev/null; then :; \
	elif command -v apt-get >/dev/null && { [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then \
	  run=; [ "$$(id -u)" = 0 ] || run=sudo; \
	  $$run apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$run apt-get install -qq -y --no-install-recommends gcc libc6-dev >/dev/null \
	    || echo "not installed: gcc libc6-dev. Living cells run through torch, several times slower." >&2; \
	else echo "no C compiler: apt-get install gcc libc6-dev for it; living cells run through torch, several times slower, until then." >&2; fi

clean:
	rm -rf .venv build *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache
