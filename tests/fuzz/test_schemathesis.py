"""A third-party fuzzer generates requests from the description and sends them to the service as a process."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.schemas.base import PREFIX
from tests.conftest import Databases
from tests.corpus import GOLDEN_SECRET
from tests.programs import Program, on_database, run, serving

ROOT = Path(__file__).parents[2]
LISTENER = "2"  # An access row of the golden corpus that may hear recordings.
RECORDED = "5000157"
ACCOUNT = "0e1d9a70-6c1b-4f6e-9b6a-000000000101"

# All checks are on but one: verbs that are not served are 404 here, as in the reference, and not 405.
CHECKS = ["--checks=all", "--exclude-checks=unsupported_method"]
BUSY = ["--suppress-health-check=too_slow"]  # How fast a machine makes up requests says nothing of the service.
FUZZING = ["--phases=fuzzing", "--max-examples=15", "--exclude-method=HEAD"]
COVERAGE = ["--phases=coverage", "--exclude-method=HEAD", "--exclude-operation-id-regex=^list"]

# How lists are read, by content type or by a cursor that is somewhere within; the fuzzer must have found all.
WAYS = {
    "application/vnd.api+json",
    'application/vnd.api+json; profile="https://jsonapi.org/profiles/ethanresnick/cursor-pagination"',
    "text/csv; charset=utf-8; header=present",
    "application/x-ndjson",
    "from a cursor",
}


@pytest.fixture(scope="module")
def known(postgres: Databases, golden_database: str) -> dict[str, str]:
    dsn = postgres.dsn(golden_database)
    return on_database(dsn, AUTH__SECRETS=json.dumps([GOLDEN_SECRET]))


@pytest.fixture(scope="module")
def program(known: dict[str, str]) -> Iterator[Program]:
    with serving(**known, AUTH__FAILED_LOGINS="1000000", AUTH__FAILED_LOGINS_BY_ADDRESS="1000000") as program:
        yield program


@pytest.mark.parametrize(
    ("options", "least"),
    [
        pytest.param(FUZZING, 200, id="fuzzing"),
        pytest.param(COVERAGE, 400, id="coverage", marks=pytest.mark.slow),
        pytest.param(["--phases=fuzzing", "--max-examples=100"], 2000, id="long-fuzzing", marks=pytest.mark.slow),
        pytest.param(["--phases=coverage"], 15000, id="all-coverage", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_answered_that_is_not_described(
    known: dict[str, str], program: Program, tmp_path: Path, options: list[str], least: int
) -> None:
    token = run(["token", "--api-access", LISTENER], AUTH__TOKEN_LIFETIME="", **known).stdout.strip()
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{program.url}{PREFIX}/openapi.json"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
        "FUZZ_TOKEN": token,
        "FUZZ_CALL": RECORDED,
        "FUZZ_ACCOUNT": ACCOUNT,
    }
    fuzzer = subprocess.run(
        [*command, f"--header=Authorization:{token}", "--seed=1", "--continue-on-failure", *CHECKS, *BUSY, *options],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert fuzzer.returncode == 0, fuzzer.stdout + fuzzer.stderr
    tested = re.search(r"(\d+) generated, (\d+) passed", fuzzer.stdout)
    assert tested, fuzzer.stdout
    assert int(tested[1]) == int(tested[2]) >= least
    if "--phases=fuzzing" in options:
        assert 304 in {event.get("status") for event in program.events}
        assert set((tmp_path / "ways.txt").read_text().split("\n")) >= WAYS
    assert {200, 400, 401, 404} <= {event.get("status") for event in program.events}
