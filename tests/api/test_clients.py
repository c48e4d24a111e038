"""What becomes of a request whose client has gone away."""

from tests.conftest import Connect, Data, Serve

LIST = "/api/rest/customer/v1/incoming-cdrs"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'cdr-api' AND datname = current_database()"


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
