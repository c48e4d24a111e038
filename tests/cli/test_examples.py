"""The programs in examples, run against a service."""

import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.auth.tokens import TokenService
from tests.conftest import SECRET, Data, Databases
from tests.programs import Program, on_database, serving

EXAMPLES = Path(__file__).parents[2] / "examples"
CALLS = 600


class Run:
    """A service on a database of its own, and a token of customer 7."""

    def __init__(self, data: Data, program: Program, token: str) -> None:
        self.data, self.program, self.token = data, program, token


@contextmanager
def running(postgres: Databases, prepared: str) -> Iterator[Run]:
    data = Data(postgres, postgres.create(prepared))
    data.customer(7)
    known = on_database(data.dsn, AUTH__SECRETS=json.dumps([SECRET]))
    with serving(**known) as program:
        yield Run(data, program, TokenService([SECRET.encode()], None).issue(7))
    postgres.drop(data.name)


@pytest.fixture(scope="module")
def week(postgres: Databases, prepared: str) -> Iterator[Run]:
    """Calls of the last seven days, one in four answered for two minutes."""
    with running(postgres, prepared) as run:
        run.data.execute(
            "INSERT INTO cdr.cdr (id, time_start, vendor_id, success, duration, vendor_price, dst_prefix_out)"
            " SELECT n, date_trunc('day', now(), 'UTC') - n * interval '15 minutes', 7, n %% 4 = 0,"
            " CASE WHEN n %% 4 = 0 THEN 120 ELSE 0 END, 0.25, '+380' FROM generate_series(1, %s) AS n",
            (CALLS,),
        )
        yield run


@pytest.fixture
def empty(postgres: Databases, prepared: str) -> Iterator[Run]:
    """No calls yet."""
    with running(postgres, prepared) as run:
        yield run


def example(run: Run, name: str, *words: str) -> str:
    """What it prints, after it has ended well and without a warning."""
    known = {**os.environ, "CDR_URL": run.program.url, "CDR_TOKEN": run.token}
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *words]
    ended = subprocess.run(command, env=known, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_last_weeks_calls_are_the_same_from_csv_and_from_pages(week: Run) -> None:
    by_csv, by_pages = (example(week, "calls.py", way) for way in ("csv", "pages"))
    assert by_csv == by_pages
    assert f"{CALLS} calls, {CALLS // 4 * 120} seconds" in by_csv
    assert re.search(r"\b96 +24 +24\.0$", by_csv, re.MULTILINE)


def test_the_picture_shows_what_the_calls_come_to(week: Run, tmp_path: Path) -> None:
    picture = tmp_path / "hourly.png"
    assert example(week, "hourly.py", str(picture)) == f"{CALLS} calls, ASR 25.0 %, ACD 2.00 minutes: {picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_copy_is_brought_up_to_date(week: Run, tmp_path: Path) -> None:
    copy = str(tmp_path / "calls.sqlite")
    recent = 3 * 24 * 4 + 4  # Those of three days before now, at a quarter of an hour each, give or take today's part.
    first = int(example(week, "sync.py", copy).split()[0])
    assert recent - 100 <= first <= recent
    assert example(week, "sync.py", copy) == "0 new calls\n"


def test_an_example_tells_why_it_was_refused(sync: ModuleType, week: Run) -> None:
    client = importlib.import_module("cdr_client")
    with pytest.raises(client.ApiError, match="Authorization token expired or incorrect"):
        next(client.Client(week.program.url, "x").records("cdrs", {}))


REFUSED = [
    ({"CDR_URL": "", "CDR_TOKEN": ""}, "Set CDR_URL and CDR_TOKEN: the service's URL, and a token for it"),
    ({"CDR_URL": "http://127.0.0.1:1", "CDR_TOKEN": "x"}, "http://127.0.0.1:1/api/rest/customer/v1: "),
    ({"CDR_URL": "127.0.0.1", "CDR_TOKEN": "x"}, "127.0.0.1/api/rest/customer/v1: unknown url type"),
    ({"CDR_URL": "http://127.0.0.1:1", "CDR_TOKEN": "x\ny"}, "http://127.0.0.1:1/api/rest/customer/v1: Invalid header"),
]


@pytest.mark.parametrize("name", ["calls.py", "hourly.py", "sync.py"])
@pytest.mark.parametrize(("given", "said"), REFUSED)
def test_what_keeps_an_example_from_working_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: dict[str, str], said: str
) -> None:
    """In this process, because importing pandas and Matplotlib takes long; Python prints the text and exits with 1."""
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "argv", [name, *(["copy.sqlite"] if name == "sync.py" else [])])
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert isinstance(ended.value.code, str)
    assert ended.value.code.startswith(said)
    assert len(ended.value.code.splitlines()) == 1


@pytest.mark.parametrize("words", [["calls.py", "xml"], ["sync.py"], ["sync.py", "x.sqlite", "often"]])
def test_words_that_an_example_does_not_know_are_answered_by_its_usage(tmp_path: Path, words: list[str]) -> None:
    command = [sys.executable, str(EXAMPLES / words[0]), *words[1:]]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr.split(":")[0]) == (1, "usage")


@pytest.fixture(scope="module")
def sync() -> Iterator[ModuleType]:
    sys.path.insert(0, str(EXAMPLES))
    yield importlib.import_module("sync")
    sys.path.remove(str(EXAMPLES))


class Clock:
    """Seconds as a test tells them."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        return self.now


def test_a_copy_misses_no_late_call_and_repeats_none(sync: ModuleType, empty: Run, tmp_path: Path) -> None:
    data, clock = empty.data, Clock()
    insert = "INSERT INTO cdr.cdr (time_start, vendor_id) VALUES (%s, 7) RETURNING id"
    client = importlib.import_module("cdr_client").Client(empty.program.url, empty.token)
    with (
        closing(sync.Copy(client, str(tmp_path / "calls.sqlite"), clock)) as copy,
        closing(psycopg2.connect(data.dsn)) as late,
        late.cursor() as cursor,
    ):
        cursor.execute(insert, (datetime.now(UTC) - timedelta(days=2),))
        [(slow,)] = cursor.fetchall()
        counts = []
        for step in range(6):
            data.execute(insert, (datetime.now(UTC),))
            if step == 2:
                late.commit()
            clock.now += sync.LAG / 2 - 1
            counts.append(copy.poll())
        copied = [id for (id,) in copy._database.execute("SELECT id FROM calls ORDER BY id")]
    assert counts == [1, 1, 2, 1, 1, 1]
    assert copied == [id for (id,) in data.execute("SELECT id FROM cdr.cdr ORDER BY id")]
    assert copied[0] == slow


times = st.integers(0, 2000)
writers = st.lists(st.tuples(times, st.integers(0, 299)), max_size=30)
pauses = st.lists(st.tuples(st.integers(1, 700), st.integers(0, 400)), min_size=1, max_size=20)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(writers, pauses)
def test_the_rule_holds_for_whatever_is_written_and_polled_when(
    sync: ModuleType, written: list[tuple[int, int]], paused: list[tuple[int, int]]
) -> None:
    """Ids are taken in order, at a whole second; a call is visible once its transaction has ended, within LAG."""
    visible = {id: taken + lasted for id, (taken, lasted) in enumerate(sorted(written))}
    polls: list[Any] = []
    copied: list[int] = []
    moment = 0
    for pause, length in [*paused, (10_000, 0)]:
        started = moment = moment + pause
        after = sync.settled(polls).newest if polls else sync.NOTHING.newest
        # The page that would show a call is read some time between start and end; here, as late ids are, at the end.
        found = [id for id, seen in visible.items() if id > after and seen <= started + length * id // 30]
        copied += [id for id in found if id not in set(copied)]
        moment += length
        polls.append(sync.Poll(started, moment, max(copied, default=sync.NOTHING.newest)))
    assert sorted(copied) == sorted(visible)


def test_a_poll_is_settled_once_the_lag_is_over(sync: ModuleType) -> None:
    polls = [sync.Poll(0, 0, 7), sync.Poll(400, 400, 9)]
    assert sync.settled(polls).newest == 7
    assert sync.settled([sync.Poll(0, 0, 7), sync.Poll(sync.LAG - 1, sync.LAG - 1, 9)]) == sync.NOTHING
