"""One read of a resource, as frozen values: created by the parser, executed by `service.db`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from service.schemas.resource import Resource, Sort

__all__ = [
    "TICK",
    "UNBOUNDED",
    "Caller",
    "CursorPage",
    "Everything",
    "Filter",
    "KeysetPosition",
    "LoginRow",
    "Page",
    "Query",
    "Sort",
    "TimeRange",
    "Window",
]


@dataclass(frozen=True, slots=True)
class Caller:
    """The scope of a request. `account_ids` restricts it to these internal ids of accounts; None means all accounts.

    `api_access_id` is None for a dynamic token.
    """

    customer_id: int
    account_ids: tuple[int, ...] | None
    may_listen: bool
    api_access_id: int | None = None


@dataclass(frozen=True, slots=True)
class LoginRow:
    """The access row of a login. `permitted`: its networks contain the client's address."""

    api_access_id: int
    password_digest: str
    permitted: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a column of the resource's SQL.

    `by_account_uuid`: the values are account UUIDs, still to be resolved to internal ids. `implicit_window`: it is the
    default lower bound in time, which changes every second and so is left out of a total's cache key.
    """

    column: str
    operator: str
    values: Sequence[Any]
    by_account_uuid: bool = False
    implicit_window: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page by number, counted from 1."""

    number: int = 1
    size: int = 50

    @property
    def offset(self) -> int:
        """The number of records before the page."""
        return (self.number - 1) * self.size


KeysetPosition = tuple[str | None, ...]
"""A record's values of the sort keys, as PostgreSQL's text."""


@dataclass(frozen=True, slots=True)
class CursorPage:
    """`size` records after one position or before another. None means the start or the end of the list.

    `ranged`: both ends were given. `backwards`: only `before` was given, so the page is read from its end.
    """

    size: int
    after: KeysetPosition | None = None
    before: KeysetPosition | None = None
    backwards: bool = False
    ranged: bool = False
    total: bool = False


@dataclass(frozen=True, slots=True)
class Everything:
    """All records after a position, at most `max_rows`. None means the start of the list."""

    max_rows: int
    after: KeysetPosition | None = None


Window = Page | CursorPage | Everything

TimeRange = tuple[str, str]
"""Two times as PostgreSQL's text; the end is exclusive unless it is UNBOUNDED. Two equal times mean that time alone."""

UNBOUNDED = "infinity"
"""The end of a time range that has none. It includes the time `infinity`."""

TICK = timedelta(microseconds=1)
"""The resolution of PostgreSQL's times."""


@dataclass(frozen=True, slots=True)
class Query:
    """Columns, scope, conditions, order and window of a read.

    `columns` are column names of the resource's SQL. `ranges` are time ranges that contain all matching records; None
    if unknown.
    """

    resource: Resource
    columns: tuple[str, ...]
    caller: Caller
    filters: tuple[Filter, ...] = ()
    sorts: tuple[Sort, ...] = ()
    window: Window = Page()
    ranges: tuple[TimeRange, ...] | None = None
