"""Logs a lasting problem when it begins, again at growing intervals, and when it ends."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

log = structlog.get_logger()

FIRST_INTERVAL = 10.0  # Seconds until a lasting problem is logged again; the interval doubles each time.
MAX_INTERVAL = 900.0
MAX_PROBLEMS = 1000  # The oldest is dropped beyond this.


@dataclass(slots=True)
class _Problem:
    since: float
    next_line: float
    interval: float = FIRST_INTERVAL
    suppressed: int = 0


@dataclass(slots=True)
class ProblemLog:
    """Problems by key, with a monotonic clock."""

    clock: Callable[[], float] = time.monotonic
    _problems: dict[object, _Problem] = field(default_factory=dict)

    def failed(self, key: object, event: str, **details: Any) -> None:
        """Logs a warning, or counts the problem if it was logged within its interval."""
        now, problem = self.clock(), self._problems.get(key)
        if problem is None or now >= problem.next_line + MAX_INTERVAL:
            self._problems.pop(key, None)
            while len(self._problems) >= MAX_PROBLEMS:
                del self._problems[next(iter(self._problems))]
            self._problems[key] = _Problem(now, now + FIRST_INTERVAL)
            log.warning(event, **details)
        elif now < problem.next_line:
            problem.suppressed += 1
        else:
            lasted, repeated = round(now - problem.since), problem.suppressed + 1
            problem.interval = min(2 * problem.interval, MAX_INTERVAL)
            problem.next_line, problem.suppressed = now + problem.interval, 0
            log.warning(event, **details, lasting_seconds=lasted, repeated=repeated)

    def ended(self, key: object, event: str, **details: Any) -> bool:
        """Logs the end of the problem. Returns False if there was none."""
        problem = self._problems.pop(key, None)
        if problem is not None:
            log.info(event, **details, lasted_seconds=round(self.clock() - problem.since))
        return problem is not None
