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
    known = dict(data.execute("SELECT relname, oid::bigint FROM pg_class"))
    checked = 0
    for statement in list(sent):
        if statement.name in SEARCHING or "cdr.cdr" not in statement.text or "pg_catalog" in statement.text:
            continue
        select = re.sub(r"^DECLARE .*?\n", "", statement.text)
        plan = " ".join(line for (line,) in data.execute(f"EXPLAIN {select}", statement.parameters))
        planned = {known[name] for name in re.findall(r"Scan (?:Backward )?(?:using \S+ )?on (cdr_\d\S+)", plan)}
        assert planned <= set(statement.partitions), statement.name
        checked += bool(planned)
    assert checked or path.startswith("incoming-cdrs/")


async def test_a_look_up_in_time_ranges_counts_their_partitions(api: Api, data: Data, sent: list[Statement]) -> None:
    data.call(10**6, time_start=TODAY - timedelta(days=4), vendor_id=7)
    assert (await api.get("incoming-cdrs/1000000", 7)).status == 200
    found = [statement for statement in sent if statement.name == "one_within"]
    assert found
    assert all(statement.partitions for statement in found)
