"""Log lines to a file descriptor, by a thread: who logs never waits for whoever reads them, and drops them at worst."""

import atexit
import os
import select
import threading
from queue import Full, Queue

from service.observability import metrics

MAX_WAITING = 10000  # Lines.
MAX_BATCH = 100
EXIT_TIMEOUT = 2.0  # Seconds in which what is left can be written when the process ends.


class LogWriter:
    """A text stream of whole lines. The thread starts with the first line, in each process anew."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: Queue[str | None] = Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._reset)
        atexit.register(self.close)

    def write(self, line: str) -> None:
        """Takes a line, or counts it as dropped where too many wait already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(line)
        except Full:
            metrics.LOG_LINES_DROPPED.inc()

    def flush(self) -> None:
        """There is nothing to do: lines are written as soon as they can be."""

    def close(self) -> None:
        """Waits until all lines are written, but not for long."""
        if self._thread is not None:
            try:
                self._lines.put(None, timeout=EXIT_TIMEOUT)
            except Full:
                return
            self._thread.join(EXIT_TIMEOUT)

    def _reset(self) -> None:
        """A forked process has no thread, and the lines of its parent are its parent's."""
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
            except OSError:  # Nobody reads any more.
                metrics.LOG_LINES_DROPPED.inc(len(lines))

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
