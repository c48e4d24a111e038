"""`cdr-api database indexes` on a table with concurrent writes."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import pytest

from tests.conftest import Data
from tests.load import until
from tests.programs import SERVICE, called, environment, run

COMMAND = ["database", "indexes"]
BUILDING = (
    "SELECT 1 FROM pg_stat_progress_create_index"
    " WHERE datname = current_database() AND command = 'CREATE INDEX CONCURRENTLY' AND phase LIKE 'waiting for %'"
)


def settings(dsn: str) -> dict[str, str]:
    return {"DATABASES__CDR__DSN": dsn}


@contextmanager
def writing(data: Data) -> Iterator[list[int]]:
    """Somebody inserts calls, one transaction each, all along; the numbers of those that were stored."""
    stored: list[int] = []
    end = threading.Event()

    def write() -> None:
        with closing(psycopg2.connect(data.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not end.is_set():
                number = len(stored) + 1
                cursor.execute(
                    "INSERT INTO cdr.cdr (id, time_start, local_tag) VALUES (%s, now(), %s)", (number, f"8-{number}")
                )
                stored.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield stored
    finally:
        end.set()
        writer.join()


@pytest.mark.slow
def test_indexes_are_shown_created_and_dropped_while_calls_are_written(data: Data) -> None:
    known = settings(data.dsn)
    with writing(data) as stored:
        assert "local_tag                0 of 12 partitions" in run(COMMAND, **known).stdout
        before = len(stored)
        created = run([*COMMAND, "--create", "local_tag", "dst_prefix_routing_trgm"], **known)
        assert (created.returncode, created.stdout) == (0, "")
        assert "local_tag: " in created.stderr
        assert created.stderr.endswith("12 of 12\n")
        assert len(stored) > before
        shown = run(COMMAND, **known).stdout
        assert "local_tag                12 of 12 partitions" in shown
        assert "dst_prefix_routing_trgm  12 of 12 partitions" in shown
    assert data.execute("SELECT count(*) FROM cdr.cdr WHERE local_tag = '8-1'") == [(1,)]
    assert run([*COMMAND, "--drop", "all"], **known).returncode == 0
    assert "12 of 12" not in run(COMMAND, **known).stdout


async def test_ctrl_c_ends_a_build_in_order_and_the_same_command_goes_on(data: Data) -> None:
    """It comes while an index is built that waits for a writer."""
    known = settings(data.dsn)
    words = [*SERVICE, *COMMAND, "--create", "local_tag"]
    [(newest,)] = data.execute(
        "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'cdr.cdr'::regclass"
    )
    with closing(psycopg2.connect(data.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {newest} IN ROW EXCLUSIVE MODE")
        with subprocess.Popen(words, env=environment(**known), stderr=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220 # It ends by itself.
            try:
                await until(lambda: bool(data.execute(BUILDING)))
            finally:
                process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "run the same command to continue" in said
    assert "Traceback" not in said
    assert "1 unfinished" in run(COMMAND, **known).stdout
    again = run([*COMMAND, "--create", "local_tag"], **known)
    assert (again.returncode, "is unfinished, rebuilding" in again.stderr) == (0, True)
    assert "local_tag                12 of 12 partitions" in run(COMMAND, **known).stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--create", "telephone"], 2, "invalid choice: 'telephone'"),
        (["--create"], 2, "expected at least one argument"),
        (["--create", "all", "--drop", "all"], 2, "not allowed with argument"),
        ([], 1, "table cdr.cdr does not exist"),
        (["--create", "all"], 1, "table cdr.cdr does not exist"),
        (["--drop", "all"], 1, "table cdr.cdr does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(empty_database: str, words: list[str], code: int, said: str) -> None:
    ended = called([*COMMAND, *words], **settings(empty_database))
    assert (ended.returncode, ended.stdout) == (code, "")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_that_is_not_there_is_said_without_its_password() -> None:
    ended = called(COMMAND, **settings("postgresql://x:hidden@127.0.0.1:1/x"))
    assert ended.returncode == 1
    assert "hidden" not in ended.stderr
    assert "Traceback" not in ended.stderr
