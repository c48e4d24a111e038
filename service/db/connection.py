"""One read-only connection to PostgreSQL. Repeated statements are prepared."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiopg
import psycopg2
from psycopg2.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from psycopg2.extensions import UNICODE, make_dsn, parse_dsn

from service.db.backend_cache import BackendCache
from service.db.failures import one_line
from service.db.session import Session
from service.db.statement import Statement
from service.errors import timed_out

Rows = list[tuple[Any, ...]]

# Numerics and times stay PostgreSQL's text, which is exact and all that the renderer needs.
TEXT = dict.fromkeys((1700, 1184), UNICODE)
POOLER = "if it is a pooler such as PgBouncer, set databases.transaction_pooling = true"

# target_session_attrs as conditions on two properties of the server: in recovery, and read-only by default. The
# service's own read-only setting does not count.
TARGETS: dict[str, Callable[[bool, bool], bool]] = {
    "any": lambda in_recovery, read_only: True,
    "read-write": lambda in_recovery, read_only: not in_recovery and not read_only,
    "read-only": lambda in_recovery, read_only: in_recovery or read_only,
    "primary": lambda in_recovery, read_only: not in_recovery,
    "standby": lambda in_recovery, read_only: in_recovery,
    "prefer-standby": lambda in_recovery, read_only: in_recovery,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the connections to one database; times are in seconds.

    `prepared`: maximal number of prepared statements of a connection. `cached_relations`: number of tables and plans,
    of about 90 KiB each, in a backend's caches above which it is replaced. `pooled`: behind a pooler in transaction
    mode, session settings are sent with each statement and nothing is prepared.
    """

    size: int
    connect_timeout: float
    acquire_timeout: float
    statement_timeout: float
    prepared: int = 0
    pooled: bool = False
    cached_relations: int = 390

    @property
    def prepares(self) -> bool:
        """True if statements can be prepared."""
        return self.prepared > 0 and not self.pooled

    @property
    def max_cached(self) -> int:
        """The maximal number of tables and plans in a backend's caches."""
        return max(self.cached_relations, 2 * self.prepared)


class Connection:
    """Wraps a connection of aiopg and one cursor, which is reused.

    `cannot_prepare` is set when a statement fails only if it is prepared.
    """

    def __init__(self, cursor: aiopg.Cursor, limits: Limits, prefix: str) -> None:
        self._cursor = cursor
        self._limits = limits
        self._prefix = prefix
        self._aborted = False
        self._cache = BackendCache(limits.prepared, limits.max_cached)
        self.cannot_prepare = False

    @classmethod
    async def open(cls, dsn: str, limits: Limits) -> Self:
        """Connects to the first host of the DSN that responds and matches its target_session_attrs.

        Raises psycopg2.OperationalError.
        """
        target, fallback, problems = _target(dsn), None, []
        for host in hosts(dsn):
            try:
                connection, state = await cls._open(host, limits)
            except psycopg2.OperationalError as error:
                problems.append(one_line(error))
                continue
            if TARGETS[target](*state):
                if fallback is not None:
                    fallback.close()
                return connection
            if target == "prefer-standby" and fallback is None:
                fallback = connection
                continue
            connection.close()
            problems.append(f"the server does not match target_session_attrs={target}")
        if fallback is not None:
            return fallback
        raise psycopg2.OperationalError("; ".join(dict.fromkeys(problems)))

    @classmethod
    async def _open(cls, dsn: str, limits: Limits) -> tuple[Self, tuple[bool, bool]]:
        """A connection to one host, and two properties of the server: in recovery, read-only by default."""
        session = Session(limits.statement_timeout, pooled=limits.pooled)
        try:
            async with asyncio.timeout(limits.connect_timeout):
                connection = await aiopg.connect(
                    session.dsn(dsn),
                    timeout=None,  # type: ignore[arg-type] # A timer for each statement is expensive; see `abort`.
                    enable_json=False,
                    enable_hstore=False,
                    enable_uuid=False,
                )
                connection.raw.string_types.update(TEXT)
                opened = cls(await connection.cursor(), limits, session.prefix)
                return opened, await opened._check(session)
        except TimeoutError as error:
            raise psycopg2.OperationalError("connection timed out") from error
        except psycopg2.OperationalError as error:
            if "unsupported startup parameter" in str(error):
                raise psycopg2.OperationalError(f"{one_line(error)}; {POOLER}") from error
            raise

    async def _check(self, session: Session) -> tuple[bool, bool]:
        try:
            rows = await self._run(self._prefix + session.check, Statement(""))
        except BaseException:
            self.close()
            raise
        if not rows:
            self.close()
            raise psycopg2.OperationalError(f"the server ignored the connection parameter options; {POOLER}")
        in_recovery, read_only, *_ = rows[0]
        return in_recovery, read_only

    @property
    def closed(self) -> bool:
        """True if the connection is known to be closed, by either side."""
        return bool(self._cursor.connection.closed)

    @property
    def cached_plans(self) -> int:
        """The number of tables and plans in the backend's caches."""
        return self._cache.size

    @property
    def at_capacity(self) -> bool:
        """True if the backend's caches are full: no more statements are prepared."""
        return self.cached_plans >= self._limits.max_cached

    @property
    def expired(self) -> bool:
        """True if the backend's caches exceed the limit: the connection is closed after use.

        A backend never frees the metadata of a planned table: 3,650 partitions take hundreds of MiB.
        """
        return self.cached_plans > self._limits.max_cached

    def has_seen(self, text: str) -> bool:
        """True if the backend has prepared the repeated statement, or has the table of the look-up in its cache."""
        return self._cache.has_seen(text)

    def close(self) -> None:
        """Closes the connection; the server then cancels a running statement."""
        self._cursor.connection.close()

    def abort(self) -> None:
        """Closes the connection because the server does not respond; the running statement raises TimeoutError."""
        self._aborted = True
        self.close()

    async def fetch(self, statement: Statement) -> Rows:
        """All rows. Raises QueryTimeoutError, psycopg2.Error, UnicodeDecodeError, and TimeoutError after `abort`."""
        self._cache.partitions.update(statement.partitions)
        if statement.repeated and not self._limits.pooled:
            fresh = statement.text not in self._cache.plans
            try:
                return await self._run_prepared(statement)
            except InvalidSqlStatementName:  # The session was reset.
                await self._deallocate()
            except FeatureNotSupported:  # The table was altered, or the server cannot plan statements with parameters.
                await self._deallocate()
                rows = await self._run_plain(statement)
                self.cannot_prepare = fresh
                return rows
        return await self._run_plain(statement)

    async def _run_plain(self, statement: Statement) -> Rows:
        return await self._run(self._prefix + _set_timeout(statement.timeout) + statement.text, statement)

    async def _run_prepared(self, statement: Statement) -> Rows:
        timeout = _set_timeout(statement.timeout)
        executable = self._cache.executable(statement, prepare=not self.cannot_prepare)
        try:
            return await self._run(timeout + executable, statement)
        except DuplicatePreparedStatement:  # The name is a digest, so it is the same statement.
            return await self._run(timeout + self._cache.plans[statement.text].execute, statement)

    async def _deallocate(self) -> None:
        self._cache.plans.clear()
        await self._run("DEALLOCATE ALL", Statement(""))

    async def _run(self, text: str, statement: Statement) -> Rows:
        try:
            await self._cursor.execute(text, statement.parameters)
        except asyncio.CancelledError as error:
            # aiopg raises CancelledError for statement_timeout as well.
            task = asyncio.current_task()
            if self.closed or (task and task.cancelling()):
                raise
            raise timed_out() from error
        except psycopg2.OperationalError as error:
            if self._aborted:
                raise TimeoutError("the server no longer responds") from error
            raise
        raw = self._cursor.raw
        return raw.fetchall() if raw.description else []


def hosts(dsn: str) -> Sequence[str]:
    """One DSN for each host of a DSN, in order; libpq's fallback to other hosts does not work through aiopg."""
    parts = parse_dsn(dsn)
    names = {key: parts[key].split(",") for key in ("host", "hostaddr", "port") if key in parts}
    many = max((len(values) for values in names.values()), default=1)
    return [
        make_dsn(dsn, **{key: values[number if len(values) > 1 else 0] for key, values in names.items()})
        for number in range(many)
    ]


def _target(dsn: str) -> str:
    """The DSN's target_session_attrs, or libpq's environment variable for it. Raises psycopg2.OperationalError."""
    target = parse_dsn(dsn).get("target_session_attrs") or os.environ.get("PGTARGETSESSIONATTRS") or "any"
    if target not in TARGETS:
        raise psycopg2.OperationalError(f"target_session_attrs={target} is not one of {', '.join(TARGETS)}")
    return target


def _set_timeout(seconds: float | None) -> str:
    """A prefix that sets the timeout of one statement, in the same implicit transaction."""
    return "" if seconds is None else f"SET LOCAL statement_timeout = {seconds * 1000:.0f}; "
