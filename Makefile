# Everything here works on a fresh clone with gcc, make and Python >= 3.11 (with headers); what else is needed
# comes into .venv from PyPI. `make` lists the targets.

PYTHON       ?= python3
JOBS         ?= $(shell nproc)
RT_WERROR    ?= OFF
# What is installed to be tested: the tree, or with WHEEL=dist/....whl what users get (`make wheel`).
WHEEL        ?=
PYTEST_ARGS  ?=
# make test and make check: ROOM=core|rtp|udt|netflux|net|dropins|rtstat|doctor|bench|cli runs the tests of one room
# (tests/py/rooms.py).
ROOM         ?=
WHEEL_TARGETS ?=
WHEEL_ROOTS  ?=
WORLDS       ?=
FREE_THREADED ?=
# Most tests wait more than they compute. A file's tests stay together: they may share what is slow to make.
# The files stay in the order of tests/py/conftest.py, the longest first.
# With the 64 MB of shared memory of a container there is room for fewer of the largest channels.
SMALL_SHM := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$2 < 131072 { print "small" }')
SIDE_BY_SIDE := $(if $(SMALL_SHM),$(JOBS),$(shell expr $(JOBS) + 1))
PYTEST = $(BIN)/pytest -n $(SIDE_BY_SIDE) --dist loadfile --no-loadscope-reorder $(if $(ROOM),--room=$(ROOM))
CTEST_ROOM = $(if $(ROOM),$(or $(shell $(PYTHON) tests/py/rooms.py $(ROOM)),$(error make needs another ROOM)))
FUZZ_SECONDS ?= 60
FUZZ_RUNS    ?= 50000
MUTATIONS    ?= 1000000
SEED         ?=
CHAOS_KILLS  ?= 1000
CHAOS_SEED   ?=
SOAK_SECONDS ?= 600

# Recipes name programs by paths from this folder, because the path of the folder may contain spaces.
VENV    := .venv
BIN     := $(VENV)/bin
TOOLS   := $(VENV)/.tools
STAGE   := @sh tests/stage.sh
export PATH := $(CURDIR)/$(BIN):$(PATH)
# No build isolation and one lasting build folder: after an edit only what changed is compiled.
PIP_INSTALL := $(BIN)/pip install -qq --no-build-isolation --config-settings build-dir=build/pip \
               --config-settings cmake.define.RT_WERROR=$(RT_WERROR) --config-settings cmake.define.RT_TESTS=quick
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
SOURCES := pyproject.toml $(shell find csrc $(wildcard shmring workers api tools) -type f ! -name '*.pyc')
SANITIZER_ENV := ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
                 TSAN_OPTIONS=second_deadlock_stack=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check release wheel wheels wheels-check artifacts worlds dropins librtpsynth lint lint-python docs tidy format schema surface asan tsan tsan-python free-threaded coverage mutants-py model litmus aarch64 fuzz fuzz-fixed chaos sim soak hostile clean FORCE

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo ## what shmring does, on this machine, in a minute
	@$(BIN)/shmring demo

# What the C tests skipped stands in the table at the end of pytest, too.
test: export SHMRING_CTEST_LOG := build/pip/Testing/Temporary/LastTest.log
check: export SHMRING_CTEST_LOG := build/dev/Testing/Temporary/LastTest.log

# The C tests are built in the folder in which pip has compiled the product: nothing is compiled twice. A WHEEL was
# compiled elsewhere, so for it they are left out.
test: $(VENV)/.installed-test ## prove that what is installed here works (ROOM=...; PYTEST_ARGS=... goes to pytest)
ifeq ($(WHEEL),)
	$(STAGE) "build the quick C tests" $(MAKE) --no-print-directory build/pip/c_tests
	$(STAGE) "quick C tests" $(BIN)/ctest --test-dir build/pip --parallel $(SIDE_BY_SIDE) --output-on-failure \
	    --no-tests=error $(CTEST_ROOM)
endif
	$(STAGE) "quick Python tests" $(PYTEST) $(PYTEST_ARGS)

build/pip/c_tests: FORCE
	@$(BIN)/cmake --build build/pip --target c_tests --parallel $(JOBS) >build/c_tests.log 2>&1 \
	    || { cat build/c_tests.log; exit 1; }

check: $(VENV)/.installed-check ## all tests: also the long ones, those of every extra, and those with foreign programs
	$(STAGE) "build the C tests" $(MAKE) --no-print-directory build-dev
	$(STAGE) "C tests" $(MAKE) --no-print-directory ctest-dev
	$(STAGE) "Python tests" $(PYTEST) --check $(PYTEST_ARGS)

wheel: $(TOOLS) ## dist/: the source archive, and the wheel that is built from it alone
	@rm -rf dist && mkdir -p build
	@$(BIN)/pip install -qq build
	@$(BIN)/python -m build --config-setting=cmake.define.RT_WERROR=$(RT_WERROR) >build/wheel.log 2>&1 \
	    || { cat build/wheel.log; exit 1; }
	@ls -l dist

# Both machines and both C libraries, whatever this machine is. WHEEL_TARGETS: only some of them.
wheels: $(TOOLS) ## dist/wheels/: wheels for glibc 2.28 and musl 1.2 on x86_64 and aarch64, cross-compiled (needs no root)
	@rm -rf dist/wheels build/wheels/sdist && mkdir -p build dist/wheels
	@$(BIN)/pip install -qq build 'ziglang>=0.13' auditwheel
	@$(BIN)/python -m build --sdist --no-isolation -o build/wheels/sdist >build/wheels.log 2>&1 \
	    || { cat build/wheels.log; exit 1; }
	@$(BIN)/python csrc/wheels/build.py build/wheels/sdist/*.tar.gz dist/wheels $(WHEEL_TARGETS)

# dist/release/pypi is uploaded. The drop-ins are not: their names belong to others.
artifacts: wheels docs ## dist/release/: all files of a release, checked, with their checksums
	@rm -rf dist/release
	@$(BIN)/pip install -qq 'abi3audit>=0.0.20' 'twine>=6.1'
	@$(BIN)/python csrc/wheels/dropins.py dist/release/dropins
	@$(BIN)/python csrc/wheels/artifacts.py build/wheels/sdist/*.tar.gz dist/wheels dist/release

# As root, two at a time. WHEEL_ROOTS: debian, arm64, musl, musl-arm64, or some of them.
wheels-check: $(TOOLS) ## install the wheels of dist/wheels into clean roots, with musl and emulated, too, and test there
	@$(BIN)/python csrc/wheels/check.py dist/wheels $(WHEEL_ROOTS)

# WORLDS: some of container, bookworm, trixie, here. WORLDS_JOBS=2: two at a time. UPDATE=1: list anew what is skipped.
worlds: ## make demo and make test from a fresh clone in four worlds (needs root, debootstrap, capsh)
	@$(PYTHON) tests/worlds/worlds.py $(WORLDS)

dropins: ## dist/dropins/: distributions without modules that have the names and versions of the originals
	@$(PYTHON) csrc/wheels/dropins.py dist/dropins

librtpsynth: $(TOOLS) ## dist/librtpsynth/: the wheel of that C library, with its headers and its file for pkg-config
	@$(BIN)/python csrc/wheels/librtpsynth.py dist/librtpsynth

lint: $(VENV)/.installed-dev ## ruff, mypy, pyright, budgets of lines, the stubs against the built module, clang-tidy
	@$(MAKE) --no-print-directory -j lint-python tidy

# One core is enough for these.
lint-python: $(VENV)/.installed-dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/basedpyright --level error
	@$(PYTHON) tests/budgets.py
	@cd $(VENV) && bin/stubtest shmring._hot rtpsynth._core

# Warnings are errors. Sphinx imports the installed package for the reference. No network, no worker.
docs: $(VENV)/.installed-dev ## the documentation site: build/site/index.html
	@$(BIN)/sphinx-build -q -W --keep-going -j $(JOBS) -c docs . build/site
	@echo build/site/index.html

tidy: build-dev ## clang-tidy over csrc, where it is installed
	@if command -v clang-tidy >/dev/null; then \
	    find csrc -name '*.c' ! -path 'csrc/python/*' -print0 \
	        | xargs -0 -r -n 1 -P $(JOBS) clang-tidy --quiet -p build/dev 2>build/tidy.log \
	        || { cat build/tidy.log; exit 1; }; \
	else echo "clang-tidy is not installed: left out"; fi

format: ## lay out the C sources as .clang-format says
	@find csrc tests/c tests/sim $(wildcard tests/fuzz) -name '*.[ch]' -exec clang-format -i {} +

schema: ## write the Python modules and the tables of the documentation that repeat csrc/rows
	@$(PYTHON) csrc/schema.py
	@$(MAKE) --no-print-directory $(VENV)/.installed-test
	@$(BIN)/python csrc/schema.py --installed
	@$(BIN)/python -P -m shmring_cli.manual docs/man

surface: $(VENV)/.installed-test ## tests/surface.txt: public names, signatures, options and symbols, which a test compares
	@$(BIN)/python -P tests/surface.py >build/surface.txt
	@mv build/surface.txt tests/surface.txt

asan: ctest-asan ## the C tests under AddressSanitizer and UndefinedBehaviorSanitizer

tsan: ctest-tsan ## the C tests that have threads under ThreadSanitizer

# The extension, libshmring's code in it and the workers are instrumented, the interpreter is not: its lock, where
# it has one, orders all except what runs while a thread waits or sleeps.
TSAN_PYTHON := build/tsan-python
tsan-python: $(VENV)/.installed-check ## the compiled modules under ThreadSanitizer, with several threads on one end
	@rm -rf $(TSAN_PYTHON)
	@$(BIN)/pip install -qq --no-build-isolation --no-deps --target $(TSAN_PYTHON) \
	    --config-settings build-dir=build/pip-tsan --config-settings install.strip=false \
	    --config-settings cmake.define.RT_SANITIZE=thread .
	@status=0; PYTHONPATH=$(TSAN_PYTHON) LD_PRELOAD=$$(gcc -print-file-name=libtsan.so) \
	    TSAN_OPTIONS=second_deadlock_stack=1:suppressions=tests/py/tsan.supp:log_path=$(TSAN_PYTHON)/report \
	    $(BIN)/python -P -m pytest -q --check tests/py/unit/channel/test_threads.py $(PYTEST_ARGS) || status=1; \
	if ls $(TSAN_PYTHON)/report.* >/dev/null 2>&1; then cat $(TSAN_PYTHON)/report.*; status=1; fi; exit $$status

free-threaded: $(TOOLS) ## the tests of channels without Python's lock (FREE_THREADED=python3.14t, else 3.13 is compiled)
	@bash tests/free_threaded.sh $(FREE_THREADED)

coverage: $(VENV)/.installed-check ## how many lines of shmring/, workers/ and csrc make test reaches, and make check
	@$(BIN)/pip install -qq coverage
	@$(BIN)/python -P tests/reached.py all

# Some hours. MUTANTS="--count 10 --within shmring/rtp" looks at a part.
mutants-py: $(VENV)/.installed-test ## tests/mutants.txt: 150 faults in the Python code by SEED, and which of them no test notices
	@$(BIN)/pip install -qq 'coverage>=7.10'
	@$(BIN)/python -P tests/mutants.py $(if $(SEED),--seed $(SEED)) $(MUTANTS)

MODELS := $(sort $(shell sed -n 's/^run \([a-z]*\)-.*/\1/p' tests/model/run.sh))

model: litmus ## check the models of the rings (needs spin)
	@$(MAKE) --no-print-directory -j $(JOBS) $(addprefix model-,$(MODELS))

model-%:
	@bash tests/model/run.sh $*-

litmus: ## check the memory orders of csrc against the C11 memory model
	@$(PYTHON) tests/model/litmus/check.py

# The socket and worker tests are left out: they are about this kernel, not about the processor.
aarch64: build-aarch64 ## rings, protocols and memory orders on emulated 64-bit Arm (needs a cross compiler and qemu-user)
	@cd csrc && ctest --preset aarch64 --parallel $(JOBS) -R '^(unit/(base|shm|proto)|stress/shm)'

fuzz: build-fuzz ## each fuzz target for FUZZ_SECONDS, from its corpus (needs clang)
	@set -e; for target in build/fuzz/fuzz/fuzz_*; do \
	    name=$${target##*/fuzz_}; found=build/fuzz/found/$$name; mkdir -p $$found; \
	    seeds=tests/fuzz/corpus/$$name; [ -d $$seeds ] || seeds=; \
	    echo "fuzz $$name, $(FUZZ_SECONDS) s"; \
	    $$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	        -artifact_prefix=build/fuzz/found/$$name- $$found $$seeds >build/fuzz/$$name.log 2>&1 \
	        || { cat build/fuzz/$$name.log; exit 1; }; \
	    grep -E 'number_of_executed_units|cov:' build/fuzz/$$name.log | tail -n 2; \
	done

# The same inputs each time: no seed of chance, no address space layout of chance, and nothing that depends on
# the time that passes (the corpus read anew, loop counts and compared values as guides of the search).
fuzz-fixed: build-fuzz ## each fuzz target: its corpus, then FUZZ_RUNS inputs that are always the same (needs clang)
	@$(MAKE) --no-print-directory -j $(JOBS) $(addprefix fuzz-fixed-,$(FUZZ_TARGETS))

fuzz-fixed-%:
	@found=build/fuzz/fixed/$*; rm -rf $$found; mkdir -p $$found; \
	seeds=tests/fuzz/corpus/$*; [ -d $$seeds ] || seeds=; \
	fixed=; if setarch -R true 2>/dev/null; then fixed="setarch -R"; fi; \
	echo "fuzz $*, $(FUZZ_RUNS) runs"; \
	$$fixed build/fuzz/fuzz/fuzz_$* -seed=1 -runs=$(FUZZ_RUNS) -reload=0 -use_counters=0 -use_cmp=0 -timeout=60 \
	    -rss_limit_mb=2048 -artifact_prefix=build/fuzz/fixed/$*- $$found $$seeds \
	    >build/fuzz/$*-fixed.log 2>&1 || { cat build/fuzz/$*-fixed.log; exit 1; }

sim: build-dev ## workers and clients in virtual time: SCENE for SECONDS, or the one run of SEED with its trace (SCENE=, SEED=, SECONDS=)
	@build/dev/tests/simulation/sim --scene $(or $(SCENE),udp) --shrink $(if $(SEED),--seed $(SEED)) \
	    $(if $(SECONDS),--seconds $(SECONDS),$(if $(SEED),--trace,--seconds 60))

chaos: $(VENV)/.installed-check ## kill anything at any time, CHAOS_KILLS times from CHAOS_SEED, and balance the ledger
	@$(BIN)/python tests/py/chaos/run.py --kills $(CHAOS_KILLS) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))

soak: $(VENV)/.installed-check ## SOAK_SECONDS of churn on 200 channels: memory and descriptors must stay flat
	@$(BIN)/python tests/py/chaos/soak.py --seconds $(SOAK_SECONDS)

hostile: build-asan $(VENV)/.installed-check ## spoil channels' memory and files MUTATIONS times beside a channel that must not notice (SEED=...)
	@$(SANITIZER_ENV) RT_TEST_ROUNDS=$(MUTATIONS) RT_TEST_SEED=$(SEED) \
	    build/asan/tests/stress-worker-hostile_client
	@$(SANITIZER_ENV) SHMRING_WORKER="$(CURDIR)/build/asan/shmring-worker" $(BIN)/pytest --check tests/py/system/hostile

# Hours. docs/howto/releasing.md requires it.
release: ## what .ci/run leaves out: every world, wheels in clean roots, Arm, threads of Python, long fuzzing and chaos
	$(STAGE) "all worlds" $(MAKE) --no-print-directory worlds
	$(STAGE) "all that is uploaded: for both machines and both C libraries" $(MAKE) --no-print-directory artifacts
	$(STAGE) "the wheels in clean roots, two of them emulated" $(MAKE) --no-print-directory wheels-check
	$(STAGE) "64-bit Arm, emulated" $(MAKE) --no-print-directory aarch64
	$(STAGE) "ThreadSanitizer: threads of Python on one end" $(MAKE) --no-print-directory tsan-python
	$(STAGE) "fuzz: the corpus, then inputs that are the same each time" $(MAKE) --no-print-directory fuzz-fixed
	$(STAGE) "hostile clients" $(MAKE) --no-print-directory hostile
	$(STAGE) "chaos" $(MAKE) --no-print-directory chaos CHAOS_KILLS=10000
	$(STAGE) "soak" $(MAKE) --no-print-directory soak SOAK_SECONDS=3600

clean: ## remove what make made
	@rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

# C builds: build-PRESET and ctest-PRESET for every preset of csrc/CMakePresets.json. A log is shown only
# when its step fails; compiler warnings are always shown.
build-%: export CMAKE_GENERATOR := Ninja
build-%: $(TOOLS) FORCE
	@mkdir -p build
	@cd csrc && { cmake --preset $* -DRT_WERROR=$(RT_WERROR) && cmake --build --preset $* --parallel $(JOBS); } \
	    >../build/$*.log || { cat ../build/$*.log; exit 1; }

ctest-%: build-%
	@cd csrc && $(SANITIZER_ENV) ctest --preset $* --parallel $(SIDE_BY_SIDE) $(CTEST_ROOM)

$(TOOLS): pyproject.toml
	$(STAGE) "set up $(VENV)" sh -c "{ [ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV); } && \
	    $(BIN)/pip install -qq scikit-build-core 'cffi>=2.1' 'cmake>=3.26' ninja"
	@touch $@

# .installed-X: the tree, or WHEEL, with the extras of X. As old as its beginning: an edit during the installation is
# installed the next time.
EXTRAS_demo  := demo
EXTRAS_test  := test
EXTRAS_check := check
EXTRAS_dev   := check,dev

$(VENV)/.installed-%: $(TOOLS) $(SOURCES) $(WHEEL)
	@$(if $(WHEEL),$(BIN)/pip uninstall -qqy shmring)
	@touch $@.begun
	$(STAGE) "install $(or $(WHEEL),shmring), for $*" $(PIP_INSTALL) '$(or $(WHEEL),.)[$(EXTRAS_$*)]'
	@mv $@.begun $@

FORCE:
