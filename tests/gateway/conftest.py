"""A real nginx with the gateway's configuration; without nginx, these tests are skipped with a message."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.conftest import Answer, Api
from tests.programs import free_port

CONFIG = Path(__file__).parents[2] / "config" / "gateway"
NGINX = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))

if not NGINX:
    collect_ignore_glob = ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not NGINX:
        terminalreporter.write_line(
            "tests/gateway are left out, because there is no nginx; `make test-gateway` installs it."
        )


class Gateway:
    """An nginx in front of a service, as a client sees it."""

    def __init__(self, api: Api, folder: Path, port: int, session: aiohttp.ClientSession) -> None:
        self.api = api
        self.recordings = folder / "recordings"
        self.port = port
        self._session = session

    async def get(self, path: str, caller: int | None = None, **options: Any) -> Answer:
        """GET, or another `method`, exactly as written, below the base path if it is relative."""
        path = path if path.startswith("/") else f"/api/rest/customer/v1/{path}"
        headers = dict(options.pop("headers", {}))
        if caller is not None:
            headers["Authorization"] = self.api.tokens.issue(caller)
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self._session.request(options.pop("method", "GET"), url, headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.read())


ALSO: list[tuple[str, str, str]] = []  # Changes of a file that a test wants: name, old text, new text.


def configured(folder: Path, port: int, upstream: int) -> list[str]:
    """The words that start nginx on a copy of its configuration, with the addresses and folders of a test."""
    shutil.copytree(CONFIG, folder, dirs_exist_ok=True)
    (folder / "recordings").mkdir()
    for name, old, new in (
        ("nginx.conf", "listen 8080;", f"listen 127.0.0.1:{port};"),
        ("nginx.conf", " /tmp/", f" {folder}/"),
        ("nginx.conf", "include cdr-api/resolved.conf;", "include cdr-api/address.conf;"),
        ("cdr-api/address.conf", "server 127.0.0.1:8080;", f"server 127.0.0.1:{upstream};"),
        ("cdr-api/server.conf", "alias /recordings/;", f"alias {folder}/recordings/;"),
        ("cdr-api/server.conf", "from=/recordings;", f"from={folder}/recordings;"),
        *ALSO,
    ):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
    user = " user root;" if os.geteuid() == 0 else ""  # Who may read the test's own folder.
    return [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", f"daemon off;{user}"]


Open = Callable[[Api], Awaitable[Gateway]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Starts a gateway in front of a service."""
    running: list[subprocess.Popen[bytes]] = []
    sessions: list[aiohttp.ClientSession] = []

    async def start(api: Api) -> Gateway:
        port, folder = free_port(), tmp_path / f"gateway{len(running)}"
        running.append(_started(configured(folder, port, api.client.port or 0)))
        sessions.append(aiohttp.ClientSession(auto_decompress=False))
        await _answering(port, running[-1])
        return Gateway(api, folder, port, sessions[-1])

    yield start
    for session in sessions:
        await session.close()
    for process in running:
        process.terminate()
        process.wait(timeout=30)


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=sys.stderr)


async def _answering(port: int, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(30):
        while True:
            assert process.poll() is None, "nginx has ended; its reason is above"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                with closing(writer):
                    return


@pytest.fixture
async def gateway(opened: Open, api: Api) -> Gateway:
    return await opened(api)
