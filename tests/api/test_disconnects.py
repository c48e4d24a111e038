"""Requests whose client disconnects."""

import asyncio

import pytest

from service.observability import metrics
from service.web import keys
from tests.conftest import Connect, Data, Serve
from tests.load import until

LIST = "/api/rest/customer/v1/incoming-cdrs"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'cdr-api' AND datname = current_database()"


def looked_up() -> float | None:
    """How many unknown calls have been looked for."""
    return metrics.REGISTRY.get_sample_value("cdr_api_directory_lookups_total", {"outcome": "missing"})


async def test_what_is_soon_done_is_done_and_its_connection_kept(serve: Serve, data: Data, connect: Connect) -> None:
    data.customer(7)
    api = await serve(data.dsn, DATABASES__CDR__POOL_SIZE="2")
    assert (await api.get("incoming-cdrs", 7)).status == 200
    before = data.execute(SESSIONS)
    for _ in range(20):
        client = await connect(str(api.client.make_url("/")))
        await client.send(LIST, Authorization=api.tokens.issue(7))
        client.writer.close()
    assert (await api.get("incoming-cdrs", 7)).status == 200
    assert set(before) <= set(data.execute(SESSIONS))


async def test_a_statement_that_nobody_waits_for_is_ended(serve: Serve, data: Data, connect: Connect) -> None:
    data.customer(7)
    api = await serve(data.dsn, OVERLOAD__CONCURRENCY="1", DATABASES__STATEMENT_TIMEOUT="600")
    with data.locked():
        client = await connect(str(api.client.make_url("/")))
        await client.send(LIST, Authorization=api.tokens.issue(7))
        await data.blocked(1)
        client.writer.close()
        await data.blocked(0)
        assert (await api.get("accounts", 7)).status == 200


async def test_who_goes_away_in_the_queue_is_worked_for_no_more(
    serve: Serve, data: Data, connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the task that cancels requests of disconnected clients, a request of one of them gets a slot."""
    data.customer(7)
    api = await serve(data.dsn, OVERLOAD__CONCURRENCY="1")
    [watching] = [task for task in asyncio.all_tasks() if task.get_name() == "disconnects"]
    watching.cancel()
    app = api.client.app
    under_way, before = app[keys.STATE].in_flight, looked_up()
    with data.locked():
        first = asyncio.create_task(api.get("incoming-cdrs", 7))
        await data.blocked(1)
        client = await connect(str(api.client.make_url("/")))
        await client.send(f"{LIST}/1", Authorization=api.tokens.issue(7))
        await until(lambda: app[keys.STATE].limiter.waiting == 1)
        client.writer.close()
        await until(lambda: any(request.transport is None for request in under_way.values()))
    assert (await first).status == 200
    await until(lambda: not under_way)
    assert "status=499" in capsys.readouterr().out
    assert looked_up() == before
