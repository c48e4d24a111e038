"""The benchmarks run on a tiny database; durations are not tested."""

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest

from benchmarks import abuse, capacity, load, many_partitions, programs, rendering, report, search
from benchmarks.databases import Databases, Size, execute, ids
from benchmarks.load import Job
from benchmarks.programs import LISTS, TOKEN, Program
from tests.conftest import Databases as Postgres

TINY = Size(days=10, calls=60)
Start = Callable[[str], Program]


@pytest.fixture(scope="module")
def databases(postgres: Postgres) -> Databases:
    return Databases(postgres, say=lambda _: None)


@pytest.fixture(scope="module")
def start(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    running: dict[str, Program] = {}
    logs = tmp_path_factory.mktemp("logs")

    def started(name: str) -> Program:
        if name not in running:
            make = programs.service if name == "service" else programs.beside
            running[name] = make(name, databases.dsn(TINY), logs)
        return running[name]

    yield started
    for program in running.values():
        program.stop()


def test_a_database_has_its_partitions_and_calls_up_to_now_however_often_it_is_opened(
    databases: Databases, postgres: Postgres
) -> None:
    dsn = databases.dsn(TINY)
    counts = "SELECT count(*), count(DISTINCT id), max(time_end) <= now() FROM cdr.cdr"
    [(before, different, past)] = execute(dsn, counts)
    assert (before, past) == (different, True)
    assert 3 * TINY.calls <= before <= 4 * TINY.calls
    inherited = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'cdr.cdr'::regclass"
    assert execute(dsn, inherited) == [(TINY.days,)]
    execute(dsn, "DELETE FROM cdr.cdr WHERE time_end > (SELECT max(time_end) FROM cdr.cdr) - interval '3 hours'")
    assert Databases(postgres, say=lambda _: None).dsn(TINY) == dsn
    [(after, different, _)] = execute(dsn, counts)
    assert after == different >= before


@pytest.mark.parametrize("name", ["service", "naive", "bare"])
def test_the_load_generator_loads_each(databases: Databases, start: Start, name: str) -> None:
    paths = [f"{LISTS}/{id}" for id in ids(databases.dsn(TINY))]
    measured = load.finished(load.started(Job(start(name).url, paths, TOKEN, 4, seconds=0.2, warm=0)))
    assert measured.errors == 0
    assert measured.rate > 0
    assert 0 < measured.p50 <= measured.p99


def test_answers_that_were_not_expected_do_not_count(start: Start) -> None:
    measured = load.run(Job(start("service").url, [f"{LISTS}/1"], TOKEN, 2, seconds=0.1, warm=0))
    assert measured.rate == 0
    assert measured.errors > 0


def test_the_naive_app_answers_what_the_service_answers(databases: Databases, start: Start) -> None:
    paths = [f"{LISTS}/{id}" for id in ids(databases.dsn(TINY), 5)] + [f"{LISTS}?page%5Bsize%5D=20"]
    for path in paths:
        (status, _, plain), (_, _, served) = start("naive").get(path), start("service").get(path)
        assert status == 200
        plain, served = (
            plain.replace(start("naive").url.encode(), b""),
            served.replace(start("service").url.encode(), b""),
        )
        assert json.loads(plain)["data"] == json.loads(served)["data"]


def test_the_memory_of_the_services_backends_is_found(databases: Databases, start: Start) -> None:
    start("service")
    assert databases.backend_memory(databases.dsn(TINY)) > 0
    assert start("service").memory > 0


def test_both_ways_of_rendering_agree() -> None:
    made = rendering.records(3)
    assert rendering.get_renderer(made)() == rendering.dumped(made)()


def test_the_table_tells_what_was_reached_what_was_not_and_what_is_not_served() -> None:
    table = report.rows((30, 130), peers=False)
    values = {
        "show service": [30.0, 20.0, 40.0],
        "show bare": [100.0] * 3,
        "show naive": [1.0, 1.0, 2.0],
        "memory": [9.0],
    }
    text = report.markdown(report.results(table, values), "heading")
    assert "| show, concurrency 16: service / bare handler | 0.3 x | 0.2 to 0.4 | ≥ 0.25 x | yes |" in text
    assert "| show, concurrency 16: service / naive app | 20 x | 20 to 30 | ≥ 30 x | no |" in text
    assert "1,000 look-ups, 130 partitions | 9 MiB | 9 to 9 | ≤ 40 MiB | yes |" in text
    assert "| keyset page: cost in the depth / at the beginning | - | - | ≤ 2 x | not served |" in text


def test_searches_are_measured_beside_one_pass_and_a_list(
    databases: Databases, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "DAYS", (5,))
    monkeypatch.setattr(search, "REPEATS", 1)
    filters = {"all": {}, "none": {"local_tag_eq": "8-NONE"}}
    rows = list(search._measured(databases.dsn(TINY), start("service"), start("naive"), filters))
    assert [(name, matches > 0) for name, matches, *_ in rows] == [("5 days, all", True), ("5 days, none", False)]


def test_a_writers_cost_is_that_of_the_indexes_it_has(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "COPIED", 20)
    monkeypatch.setattr(search, "INSERTED", 5)
    monkeypatch.setattr(search, "SETS", {"none": (), "one": ("local_tag",)})
    none, one = search._writers(databases.dsn(TINY)).splitlines()[-2:]
    assert none.endswith("| 0 |")
    assert not one.endswith("| 0 |")


def test_abuse_is_measured_beside_another_customer(databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    assert abuse.main(["--seconds", "0.2", "--dsn", databases.dsn(TINY)]) == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[3:]]
    assert len(rows) == 16
    assert {row[4].strip() for row in rows} == {"0"}


def test_a_line_through_two_points_predicts_a_third() -> None:
    line = capacity.MODEL[capacity.DISK]
    points = [(capacity.Scale(*counts), 3.0 * counts[0] + 0.5 * counts[1]) for counts in ((10, 100, 1), (40, 80, 1))]
    other = capacity.Scale(70, 900, 1)
    assert capacity.predict(line, capacity.fit(line, points), other) == pytest.approx(3 * 70 + 0.5 * 900)


def test_a_model_is_compared_with_what_is_measured(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROUNDS", "REPEATS"):
        monkeypatch.setattr(capacity, name, 1)
    measured = capacity.measure(databases, [TINY, Size(days=14, calls=20), Size(days=12, calls=40)])
    assert all(value > 0 for one in measured for value in one.values.values())
    rows = list(capacity.compare(measured[:2], measured[2:]))[2:]
    assert [row.split(" | ")[1] for row in rows] == list(capacity.MODEL)


def test_the_costs_of_partitions_are_measured(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_partitions, "REPEATS", 1)
    found = asyncio.run(many_partitions.Measurements(databases.dsn(TINY)).table())
    assert len(found) == 7
    assert all(seconds > 0 for seconds in found.values())
