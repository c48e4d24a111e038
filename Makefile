# `make run` serves a demo, `make test` checks everything; both need only Python 3.11 or later with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)

.PHONY: run test test-all test-lowest test-gateway nginx postgresql lint docs lock image bench bench-quick clean

run: $(VENV)/demo
	@exec $(BIN)/cdr-api demo

test: $(VENV)/test lint
	$(BIN)/pytest --numprocesses=auto --dist=loadfile

test-all: $(VENV)/test lint
	$(BIN)/pytest --numprocesses=auto --dist=loadfile -m "slow or not slow"

# The suite with the lowest versions that setup.cfg allows, in an environment of its own.
test-lowest: $(VENV)-lowest/test
	$(VENV)-lowest/bin/pytest --numprocesses=auto --dist=loadfile

$(VENV)-lowest/test: setup.cfg pyproject.toml scripts/lowest_versions.py
	@test -x $(VENV)-lowest/bin/python || $(PYTHON) -m venv $(VENV)-lowest
	$(PYTHON) scripts/lowest_versions.py > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/pip install --quiet --disable-pip-version-check --constraint $(VENV)-lowest/constraints.txt --editable '.[test]'
	@touch $@

test-gateway: $(VENV)/test
	@PATH="$$PATH:/usr/sbin"; command -v nginx >/dev/null || $(MAKE) --no-print-directory nginx
	$(BIN)/pytest tests/gateway

nginx:
	@command -v apt-get >/dev/null || { echo 'There is no nginx, and no apt-get that could install it.'; exit 1; }
	$(SUDO) apt-get update -q
	$(SUDO) apt-get -o DPkg::Lock::Timeout=300 install -qy nginx

# PostgreSQL $(VERSION) for CDR_PG_BIN, on a Debian or Ubuntu that is thrown away: the script adds PostgreSQL's own packages.
postgresql:
	$(SUDO) apt-get update -q
	$(SUDO) apt-get install -qy postgresql-common
	$(SUDO) sh /usr/share/postgresql-common/pgdg/*.sh -y
	$(SUDO) apt-get install -qy postgresql-$(VERSION)

# The pages that are written by programs.
docs:
	$(PYTHON) scripts/configuration_page.py

# The versions that the image installs, renewed to the newest that setup.cfg allows.
lock: $(VENV)/lock
	echo setuptools | $(BIN)/uv pip compile setup.cfg - --extra docs --extra s3 --universal --python-version 3.11 \
	  --upgrade --generate-hashes --quiet --custom-compile-command 'make lock' --output-file requirements.lock

image:
	docker build --tag cdr-api .

# Ten minutes of measurements, or one; the first time, their databases are made before. PEERS=DIR measures others too.
bench: $(VENV)/bench
	$(BIN)/python -m benchmarks $(if $(PEERS),--peers $(PEERS))

bench-quick: $(VENV)/bench
	$(BIN)/python -m benchmarks --quick $(if $(PEERS),--peers $(PEERS))

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A stamp for each set of extras, renewed when what is to be installed changes.
$(VENV)/%: setup.cfg pyproject.toml
	@test -x $(BIN)/python || { echo "making a virtual environment in $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "installing cdr-api with its extra '$*' ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest .demo .bench build dist *.egg-info
