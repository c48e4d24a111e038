"""The load generator, a separate process: reads a job as JSON from standard input and prints the results.

It implements only the HTTP that it needs, at a few microseconds per request, so that it is not the bottleneck.
"""

import json
import re
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
LAST_CHUNK = b"0\r\n\r\n"
LONGEST = 60.0  # Maximum seconds until the first response.


@dataclass(frozen=True)
class Job:
    """Requests `paths` in turn over `concurrency` connections for `seconds`, after `warm` unmeasured seconds."""

    url: str
    paths: Sequence[str]
    token: str
    concurrency: int
    seconds: float
    warm: float = 0.5
    expected: int = 200
    accept: str = "application/vnd.api+json"


@dataclass(frozen=True)
class Measured:
    """Expected responses per second, the median and 99th percentile in ms, and the number of unexpected responses."""

    rate: float
    p50: float
    p99: float
    errors: int


def started(job: Job) -> "subprocess.Popen[str]":
    """Starts a process that executes the job; `finished` waits for it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    process.stdin.write(json.dumps(asdict(job)))
    process.stdin.close()
    return process


def finished(process: "subprocess.Popen[str]") -> Measured:
    assert process.stdout
    with process:
        text = process.stdout.read()
    return Measured(**json.loads(text))


def run(job: Job) -> Measured:
    """Executes the job in this process."""
    address = urlsplit(job.url)
    texts = cycle([_request(job, str(address.netloc), path) for path in job.paths])
    connections = [_Connection((str(address.hostname), int(address.port or 80)), texts) for _ in range(job.concurrency)]
    begin = time.perf_counter() + job.warm
    answers = [answer for answer in _answers(connections, begin, begin + job.seconds) if answer.at > begin]
    for connection in connections:
        connection.socket.close()
    times = sorted(1000 * answer.seconds for answer in answers)
    errors = sum(answer.status != job.expected for answer in answers)
    elapsed = max(time.perf_counter() - begin, 1e-9)
    return Measured((len(times) - errors) / elapsed, _quantile(times, 50), _quantile(times, 99), errors)


@dataclass(frozen=True, slots=True)
class _Answer:
    at: float
    seconds: float
    status: int


class _Connection:
    """Sends the next request as soon as the previous response is complete."""

    def __init__(self, address: tuple[str, int], texts: Iterator[bytes]) -> None:
        self._address, self._texts = address, texts
        self._open()

    def _open(self) -> None:
        self.socket = socket.create_connection(self._address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send()

    def send(self) -> None:
        self._head = b""
        self._left: float | None = None  # Remaining bytes of the body; infinite if its length is unknown.
        self.sent = time.perf_counter()
        self.socket.sendall(next(self._texts))

    def receive(self) -> int | None:
        """The status of the complete response. If the server closes, the status is 0, and the client reconnects."""
        data = self.socket.recv(1 << 18)
        if not data:
            self.socket.close()
            return 0
        if self._left is None:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return None
            self._head = head
            self._left = float("inf") if CHUNKED.search(head) else int((LENGTH.search(head) or [0, 0])[1])
        self._left -= len(data)
        complete = data.endswith(LAST_CHUNK) if self._left == float("inf") else self._left <= 0
        return int(self._head[9:12]) if complete else None

    def reopen(self) -> None:
        self._open()


def _answers(connections: Sequence[_Connection], begin: float, end: float) -> Iterator[_Answer]:
    """All responses until the end, or if there are none, the first one after it."""
    poll, known = select.epoll(), {}
    for connection in connections:
        known[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    count, now = 0, time.perf_counter()
    while now < end or (not count and now < begin + LONGEST):
        for number, _ in poll.poll(0.1):
            connection = known[number]
            status = connection.receive()
            now = time.perf_counter()
            if status is None:
                continue
            yield _Answer(now, now - connection.sent, status)
            count += now > begin
            if status:
                connection.send()
            else:
                del known[number]
                connection.reopen()
                known[connection.socket.fileno()] = connection
                poll.register(connection.socket, select.EPOLLIN)
        now = time.perf_counter()


def _request(job: Job, host: str, path: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {job.token}", f"Accept: {job.accept}"]
    return "\r\n".join([*lines, "", ""]).encode()


def _quantile(values: Sequence[float], percent: int) -> float:
    if len(values) < 2:
        return values[0] if values else 0.0
    return statistics.quantiles(values, n=100)[percent - 1]


def main(text: str) -> str:
    values: dict[str, Any] = json.loads(text)
    return json.dumps(asdict(run(Job(**values))))


if __name__ == "__main__":
    print(main(sys.stdin.read()))
