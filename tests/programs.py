"""Real processes of the program, as an operator starts them."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from unittest.mock import patch

from service import cli
from service.observability import logs

SERVICE = [sys.executable, "-m", "service"]


def environment(**settings: str) -> dict[str, str]:
    """The process's own environment, with settings by their names without the prefix."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CDR_API_")}
    return inherited | {f"CDR_API_{name}": value for name, value in {"ADMIN__PORT": "0", **settings}.items()}


def on_database(cdr: str, routing: str | None = None, **settings: str) -> dict[str, str]:
    """Settings for the DSNs of both databases, by default the same one, and others."""
    return {"DATABASES__CDR__DSN": cdr, "DATABASES__ROUTING__DSN": routing or cdr, **settings}


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def run(words: Sequence[str], **settings: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*SERVICE, *words], env=environment(**settings), capture_output=True, text=True, timeout=60, check=False
    )


def called(words: Sequence[str], **settings: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, without the start of another, which takes most of the time of a short command."""
    known, out, err = environment(**settings), io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, known, clear=True),
        patch.object(logs, "configure"),  # It configures the whole process.
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            code = cli.main(words)
        except SystemExit as ended:  # Of argparse.
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


class Program:
    """A running `cdr-api serve`; its log as events, read as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, str]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)  # A full pipe would stop the program.
        self._reader.start()

    def logged(self, event: str, times: int = 1) -> dict[str, str]:
        """Waits until an event has been logged, and gives it."""
        with self._news:
            found = self._news.wait_for(lambda: len(self._of(event)) >= times or not self._reader.is_alive(), 30)
            assert found, f"no {event!r} among {self.events}"
            return self._of(event)[times - 1]

    @property
    def admin(self) -> str:
        return self.logged("listening")["admin"]

    @property
    def url(self) -> str:
        return self.logged("listening")["url"]

    def end(self, signal: int) -> int:
        """The exit code."""
        self.process.send_signal(signal)
        code = self.process.wait(timeout=30)
        self.joined()
        return code

    def joined(self) -> None:
        """Waits until all that was logged has been read."""
        self._reader.join()

    def _of(self, event: str) -> list[dict[str, str]]:
        return [entry for entry in self.events if entry["event"] == event]

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                with self._news:
                    self.events.append(json.loads(line))
                    self._news.notify_all()


@contextmanager
def serving(*, limits: str = ":", **settings: str) -> Iterator[Program]:
    """`cdr-api serve` on a free port, ended when the block is left; `limits` are set by a shell, as `ulimit -n 9`."""
    known = {"LISTEN__PORT": "0", "LOG__FORMAT": "json", **settings}
    words = ["sh", "-c", f'{limits} && exec "$@"', "sh", *SERVICE, "serve"]
    process = subprocess.Popen(words, env=environment(**known), stderr=subprocess.PIPE, text=True)
    program = Program(process)
    try:
        yield program
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        program.joined()


def descendants(pid: int) -> list[int]:
    """A process and all that it has started, directly or not."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    found = [int(line) for line in children.stdout.split()]
    return [pid, *(other for child in found for other in descendants(child))]


@contextmanager
def hanging(pid: int) -> Iterator[None]:
    """A server and all its processes are stopped inside the block; its port still accepts connections."""
    stopped = descendants(pid)
    for one in stopped:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in stopped:
            os.kill(one, signal.SIGCONT)
