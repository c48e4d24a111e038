"""Backends never free planned partitions, so each statement names the partitions that it plans."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from service.db.connection import Connection, Rows
from service.db.statement import Statement
from service.web.keys import STATE
from tests.conftest import Api, Data, Serve
from tests.load import until

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
ACCOUNT = "0e1d9a70-6c1b-4f6e-9b6a-000000000071"
EVER = urlencode({"filter[time_start_gteq]": (TODAY - timedelta(days=30)).isoformat()})
STATISTIC = urlencode({"account-id": ACCOUNT, "from-time": (TODAY - timedelta(days=30)).isoformat(), "sampling": "day"})
SEARCHING = {"search", "id_range", "one"}  # Their connections are closed, or their texts are counted.


@pytest.fixture
async def api(serve: Serve, data: Data) -> Api:
    data.customer(7)
    data.account(1, 7, ACCOUNT)
    for id in range(1, 60):
        owners = {"customer_id": 7, "vendor_id": 7, "customer_acc_id": 1, "vendor_acc_id": 1}
        data.call(id, time_start=TODAY - timedelta(days=id % 10) + timedelta(minutes=id), duration=id, **owners)
    started = await serve(data.dsn)
    directories = started.client.app[STATE].services.directories
    await until(lambda: directories["cdr.cdr"].refreshed is not None)
    return started


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Statement]:
    """The statements that are sent."""
    statements: list[Statement] = []
    fetch = Connection.fetch

    async def recorded(connection: Connection, statement: Statement) -> Rows:
        statements.append(statement)
        return await fetch(connection, statement)

    monkeypatch.setattr(Connection, "fetch", recorded)
    return statements


def planned_and_counted(data: Data, statement: Statement) -> int:
    """The number of partitions that PostgreSQL plans for a statement, all of which it must name."""
    if statement.name in SEARCHING or "cdr.cdr" not in statement.text or "pg_catalog" in statement.text:
        return 0
    known = dict(data.execute("SELECT relname, oid::bigint FROM pg_class"))
    select = re.sub(r"^DECLARE .*?\n", "", statement.text)
    plan = " ".join(line for (line,) in data.execute(f"EXPLAIN {select}", statement.parameters))
    planned = {known[name] for name in re.findall(r"Scan (?:Backward )?(?:using \S+ )?on (cdr_\d\S+)", plan)}
    assert planned <= set(statement.partitions), statement.name
    return len(planned)


@pytest.mark.parametrize(
    "path",
    [
        f"incoming-cdrs?{EVER}&page[size]=5",
        f"incoming-cdrs?{EVER}&page[size]=5&page[after]=",
        f"incoming-cdrs?{EVER}&page[size]=500",
        f"cdrs?{EVER}&page[size]=5&filter[duration_gteq]=3&sort=duration",
        f"incoming-cdrs?{EVER}&filter[id_in]=3,17,28",
        f"cdrs?{EVER}&format=csv&count=true",
        "incoming-cdrs/3",
        "incoming-cdrs/33/account",
        f"origination-statistics?{STATISTIC}",
        f"termination-statistics?{STATISTIC}",
    ],
)
async def test_every_partition_that_is_planned_is_counted(
    api: Api, data: Data, sent: list[Statement], path: str
) -> None:
    assert (await api.get(path, 7)).status == 200
    checked = sum(planned_and_counted(data, statement) > 0 for statement in list(sent))
    assert checked or path.startswith("incoming-cdrs/")


async def test_a_prepared_search_counts_the_partitions_of_whole_days(
    serve: Serve, data: Data, sent: list[Statement]
) -> None:
    """Its time range is wider than the filters: with partitions of an hour, 24 are planned for two hours."""
    day = TODAY - timedelta(days=1)
    data.execute(f"DROP TABLE cdr.cdr_{day:%Y_%m_%d}")
    for hour in range(24):
        first, end = (day + timedelta(hours=hour + more) for more in (0, 1))
        data.execute(
            f"CREATE TABLE cdr.cdr_{first:%Y_%m_%d_%H} PARTITION OF cdr.cdr FOR VALUES FROM ('{first}') TO ('{end}')"
        )
    data.customer(7)
    data.call(1, time_start=day + timedelta(hours=2), vendor_id=7, duration=5)
    window = {"gteq": day + timedelta(hours=1), "lt": day + timedelta(hours=3)}
    filters = {f"filter[time_start_{name}]": moment.isoformat() for name, moment in window.items()}
    path = f"incoming-cdrs?{urlencode({**filters, 'filter[duration_eq]': 5, 'sort': 'duration'})}"
    api = await serve(data.dsn)
    await until(lambda: api.client.app[STATE].services.directories["cdr.cdr"].refreshed is not None)
    for _ in range(3):
        assert (await api.get(path, 7)).ids == ["1"]
    prepared = [statement for statement in sent if statement.name == "keys" and statement.repeated]
    assert prepared
    assert [planned_and_counted(data, statement) for statement in prepared] == [24] * len(prepared)


async def test_a_prepared_search_obeys_statement_timeout(
    serve: Serve, data: Data, sent: list[Statement], monkeypatch: pytest.MonkeyPatch
) -> None:
    data.customer(7)
    api = await serve(data.dsn, DATABASES__STATEMENT_TIMEOUT="5")
    services = api.client.app[STATE].services
    await until(lambda: services.directories["cdr.cdr"].refreshed is not None)
    monkeypatch.setattr(services.records._searched.times, "limit", lambda text: 8.0)
    assert (await api.get(f"incoming-cdrs?{EVER}&filter[duration_eq]=5&sort=duration", 7)).ids == []
    assert {statement.timeout for statement in sent if statement.name == "keys"} == {5.0}


async def test_a_look_up_in_time_ranges_counts_their_partitions(api: Api, data: Data, sent: list[Statement]) -> None:
    data.call(10**6, time_start=TODAY - timedelta(days=4), vendor_id=7)
    assert (await api.get("incoming-cdrs/1000000", 7)).status == 200
    found = [statement for statement in sent if statement.name == "one_within"]
    assert found
    assert all(statement.partitions for statement in found)
