"""Runs the measured servers as processes: service, bare handler, naive application, peers."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from benchmarks.databases import CUSTOMER, private_memory
from service.auth.tokens import DynamicClaims, TokenService
from service.files import DEFAULT_SETTINGS
from service.schemas.base import PREFIX
from service.settings import PREFIX as VARIABLE

SECRET = "bench-secret-" + "0" * 32
TOKEN = TokenService([SECRET.encode()], 86400).issue(DynamicClaims(CUSTOMER))
LISTS = f"{PREFIX}/incoming-cdrs"
CONNECTIONS = "8"  # Maximum for each process of a peer.
LONGEST_START = 120.0  # Seconds.
PEERS = {
    "drf": ".env/drf/bin/gunicorn -w 1 -k gthread --threads 4 -b 127.0.0.1:{port} --log-level warning peer.wsgi",
    "fastapi": ".env/fastapi/bin/uvicorn app:app --port {port} --workers 1 --no-access-log --log-level warning",
    "fastify": "node app.js",
}


class StartError(Exception):
    """A program ended or does not respond; the message names its log file."""


@dataclass
class Program:
    """A running server. Its output is written to a file with its name."""

    name: str
    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    @classmethod
    def start(
        cls,
        name: str,
        command: list[str],
        logs: Path,
        environment: Mapping[str, str],
        port: int,
        cwd: Path | None = None,
    ) -> Self:
        """Starts a server and waits until it responds. Raises StartError."""
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{name.replace(' ', '_')}.log"
        with log.open("wb") as output:
            process = _spawn(command, output, {**os.environ, **environment}, cwd)
        program = cls(name, f"http://127.0.0.1:{port}", process, log)
        deadline = time.monotonic() + LONGEST_START
        while program.status(f"{LISTS}?page%5Bsize%5D=1") != 200:
            if process.poll() is not None or time.monotonic() > deadline:
                program.stop()
                raise StartError(f"{name} did not start: see {log}")
            time.sleep(0.05)
        return program

    def status(self, path: str, accept: str = "application/vnd.api+json") -> int:
        """The status of a GET, 0 without a response."""
        return self.get(path, accept)[0]

    def get(self, path: str, accept: str = "application/vnd.api+json") -> tuple[int, str, bytes]:
        """Status, content type and body of a GET."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept}
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.headers.get_content_type(), response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers.get_content_type(), error.read()
        except OSError:
            return 0, "", b""

    def drain(self, path: str, accept: str) -> int:
        """Reads and discards a response of any size. Returns the bytes of its body."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=60) as response:
            return sum(len(part) for part in iter(lambda: response.read(1 << 20), b""))

    @property
    def memory(self) -> float:
        """The private memory of the process in MiB."""
        return private_memory(self.process.pid)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # A separate session: kills only its own processes.
            self.process.wait()


def service(name: str, dsn: str, logs: Path, **settings: str) -> Program:
    """Starts the service; `settings` are environment variables without their prefix. Raises StartError."""
    port = _free_port()
    values = {
        "LISTEN__PORT": str(port),
        "DATABASES__CDR__DSN": dsn,
        "DATABASES__ROUTING__DSN": dsn,
        "AUTH__SECRETS": f'["{SECRET}"]',
        "LOG__FORMAT": "json",
        "ADMIN__PORT": "0",
        "EXPORT__MAX_DAYS": "3660",
        **settings,
    }
    environment = {VARIABLE + key: value for key, value in values.items() if is_setting(key) or key in settings}
    return Program.start(name, [sys.executable, "-m", "service", "serve"], logs, environment, port)


def is_setting(key: str) -> bool:
    """True if this version of the service has the setting, named like its environment variable without the prefix."""
    found = tomllib.loads(DEFAULT_SETTINGS.read_text(encoding="utf-8"))
    for name in key.lower().split("__"):
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


def beside(name: str, dsn: str, logs: Path) -> Program:
    """Starts `bare` or `naive`, modules of this package. Raises StartError."""
    port = _free_port()
    environment = {"PORT": str(port), "BENCH_DSN": dsn, "BENCH_SECRET": SECRET}
    return Program.start(name, [sys.executable, "-m", f"benchmarks.{name}"], logs, environment, port)


def peer(name: str, folder: Path, dsn: str, logs: Path) -> Program:
    """Starts one of the peers that are installed in a folder. Raises StartError."""
    port = _free_port()
    command = shlex.split(PEERS[name].format(port=port))
    if (folder / command[0]).exists():
        command[0] = str((folder / command[0]).absolute())
    environment = {"BENCH_DSN": dsn, "BENCH_SECRET": SECRET, "BENCH_POOL": CONNECTIONS, "BENCH_PROCS": "1"}
    environment |= {"PORT": str(port), "NODE_ENV": "production"}
    return Program.start(name, command, logs, environment, port, folder / name)


def _spawn(
    command: list[str], output: IO[bytes], environment: dict[str, str], cwd: Path | None
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        stdout=output,
        stderr=output,
        env=environment,
        cwd=cwd,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
