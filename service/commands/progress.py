"""Progress of a long command on standard error: a bar on a terminal, else only the result."""

import sys
import time

WIDTH = 30  # Characters of the bar.
PAUSE = 0.1  # Seconds between updates.
START_OVER = "\r\x1b[K"


class Progress:
    """Counts records up to a total."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._started, self._shown = time.monotonic(), 0.0
        self._visible = sys.stderr.isatty()

    def more(self, count: int) -> None:
        """Adds to the number of records done."""
        self._done += count
        now = time.monotonic()
        if self._visible and now - self._shown >= PAUSE:
            self._shown = now
            self._show(self._done / max(1, self._total), self._done / max(PAUSE, now - self._started))

    def end(self, where: str) -> None:
        """Prints the number of records and where they were written."""
        print(f"{START_OVER if self._visible else ''}{self._done} records to {where}", file=sys.stderr)

    def _show(self, share: float, rate: float) -> None:
        bar = "#" * round(WIDTH * share)
        line = f"[{bar:<{WIDTH}}] {share:4.0%} of {self._total:,} records, {rate:,.0f} a second"
        print(f"{START_OVER}{line}", end="", file=sys.stderr, flush=True)
