"""Writes log lines to a file descriptor in a thread. Logging never blocks; lines are dropped if the queue is full.

The thread waits some milliseconds for more lines, because waking it for each line costs more than writing it.
"""

import atexit
import os
import select
import threading
from collections import deque

from service.observability import metrics

MAX_WAITING = 10000  # Lines.
DELAY = 0.02  # Seconds from the first line of a batch until it is written.
EXIT_TIMEOUT = 2.0  # Seconds to write the remaining lines when the process exits.


class LogWriter:
    """A text stream of whole lines. Each process starts its own thread with its first line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread: threading.Thread | None = None
        self._reset()
        os.register_at_fork(after_in_child=self._reset)
        atexit.register(self.close)

    def write(self, line: str) -> None:
        """Queues a line, or counts it as dropped if the queue is full."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            self._thread.start()
        if len(self._lines) >= MAX_WAITING:
            metrics.LOG_LINES_DROPPED.inc()
            return
        self._lines.append(line)
        if not self._filled.is_set():
            self._filled.set()

    def flush(self) -> None:
        """Does nothing: lines are written as soon as possible."""

    def close(self) -> None:
        """Waits until all lines are written, for at most EXIT_TIMEOUT seconds."""
        if self._thread is not None:
            self._closed.set()
            self._filled.set()
            self._thread.join(EXIT_TIMEOUT)

    def _reset(self) -> None:
        """A forked process has no thread, and must not write the queued lines of its parent."""
        self._lines: deque[str] = deque()
        self._filled, self._closed = threading.Event(), threading.Event()
        self._thread = None

    def _run(self) -> None:
        while not self._closed.is_set() or self._lines:
            self._filled.wait()
            self._closed.wait(DELAY)
            self._filled.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            try:
                self._write("".join(lines).encode(errors="backslashreplace"))
            except OSError:  # The reader has closed the pipe.
                metrics.LOG_LINES_DROPPED.inc(len(lines))

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
