# Two commands do all their own set-up: `make run` and `make test`. `make help` lists the rest.
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CLIENT ?= drogaria
SCALE ?= 1
SALES ?=
STATE ?= .local
PORT ?= 4566
SNOWFLAKE_PORT ?= 4567

UV_VERSION := 0.13.9
UV := .tools/bin/uv
PYTHON := .venv/bin/python
ALGORITHMS := .venv-algorithms/bin/python
FLINK := .venv-flink/bin/python

# Where it is set, every Airflow command compiles all its imports again: seconds each.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV
export PYTHONPATH := $(CURDIR)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make run SALES=path.csv CLIENT=online_retail   runs everything on your own file"

$(UV):
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Vitrine needs Python 3.11 or newer as python3"; exit 1; }
	@python3 -m venv .tools || { echo "python3 can't make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.installed: pyproject.toml uv.lock | $(UV)
	@echo "Installing Airflow, the local stack and the test tools"
	@$(UV) sync --frozen --quiet
	@touch $@

.venv/.tests-installed: .venv/.installed
	@echo "Installing Spark and Dask for the tests"
	@$(UV) sync --frozen --quiet --group spark --group dask
	@touch $@

.venv-algorithms/.installed: pyproject.toml uv.lock | $(UV)
	@echo "Installing the environment of the algorithms image"
	@UV_PROJECT_ENVIRONMENT=.venv-algorithms $(UV) sync --frozen --quiet --only-group algorithms
	@touch $@

.venv-flink/.installed: tests/include/sql/flink/requirements.txt | $(UV)
	@echo "Installing Flink for its tests"
	@$(UV) venv --quiet --clear --python 3.12 .venv-flink
	@$(UV) pip install --quiet --python $(FLINK) --requirement $<
	@touch $@

.venv-algorithms/.warm: .venv-algorithms/.installed $(wildcard include/algorithms/*.py)
	@echo "Compiling the algorithms, as the image's build does"
	@$(ALGORITHMS) -m include.algorithms warm
	@touch $@

.PHONY: setup
setup: .venv/.installed .venv-algorithms/.warm ## Install everything (run and test do it by themselves)

.PHONY: stack
stack: setup ## Start the local stack in the background, if it is not running
	@$(PYTHON) -m local status --state $(STATE) >/dev/null || $(PYTHON) -m local up --detach --state $(STATE) --port $(PORT) --snowflake-port $(SNOWFLAKE_PORT)

.PHONY: run
run: setup ## Sales to action plans: start the stack, load data, run the DAG, show what came out
	@$(PYTHON) -m local run --state $(STATE) --port $(PORT) --snowflake-port $(SNOWFLAKE_PORT) --client $(CLIENT) --scale $(SCALE) $(if $(SALES),--sales "$(SALES)")

.PHONY: up
up: stack ## Airflow's UI with its scheduler, and the local stack; ctrl-C stops Airflow
	@$(PYTHON) -m local airflow --state $(STATE)

.PHONY: down
down: ## Stop the local stack; its data stays
	@$(PYTHON) -m local down --state $(STATE)

.PHONY: clean
clean: ## Stop the local stack and delete its data
	@$(PYTHON) -m local down --state $(STATE) || true
	rm -rf "$(STATE)"

.PHONY: cluster-spark
cluster-spark: .venv/.tests-installed ## Start a Spark cluster here, one master and two workers, for the local Glue
	@$(PYTHON) -m local.spark up --state $(STATE)

.PHONY: cluster-spark-down
cluster-spark-down: ## Stop the Spark cluster
	@$(PYTHON) -m local.spark down --state $(STATE)

.PHONY: cluster-dask
cluster-dask: .venv/.tests-installed ## Start a Dask cluster here, a scheduler and two workers, for the local Glue
	@$(PYTHON) -m local.dask up --state $(STATE)

.PHONY: cluster-dask-down
cluster-dask-down: ## Stop the Dask cluster
	@$(PYTHON) -m local.dask down --state $(STATE)

.PHONY: test
test: setup .venv/.tests-installed ## Run all tests; ARGS="-n 0 tests/local" runs some
	@$(PYTHON) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-long
test-long: setup .venv/.tests-installed ## Run the tests that take minutes each: runs at once under a scheduler, clusters whose workers die, the streams in trouble
	@$(PYTHON) -m pytest -m long $(ARGS)

.PHONY: test-flink
test-flink: .venv-flink/.installed ## Run Flink SQL on files and compare it with the window core; needs Java 17
	@java -version 2>/dev/null || test -x "$$JAVA_HOME/bin/java" || { echo "There is no Java; install version 17 (Debian, Ubuntu: openjdk-17-jre-headless)"; exit 1; }
	@$(FLINK) -m pytest -p no:cacheprovider --confcutdir tests/include/sql/flink $(ARGS) tests/include/sql/flink

.PHONY: lint
lint: setup ## Style, types, SQL and lock
	$(UV) lock --check --quiet
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/sqlfluff lint --disable-progress-bar include/sql

.PHONY: format
format: setup ## Format and fix what can be fixed
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	.venv/bin/sqlfluff fix --disable-progress-bar include/sql

.PHONY: requirements
requirements: requirements.txt include/algorithms/requirements.txt ## Export what MWAA and the algorithms image install from the lock

# Only what pyproject.toml pins: MWAA's own constraints choose the rest, and a second opinion would break its install.
PINNED = $(shell sed -n '/^dependencies/,/^]/s/^ *"\([a-z0-9-]*\).*==.*/\1/p' pyproject.toml | paste -sd'|' -)
requirements.txt: pyproject.toml uv.lock | $(UV)
	@set -o pipefail; $(UV) export --frozen --quiet --no-default-groups --no-hashes --no-annotate --no-header \
	  | grep -E "^($(PINNED))==" | sed 's/-amazon==/-amazon[aiobotocore]==/' > $@

include/algorithms/requirements.txt: pyproject.toml uv.lock | $(UV)
	@$(UV) export --frozen --quiet --only-group algorithms --no-hashes --no-annotate --no-header > $@

.env: ## Write random secrets for docker-compose.yaml, once
	@umask 077 && python3 -c 'from base64 import urlsafe_b64encode as base64; from secrets import token_bytes, token_hex; \
	  print("AIRFLOW_API_SECRET_KEY=" + token_hex(32)); \
	  print("AIRFLOW_FERNET_KEY=" + base64(token_bytes(32)).decode()); \
	  print("AIRFLOW_JWT_SECRET=" + token_hex(64)); \
	  print("POSTGRES_PASSWORD=" + token_hex(32))' > $@.new && mv $@.new $@

.PHONY: bench
bench: setup ## Run the benchmarks (minutes); figures are kept in benchmarks/README.md
	@for name in dags mba clv recommender; do $(PYTHON) -m benchmarks.$$name; done
