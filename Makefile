# watchline: two commands do everything: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
VENV ?= .venv
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := $(VENV)/bin
export VIDEO ?=
OUT ?= demo
SOURCES := pyproject.toml CMakeLists.txt $(wildcard */native/*)

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench peers wheel clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  options: VIDEO=path (demo), OUT=folder (demo), PYTHON=python3.12, ARGS='-k name' (test)"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or later with venv here; install python3 and python3-venv," \
	  "or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV)

# An editable install: changed Python is live, changed C++ or pyproject.toml installs again.
$(VENV)/installed: $(BIN)/python $(SOURCES)
	@echo "installing watchline and what it needs into $(VENV): a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/installed-dev: $(BIN)/python $(SOURCES)
	@echo "installing watchline and its test tools into $(VENV): a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(VENV)/installed $@

demo: $(VENV)/installed  ## find, track and show people in a sample clip (or VIDEO=path); results in demo/
	@video="$$VIDEO"; \
	if [ -z "$$video" ]; then video=$$($(BIN)/watchline models pull bikes) || exit $$?; fi; \
	$(BIN)/watchline run "$$video" --out "$(OUT)" --save-detections --overwrite

test: $(VENV)/installed-dev  ## set up and run the whole test suite
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/installed-dev  ## lint, formatting, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror */native/*.h */native/*.cc
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-dev  ## put code into the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i */native/*.h */native/*.cc

bench: $(VENV)/installed-dev  ## speed and memory; beside ultralytics once `make peers` has made its venv
	$(BIN)/python -m tests.bench

peers: $(BIN)/python  ## a second venv with the programs that `make bench` compares with (torch: several GB)
	"$(PYTHON)" -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r tests/bench/peers.txt

wheel: $(BIN)/python  ## build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .

clean:  ## remove what make made (venvs, build, demo results, caches of tools)
	rm -rf .venv .venv-peers build dist demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
