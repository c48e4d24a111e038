"""One read-only connection: a statement goes in, tuples come out; what is repeated is prepared."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import aiopg
import psycopg2
from psycopg2.errors import FeatureNotSupported, InvalidSqlStatementName
from psycopg2.extensions import UNICODE, make_dsn, parse_dsn

from service.db.statement import Statement
from service.errors import timed_out

Rows = list[tuple[Any, ...]]

# Numerics and times stay PostgreSQL's text: the renderer needs no more of them, and they are then exact.
TEXT = dict.fromkeys((1700, 1184), UNICODE)
SESSION = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "jit": "off",  # Compiling a plan costs more than these short statements take.
    "plan_cache_mode": "force_generic_plan",  # What is prepared asks one partition, where all plans are alike.
    "client_connection_check_interval": "1000",  # Milliseconds after which a statement ends whose client has left.
}
MAX_CACHED_RELATIONS = 390  # Tables and plans, of some 90 KiB each, after which a backend has had its time.
PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections and prepared statements there are at the most, and how many seconds each step may take.

    Behind a pooler in transaction mode (`pooled`) a session is nobody's own: its settings go along with each
    statement, and nothing is prepared.
    """

    size: int
    connect_timeout: float
    acquire_timeout: float
    statement_timeout: float
    prepared: int = 0
    pooled: bool = False

    @property
    def session(self) -> dict[str, str]:
        """PostgreSQL settings of the session."""
        return {**SESSION, "statement_timeout": f"{self.statement_timeout * 1000:.0f}"}


class Connection:
    """Wraps aiopg's, with one cursor that is used again and again."""

    def __init__(self, cursor: aiopg.Cursor, limits: Limits) -> None:
        self._cursor = cursor
        self._limits = limits
        self._settings = _set_local(limits) if limits.pooled else ""
        self._most = max(MAX_CACHED_RELATIONS, 2 * limits.prepared)
        self._abandoned = False
        self._known: set[str] = set()  # Repeated texts that have been run,
        self._prepared: dict[str, str] = {}  # and what is run instead where they are prepared.

    @classmethod
    async def open(cls, dsn: str, limits: Limits) -> Self:
        """Connects to the first host of the DSN that answers. Raises psycopg2.OperationalError."""
        *others, last = hosts(dsn)
        for other in others:
            try:
                return await cls._open(other, limits)
            except psycopg2.OperationalError:
                continue
        return await cls._open(last, limits)

    @classmethod
    async def _open(cls, dsn: str, limits: Limits) -> Self:
        try:
            async with asyncio.timeout(limits.connect_timeout):
                connection = await aiopg.connect(
                    _with_session(dsn, limits),
                    timeout=None,  # type: ignore[arg-type] # A timer for each statement is dear; see `abandon`.
                    enable_json=False,
                    enable_hstore=False,
                    enable_uuid=False,
                )
        except TimeoutError as error:
            raise psycopg2.OperationalError("connection timed out") from error
        connection.raw.string_types.update(TEXT)
        return cls(await connection.cursor(), limits)

    @property
    def closed(self) -> bool:
        """Whether it has been closed, by either side as far as this one has noticed."""
        return bool(self._cursor.connection.closed)

    @property
    def cached_plans(self) -> int:
        """How many tables of repeated statements its backend remembers, and plans."""
        return len(self._known) + len(self._prepared)

    @property
    def at_capacity(self) -> bool:
        """Whether its backend remembers as much as it may."""
        return self.cached_plans >= self._most

    @property
    def expired(self) -> bool:
        """Whether its backend remembers so much that it had better be replaced.

        A backend never forgets a table that it has planned: with 3,650 partitions that would come to hundreds of MiB.
        """
        return self.cached_plans > self._most

    def has_seen(self, text: str) -> bool:
        """Whether its backend has met the statement, and so its table, before."""
        return text in self._known

    def close(self) -> None:
        """Closes it; a statement under way ends soon after, as its client has left."""
        self._cursor.connection.close()

    def abort(self) -> None:
        """Closes it because the server no longer answers; the statement under way ends with a TimeoutError."""
        self._abandoned = True
        self.close()

    async def fetch(self, statement: Statement) -> Rows:
        """All rows. Raises ApiError (504), psycopg2.Error, and TimeoutError where it has been abandoned."""
        if statement.repeated and not self._limits.pooled:
            try:
                return await self._run(self._executable(statement.text), statement)
            except (FeatureNotSupported, InvalidSqlStatementName):  # The table was altered, or the session reset.
                self._prepared.clear()
                await self._run("DEALLOCATE ALL", Statement(""))
        return await self._run(self._settings + _set_timeout(statement.timeout) + statement.text, statement)

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
            if self._abandoned:
                raise TimeoutError("the server no longer answers") from error
            raise
        raw = self._cursor.raw
        return raw.fetchall() if raw.description else []

    def _executable(self, text: str) -> str:
        """The text itself at its first use, PREPARE and EXECUTE at the second, then EXECUTE alone."""
        if text in self._prepared:
            return self._prepared[text]
        if text not in self._known or self.at_capacity or len(self._prepared) >= self._limits.prepared:
            self._known.add(text)
            return text
        name, (body, arguments) = f"cdr_api_{len(self._prepared)}", numbered(text)
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


def _set_timeout(seconds: float | None) -> str:
    """A prefix that limits one statement: both are one implicit transaction, so the setting ends with it."""
    return "" if seconds is None else f"SET LOCAL statement_timeout = {seconds * 1000:.0f}; "


def _set_local(limits: Limits) -> str:
    settings = {"transaction_read_only": "on", **limits.session}
    return "".join(f"SET LOCAL {name} = '{value}'; " for name, value in settings.items())


def _with_session(dsn: str, limits: Limits) -> str:
    if limits.pooled:
        return str(make_dsn(dsn, application_name="cdr-api"))
    session = {"default_transaction_read_only": "on", **limits.session}
    options = [parse_dsn(dsn).get("options", ""), *(f"-c {name}={value}" for name, value in session.items())]
    return str(make_dsn(dsn, application_name="cdr-api", options=" ".join(options).strip()))
