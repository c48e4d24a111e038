"""The durations of a request's statements: added by the pool, read by logs, traces and Server-Timing."""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import NamedTuple


class Timing(NamedTuple):
    """A statement by pool and file name, for example `cdr` and `list`, and its duration in seconds."""

    pool: str
    statement: str
    seconds: float


_current: ContextVar[list[Timing] | None] = ContextVar("timings", default=None)


def collect() -> None:
    """Starts an empty collection for this task and the tasks that it starts."""
    _current.set([])


def add(pool: str, statement: str, seconds: float) -> None:
    """Adds a statement to the current request; does nothing outside of requests."""
    timings = _current.get()
    if timings is not None:
        timings.append(Timing(pool, statement, seconds))


def current() -> Sequence[Timing]:
    """The timings of the current request so far."""
    return tuple(_current.get() or ())
