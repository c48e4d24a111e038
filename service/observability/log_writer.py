"""Writes log lines to a file descriptor in a thread. Logging never blocks; lines are dropped if the queue is full."""

import atexit
import os
import select
import threading
from queue import Full, Queue

from service.observability import metrics

MAX_WAITING = 10000  # Lines.
MAX_BATCH = 100
EXIT_TIMEOUT = 2.0  # Seconds to write the remaining lines when the process exits.


class LogWriter:
    """A text stream of whole lines. Each process starts its own thread with its first line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: Queue[str | None] = Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._reset)
        atexit.register(self.close)

    def write(self, line: str) -> None:
        """Queues a line, or counts it as dropped if the queue is full."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(line)
        except Full:
            metrics.LOG_LINES_DROPPED.inc()

    def flush(self) -> None:
        """Does nothing: lines are written as soon as possible."""

    def close(self) -> None:
        """Waits until all lines are written, for at most EXIT_TIMEOUT seconds each for the queue and the thread."""
        if self._thread is not None:
            try:
                self._lines.put(None, timeout=EXIT_TIMEOUT)
            except Full:
                return
            self._thread.join(EXIT_TIMEOUT)

    def _reset(self) -> None:
        """A forked process has no thread, and must not write the queued lines of its parent."""
        self._lines = Queue(MAX_WAITING)
        self._thread = None

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._lines.get()]
            while len(batch) < MAX_BATCH and not self._lines.empty():
                batch.append(self._lines.get())
            ended = None in batch
            lines = [line for line in batch if line is not None]
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
