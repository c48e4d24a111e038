# `make run` serves a demo, `make test` checks everything; both need only Python 3.11 or later with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-all test-gateway lint clean

run: $(VENV)/demo
	@exec $(BIN)/cdr-api demo

test: $(VENV)/test lint
	$(BIN)/pytest

test-all: $(VENV)/test lint
	$(BIN)/pytest -m "slow or not slow"

# The gateway's tests need an nginx; where apt is at hand, it is installed first.
test-gateway: $(VENV)/test
	@command -v nginx /usr/sbin/nginx >/dev/null || { command -v apt-get >/dev/null && \
	  $$(test "$$(id -u)" = 0 || echo sudo) sh -c 'apt-get update -q && apt-get install -qy nginx-light'; } || \
	  { echo 'nginx is needed; apt, which could install it, is not here.'; exit 1; }
	$(BIN)/pytest tests/gateway

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
	rm -rf $(VENV) .demo build dist *.egg-info
