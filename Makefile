# `make run` serves a demo, `make test` checks everything; both need only Python 3.11 or later with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)

.PHONY: run test test-all test-gateway nginx lint bench bench-quick clean

run: $(VENV)/demo
	@exec $(BIN)/cdr-api demo

test: $(VENV)/test lint
	$(BIN)/pytest --numprocesses=auto --dist=loadfile

test-all: $(VENV)/test lint
	$(BIN)/pytest --numprocesses=auto --dist=loadfile -m "slow or not slow"

test-gateway: $(VENV)/test
	@PATH="$$PATH:/usr/sbin"; command -v nginx >/dev/null || $(MAKE) --no-print-directory nginx
	$(BIN)/pytest tests/gateway

nginx:
	@command -v apt-get >/dev/null || { echo 'There is no nginx, and no apt-get that could install it.'; exit 1; }
	$(SUDO) apt-get update -q
	$(SUDO) apt-get -o DPkg::Lock::Timeout=300 install -qy nginx

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
	rm -rf $(VENV) .demo .bench build dist *.egg-info
