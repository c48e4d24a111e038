"""Processes are stopped, replaced and reloaded under continuous load."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import pytest

from service.auth.tokens import TokenService
from tests.conftest import SECRET, Connect, Data
from tests.load import asking, once, until
from tests.programs import Program, on_database, run, serving

LIST = "/api/rest/customer/v1/incoming-cdrs"
PATIENT = {"LISTEN__KEEPALIVE_GRACE": "20"}  # Ends early, as soon as no connection is left.
OTHER = "another secret, of more than 32 bytes as well"


@pytest.fixture(autouse=True)
def rows(data: Data) -> None:
    data.customer(7)
    for id in range(1, 30):
        data.call(id, vendor_id=7)


@pytest.fixture
def known(data: Data) -> dict[str, str]:
    return on_database(data.dsn, AUTH__SECRETS=json.dumps([SECRET]))


def token(secret: str = SECRET) -> str:
    return TokenService([secret.encode()], None).issue(7)


async def logged(program: Program, event: str, times: int = 1) -> dict[str, str]:
    return await asyncio.to_thread(program.logged, event, times)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_signal_to_stop_loses_no_request(known: dict[str, str], workers: str) -> None:
    with serving(**known, **PATIENT, LISTEN__WORKERS=workers) as program:
        async with asking(program.url, LIST, clients=16, Authorization=token()) as tally:
            await until(lambda: tally.answered[200] > 200)
            assert await asyncio.to_thread(program.end, signal.SIGTERM) == 0
    assert (tally.lost, tally.sent) == (0, tally.answered[200])


async def test_what_is_under_way_is_finished_and_the_rest_is_told_to_go(
    connect: Connect, known: dict[str, str], data: Data
) -> None:
    with serving(**known, **PATIENT) as program:
        slow, idle = await connect(program.url), await connect(program.url)
        assert (await idle.ask("/", Authorization=token()))[0] == 404
        with data.locked():
            await slow.send(LIST, Authorization=token())
            await data.blocked()
            ending = asyncio.create_task(asyncio.to_thread(program.end, signal.SIGTERM))
            await logged(program, "stopping")
            with pytest.raises(ConnectionRefusedError):
                await connect(program.url)
            status, _, body = await once(program.admin, "/ready")
            assert (status, json.loads(body)["reasons"]) == (503, ["stopping"])
            status, headers, _ = await idle.ask("/")
            assert (status, headers["Connection"]) == (404, "close")
            assert await idle.ended() == b""
        status, headers, body = await slow.answer()
        assert (status, headers["Connection"], len(json.loads(body)["data"])) == (200, "close", 29)
        assert await ending == 0


async def test_what_takes_too_long_is_given_up(connect: Connect, known: dict[str, str], data: Data) -> None:
    with serving(**known, LISTEN__SHUTDOWN_TIMEOUT="0.2") as program, data.locked():
        slow = await connect(program.url)
        await slow.send(LIST, Authorization=token())
        await data.blocked()
        assert await asyncio.to_thread(program.end, signal.SIGTERM) == 0
        assert await slow.ended() == b""
        assert program.logged("request")["status"] == 499


async def test_what_nobody_waits_for_is_ended_before_the_end(
    connect: Connect, known: dict[str, str], data: Data
) -> None:
    with serving(**known) as program, data.locked():
        gone = await connect(program.url)
        await gone.send(LIST, Authorization=token())
        await data.blocked()
        gone.writer.close()
        assert await asyncio.to_thread(program.end, signal.SIGTERM) == 0
        assert program.logged("request")["status"] == 499


async def test_connections_that_wait_to_be_accepted_are_served_before_the_end(
    connect: Connect, known: dict[str, str]
) -> None:
    with serving(**known, **PATIENT) as program:
        assert program.url
        program.process.send_signal(signal.SIGSTOP)
        waiting = [await connect(program.url) for _ in range(20)]
        for connection in waiting:
            await connection.send("/")
        program.process.send_signal(signal.SIGTERM)
        program.process.send_signal(signal.SIGCONT)
        answers = [await connection.answer() for connection in waiting]
        assert [(status, headers["Connection"]) for status, headers, _ in answers] == [(404, "close")] * 20
        assert await asyncio.to_thread(program.process.wait, 30) == 0


async def test_a_killed_worker_is_replaced_and_takes_only_its_own_requests_along(known: dict[str, str]) -> None:
    with serving(**known, **PATIENT, LISTEN__WORKERS="2") as program:
        await logged(program, "serving", 2)
        async with asking(program.url, LIST, clients=8, Authorization=token()) as tally:
            await until(lambda: tally.answered[200] > 50)
            os.kill(int(program.logged("serving")["process"]), signal.SIGKILL)
            await logged(program, "serving", 3)
            seen = tally.answered[200]
            await until(lambda: tally.answered[200] > seen + 50)
        assert tally.answered.keys() == {200}
        assert tally.lost <= 8
        assert await asyncio.to_thread(program.end, signal.SIGTERM) == 0


async def test_a_reload_takes_new_settings_without_losing_a_request(
    connect: Connect, known: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f'[auth]\nsecrets = ["{SECRET}"]\n')
    del known["AUTH__SECRETS"]
    with serving(**known, **PATIENT, LISTEN__WORKERS="2", CONFIG=str(file)) as program:
        await logged(program, "serving", 2)
        async with asking(program.url, LIST, clients=8, Authorization=token()) as tally:
            file.write_text(f'[auth]\nsecrets = ["{OTHER}", "{SECRET}"]\n')
            program.process.send_signal(signal.SIGHUP)
            await logged(program, "stopping", 2)
        assert (tally.lost, tally.sent) == (0, tally.answered[200])
        assert (await once(program.url, LIST, Authorization=token(OTHER)))[0] == 200
        file.write_text("[auth]\nsecrets = []\n")
        program.process.send_signal(signal.SIGHUP)
        refused = await logged(program, "invalid settings, keeping the old ones")
        assert refused["problems"] == ["auth.secrets: is required"]
        await logged(program, "serving", 6)
        assert (await once(program.url, LIST, Authorization=token(OTHER)))[0] == 200
        assert await asyncio.to_thread(program.end, signal.SIGINT) == 0


async def test_any_worker_tells_what_all_have_counted(known: dict[str, str]) -> None:
    counted = re.compile(rb'cdr_api_requests_total{method="GET",route="none",status="404"} (\d+)')
    with serving(**known, LISTEN__WORKERS="2") as program:
        await logged(program, "serving", 2)
        for _ in range(20):
            assert (await once(program.url, "/"))[0] == 404
        for _ in range(4):
            _, _, text = await once(program.admin, "/metrics")
            assert counted.findall(text) == [b"20"]
        os.kill(int(program.logged("serving")["process"]), signal.SIGKILL)
        await logged(program, "serving", 3)
        _, _, text = await once(program.admin, "/metrics")
        assert counted.findall(text) == [b"20"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_taken_port_is_said_in_one_line(known: dict[str, str], workers: str) -> None:
    with serving(**known) as program:
        port = program.url.rpartition(":")[2]
        ended = run(["serve"], **known, LISTEN__WORKERS=workers, LISTEN__PORT=port, ADMIN__PORT="0")
    assert ended.returncode == 1
    advice = "set CDR_API_LISTEN__PORT to another port"
    assert re.fullmatch(
        rf"cdr-api: listen.host, listen.port: 127.0.0.1:{port}: Address .*in use; {advice}\n", ended.stderr
    )


def test_customers_are_served_where_the_operators_port_is_taken(known: dict[str, str]) -> None:
    with serving(**known) as program, serving(**known, ADMIN__PORT=program.admin.rpartition(":")[2]) as other:
        assert "admin.host, admin.port" in other.logged("admin port not available")["error"]
        assert other.url


def test_no_file_is_left_behind(known: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(**known, LISTEN__WORKERS="2") as program:
        program.logged("serving", 2)
        assert list(tmp_path.iterdir())
        assert program.end(signal.SIGTERM) == 0
    assert list(tmp_path.iterdir()) == []
