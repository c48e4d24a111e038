"""Messages of the commands for invalid arguments and settings, without secrets."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from service.db import dsn as dsns
from service.db import schema
from service.demo.postgres import Server
from service.files import SQL
from tests.conftest import SECRET, Databases
from tests.programs import SERVICE, called, environment, on_database, run

NOWHERE = "postgresql://u:hidden@127.0.0.1:1/x"
KNOWN = on_database(NOWHERE, AUTH__SECRETS=json.dumps([SECRET]))


@pytest.mark.parametrize("command", [["token"], ["export", "cdrs", "--output", "-", "--format", "csv"]])
@pytest.mark.parametrize("limit", ["--account-id", "--profile-id"])
def test_a_limit_is_never_dropped(command: list[str], limit: str) -> None:
    ended = called([*command, "--api-access", "7", limit, "1"], **KNOWN)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert (
        ended.stderr
        == f"cdr-api: {limit}: requires --customer-id; the row in sys.api_access sets it for --api-access\n"
    )


# Mistakes that put a part of the password where libpq would name it.
MISTYPED = [
    "postgresql://u:geheim%zz@h/db",
    "mysql://u:geheim@h/db",
    "postgresql://u:12@geheim@h/db",
    "postgresql://u:12/geheim@h/db",
    "postgresql://u:geheim/12@h/db",
    "postgresql://u:x?y@geheim@h/db",
    "postgresql://h/db?password=geheim%zz",
    "host=h password=12 geheim",
    "host=h password=12 geheim=x",
    "host=h password='geheim",
    "host=h port=geheim",
]


KEYS = ("databases.cdr.dsn", "databases.routing.dsn", "databases.cdr.replicas")


@pytest.mark.parametrize("dsn", MISTYPED)
def test_a_mistyped_dsn_is_named_by_its_key_and_never_shown(dsn: str) -> None:
    given = on_database(dsn, DATABASES__CDR__REPLICAS=json.dumps([dsn]))
    ended = called(["serve"], **{**KNOWN, **given})
    assert ended.returncode == 2
    for line, key in zip(ended.stderr.splitlines(), KEYS, strict=True):
        assert line.startswith(f"cdr-api: {key}: ")
        assert "%40 for @" in line
    assert "geheim" not in ended.stderr
    assert dsns.masked(dsn) == dsns.MASK


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:geheim@h:5433/db?sslmode=require",
        "postgresql://u:ge%68eim@[::1]:5433/db",
        "postgresql://h1:1,h2:2/db?user=u&password=geheim&sslpassword=geheim",
        "postgresql://h/db?pass%77ord=geheim",
        "host=/run/a@b password='geheim geheim' dbname=db",
        "postgresql://u@h/d%40b",
        "host=@abstract",
    ],
)
def test_of_a_dsn_only_the_password_is_masked(dsn: str) -> None:
    shown = dsns.masked(dsn)
    assert "eim" not in shown
    given = parse_dsn(dsn)
    assert parse_dsn(shown) == {**given, **{name: dsns.MASK for name in dsns.SECRETS if name in given}}
    assert shown.startswith("postgresql://") or "%77" in dsn or not dsn.startswith("postgresql://")


def test_config_shows_each_dsn_with_its_password_masked() -> None:
    given = {"DATABASES__CDR__REPLICAS": json.dumps([NOWHERE, "host=h password=hidden"])}
    shown = json.loads(called(["config"], **{**KNOWN, **given}).stdout)["databases"]
    masked = NOWHERE.replace("hidden", dsns.MASK)
    assert (shown["cdr"]["dsn"], shown["routing"]["dsn"]) == (masked, masked)
    assert [parse_dsn(dsn).get("host") for dsn in shown["cdr"]["replicas"]] == ["127.0.0.1", "h"]
    assert "hidden" not in json.dumps(shown)


def test_the_passwords_of_other_addresses_are_not_shown_either() -> None:
    address = "https://u:geheim@example.org/v1/traces"
    known = {**KNOWN, "TELEMETRY__OTLP_ENDPOINT": address, "RECORDINGS__S3__ENDPOINT": address}
    assert called(["config"], **known).stdout.count(f"https://{dsns.MASK}@example.org/v1/traces") == 2
    mistyped = called(["config"], **{**known, "TELEMETRY__OTLP_ENDPOINT": address.replace("https:", "htps:")})
    assert mistyped.returncode == 2
    assert "geheim" not in mistyped.stderr


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (("2026-13-01", "2026-01-01"), "argument --from: '2026-13-01' is not a date; write one as 2026-03-01"),
        (("2026-01-01", "tomorrow"), "argument --to: 'tomorrow' is not a date; write one as 2026-03-01"),
        (("9999-12-31", "9999-12-31"), "--to: must be before 9999-12-31"),
        (("2026-03-02", "2026-03-01"), "--to: must not be before --from"),
    ],
)
def test_days_that_cannot_be_used_are_named(days: tuple[str, str], said: str) -> None:
    ended = called(["database", "partitions", "--from", days[0], "--to", days[1]], **KNOWN)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].endswith(said)
    assert "Traceback" not in ended.stderr


def test_the_last_days_that_there_are_get_partitions(postgres: Databases, prepared: str) -> None:
    name = postgres.create(prepared)
    days = ["database", "partitions", "--from", "9999-12-29", "--to", "9999-12-30"]
    assert run(days, **{**KNOWN, "DATABASES__CDR__DSN": postgres.dsn(name)}).stdout.splitlines() == [
        "cdr.cdr_9999_12_29",
        "cdr.cdr_9999_12_30",
    ]
    postgres.drop(name)


@pytest.mark.slow
def test_years_of_days_do_not_run_out_of_locks(tmp_path: Path) -> None:
    """A server with a quarter of the usual locks, and four years."""
    with Server.start(tmp_path, options={"max_locks_per_transaction": "16"}) as server:
        schema.apply(server.dsn(), SQL / "schema" / "cdr")
        days = ["database", "partitions", "--from", "2026-01-01", "--to", "2029-12-31"]
        known = {**KNOWN, "DATABASES__CDR__DSN": server.dsn()}
        process = subprocess.run([*SERVICE, *days], env=environment(**known), capture_output=True, text=True)
        assert (process.returncode, process.stderr, len(process.stdout.split())) == (0, "", 1461)


def test_the_version_is_printed() -> None:
    assert run(["--version"]).stdout.split()[0] == "cdr-api"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_file_is_named_before_or_after_a_command(tmp_path: Path, place: int) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[log]\nlevel = 'loud'\n")
    words = ["database", "apply"]
    ended = called([*words[:place], "--config", str(file), *words[place:]], **KNOWN)
    assert (ended.returncode, ended.stderr) == (2, "cdr-api: log.level: Must be one of: debug, info, warning, error.\n")


def test_ctrl_c_while_the_program_is_read_is_no_traceback(tmp_path: Path) -> None:
    """A module that the program imports stops there and says so."""
    (tmp_path / "argparse.py").write_text(
        "import time\nprint('reading', flush=True)\ntime.sleep(60)\n", encoding="utf-8"
    )
    known = {**environment(), "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, "-m", "service", "config"], env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reading\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (-signal.SIGINT, b"")
