# `make run` serves a demo, `make test` runs all checks; both need only Python 3.11 or later with venv.
# If `python3` is older, another version is used; PYTHON= selects one.
PYTHON ?= $(or $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done),python3)
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)

.PHONY: help run test test-all test-lowest test-gateway nginx test-pooler pgbouncer postgresql lint docs lock image bench bench-quick clean

help: ## lists the commands
	@echo 'Usage: make COMMAND'
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

run: $(VENV)/demo ## serves demo data on port 8080; to use another port: CDR_API_LISTEN__PORT=8090 make run
	@exec $(BIN)/cdr-api demo

test: $(VENV)/test lint ## runs linters and tests, without the slow tests
	$(BIN)/pytest --numprocesses=auto --dist=loadfile

test-all: $(VENV)/test lint ## runs linters and all tests
	$(BIN)/pytest --numprocesses=auto --dist=loadfile -m "slow or not slow"

test-lowest: $(VENV)-lowest/test ## runs the tests with the lowest versions that setup.cfg allows, in a separate environment
	$(VENV)-lowest/bin/pytest --numprocesses=auto --dist=loadfile

$(VENV)-lowest/test: setup.cfg pyproject.toml scripts/lowest_versions.py
	@$(MAKE) --no-print-directory VENV=$(VENV)-lowest $(VENV)-lowest/made
	$(VENV)-lowest/bin/python scripts/lowest_versions.py > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/pip install --quiet --disable-pip-version-check --constraint $(VENV)-lowest/constraints.txt --editable '.[test]'
	@touch $@

test-gateway: $(VENV)/test ## runs the tests with a real nginx, installed if missing
	@PATH="$$PATH:/usr/sbin"; command -v nginx >/dev/null || $(MAKE) --no-print-directory nginx
	$(BIN)/pytest tests/gateway

nginx:
	@command -v apt-get >/dev/null || { echo 'nginx is missing, and there is no apt-get to install it.'; exit 1; }
	$(SUDO) apt-get update -q
	$(SUDO) apt-get -o DPkg::Lock::Timeout=300 install -qy nginx

test-pooler: $(VENV)/test ## runs the tests with a real PgBouncer; installs it if missing
	@PATH="$$PATH:/usr/sbin"; command -v pgbouncer >/dev/null || $(MAKE) --no-print-directory pgbouncer
	$(BIN)/pytest tests/layouts/test_pooler.py tests/db/test_sessions.py -m "slow or not slow"

pgbouncer:
	@command -v apt-get >/dev/null || { echo 'PgBouncer is missing, and there is no apt-get to install it.'; exit 1; }
	$(SUDO) apt-get update -q
	$(SUDO) apt-get -o DPkg::Lock::Timeout=300 install -qy pgbouncer

# Installs PostgreSQL $(VERSION) for CDR_PG_BIN on a disposable Debian or Ubuntu: adds PostgreSQL's package repository.
postgresql:
	$(SUDO) apt-get update -q
	$(SUDO) apt-get install -qy postgresql-common
	$(SUDO) sh /usr/share/postgresql-common/pgdg/*.sh -y
	$(SUDO) apt-get install -qy postgresql-$(VERSION)

docs: ## generates docs/configuration.md
	$(PYTHON) scripts/configuration_page.py

lock: $(VENV)/lock ## updates requirements.lock to the newest versions that setup.cfg allows
	echo setuptools | $(BIN)/uv pip compile setup.cfg - --extra docs --extra s3 --universal --python-version 3.11 \
	  --upgrade --generate-hashes --quiet --custom-compile-command 'make lock' --output-file requirements.lock

image: ## builds the container image
	docker build --tag cdr-api .

bench: $(VENV)/bench ## runs the benchmarks (10 minutes); the first run creates databases. PEERS=DIR includes other servers
	$(BIN)/python -m benchmarks $(if $(PEERS),--peers $(PEERS))

bench-quick: $(VENV)/bench ## runs quick benchmarks (1 minute)
	$(BIN)/python -m benchmarks --quick $(if $(PEERS),--peers $(PEERS))

lint: $(VENV)/test ## runs ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A stamp for each set of extras, updated when the requirements change.
$(VENV)/%: $(VENV)/made setup.cfg pyproject.toml
	@echo "Installing cdr-api with the extra '$*' ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# Written last. An environment that is incomplete, was created in another folder, or whose Python is missing, is recreated.
ifneq ($(CURDIR),$(shell test -x $(BIN)/python && cat $(VENV)/made 2>/dev/null))
.PHONY: $(VENV)/made
endif
$(VENV)/made:
	@command -v $(PYTHON) >/dev/null || { echo 'Python 3.11 or later is required, and $(PYTHON) does not exist:' \
		'make $(MAKECMDGOALS) PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is required, this is %d.%d.%d: \
	make $(MAKECMDGOALS) PYTHON=python3.12" % sys.version_info[:3])'
	@echo 'Creating a virtual environment in $(VENV) ...'
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@echo '$(CURDIR)' > $@

clean: ## removes the environments, the demo and the benchmark databases
	rm -rf $(VENV) $(VENV)-lowest .demo .bench build dist *.egg-info
