# Timelock: every way in. `make help` lists the targets.
# A target first runs the set-up steps it needs (tools/setup); what is already right costs milliseconds.

export TIMELOCK_HOME ?= /var/lib/timelock
export TIMELOCK_CACHE ?= $(TIMELOCK_HOME)/cache
export PULUMI

REQUEST ?= request.yaml
INVENTORY ?=
HOSTS ?= 3
GPUS ?= 2
ONLY ?=
TESTS ?=

BIN := .venv/bin
TIMELOCK := $(BIN)/timelock
PYTEST := $(BIN)/python -m pytest -n 2 $(TESTS)
SCRIPTS := tools/setup $(wildcard tools/*.sh bench/*.sh .ci/run)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\n  REQUEST=%s  INVENTORY=DIR (none: a lab on this machine)  HOSTS=%s GPUS=%s (of the lab)\n' '$(REQUEST)' '$(HOSTS)' '$(GPUS)'
	@printf '  TIMELOCK_HOME=%s  TIMELOCK_CACHE=%s  PULUMI=download\n' '$(TIMELOCK_HOME)' '$(TIMELOCK_CACHE)'

.PHONY: setup
setup: ## install what is missing: Debian packages, .venv, Pulumi CLI
	@tools/setup apt python pulumi

.PHONY: book
book: setup ## book REQUEST on the hosts of INVENTORY, or of a lab; nothing changes if it is booked already
ifeq ($(INVENTORY),)
	@$(TIMELOCK) lab up --hosts $(HOSTS) --gpus $(GPUS)
	@$(TIMELOCK) book $(REQUEST) --yes
else
	@$(TIMELOCK) book $(REQUEST) --yes --inventory $(INVENTORY)
endif

.PHONY: lab-up
lab-up: setup ## start the lab: HOSTS real Linux hosts with GPUS fake GPUs each
	@$(TIMELOCK) lab up --hosts $(HOSTS) --gpus $(GPUS)

.PHONY: lab-down
lab-down: setup ## stop the lab and remove all that it made
	@$(TIMELOCK) lab down

.PHONY: test
test: setup-test ## all tests but the long ones, lab included (at most 10 minutes)
	@$(PYTEST) -m "not full"

.PHONY: test-full
test-full: setup-test ## all tests, the long ones included
	@$(PYTEST)

.PHONY: setup-test
setup-test:
	@tools/setup apt apt-test python pulumi

.PHONY: lint
lint: setup-python ## style, types, import direction, shell scripts, lock file, README
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/shellcheck -x $(SCRIPTS)
	@$(BIN)/python tools/lock.py check
	@$(BIN)/python tools/readme.py check

.PHONY: format
format: setup-python ## let ruff format and repair what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: check-readme
check-readme: setup-python ## README's help text is what the program says
	@$(BIN)/python tools/readme.py check

.PHONY: readme
readme: setup-python ## write the program's help text into README
	@$(BIN)/python tools/readme.py write

.PHONY: lock
lock: setup-python ## make requirements.lock anew from pyproject.toml (UPGRADE=1: newest versions)
	@$(BIN)/python tools/lock.py write $(if $(UPGRADE),--upgrade)

.PHONY: bench
bench: setup-test ## measure, all or ONLY=name; writes bench/results and docs/benchmarks.md
	@$(BIN)/python -m bench.run $(ONLY)

.PHONY: setup-python
setup-python:
	@tools/setup python

.PHONY: clean
clean: ## remove what make left in this clone; labs, bookings and the cache stay
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
