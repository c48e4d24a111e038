"""What a request asks for, once it is understood: frozen values that the parser makes and the database room reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a column of a resource's SQL.

    `accounts` tells that the values are UUIDs of accounts, `moving` that it is implied and moves with time.
    """

    column: str
    operator: str
    values: Sequence[Any]
    accounts: bool = False
    moving: bool = False


@dataclass(frozen=True, slots=True)
class Sort:
    """One key of the order, a column of the resource's SQL."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page by number, from 1."""

    number: int = 1
    size: int = 50

    @property
    def offset(self) -> int:
        """How many records come before the page."""
        return (self.number - 1) * self.size


KeysetPosition = tuple[str | None, ...]
"""Where a record stands in an order: its values of the sort keys, as PostgreSQL's text."""


@dataclass(frozen=True, slots=True)
class CursorPage:
    """A page by cursors: `size` records after one place or before another; None is the list's own start or end.

    A `ranged` one was given both. Only a page asked for by its end alone is read `backwards`.
    """

    size: int
    after: KeysetPosition | None = None
    before: KeysetPosition | None = None
    backwards: bool = False
    ranged: bool = False
    total: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """A whole request. `fieldsets` holds names by type, in the client's order; a type without one shows everything."""

    fieldsets: dict[str, tuple[str, ...]]
    include: bool = False
    filters: tuple[Filter, ...] = ()
    sorts: tuple[Sort, ...] = ()
    page: Page = Page()
    stretch: CursorPage | None = None  # In place of the page.


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks and what it may see. `account_ids` limits it to these accounts' internal numbers; None is no limit.

    `api_access_id` is None for a dynamic token.
    """

    customer_id: int
    account_ids: tuple[int, ...] | None
    may_listen: bool
    api_access_id: int | None = None
