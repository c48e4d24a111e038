"""Reads all records of a query in batches, with cursors in short transactions.

A transaction holds a lock on cdr.cdr. CREATE TABLE .. PARTITION OF waits for it, and all later statements wait behind
that. So a transaction ends after `transaction_timeout` seconds, or when the reader pauses; the next one continues after
the last record read. A record that exists during the whole export is read exactly once; a record that is inserted or
deleted meanwhile is read if it exists when its position in the order is reached.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from service import errors
from service.concurrency.limiter import FairLimiter, LimiterSettings, LimitExceededError, Slot
from service.concurrency.tasks import start_once
from service.db import select
from service.db.pool import Pool, Rows, Transaction
from service.db.records import RecordReader
from service.db.statement import Statement
from service.db.width import rows_in, size_of
from service.errors import ApiError
from service.query import Caller, Everything, KeysetPosition, Query
from service.schemas.resource import Resource

FIRST_BATCH, BATCH = 50, 250  # Records; the first batch is small, so that the response starts early.
BATCH_BYTES = 2**20  # Wide records are read in smaller batches.
PAUSE = 0.2  # Seconds without a read after which the transaction ends.
MAX_SLOT_WAIT = 300.0  # Seconds that a started export waits for its next slot.
RENEWAL = 0.8  # Fraction of the time limit after which a new transaction begins; the rest is left for a statement.


class TooManyRowsError(Exception):
    """An export has more records than its limit."""


class ExportReader:
    """Opens exports on separate pools, so that they do not delay lists."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        records: RecordReader,
        transaction_timeout: float,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pools = pools
        self._limiters = {name: _limiter(pool.limits.size) for name, pool in pools.items()}
        self._records = records
        self._timing = _Timing(transaction_timeout, pause, clock)

    @asynccontextmanager
    async def open(self, query: Query, *, linked: bool = False, counted: bool = False) -> AsyncIterator["Export"]:
        """The export of a query whose window is Everything, with its first records read. Raises ApiError.

        `linked`: rows end with the internal id of their account. `counted`: the records are counted first.
        """
        window = query.window
        if not isinstance(window, Everything):
            raise TypeError("An export has no pages.")
        database = query.resource.meta.database
        query, pool = await self._records.resolve(query), self._pools[database]
        total = await self._count(pool, query, window.max_rows) if counted else None
        cursor = _Cursor(pool, self._limiters[database], query, window, self._timing, self._records.planned(query))
        accounts = _Accounts(self._records, query.resource, query.caller) if linked else None
        try:
            export = Export(cursor, accounts, total, window.max_rows)
            await export.read_first()
            yield export
        finally:
            await cursor.close()

    async def _count(self, pool: Pool, query: Query, max_rows: int) -> int:
        statement = replace(select.count(query), partitions=self._records.planned(query))
        [(total,)] = await pool.fetch(statement)
        if total > max_rows:
            raise errors.export_too_long(total, max_rows)
        return int(total)


class Export:
    """A started export. `total` is its number of records at the start, None if not counted."""

    def __init__(self, cursor: "_Cursor", accounts: "_Accounts | None", total: int | None, max_rows: int) -> None:
        self.total = total
        self._cursor = cursor
        self._accounts = accounts
        self._max_rows = max_rows
        self._first: Rows = []

    @property
    def related(self) -> Mapping[int, str] | None:
        """The UUIDs by internal id of the accounts that the rows read so far refer to; None if not linked."""
        return self._accounts.uuids if self._accounts else None

    async def read_first(self) -> None:
        """Reads the first records, so that a failure can still be answered with an error document."""
        self._first = await self._read(FIRST_BATCH)

    async def batches(self) -> AsyncIterator[Rows]:
        """The rows in order; can be iterated once. Raises ApiError, TooManyRowsError."""
        rows, seen = self._first, 0
        while rows:
            seen += len(rows)
            if seen > self._max_rows:
                raise TooManyRowsError(f"The export has more than {self._max_rows} records.")
            yield rows
            rows = await self._read(min(BATCH, rows_in(BATCH_BYTES, len(rows), size_of(rows))))

    async def _read(self, count: int) -> Rows:
        rows = await self._cursor.fetch(count)
        if self._accounts:
            await self._accounts.load({row[-1] for row in rows})
        return rows


def _limiter(size: int) -> FairLimiter:
    """A limiter for a pool of `size` connections, of which one customer gets at most half."""
    return FairLimiter(LimiterSettings(size, max(1, size // 2)))


@dataclass(frozen=True, slots=True)
class _Timing:
    """Maximal duration of a transaction and of a pause of its reader, in seconds."""

    timeout: float
    pause: float
    clock: Callable[[], float]


class _Cursor:
    """Reads the rows of a query in consecutive transactions."""

    def __init__(
        self,
        pool: Pool,
        limiter: FairLimiter,
        query: Query,
        window: Everything,
        timing: _Timing,
        partitions: tuple[int, ...],
    ) -> None:
        self._pool = pool
        self._limiter = limiter
        self._slot: Slot | None = None
        self._query = query
        self._partitions = partitions
        self._remaining = window.max_rows + 1
        self._position: KeysetPosition | None = None
        self._timing = timing
        self._transaction: Transaction | None = None
        self._began = 0.0
        self._lock = asyncio.Lock()
        self._pause: asyncio.TimerHandle | None = None
        self._parking: asyncio.Task[None] | None = None

    @property
    def _age(self) -> float:
        """Seconds since the transaction began."""
        return self._timing.clock() - self._began

    async def fetch(self, count: int) -> Rows:
        """The next rows without their positions; empty at the end. Raises ApiError."""
        self._cancel_pause()
        async with self._lock:
            transaction = self._transaction
            if transaction is None or self._age > RENEWAL * self._timing.timeout:
                transaction = await self._renew()
            rows = await self._execute(transaction, Statement.from_file("queries/next_records", count=count))
        self._pause = asyncio.get_running_loop().call_later(self._timing.pause, self._start_parking)
        return self._take(rows)

    async def close(self) -> None:
        """Ends the open transaction."""
        self._cancel_pause()
        async with self._lock:
            await self._end()

    def _cancel_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()

    def _take(self, rows: Rows) -> Rows:
        width = len(self._query.columns)
        self._remaining -= len(rows)
        if rows:
            self._position = tuple(rows[-1][width:])
        return [row[:width] for row in rows]

    async def _renew(self) -> Transaction:
        """Replaces the transaction by a new one with a cursor after the last row."""
        await self._end()
        await self._acquire_slot()
        try:
            self._transaction = transaction = await self._pool.begin()
        except BaseException:
            self._release_slot()
            raise
        self._began = self._timing.clock()
        window = Everything(self._remaining - 1, self._position)
        statement = select.declare(select.records(replace(self._query, window=window)))
        await self._execute(transaction, replace(statement, partitions=self._partitions))
        return transaction

    async def _acquire_slot(self) -> None:
        """Waits for a slot of the pool. Raises OverloadedError."""
        wait = MAX_SLOT_WAIT if self._position else self._timing.timeout + self._pool.limits.acquire_timeout
        try:
            self._slot = await self._limiter.acquire(self._query.caller.customer_id, wait)
        except LimitExceededError as error:
            raise errors.busy("Too many exports are running.") from error

    def _release_slot(self) -> None:
        if self._slot is not None:
            self._slot.release()

    async def _execute(self, transaction: Transaction, statement: Statement) -> Rows:
        """Executes a statement within the remaining time of the transaction."""
        left = max(self._timing.timeout - self._age, 0.001)
        try:
            return await transaction.fetch(replace(statement, timeout=min(left, self._pool.limits.statement_timeout)))
        except ApiError:
            await self._end()  # The connection works, unless it was lost.
            raise
        except BaseException:
            transaction.abort()
            self._release_slot()
            self._transaction = None
            raise

    def _start_parking(self) -> None:
        self._parking = start_once("export pause", self._park())

    async def _park(self) -> None:
        """Ends the transaction of a pausing reader."""
        async with self._lock:
            await self._end()

    async def _end(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            try:
                await transaction.end()
            finally:
                self._release_slot()


class _Accounts:
    """The UUIDs of the accounts that an export's rows refer to; each is looked up once."""

    def __init__(self, records: RecordReader, resource: Resource, caller: Caller) -> None:
        self._records = records
        self._resource = resource.accounts
        self._caller = caller
        self._asked: set[int | None] = {None}
        self.uuids: dict[int, str] = {}  # Only accounts in the caller's scope.

    async def load(self, numbers: set[int | None]) -> None:
        """Looks up the UUIDs of new internal ids."""
        unknown = [number for number in numbers - self._asked if number is not None]
        self._asked.update(unknown)
        rows = await self._records.by_numbers(self._resource, ("id",), unknown, self._caller)
        self.uuids.update((number, str(row[0])) for number, row in rows.items())
