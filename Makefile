# `make run` serves a demo, `make test` checks everything; both need only Python 3.11 or later with venv.
# Where `python3` is older, another one is looked for; PYTHON= names one.
PYTHON ?= $(or $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done),python3)
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)

.PHONY: help run test test-all test-lowest test-gateway nginx test-pooler pgbouncer postgresql lint docs lock image bench bench-quick clean

help: ## lists these commands
	@echo 'make COMMAND, where COMMAND is one of'
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

run: $(VENV)/demo ## serves made-up calls on port 8080; another one: CDR_API_LISTEN__PORT=8090 make run
	@exec $(BIN)/cdr-api demo

test: $(VENV)/test lint ## checks style, types and behaviour, but for the slow tests
	$(BIN)/pytest --numprocesses=auto --dist=loadfile

test-all: $(VENV)/test lint ## the same with the slow tests
	$(BIN)/pytest --numprocesses=auto --dist=loadfile -m "slow or not slow"

test-lowest: $(VENV)-lowest/test ## runs the tests with the lowest versions that setup.cfg allows, in an environment of its own
	$(VENV)-lowest/bin/pytest --numprocesses=auto --dist=loadfile

$(VENV)-lowest/test: setup.cfg pyproject.toml scripts/lowest_versions.py
	@$(MAKE) --no-print-directory VENV=$(VENV)-lowest $(VENV)-lowest/made
	$(VENV)-lowest/bin/python scripts/lowest_versions.py > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/pip install --quiet --disable-pip-version-check --constraint $(VENV)-lowest/constraints.txt --editable '.[test]'
	@touch $@

test-gateway: $(VENV)/test ## tests behind a real nginx, which it installs if there is none
	@PATH="$$PATH:/usr/sbin"; command -v nginx >/dev/null || $(MAKE) --no-print-directory nginx
	$(BIN)/pytest tests/gateway

nginx:
	@command -v apt-get >/dev/null || { echo 'There is no nginx, and no apt-get that could install it.'; exit 1; }
	$(SUDO) apt-get update -q
	$(SUDO) apt-get -o DPkg::Lock::Timeout=300 install -qy nginx

test-pooler: $(VENV)/test ## tests through a real PgBouncer, which it installs if there is none
	@PATH="$$PATH:/usr/sbin"; command -v pgbouncer >/dev/null || $(MAKE) --no-print-directory pgbouncer
	$(BIN)/pytest tests/layouts/test_pooler.py tests/db/test_sessions.py -m "slow or not slow"

pgbouncer:
	@command -v apt-get >/dev/null || { echo 'There is no PgBouncer, and no apt-get that could install it.'; exit 1; }
	$(SUDO) apt-get update -q
	$(SUDO) apt-get -o DPkg::Lock::Timeout=300 install -qy pgbouncer

# PostgreSQL $(VERSION) for CDR_PG_BIN, on a Debian or Ubuntu that is thrown away: the script adds PostgreSQL's own packages.
postgresql:
	$(SUDO) apt-get update -q
	$(SUDO) apt-get install -qy postgresql-common
	$(SUDO) sh /usr/share/postgresql-common/pgdg/*.sh -y
	$(SUDO) apt-get install -qy postgresql-$(VERSION)

docs: ## writes the pages that programs write
	$(PYTHON) scripts/configuration_page.py

lock: $(VENV)/lock ## renews the versions that the image installs, to the newest that setup.cfg allows
	echo setuptools | $(BIN)/uv pip compile setup.cfg - --extra docs --extra s3 --universal --python-version 3.11 \
	  --upgrade --generate-hashes --quiet --custom-compile-command 'make lock' --output-file requirements.lock

image: ## builds the container image
	docker build --tag cdr-api .

bench: $(VENV)/bench ## measures for ten minutes; the first time, databases are made before. PEERS=DIR measures others too
	$(BIN)/python -m benchmarks $(if $(PEERS),--peers $(PEERS))

bench-quick: $(VENV)/bench ## measures for one minute
	$(BIN)/python -m benchmarks --quick $(if $(PEERS),--peers $(PEERS))

lint: $(VENV)/test ## checks style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A stamp for each set of extras, renewed when what is to be installed changes.
$(VENV)/%: $(VENV)/made setup.cfg pyproject.toml
	@echo "installing cdr-api with its extra '$*' ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# The last thing that is written of an environment. One that was not finished, that was made in another folder, or whose
# Python is gone, is made again.
ifneq ($(CURDIR),$(shell test -x $(BIN)/python && cat $(VENV)/made 2>/dev/null))
.PHONY: $(VENV)/made
endif
$(VENV)/made:
	@command -v $(PYTHON) >/dev/null || { echo 'Python 3.11 or later is needed, and there is no $(PYTHON):' \
		'make $(MAKECMDGOALS) PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed, this is %d.%d.%d: \
	make $(MAKECMDGOALS) PYTHON=python3.12" % sys.version_info[:3])'
	@echo 'making a virtual environment in $(VENV) ...'
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@echo '$(CURDIR)' > $@

clean: ## removes everything that was made here: environment, demo, measurements
	rm -rf $(VENV) $(VENV)-lowest .demo .bench build dist *.egg-info
