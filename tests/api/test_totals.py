"""Totals of lists over HTTP: complete counts by default, and cached counts of past days if the operator allows them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from service.auth.tokens import DynamicClaims
from service.db.pool import Pool, Rows
from service.db.statement import Statement
from service.web.keys import STATE
from tests import load
from tests.conftest import Answer, Api, Data, Serve, cache_requests

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = 8  # Past days with calls.
FIRST = TODAY - timedelta(days=DAYS)
CACHED = {"RESOURCES__TOTAL_CACHE_SECONDS": "0", "RESOURCES__PAST_TOTAL_CACHE_SECONDS": "0.05"}
COUNTING = ("count", "range_count", "partition_changes")


@pytest.fixture
def known(data: Data) -> Data:
    """Two calls of each past day and two of today, all successful ones of customer 7, whom 8 is a customer of."""
    for contractor in (7, 8):
        data.customer(contractor)
    days = [FIRST + timedelta(days=number) for number in range(DAYS + 1)]
    for number, moment in enumerate([*days, *days]):
        data.insert("cdr.cdr", id=number, time_start=moment, is_last_cdr=True, vendor_id=7, customer_id=8, success=True)
    return data


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[Statement]:
    """The statements for totals, as they are run."""
    statements: list[Statement] = []
    fetch = Pool.fetch

    async def noted(self: Pool, statement: Statement) -> Rows:
        if statement.name in COUNTING:
            statements.append(statement)
        return await fetch(self, statement)

    monkeypatch.setattr(Pool, "fetch", noted)
    return statements


async def page(api: Api, caller: int | DynamicClaims = 7, type_: str = "incoming-cdrs", **filters: Any) -> Answer:
    """A page of one record, so that the total has to be counted."""
    conditions = {f"filter[{name}]": value for name, value in {"time_start_gteq": FIRST.isoformat(), **filters}.items()}
    return await api.get(f"{type_}?{urlencode(conditions)}&page[size]=1", caller)


async def total(api: Api, *who: Any, **filters: Any) -> int:
    return int((await page(api, *who, **filters)).json["meta"]["total-count"])


async def test_by_default_one_statement_counts_the_whole_list(
    serve: Serve, known: Data, counts: list[Statement]
) -> None:
    api = await serve(known.dsn, RESOURCES__TOTAL_CACHE_SECONDS="0")
    for _ in range(2):
        assert await total(api) == 2 * DAYS + 2
    assert [statement.name for statement in counts] == ["count"] * 2
    assert FIRST.isoformat() not in counts[0].text  # It is a parameter.


async def test_a_repeated_total_reads_only_today(serve: Serve, known: Data, counts: list[Statement]) -> None:
    api = await serve(known.dsn, **CACHED)
    hits, misses = cache_requests("day_counts")
    assert await total(api) == 2 * DAYS + 2
    assert cache_requests("day_counts") == (hits, misses + DAYS)
    directory = api.client.app[STATE].services.directories["cdr.cdr"]
    await load.until(lambda: directory.refreshed is not None)
    counts.clear()
    assert await total(api) == 2 * DAYS + 2
    assert cache_requests("day_counts") == (hits + DAYS, misses + DAYS)
    [count] = [statement for statement in counts if statement.name != "partition_changes"]
    assert f"r.time_start >= '{TODAY.isoformat()}'" in count.text
    assert len(count.partitions) == 2  # Today and tomorrow.


async def test_a_late_call_is_counted_soon(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, **CACHED)
    assert await total(api) == 2 * DAYS + 2
    known.insert("cdr.cdr", id=99, time_start=FIRST, is_last_cdr=True, vendor_id=7)
    known.publish_counters()

    async def counted() -> bool:
        return await total(api) == 2 * DAYS + 3

    await load.until(counted)


async def test_nobody_gets_the_total_of_another(serve: Serve, known: Data) -> None:
    known.execute("UPDATE cdr.cdr SET vendor_acc_id = 1 + id % 3")
    for number in range(3):
        known.insert("cdr.cdr", id=90 + number, time_start=FIRST, is_last_cdr=True, vendor_id=8, customer_id=7)
    api = await serve(known.dsn, **CACHED)
    for _ in range(2):
        assert await total(api) == 18
        assert await total(api, 8) == 3
        assert await total(api, 7, "cdrs") == 3
        assert await total(api, 8, "cdrs") == 18
        assert await total(api, DynamicClaims(7, account_ids=(1,))) == 6
        assert await total(api, DynamicClaims(7, account_ids=(1, 2))) == 12
        assert await total(api, success_eq="true") == 18
        assert await total(api, time_start_lt=TODAY.isoformat()) == 16
        assert (await page(api, success_eq="false")).json["meta"] == {"total-count": 0}


async def test_a_total_that_takes_too_long_is_there_after_some_requests(
    serve: Serve, known: Data, counts: list[Statement]
) -> None:
    """The page with the newest calls needs only today; the total also needs a day that is locked."""
    api = await serve(
        known.dsn,
        **CACHED | {"RESOURCES__PAST_TOTAL_CACHE_SECONDS": "1000", "RESOURCES__TOTAL_TIMEOUT": "1"},
    )
    assert (await page(api, 8, success_eq="true")).json["meta"] == {"total-count": 0}  # Reads the state of all days.
    counts.clear()
    with known.locked(f"cdr.cdr_{FIRST:%Y_%m_%d}"):
        answer = await page(api, success_eq="true")
        assert (answer.status, answer.json["meta"]) == (200, {"total-count-omitted": True})
        assert "last" not in answer.json["links"]
    tried = sum(statement.text.count("AS place") for statement in counts)
    counts.clear()
    assert await total(api, success_eq="true") == 2 * DAYS + 2
    assert sum(statement.text.count("AS place") for statement in counts) < tried


async def test_the_cached_days_do_not_make_a_list_wait_for_a_locked_one(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, **CACHED)
    with known.locked(f"cdr.cdr_{FIRST:%Y_%m_%d}"):
        assert await total(api, time_start_gteq=(FIRST + timedelta(days=2)).isoformat()) == 2 * DAYS - 2
