"""Old days on another server, which may be unavailable."""

import asyncio
from collections.abc import Iterator
from datetime import datetime

import pytest

from service.db import partitions, schema
from service.db.pool import Pool, Rows
from service.db.schema import SchemaError
from service.db.statement import Statement
from service.web.keys import STATE
from tests.conftest import Api, Serve
from tests.layouts.checks import EVER, TOO_LATE, Answers, all_calls_of, started
from tests.layouts.servers import (
    DAY,
    DAYS,
    FIRST,
    TODAY,
    VENDORS,
    Layout,
    Servers,
    calls_of,
    days,
    golden_days,
    name_of,
    plain,
)

pytestmark = pytest.mark.slow


def archived(servers: Servers, database: str, these: list[datetime], old: int) -> None:
    """The first days are on the archive from the start."""
    plain(servers, database, these)
    servers.follow("archive", database, "archive once")
    servers.follow("server", database, "server once")
    for day in these[:old]:
        move(servers, database, day)


def move(servers: Servers, database: str, day: datetime) -> None:
    """Moves a day as the guide says; one row comes after the copy."""
    servers.follow("archive", database, "archive move", day)
    rows = servers.copy_out("server", database, f"(SELECT * FROM cdr.{name_of(day)} ORDER BY id OFFSET 1)")
    servers.copy_in("archive", database, f"cdr.{name_of(day)}", rows)
    servers.follow("server", database, "server move", day)
    servers.run("server", database, f"DROP TABLE cdr.moved_{day:%Y_%m_%d}")


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers(("archive",)) as made:
        archived(made, "calls", days(), 3)
        made.fill("calls")
        archived(made, "golden", golden_days(), 6)
        made.copy_golden("golden")
        yield made


@pytest.fixture
def layout(servers: Servers) -> Layout:
    return Layout(servers.settings("golden"), servers.settings("calls"), servers.dsn("calls", "postgres"))


class TestAnswers(Answers):
    pass


async def statuses(api: Api, vendor: int, identifiers: list[int]) -> set[int]:
    return {(await api.get(f"incoming-cdrs/{identifier}", vendor)).status for identifier in identifiers}


async def test_a_dead_archive_does_not_keep_what_is_here_from_being_found(
    serve: Serve, servers: Servers, layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await started(serve, dict(layout.calls))
    with servers.dead("archive"):
        for api in (before, await started(serve, dict(layout.calls))):
            for ago in range(DAYS - 3):
                assert await statuses(api, 1, calls_of(1, ago)[::13]) == {200}
            assert await statuses(api, 1, calls_of(1, DAYS - 1)[:2]) == {503}
            recent = f"filter[time_start_gteq]={FIRST + 3 * DAY:%Y-%m-%d}"
            for form in ("", "&page[after]=", "&format=csv"):
                assert (await api.get(f"incoming-cdrs?{recent}{form}", 1)).status == 200
                assert (await api.get(f"incoming-cdrs?{EVER}&sort=id{form}", 1)).error == (503, "503")
        layout.execute("INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES (3, %s, 2)", (TODAY - DAY,))
        assert (await before.get("incoming-cdrs/3", 2)).status == 200  # Late, with an id of the archive's days.
        layout.execute("DELETE FROM cdr.cdr WHERE id = 3 AND vendor_id = 2 AND time_start = %s", (TODAY - DAY,))
    assert "statement=id_range" in capsys.readouterr().out
    assert await statuses(before, 1, calls_of(1, DAYS - 1)[:2]) == {200}


async def test_a_hanging_archive_delays_only_requests_for_its_days(
    serve: Serve, servers: Servers, layout: Layout
) -> None:
    api = await started(serve, {**layout.calls, "DATABASES__STATEMENT_TIMEOUT": "2"})
    with servers.hanging("archive"):
        asked = [asyncio.create_task(api.get(f"incoming-cdrs?{EVER}&sort=id", vendor)) for vendor in VENDORS]
        for ago in range(DAYS - 3):
            assert await statuses(api, 1, calls_of(1, ago)[::13]) == {200}
        recent = f"filter[time_start_gteq]={FIRST + 3 * DAY:%Y-%m-%d}"
        for form in ("", "&page[after]=", "&format=csv"):
            assert (await api.get(f"incoming-cdrs?{recent}{form}", 1)).status == 200
        assert {answer.status for answer in await asyncio.gather(*asked)} <= TOO_LATE
        assert await statuses(api, 1, calls_of(1, DAYS - 1)[:1]) <= TOO_LATE
        assert await statuses(api, 1, [10**9]) <= TOO_LATE  # It may be in the archive.
        parts = await api.client.app[STATE].services.parts()
        assert [part.problems for part in parts.values()] == [[], []]
    assert await statuses(api, 1, calls_of(1, DAYS - 1)[:2]) == {200}


async def test_a_search_waits_only_once_for_a_hanging_archive(
    serve: Serve, servers: Servers, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "SEARCHED_LEAVES", 1)
    searches = []
    fetch = Pool.fetch

    async def noted(self: Pool, statement: Statement) -> Rows:
        if statement.name == "search":
            searches.append(statement.text)
        return await fetch(self, statement)

    monkeypatch.setattr(Pool, "fetch", noted)
    api = await started(serve, {**layout.calls, "DATABASES__STATEMENT_TIMEOUT": "2"})
    assert await statuses(api, 1, [10**9]) == {404}
    everywhere, searches[:] = list(searches), []
    with servers.hanging("archive"):
        assert await statuses(api, 1, [10**9]) <= TOO_LATE
    assert searches == [everywhere[0], *everywhere[3:]]  # The first of the three archived days, and all others.


async def test_a_day_goes_to_the_archive_and_back_and_no_answer_changes(
    serve: Serve, servers: Servers, layout: Layout
) -> None:
    api = await started(serve, dict(layout.calls))
    day = FIRST + 3 * DAY
    kinds = []
    for step in ("there", "back"):
        if step == "there":
            move(servers, "calls", day)
        else:
            servers.follow("server", "calls", "server back", day)
        [kind] = servers.run(
            "server", "calls", f"SELECT relkind FROM pg_class WHERE oid = 'cdr.{name_of(day)}'::regclass"
        )
        kinds += kind
        listed = await api.get(f"incoming-cdrs?{EVER}&sort=id&page[size]=1000", 2)
        assert listed.ids == all_calls_of(2)
        assert await statuses(api, 2, calls_of(2, DAYS - 4)) == {200}
    assert kinds == ["f", "r"]


async def test_a_day_among_archived_ones_is_not_made_here_but_a_new_one_is(servers: Servers) -> None:
    old, new = (FIRST - DAY).date(), (TODAY + 3 * DAY).date()
    with pytest.raises(SchemaError, match="is a foreign table"):
        schema.create_partitions(servers.dsn("calls", "postgres"), old, old)
    assert schema.create_partitions(servers.dsn("calls", "postgres"), new, new)
