"""One read-only connection: a statement goes in, tuples come out; what is repeated is prepared."""

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import aiopg
import psycopg2
from psycopg2.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from psycopg2.extensions import UNICODE, make_dsn, parse_dsn

from service.db.failures import one_line
from service.db.session import Session
from service.db.statement import Statement
from service.errors import timed_out

Rows = list[tuple[Any, ...]]

# Numerics and times stay PostgreSQL's text: the renderer needs no more of them, and they are then exact.
TEXT = dict.fromkeys((1700, 1184), UNICODE)
PARAMETER = re.compile(r"%\((\w+)\)s")
POOLER = "if it is a pooler such as PgBouncer, set databases.transaction_pooling = true"

# The values of target_session_attrs, as conditions on whether the server is in recovery and read-only by default. What
# the service itself makes read-only does not count.
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
    """Limits of one database's connections; times are in seconds.

    `prepared` is how many statements one connection prepares. `cached_relations` is how many tables and plans, of some
    90 KiB each, a backend may hold before it is replaced. Behind a pooler in transaction mode (`pooled`) a session is
    shared: its settings are sent with each statement, and nothing is prepared.
    """

    size: int
    connect_timeout: float
    acquire_timeout: float
    statement_timeout: float
    prepared: int = 0
    pooled: bool = False
    cached_relations: int = 390

    @property
    def max_cached(self) -> int:
        """How many tables and plans a backend may hold."""
        return max(self.cached_relations, 2 * self.prepared)


class Connection:
    """Wraps aiopg's, with one cursor that is used again and again.

    `cannot_prepare` is set once a statement that runs as it is has failed when it was prepared.
    """

    def __init__(self, cursor: aiopg.Cursor, limits: Limits, prefix: str) -> None:
        self._cursor = cursor
        self._limits = limits
        self._prefix = prefix
        self._aborted = False
        self._known: set[str] = set()  # Repeated texts that have been run,
        self._prepared: dict[str, str] = {}  # and what is run instead where they are prepared.
        self._partitions: set[int] = set()  # Partitions that other statements have planned.
        self.cannot_prepare = False

    @classmethod
    async def open(cls, dsn: str, limits: Limits) -> Self:
        """Connects to the first host of the DSN that answers and is what its target_session_attrs ask for.

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
        """A connection to one host, with whether the server is in recovery, and whether it is read-only by default."""
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
        """Whether it has been closed, by either side as far as this one has noticed."""
        return bool(self._cursor.connection.closed)

    @property
    def cached_plans(self) -> int:
        """How many tables and plans its backend holds."""
        return len(self._known) + len(self._prepared) + len(self._partitions)

    @property
    def at_capacity(self) -> bool:
        """Whether its backend holds as many tables and plans as it may: nothing more is prepared."""
        return self.cached_plans >= self._limits.max_cached

    @property
    def expired(self) -> bool:
        """Whether its backend holds more than it may: the connection is closed after use.

        A backend never forgets a table that it has planned: with 3,650 partitions that would come to hundreds of MiB.
        """
        return self.cached_plans > self._limits.max_cached

    def has_seen(self, text: str) -> bool:
        """Whether its backend has run the repeated statement before, and so holds its table."""
        return text in self._known

    def close(self) -> None:
        """Closes it; a statement under way ends soon after, as its client has left."""
        self._cursor.connection.close()

    def abort(self) -> None:
        """Closes it because the server no longer answers; the statement under way raises TimeoutError."""
        self._aborted = True
        self.close()

    async def fetch(self, statement: Statement) -> Rows:
        """All rows. Raises QueryTimeoutError, psycopg2.Error, UnicodeDecodeError, and TimeoutError after `abort`."""
        self._partitions.update(statement.partitions)
        if statement.repeated and not self._limits.pooled:
            fresh = statement.text not in self._prepared
            try:
                return await self._run_prepared(statement)
            except InvalidSqlStatementName:  # The session was reset.
                await self._deallocate()
            except FeatureNotSupported:  # The table was altered, or the server plans nothing with parameters.
                await self._deallocate()
                rows = await self._run_plain(statement)
                self.cannot_prepare = fresh
                return rows
        return await self._run_plain(statement)

    async def _run_plain(self, statement: Statement) -> Rows:
        return await self._run(self._prefix + _set_timeout(statement.timeout) + statement.text, statement)

    async def _run_prepared(self, statement: Statement) -> Rows:
        try:
            return await self._run(self._executable(statement.text), statement)
        except DuplicatePreparedStatement:  # The name is a digest, so it is the same statement.
            return await self._run(self._prepared[statement.text], statement)

    async def _deallocate(self) -> None:
        self._prepared.clear()
        await self._run("DEALLOCATE ALL", Statement(""))

    async def _run(self, text: str, statement: Statement) -> Rows:
        try:
            await self._cursor.execute(text, statement.parameters)
        except asyncio.CancelledError as error:
            # aiopg reports a statement that ran past statement_timeout as a cancellation, which this is not.
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

    def _executable(self, text: str) -> str:
        """The text itself at its first use, PREPARE and EXECUTE at the second, then EXECUTE alone."""
        if text in self._prepared:
            return self._prepared[text]
        full = self.at_capacity or len(self._prepared) >= self._limits.prepared
        if text not in self._known or full or self.cannot_prepare:
            self._known.add(text)
            return text
        name, (body, arguments) = _name(text), numbered(text)
        self._prepared[text] = f"EXECUTE {name} {arguments}"
        return f"PREPARE {name} AS {body}; {self._prepared[text]}"


def hosts(dsn: str) -> Sequence[str]:
    """One DSN for each host that it names, in their order: libpq's own trying of hosts does not work through aiopg."""
    parts = parse_dsn(dsn)
    names = {key: parts[key].split(",") for key in ("host", "hostaddr", "port") if key in parts}
    many = max((len(values) for values in names.values()), default=1)
    return [
        make_dsn(dsn, **{key: values[number if len(values) > 1 else 0] for key, values in names.items()})
        for number in range(many)
    ]


@lru_cache(4096)
def numbered(text: str) -> tuple[str, str]:
    """A statement with `$1` for `%(name)s`, as PREPARE takes it, and the arguments in that order for EXECUTE."""
    names = list(dict.fromkeys(PARAMETER.findall(text)))
    body = PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", text)
    return body, f"({', '.join(f'%({name})s' for name in names)})" if names else ""


@lru_cache(4096)
def _name(text: str) -> str:
    """The name of a prepared statement. Where sessions are mixed up, one name must never stand for two statements."""
    return f"cdr_api_{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def _target(dsn: str) -> str:
    """The DSN's target_session_attrs, or libpq's environment variable for it. Raises psycopg2.OperationalError."""
    target = parse_dsn(dsn).get("target_session_attrs") or os.environ.get("PGTARGETSESSIONATTRS") or "any"
    if target not in TARGETS:
        raise psycopg2.OperationalError(f"target_session_attrs={target} is not one of {', '.join(TARGETS)}")
    return target


def _set_timeout(seconds: float | None) -> str:
    """A prefix that limits one statement: both are one implicit transaction, so the setting ends with it."""
    return "" if seconds is None else f"SET LOCAL statement_timeout = {seconds * 1000:.0f}; "
