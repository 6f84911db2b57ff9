# DeepCVR ELT. `make` lists the targets; README.md explains them.

# The system's Python, from which .venv is made.
PYTHON ?= python3

# Settings of a run, on the command line or in the environment: make extract DATASET=test MODE=production FORCE=1
DATASET ?= train
export DATASET SOURCE FORCE MARGIN CONFIDENCE SEED STRATA ALLOCATION MINIMUM CLUSTERS UPLOAD OUTPUT VOCABULARY SHUFFLE
ifdef MODE
export DEEPCVR_MODE := $(MODE)
endif

# dbt colours its lines in a log too.
ifeq ($(MAKE_TERMOUT),)
export DBT_USE_COLORS := false
endif

# What would lead Python out of .venv or have it run otherwise, and an encoding that the shell's language does not change.
unexport $(filter-out PYTHON PYTHONUNBUFFERED,$(filter PYTHON%,$(.VARIABLES)))
export PYTHONUTF8 := 1

VENV := .venv/bin

# The marts too, which are not of dbt's default selection.
ALL_NODES := 'fqn:*' 'source:*'

# Whichever Python runs, for what needs no packages: .venv may be half made, or that of a Python that is gone.
BARE = $$($(VENV)/python -c '' 2>/dev/null && echo $(VENV)/python || echo $(PYTHON))

# What removes production data is said on make's line, and not by chance in a shell.
ifneq ($(origin ALL),command line)
unexport ALL
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-checks docs-port run extract export prune sample test check soak lint format report docs up down status sql bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## provide .venv, and Java and a MySQL server where the machine has none
	@$(PYTHON) -m embedded.setup $(if $(filter sample,$(MAKECMDGOALS)),--sample)

setup-checks:
	@$(PYTHON) -m embedded.setup --checks

run: setup ## the whole job: extract, dbt build, dbt docs, and a summary
	@$(VENV)/python -m extract --check
	@$(VENV)/python -m embedded up
	@$(VENV)/python -m extract
	@$(VENV)/python -m pipeline.run_dbt build --target $(DATASET)
	@$(VENV)/python -m pipeline.run_dbt --quiet docs generate --select $(ALL_NODES) --target $(DATASET)
	@$(VENV)/python -m report.summary

extract: setup ## download, unpack and explode into staging (DATASET=train|test MODE=development|production FORCE=1)
	@$(VENV)/python -m extract --check
	@$(VENV)/python -m embedded up
	@$(VENV)/python -m extract

export: setup ## write the built tables as Parquet (DATASET MODE OUTPUT=folder VOCABULARY=10 SHUFFLE=1)
	@$(VENV)/python -m export --check
	@$(VENV)/python -m embedded up --mysql
	@$(VENV)/python -m export

prune: setup ## give back the disk of staging, once its load is built and tested (DATASET MODE)
	@$(VENV)/python -m embedded up --mysql
	@$(VENV)/python -m spark_jobs.prune

sample: setup ## draw a development sample (DATASET MARGIN=5% CONFIDENCE=95% SEED=1 UPLOAD=1 FORCE=1)
	@$(VENV)/python -m extract.sample --check
	@$(VENV)/python -m embedded up
	@$(VENV)/python -m extract.sample

# Two at a time, whatever the machine has: each of the two has servers of its own.
test: lint ## every check and every test
	@$(VENV)/python -m pytest --numprocesses 2

check: setup-checks ## lint and the unit tests, in under a minute
	@$(MAKE) --no-print-directory lint & $(VENV)/python -m pytest -q --numprocesses 2 tests/unit; tests=$$?; \
	wait $$! && exit $$tests

soak: setup-checks ## the tests that take long: kills at many moments and the like
	@$(VENV)/python -m pytest -m soak -v -rP --numprocesses 2

# The two slow ones side by side; each says what it has found.
lint: setup-checks ## ruff, mypy and sqlfluff
	@$(VENV)/ruff check
	@$(VENV)/ruff format --check
	@$(VENV)/sqlfluff lint --templater jinja dbt_project & $(VENV)/mypy; types=$$?; wait $$! && exit $$types

format: setup-checks ## put Python and SQL into the project's form
	@$(VENV)/ruff check --fix
	@$(VENV)/ruff format
	@$(VENV)/sqlfluff fix --templater jinja dbt_project

report: setup ## write a page about the built tables: labels, fields, groups, values, loads (DATASET MODE OUTPUT=file.html|folder)
	@$(VENV)/python -m embedded up --mysql
	@$(VENV)/python -m report

docs-port:
	@$(BARE) -m pipeline.docs --check

docs: docs-port setup ## build dbt's documentation and serve it until Ctrl-C (DATASET PORT=8080)
	@$(VENV)/python -m embedded up --mysql
	@$(VENV)/python -m pipeline.run_dbt --quiet docs generate --select $(ALL_NODES) --target $(DATASET)
	@$(VENV)/python -m pipeline.docs

up: setup ## start the embedded services that the settings call for
	@$(VENV)/python -m embedded up

down: ## stop the embedded services
	@$(BARE) -m embedded down

status: ## what runs, and what is downloaded, staged, built and tested (JSON=1 for programs)
	@$(BARE) -m embedded status

sql: setup ## open mycli on the database of DATASET and MODE
	@$(VENV)/python -m embedded sql

bench: setup-checks ## measure every stage (SCALE=0.01)
	@$(VENV)/python -m benchmarks

clean: ## stop the services and remove all that was made: databases, downloads, .venv (ALL=1: of production too)
	@$(BARE) -m embedded clean
