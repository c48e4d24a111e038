"""Creates benchmark databases with many daily partitions in a folder; existing ones are extended to the present."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import psycopg2

from service.db import schema
from service.demo.postgres import Server
from service.files import SQL

CALLS = (Path(__file__).parent / "calls.sql").read_text(encoding="utf-8")
EPOCH = date(2000, 1, 1)
MOST_A_DAY = 100_000  # Maximum ids per day.
LATE = 4  # Days before the first, for late calls.
DAYS_AT_ONCE = 100  # Every partition and index of a transaction takes a lock.
CUSTOMER = 1
# Queries on the parent table need a lock for each of thousands of partitions, and plans need memory of the backends.
OPTIONS = {
    "autovacuum": "off",
    "shared_buffers": "2GB",
    "max_connections": "300",  # Of all measured servers, which run at the same time.
    "max_locks_per_transaction": "2000",
    "max_wal_size": "8GB",
}
ROUTING = """
INSERT INTO public.contractors (id, name, enabled, vendor, customer)
SELECT id, 'benchmark ' || id, true, true, true FROM generate_series(1, 22) AS id ON CONFLICT DO NOTHING;
INSERT INTO sys.customer_portal_access_profiles (id, name) VALUES (1, 'benchmark') ON CONFLICT DO NOTHING;
"""

NEWEST = "SELECT max(time_end) FROM cdr.cdr WHERE time_start > %s"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """The number of daily partitions, and of calls per day."""

    days: int
    calls: int
    recent_calls: int | None = None  # In the newest 30 days.

    @property
    def name(self) -> str:
        """The name of the database, unique for each size."""
        return f"cdr_{self.days}_{self.calls}_{self.recent_calls or self.calls}"

    def calls_on(self, day: date, today: date) -> int:
        return self.recent_calls or self.calls if (today - day).days < 30 else self.calls


class HasDatabases(Protocol):
    """A server that returns the DSN of a database by name."""

    def dsn(self, database: str, /) -> str: ...


class Databases:
    """One server with a database for each size."""

    def __init__(self, server: HasDatabases, say: Say) -> None:
        self._server = server
        self._say = say
        self._ready: dict[Size, str] = {}

    @classmethod
    @contextmanager
    def open(cls, folder: Path, say: Say, options: dict[str, str] = OPTIONS) -> "Iterator[Databases]":
        with Server.start(folder, options=options, progress=say) as server:
            yield cls(server, say)

    def dsn(self, size: Size) -> str:
        """The DSN of a database with calls up to now. The first call creates or extends it."""
        if size in self._ready:
            return self._ready[size]
        if not self._administer("SELECT 1 FROM pg_database WHERE datname = %s", size.name):
            self._make(size)
        dsn = self._ready[size] = self._server.dsn(size.name)
        self._fill(dsn, size)
        return dsn

    def _administer(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return execute(self._server.dsn("postgres"), statement, *parameters)

    def _make(self, size: Size) -> None:
        """Creates the database under another name until it is complete, so an aborted run leaves no incomplete one."""
        unfinished = f"{size.name}_unfinished"
        self._administer(f"DROP DATABASE IF EXISTS {unfinished}")
        self._administer(f"CREATE DATABASE {unfinished} TEMPLATE template0")
        dsn = self._server.dsn(unfinished)
        for part in ("cdr", "routing"):
            schema.apply(dsn, SQL / "schema" / part)
        self._fill(dsn, size)
        self._administer(f"ALTER DATABASE {unfinished} RENAME TO {size.name}")

    def _fill(self, dsn: str, size: Size) -> None:
        """Adds missing customers and days, and calls since the newest one."""
        execute(dsn, ROUTING)
        now = datetime.now(UTC)
        [(newest,)] = execute(dsn, NEWEST, now - timedelta(days=9))
        today = now.date()
        first = newest.date() if newest else today - timedelta(days=size.days - 3 - LATE)
        self._partitions(dsn, first if newest else first - timedelta(days=LATE), today + timedelta(days=2))
        days = [first + timedelta(days=number) for number in range((today - first).days + 1)]
        for number, day in enumerate(days):
            if number % 10 == 0:
                self._say(f"{size.name}: calls of day {number + 1} of {len(days)} ...")
            self._day(dsn, size, day, today, newest or datetime.min.replace(tzinfo=UTC), now)
        execute(dsn, "VACUUM (ANALYZE) cdr.cdr" if not newest else f"ANALYZE cdr.cdr_{today:%Y_%m_%d}")

    def _partitions(self, dsn: str, first: date, last: date) -> None:
        while first <= last:
            self._say(f"partitions from {first} ...")
            schema.create_partitions(dsn, first, min(last, first + timedelta(days=DAYS_AT_ONCE - 1)))
            first += timedelta(days=DAYS_AT_ONCE)

    def _day(self, dsn: str, size: Size, day: date, today: date, since: datetime, until: datetime) -> None:
        parameters = {
            "first_id": (day - EPOCH).days * MOST_A_DAY,
            "day": datetime(day.year, day.month, day.day, tzinfo=UTC),
            "calls": size.calls_on(day, today),
            "since": since,
            "until": until,
        }
        with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(CALLS, parameters)

    def backend_memory(self, dsn: str) -> float:
        """The private memory in MiB of the service's largest backend on this database."""
        statement = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = 'cdr-api'"
        name = dsn.rsplit("/", 1)[1]
        return max(private_memory(pid) for (pid,) in self._administer(statement, name))


def execute(dsn: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []


def ids(dsn: str, most: int = 2000, customer: int = CUSTOMER) -> Sequence[int]:
    """Ids of the customer's calls, spread over all partitions, in pseudo-random order."""
    statement = """
        SELECT id FROM (
            SELECT id, row_number() OVER (PARTITION BY tableoid ORDER BY md5(id::text)) AS place
              FROM cdr.cdr TABLESAMPLE SYSTEM (%s) WHERE vendor_id = %s
        ) AS sampled ORDER BY place, md5(id::text) LIMIT %s
    """
    for percent in (1, 10, 100):
        ids = [id for (id,) in execute(dsn, statement, percent, customer, most)]
        if len(ids) == most:
            break
    return ids


def private_memory(pid: int) -> float:
    """The private anonymous memory of a process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024
