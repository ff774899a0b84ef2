# watchline: two commands do everything: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
VENV ?= .venv
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := $(VENV)/bin
PEERS := .venv-peers
TRACKER_PEERS := .venv-tracker-peers
export VIDEO ?=
OUT ?= demo
MINUTES ?= 120
SEED ?=
SOURCES := pyproject.toml CMakeLists.txt $(wildcard */native/*)

.DEFAULT_GOAL := help
.PHONY: help demo test soak fuzz sanitize check format bench bench-models peers tracker-peers peers-plots wheel clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
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

soak: $(VENV)/installed-dev  ## the daemon with random faults and a verifier, 2 hours (MINUTES=5, SEED=7); report in build/soak
	$(BIN)/python -m tests.soak.daemon --minutes "$(MINUTES)" $(if $(SEED),--seed "$(SEED)") --out build/soak

# A venv that borrows the packages of $(VENV), and has watchline's native modules built with sanitizers in it.
NATIVE_TESTS := tests/faults/test_native_fuzz.py tests/laws/test_assignment_laws.py tests/laws/test_tracker_laws.py \
  tests/laws/test_suppression_laws.py \
  $(wildcard tests/trackers/test_native_*.py) tests/trackers/test_state.py tests/trackers/test_coasting.py \
  tests/detectors/test_best_class.py tests/detectors/test_letterbox.py tests/detectors/test_nms.py \
  tests/reid/test_native_top_k.py tests/laws/test_index_laws.py
sanitize: $(VENV)/installed-dev  ## the tests of the native code, built with ASan and UBSan
	rm -rf build/sanitize
	"$(PYTHON)" -m venv --without-pip build/sanitize
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(build/sanitize/bin/python -c \
	  'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth"
	WATCHLINE_REQUIRE_NATIVE=1 $(BIN)/python -m pip --python build/sanitize/bin/python install --quiet \
	  --disable-pip-version-check --no-deps -C build-dir=build/sanitize/cmake -C cmake.define.WATCHLINE_SANITIZE=ON .
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	  build/sanitize/bin/python -m pytest -p no:cacheprovider $(NATIVE_TESTS) $(ARGS)

fuzz: $(VENV)/installed-dev  ## spoilt and hostile model files, more than the tests try (ARGS='--count 5000 --seed 2')
	$(BIN)/python -m tests.faults.fuzz_models --keep build/fuzz $(ARGS)

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

bench: $(VENV)/installed-dev  ## speed and memory; beside the peers once `make tracker-peers` or `make peers` was run
	@for venv in $(TRACKER_PEERS) $(PEERS); do test ! -f $$venv/installed || $(MAKE) --silent $$venv/installed; done
	$(BIN)/python -m tests.bench

bench-models: $(VENV)/installed-dev  ## what every model at hand costs, beside its original; renew docs/benchmarks.md (10 minutes)
	$(BIN)/python -m tests.bench.models_sheet $(ARGS)

tracker-peers: $(TRACKER_PEERS)/installed  ## a second venv with the trackers that `make bench` compares with (0.7 GB)

peers: $(PEERS)/installed  ## the same with the peers that need PyTorch, ultralytics and boxmot (several GB)

peers-plots: $(VENV)/installed-dev  ## compare speed and accuracy with the peers; renew docs/trackers.md (15 minutes)
	@for venv in $(TRACKER_PEERS) $(PEERS); do test ! -f $$venv/installed || $(MAKE) --silent $$venv/installed; done
	@mkdir -p build
	$(BIN)/python -m tests.bench.tracker_peers --json build/tracker-cost.json
	$(BIN)/python -m tests.bench.tracker_accuracy --json build/tracker-accuracy.json
	$(BIN)/python -m tests.bench.tracker_plots --cost build/tracker-cost.json \
	  --accuracy build/tracker-accuracy.json --out docs

$(TRACKER_PEERS)/installed: tests/bench/tracker_peers.txt $(SOURCES)
$(PEERS)/installed: tests/bench/peers.txt tests/bench/tracker_peers.txt $(SOURCES)

# watchline without its needs: the trackers take few of them, and those stand in the list of peers.
%/installed:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or later with venv here; name one: make PYTHON=..." >&2; exit 1; }
	@echo "installing watchline and what it is compared with into $(@D): some minutes"
	@test -x $(@D)/bin/python || "$(PYTHON)" -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@: boxmot brings lapx, whose package has the name of lap and settles ties another way: lap has the last word
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall lap==0.5.13
	@WATCHLINE_REQUIRE_NATIVE=1 $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

wheel: $(BIN)/python  ## build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .

clean:  ## remove what make made (venvs, build, demo results, caches of tools)
	rm -rf .venv $(PEERS) $(TRACKER_PEERS) build dist demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
