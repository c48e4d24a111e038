"""How long the statements of a request took: whoever runs one adds it, whoever answers the request reads them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """A statement by pool and file name, as `cdr` and `list`, and its seconds."""

    pool: str
    statement: str
    seconds: float


_current: ContextVar[list[Timing] | None] = ContextVar("timings", default=None)


@contextmanager
def collected() -> Iterator[Sequence[Timing]]:
    """What is added inside the block, by tasks that are started in it as well."""
    timings: list[Timing] = []
    token = _current.set(timings)
    try:
        yield timings
    finally:
        _current.reset(token)


def add(pool: str, statement: str, seconds: float) -> None:
    """Notes a statement of the request that is under way; outside of requests nobody wants to know."""
    timings = _current.get()
    if timings is not None:
        timings.append(Timing(pool, statement, seconds))


def current() -> Sequence[Timing]:
    """What the request that is under way has added so far."""
    return tuple(_current.get() or ())
