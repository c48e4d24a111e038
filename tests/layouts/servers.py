"""Several servers that hold the calls of one service, built from the statements of docs/scaling.md."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import psycopg2
from psycopg2.extensions import make_dsn

from service.db import schema
from service.demo.postgres import Server
from service.files import SQL
from tests.conftest import MEMORY
from tests.corpus import copy_rows
from tests.programs import hanging

GUIDE = Path(__file__).parents[2] / "docs" / "scaling.md"
ROLE = "cdr_api"
EXAMPLE = datetime(2026, 8, 1, tzinfo=UTC)  # The day of the guide's statements.

DAY = timedelta(days=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = 6
FIRST = TODAY - (DAYS - 1) * DAY
CALLS_A_DAY = 40  # Of each vendor; ids follow the time.
VENDORS = range(1, 9)
LAST_ID = DAYS * CALLS_A_DAY * len(VENDORS) - 1

CALLS = f"""
INSERT INTO cdr.cdr (id, time_start, vendor_id, customer_id, is_last_cdr, duration, vendor_acc_id)
SELECT n, '{FIRST.isoformat()}'::timestamptz + (n / {len(VENDORS)}) * (interval '1 day' / {CALLS_A_DAY}),
       1 + n % {len(VENDORS)}, 1 + n / {len(VENDORS)} % {len(VENDORS)}, true, n % 100, 1 + n % {len(VENDORS)}
  FROM generate_series(0, {LAST_ID}) AS n
"""
PEOPLE = f"""
INSERT INTO public.contractors
SELECT n, 'contractor ' || n, true, true, true FROM generate_series(1, {len(VENDORS)}) AS n;
INSERT INTO billing.accounts
       (id, contractor_id, uuid, name, balance, min_balance, max_balance, currency_id, currency_name)
SELECT n, n, ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'account ' || n, 0, 0, 0, 1, 'USD'
  FROM generate_series(1, {len(VENDORS)}) AS n;
INSERT INTO sys.customer_portal_access_profiles VALUES (1, 'one', false);
INSERT INTO sys.api_access (id, customer_id, login, password_digest)
SELECT n, n, 'login ' || n, '' FROM generate_series(1, {len(VENDORS)}) AS n;
"""
GRANTS = f"""
GRANT USAGE ON SCHEMA cdr, billing, sys TO {ROLE};
GRANT SELECT ON ALL TABLES IN SCHEMA cdr, billing, sys, public TO {ROLE};
"""


def name_of(day: datetime) -> str:
    return f"cdr_{day:%Y_%m_%d}"


def calls_of(vendor: int, days_ago: int) -> list[int]:
    """The ids of a vendor's calls of one day."""
    first = (DAYS - 1 - days_ago) * CALLS_A_DAY
    return [call * len(VENDORS) + vendor - 1 for call in range(first, first + CALLS_A_DAY)]


def started_by(customer: int) -> list[int]:
    """The ids of the calls that a customer originated, of all days."""
    return [n for n in range(LAST_ID + 1) if 1 + n // len(VENDORS) % len(VENDORS) == customer]


def account_of(vendor: int) -> str:
    return f"00000000-0000-4000-8000-{vendor:012d}"


def block(title: str) -> str:
    """What the guide has between fences of this title."""
    text = GUIDE.read_text(encoding="utf-8")
    [found] = re.findall(rf"^```{title}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(found)


def statements(title: str, day: datetime = EXAMPLE) -> str:
    """The statements of the guide under a title, for another day."""
    found = block(f"sql {title}")
    days = {EXAMPLE: day, EXAMPLE + DAY: day + DAY}
    names = {old.strftime(form): new.strftime(form) for old, new in days.items() for form in ("%Y-%m-%d", "%Y_%m_%d")}
    return re.sub("|".join(names), lambda match: names[match[0]], found)


def for_shards(text: str, number: int) -> str:
    """Statements of the guide, which has two shards, for another number of shards."""
    names = ", ".join(rf"\1_{other}" for other in range(1, number))
    found = []
    for statement in re.findall(r"[^;]+;\n", text.replace("MODULUS 2", f"MODULUS {number}")):
        found.append(re.sub(r"(\S+)_1 TO", f"{names} TO", statement))
        if "SERVER shard_1" in statement:
            for other in range(2, number):
                found.append(re.sub(r"(shard[_-]|_(?=1 PARTITION)|REMAINDER )1", rf"\g<1>{other}", statement))
    return "".join(found)


class Servers:
    """The server of the DSN and those behind it, each with the same databases."""

    def __init__(self, behind: Sequence[str]) -> None:
        self.behind = behind
        self.running: dict[str, Server] = {}
        self._folders: dict[str, Path] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(dir=MEMORY)))
            stack.callback(self._stop)
            for name in ("server", *self.behind):
                self._folders[name] = folder / name
                self.running[name] = Server.start(folder / name)
                self.run(name, "postgres", f"CREATE ROLE {ROLE} LOGIN")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def dsn(self, database: str, user: str = ROLE, name: str = "server") -> str:
        """The DSN of a database on one of them."""
        return make_dsn(self.running[name].dsn(database), user=user)

    def run(self, name: str, database: str, statement: str) -> list[Any]:
        """Runs statements as the superuser."""
        with closing(psycopg2.connect(self.dsn(database, "postgres", name))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def copy_out(self, name: str, database: str, source: str) -> str:
        """What COPY writes."""
        written = io.StringIO()
        with closing(psycopg2.connect(self.dsn(database, "postgres", name))) as connection:
            connection.cursor().copy_expert(f"COPY {source} TO STDOUT", written)
        return written.getvalue()

    def copy_in(self, name: str, database: str, table: str, rows: str) -> None:
        """Has COPY read rows."""
        with closing(psycopg2.connect(self.dsn(database, "postgres", name))) as connection, connection:
            connection.cursor().copy_expert(f"COPY {table} FROM STDIN", io.StringIO(rows))

    def follow(self, name: str, database: str, title: str, day: datetime = EXAMPLE) -> None:
        """Runs what the guide says, with these servers' addresses, without passwords, and without the role."""
        text = for_shards(statements(title, day), len(self.behind))
        for other in self.behind:
            guess = rf"host '{other.replace('_', '-')}\.example\.net', port '5432', dbname 'cdr'"
            port = self.running[other].port
            text = re.sub(guess, f"host '127.0.0.1', port '{port}', dbname '{database}'", text)
        text = text.replace("password 'change me'", "password_required 'false'")
        text = re.sub(r"^CREATE ROLE .*$", "", text, flags=re.MULTILINE)
        # Each statement by itself, as psql runs them.
        for statement in re.findall(r"(?:\s*BEGIN;.*?COMMIT|[^;]+);", text, re.DOTALL):
            self.run(name, database, statement)

    def apply(self, database: str) -> None:
        """The tables, on every server; those of the routing database are on the first."""
        for name in self.running:
            self.run(name, "postgres", f"CREATE DATABASE {database} TEMPLATE template0")
            schema.apply(self.dsn(database, "postgres", name), SQL / "schema" / "cdr")
        schema.apply(self.dsn(database, "postgres"), SQL / "schema" / "routing")

    def copy_golden(self, database: str) -> None:
        """The rows of the golden corpus, through the server of the DSN."""
        with closing(psycopg2.connect(self.dsn(database, "postgres"))) as connection, connection:
            copy_rows(connection.cursor())
        self.run("server", database, GRANTS)

    def fill(self, database: str) -> None:
        """Calls of some days, and a login and an account for each vendor."""
        self.run("server", database, PEOPLE)
        self.run("server", database, CALLS)
        self.run("server", database, GRANTS)

    def settings(self, database: str) -> dict[str, str]:
        """What the service is started with."""
        return {"DATABASES__CDR__DSN": self.dsn(database), "DATABASES__ROUTING__DSN": self.dsn(database)}

    @contextmanager
    def hanging(self, name: str) -> Iterator[None]:
        """One of them does not respond, inside the block."""
        with hanging(self.running[name].pid):
            yield

    @contextmanager
    def dead(self, name: str) -> Iterator[None]:
        """One of them has crashed, inside the block."""
        port = self.running[name].port
        self.running[name].kill()
        try:
            yield
        finally:
            self.running[name] = Server.start(self._folders[name], port=port)

    def _stop(self) -> None:
        for server in self.running.values():
            server.stop()


class Layout:
    """The calls of `CALLS` and the golden corpus in one layout, as settings of the service."""

    def __init__(self, golden: Mapping[str, str], calls: Mapping[str, str], writer: str) -> None:
        self.golden = golden
        self.calls = calls
        self._writer = writer

    def execute(self, statement: str, parameters: Any = None) -> list[Any]:
        """Runs a statement where calls are written."""
        with closing(psycopg2.connect(self._writer)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []


def plain(servers: Servers, database: str, these: Sequence[datetime]) -> None:
    """The tables with ordinary partitions for some days."""
    servers.apply(database)
    schema.create_partitions(servers.dsn(database, "postgres"), these[0].date(), these[-1].date())


def golden_days() -> list[datetime]:
    return [datetime(2026, 3, 1, tzinfo=UTC) + number * DAY for number in range(12)]


def days() -> list[datetime]:
    """The days of `CALLS`, and tomorrow."""
    return [FIRST + number * DAY for number in range(DAYS + 1)]
