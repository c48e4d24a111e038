"""How long the statements of a request took: whoever runs one adds it, whoever answers the request reads them."""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import NamedTuple


class Timing(NamedTuple):
    """A statement by pool and file name, as `cdr` and `list`, and its seconds."""

    pool: str
    statement: str
    seconds: float


_current: ContextVar[list[Timing] | None] = ContextVar("timings", default=None)


def collect() -> None:
    """Begins anew, for what is added from here on in this task and in those that it starts."""
    _current.set([])


def add(pool: str, statement: str, seconds: float) -> None:
    """Notes a statement of the request that is under way; outside of requests nobody wants to know."""
    timings = _current.get()
    if timings is not None:
        timings.append(Timing(pool, statement, seconds))


def current() -> Sequence[Timing]:
    """What the request that is under way has added so far."""
    return tuple(_current.get() or ())
