"""A lasting problem in the log: once when it begins, again at growing intervals, and when it has ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

log = structlog.get_logger()

FIRST_INTERVAL = 10.0  # Seconds until a problem that lasts is logged again; each interval is twice the one before.
MAX_INTERVAL = 900.0
MAX_PROBLEMS = 1000  # Beyond them the oldest is forgotten.


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
        """Writes a warning, unless the same problem has been logged within its interval; then it is counted."""
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
        """Writes that the problem has ended, if there was one, and returns whether there was."""
        problem = self._problems.pop(key, None)
        if problem is not None:
            log.info(event, **details, lasted_seconds=round(self.clock() - problem.since))
        return problem is not None
