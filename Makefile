# Headwater's commands. `make help` lists them; each makes what it needs by itself, once.
# STREAMS="sales trucks" restricts demo and run-producers to some streams.

SHELL := /bin/sh
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTHON := $(BIN)/python
export PATH := $(CURDIR)/$(BIN):$(PATH)
export STREAMS
RESOLVE = uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

.PHONY: help setup setup-test demo test run-producers jobs dashboard kafka-up kafka-down notebooks \
	bench chaos lint typecheck check lock reset resend clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## .venv, packages and jars; every target below does it when needed
	@conf/setup.sh run

setup-test:
	@conf/setup.sh test

demo: setup ## broker, producers, jobs and dashboard; Ctrl-C stops all of it
	@$(PYTHON) -m headwater.demo

test: setup-test ## every test, browser and broker included (ARGS="-k sales" for some)
	@$(PYTHON) -m pytest $(ARGS)

run-producers: setup ## the producers, against a broker that is started if none is named
	@$(PYTHON) -m headwater.demo --producers-only

jobs: setup ## all jobs in one Spark driver
	@spark-submit jobs/suite.py

dashboard: setup ## the dashboard alone
	@$(PYTHON) -m dashboards.app

kafka-up: setup ## the embedded broker alone; returns when it answers
	@$(PYTHON) -m headwater.broker start

kafka-down: setup ## stop the embedded broker
	@$(PYTHON) -m headwater.broker stop

notebooks: setup-test ## open the notebooks
	@$(BIN)/jupyter lab notebooks

bench: setup-test ## start-up, throughput, latency, markers, growth, beside others (ARGS="--quick", ARGS=throughput)
	@$(PYTHON) -m benchmarks $(ARGS)

chaos: setup-test ## kill, freeze, cut off and starve everything for 10 minutes; then prove that nothing was lost
	@$(PYTHON) -m benchmarks.chaos $(ARGS)

lint: setup-test ## ruff; never rewrites
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

typecheck: setup-test ## mypy
	@$(BIN)/mypy

check: lint typecheck test ## all that a change must pass

lock: setup-test ## resolve all dependencies anew, jars included
	@echo 'setuptools\nuv' | $(RESOLVE) - -o requirements-setup.lock
	@$(RESOLVE) pyproject.toml -c requirements-setup.lock -o requirements.lock
	@$(RESOLVE) pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock
	@$(RESOLVE) benchmarks/rivals/requirements.in -o benchmarks/rivals/requirements.lock
	@cd conf/jars/spark && jgo lock
	@cd conf/jars/kafka && jgo lock

reset: setup ## forget one stream's checkpoints and tables: make reset STREAM=sales
	@$(PYTHON) -m headwater.reset $(STREAM)

resend: setup ## what was rejected, to be mended and sent again: make resend STREAM=sales ARGS="--out mend.jsonl"
	@$(PYTHON) -m producers.resend $(STREAM) $(ARGS)

clean: ## remove .venv and caches; data under var stays
	@rm -rf .venv .venv-quix .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
