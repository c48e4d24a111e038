"""A whole selection, however many records: read through a cursor in the server, a batch at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from service import errors
from service.db import select, sql_files
from service.db.pool import Fetch, Pool
from service.db.reader import Reader
from service.query import Caller, Selection
from service.schemas.resource import Resource

Rows = Sequence[Sequence[Any]]

FIRST, BATCH = 50, 500  # Rows; the first few are on their way before many have been read.


class TooManyRowsError(Exception):
    """More records than an export may hold came to light while it was read."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An export that has begun: `total` tells the number of records where it was asked for.

    `related` has the UUIDs of the accounts that linked rows point to, those of each batch before it comes.
    """

    total: int | None
    related: Mapping[int, str] | None
    most: int
    first: Rows
    following: Callable[[], Awaitable[Rows]]

    async def batches(self) -> AsyncIterator[Rows]:
        """The rows in order, once. Raises ApiError, TooManyRowsError."""
        rows, seen = self.first, 0
        while rows:
            seen += len(rows)
            if seen > self.most:
                raise TooManyRowsError
            yield rows
            rows = await self.following()


class Streams:
    """Begins exports, on connections of their own so that they cannot keep lists waiting."""

    def __init__(self, pools: Mapping[str, Pool], reader: Reader, most_rows: int) -> None:
        self._pools = pools
        self._reader = reader
        self._most = most_rows

    @asynccontextmanager
    async def read(
        self,
        resource: Resource,
        columns: Sequence[str],
        selection: Selection,
        caller: Caller,
        *,
        linked: bool = False,
        counted: bool = False,
    ) -> AsyncIterator[Stream]:
        """Holds a connection and its snapshot until the block is left; the first rows are there. Raises ApiError.

        `linked` rows end with the number of their account.
        """
        filters, spans = await self._reader.resolve_filters(resource, selection.filters)
        async with self._pools[resource.meta.database].transaction() as fetch:
            await fetch(sql_files.text("queries/one_snapshot"), name="one_snapshot")
            await fetch(sql_files.text("queries/watch_client"), name="watch_client")
            total = None
            if counted:
                [(total,)] = await fetch(*select.count(resource.sql, filters, caller, spans)[:3])
                if total > self._most:
                    raise errors.export_too_long(total, self._most)
            most = self._most + 1
            await fetch(*select.stream(resource.sql, columns, filters, selection.sorts, caller, most, spans)[:3])
            accounts = _Accounts(self._reader, resource, caller) if linked else None
            following = partial(_next, fetch, accounts)
            related = accounts.found if accounts else None
            yield Stream(total, related, self._most, await following(FIRST), following)


async def _next(fetch: Fetch, accounts: "_Accounts | None", count: int = BATCH) -> Rows:
    rows = await fetch(sql_files.text("queries/next_records"), {"count": count}, "next_records")
    if accounts:
        await accounts.look_up({row[-1] for row in rows})
    return rows


class _Accounts:
    """The UUIDs of the accounts that an export's rows point to, each looked up once."""

    def __init__(self, reader: Reader, resource: Resource, caller: Caller) -> None:
        self._reader = reader
        (relationship,) = resource.relationships.values()
        self._resource = resource.registry[relationship.type_]
        self._caller = caller
        self._asked: set[int | None] = {None}
        self.found: dict[int, str] = {}  # As far as the caller may see them.

    async def look_up(self, numbers: set[int | None]) -> None:
        """Adds those that are new."""
        unknown = [number for number in numbers - self._asked if number is not None]
        self._asked.update(unknown)
        rows = await self._reader.by_numbers(self._resource, ("id",), unknown, self._caller)
        self.found.update((number, str(row[0])) for number, row in rows.items())
