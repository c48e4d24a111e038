"""Remembers how long searches take, to decide which ones run as prepared statements.

Planning a search in a hundred partitions takes twenty milliseconds, running it with an index a few. A prepared search
is planned only once, but without its values, so PostgreSQL assumes that all values are equally frequent. For a frequent
value the plan may be much slower. So only searches that are fast when planned with their values are prepared, with a
time limit; after exceeding it, a search is planned with its values again.
"""

from collections.abc import Callable
from time import monotonic

MAX_SECONDS = 0.2  # Slower searches are not prepared, because planning is a small part of their time.
VALID_SECONDS = 600.0  # After which a search is planned with its values again.
MAX_ENTRIES = 1000


class SearchTimes:
    """Time limits of prepared searches, by the text of the prepared statement."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._limits: dict[str, tuple[float | None, float]] = {}  # The limit, and the time until which it is valid.

    def limit(self, text: str) -> float | None:
        """The seconds that the prepared search may take; None if it must be planned with its values."""
        limit, end = self._limits.get(text, (None, 0.0))
        return limit if self._clock() < end else None

    def measured(self, text: str, seconds: float) -> None:
        """The search took so long when planned with its values. The first time on a connection may be slow."""
        if seconds < MAX_SECONDS and self._clock() >= self._limits.get(text, (None, 0.0))[1]:
            self._set(text, 0.05 + 2 * seconds)

    def exceeded(self, text: str) -> None:
        """The prepared search has exceeded its limit."""
        self._set(text, None)

    def _set(self, text: str, limit: float | None) -> None:
        self._limits.pop(text, None)
        if len(self._limits) >= MAX_ENTRIES:
            del self._limits[next(iter(self._limits))]
        self._limits[text] = limit, self._clock() + VALID_SECONDS
