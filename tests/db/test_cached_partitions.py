"""Backends never free planned partitions, so the partitions of long lists count towards their replacement."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from service.db.pool import Limits, Pool
from service.db.statement import Statement
from service.web.keys import STATE
from tests.conftest import Data, Serve
from tests.load import until

LIMITS = Limits(1, 10, 10, 30, cached_relations=20)
PID = Statement("SELECT pg_backend_pid()")
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


async def backends(pool: Pool, *windows: range) -> list[int]:
    """Which backend runs a statement on each window of partitions."""
    found = []
    for window in windows:
        [(pid,)] = await pool.fetch(replace(PID, partitions=tuple(window)))
        found.append(pid)
    return found


@pytest.mark.parametrize(
    ("windows", "count"),
    [
        ([range(15)] * 5, 1),  # The same partitions count once.
        ([range(0, 15), range(5, 20)] * 3, 1),
        ([range(0, 15), range(10, 25), range(0, 15)], 2),
        ([range(100)] * 3, 3),  # One long list is enough.
    ],
)
async def test_a_backend_ends_with_the_partitions_that_it_may_hold(
    empty_database: str, windows: list[range], count: int
) -> None:
    pool = Pool("test", empty_database, LIMITS)
    assert len(set(await backends(pool, *windows))) == count
    await pool.close()


@pytest.mark.parametrize(
    ("window", "partitions"),
    [
        ({}, 3),  # A day back, today, and what is to come.
        ({"time_start_gteq": TODAY - timedelta(days=10)}, 12),
        ({"time_start_gteq": TODAY - timedelta(days=5), "time_start_lt": TODAY - timedelta(days=3, hours=1)}, 2),
        ({"time_start_eq": TODAY - timedelta(days=4)}, 1),
        ({"time_start_lteq": TODAY - timedelta(days=9), "time_start_gteq": datetime(2000, 1, 1)}, 2),
    ],
)
async def test_a_list_names_the_partitions_of_its_window(
    serve: Serve, data: Data, monkeypatch: pytest.MonkeyPatch, window: dict[str, datetime], partitions: int
) -> None:
    data.customer(7)
    statements: list[Statement] = []
    fetch = Pool.fetch

    async def noting(self: Pool, statement: Statement) -> object:
        statements.append(statement)
        return await fetch(self, statement)

    monkeypatch.setattr(Pool, "fetch", noting)
    api = await serve(data.dsn)
    directory = api.client.app[STATE].services.directories["cdr.cdr"]
    await until(lambda: directory.refreshed is not None)
    query = urlencode({f"filter[{name}]": moment.isoformat() for name, moment in window.items()})
    assert (await api.get(f"incoming-cdrs?{query}", 7)).status == 200
    assert {len(s.partitions) for s in statements if s.partitions} == {partitions}
