"""A real PostgreSQL for the whole run, databases copied from templates, and the service on real sockets."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from aiohttp import DummyCookieJar, web, web_app
from aiohttp.test_utils import TestClient, TestServer

from service import settings
from service.auth.tokens import DynamicClaims, TokenService
from service.db import schema
from service.demo.postgres import Server
from service.files import SQL
from service.observability import metrics
from service.web import keys
from service.web.app import open_application
from service.web.connection import Runner
from tests import load
from tests.corpus import GOLDEN_SECRET, copy_rows
from tests.load import Connection
from tests.programs import on_database
from tests.storage import Storage, storage

# Compiled modules halve the start of the hundreds of processes that import the program.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

SECRET = "a secret for the tests, of more than 32 bytes"

# Few buffers make copying and dropping a database several times faster, because PostgreSQL searches them all.
SMALL = {"max_connections": "200", "shared_buffers": "16MB"}

# A disk may become slow after some thousand files have been made and removed; memory does not.
SHARED = Path("/dev/shm")
MEMORY = SHARED if SHARED.is_dir() and shutil.disk_usage(SHARED).free > 2**31 else None

Connect = Callable[[str], Awaitable[Connection]]

_numbers = count(1)


def cache_requests(cache: str) -> tuple[int, int]:
    """Hits and misses of a cache so far, in all applications of this process."""
    values = [
        metrics.REGISTRY.get_sample_value("cdr_api_cache_requests_total", {"cache": cache, "outcome": outcome})
        for outcome in ("hit", "miss")
    ]
    hits, misses = (int(value or 0) for value in values)
    return hits, misses


class Databases:
    """A server on which databases are made by name, from scratch or as copies."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._left: list[str] = []

    def dsn(self, name: str) -> str:
        return self._server.dsn(name)

    def create(self, template: str = "template0") -> str:
        """The name of a new database."""
        while self._left:
            self.execute("postgres", f"DROP DATABASE {self._left.pop()} WITH (FORCE)")
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self.execute(
            "postgres", f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"
        )  # The faster one here.
        return name

    def drop(self, name: str) -> None:
        """Drops it before the next is made: at once, PostgreSQL would wait for backends that are still leaving."""
        self._left.append(name)

    def execute(self, name: str, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.dsn(name))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, Server.start(Path(folder), options=SMALL) as server:
        yield Databases(server)


@pytest.fixture
def empty_database(postgres: Databases) -> Iterator[str]:
    """The DSN of a database without tables."""
    name = postgres.create()
    yield postgres.dsn(name)
    postgres.drop(name)


@pytest.fixture(scope="session")
def prepared(postgres: Databases) -> str:
    """The name of a template with the schema, and partitions from ten days ago to tomorrow."""
    name = postgres.create()
    for part in ("cdr", "routing"):
        schema.apply(postgres.dsn(name), SQL / "schema" / part)
    today = datetime.now(UTC).date()
    schema.create_partitions(postgres.dsn(name), today - timedelta(days=10), today + timedelta(days=1))
    return name


@pytest.fixture(scope="session")
def golden_database(postgres: Databases) -> str:
    """The name of a database with the rows of the golden corpus; only read, so all tests share it."""
    name = postgres.create()
    for part in ("cdr", "routing"):
        schema.apply(postgres.dsn(name), SQL / "schema" / part)
    schema.create_partitions(postgres.dsn(name), date(2026, 3, 1), date(2026, 3, 12))
    with closing(psycopg2.connect(postgres.dsn(name))) as connection, connection, connection.cursor() as cursor:
        copy_rows(cursor)
    return name


class Data:
    """A database of a test's own, with rows of its own. Columns that a test does not care for stay NULL."""

    def __init__(self, postgres: Databases, name: str) -> None:
        self._postgres = postgres
        self.name = name
        self.dsn = postgres.dsn(name)

    @cached_property
    def _connection(self) -> Any:
        """One for all rows, since tests insert more of them than anything else; it ends with the database."""
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        return connection

    def execute(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        return self._postgres.execute(self.name, statement, parameters)

    def insert(self, table: str, **values: Any) -> None:
        columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
        self._write(f"INSERT INTO {table} ({columns}) VALUES ({places})", tuple(values.values()))

    def _write(self, statement: str, parameters: Any) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)

    def publish_counters(self) -> None:
        """Publishes the counters of rows written by now, instead of after ten seconds without a statement."""
        self._write("SELECT pg_stat_force_next_flush()", ())

    @contextmanager
    def locked(self, table: str = "cdr.cdr") -> Iterator[None]:
        """The table cannot be read inside the block."""
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table}")
            yield

    async def blocked(self, statements: int = 1) -> None:
        """Waits until so many statements wait for a whole table; the directory's own wait for partitions."""
        tables = "'cdr.cdr'::regclass, 'billing.accounts'::regclass"
        waiting = f"SELECT 1 FROM pg_locks WHERE NOT granted AND relation IN ({tables})"
        await load.until(lambda: len(self.execute(waiting)) == statements)

    def call(self, id: int, *, hours_ago: float = 1, **values: Any) -> None:
        """A row of cdr.cdr, one hour old, that counts."""
        moment = datetime.now(UTC) - timedelta(hours=hours_ago)
        self.insert("cdr.cdr", **{"id": id, "time_start": moment, "is_last_cdr": True, **values})

    def customer(self, id: int, *, may_listen: bool = False, account_ids: list[int] | None = None) -> None:
        """A contractor, and an access row of the same number."""
        profile = 2 if may_listen else 1
        for number in (1, 2):
            self._write(
                "INSERT INTO sys.customer_portal_access_profiles (id, name, allow_listen_recording)"
                " VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (number, f"profile {number}", number == 2),
            )
        self.insert("public.contractors", id=id, name=f"contractor {id}", enabled=True, vendor=True, customer=True)
        self.insert(
            "sys.api_access",
            id=id,
            customer_id=id,
            login=f"login {id}",
            password_digest="",
            account_ids=account_ids or [],
            customer_portal_access_profile_id=profile,
        )

    def account(self, id: int, contractor: int, uuid: str, **values: Any) -> None:
        defaults = {"name": f"account {id}", "balance": 0, "min_balance": 0, "max_balance": 0}
        known = {"currency_id": 1, "currency_name": "USD"}
        self.insert(
            "billing.accounts", **{"id": id, "contractor_id": contractor, "uuid": uuid, **defaults, **known, **values}
        )


def _copied(postgres: Databases, template: str) -> Iterator[Data]:
    name = postgres.create(template)
    yield Data(postgres, name)
    postgres.drop(name)


@pytest.fixture
def data(postgres: Databases, prepared: str) -> Iterator[Data]:
    """A copy of the prepared database."""
    yield from _copied(postgres, prepared)


@pytest.fixture(scope="module")
def shared_data(postgres: Databases, prepared: str) -> Iterator[Data]:
    """A copy for all tests of a module. A test may add rows only with ids of its own, and changes none."""
    yield from _copied(postgres, prepared)


def configured(dsn: str, **environment: str) -> settings.Settings:
    """Settings for one database, with others as environment variables without their prefix."""
    values = {**on_database(dsn, AUTH__SECRETS=json.dumps([SECRET])), **environment}
    return settings.load(None, {settings.PREFIX + name: value for name, value in values.items()})


@pytest.fixture(scope="session")
def bucket() -> Iterator[Storage]:
    """An S3 server."""
    with storage() as ready:
        yield ready


class Api:
    """The service, as a client sees it."""

    def __init__(self, client: TestClient[Any, Any], loaded: settings.Settings) -> None:
        self.client = client
        self.settings = loaded
        self.tokens = TokenService(loaded.auth.secrets, loaded.auth.token_lifetime)

    async def get(self, path: str, caller: int | DynamicClaims | None = None, **options: Any) -> "Answer":
        """GET, or another `method`, below the base path as an access row or by a dynamic token."""
        headers = {"Accept": "application/vnd.api+json", "Host": "example.org", **options.pop("headers", {})}
        if caller is not None:
            headers["Authorization"] = self.tokens.issue(caller)
        url = self.client.make_url(path if path.startswith("/") else f"/api/rest/customer/v1/{path}")
        target = url if "%" not in path else type(url)(str(url.origin()) + path_of(path), encoded=True)
        async with self.client.session.request(
            options.pop("method", "GET"), target, headers={k: v for k, v in headers.items() if v is not None}, **options
        ) as response:
            return Answer(response.status, response.headers, await response.read())


def path_of(path: str) -> str:
    return path if path.startswith("/") else f"/api/rest/customer/v1/{path}"


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens plain connections to a URL's host."""
    opened = []

    async def connected(url: str) -> Connection:
        opened.append(await load.connect(url))
        return opened[-1]

    yield connected
    for connection in opened:
        connection.writer.close()


class Answer:
    """A whole response."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ids(self) -> list[str]:
        """The ids of a list's records, in order."""
        return [record["id"] for record in self.json["data"]]

    @property
    def error(self) -> tuple[int, str]:
        """The status and the first error's code."""
        return self.status, self.json["errors"][0]["code"]


Serve = Callable[..., Awaitable[Api]]


class Patient(TestServer):
    """Does not cancel the request of a client that has gone away, as the service itself does not."""

    async def _make_runner(self, **options: Any) -> web.AppRunner:
        return Runner(self.app, self.app[keys.STATE].settings)


@asynccontextmanager
async def _starting() -> AsyncIterator[Serve]:
    clients = []

    async def start(dsn: str, **environment: str) -> Api:
        loaded = configured(dsn, **environment)
        client = TestClient(Patient(await open_application(loaded)), cookie_jar=DummyCookieJar())
        await client.start_server()
        clients.append(client)
        return Api(client, loaded)

    yield start
    for client in clients:
        await client.close()
    web_app._cached_build_middleware.cache_clear()  # It would keep a thousand applications.


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts the service on a database; settings as in `configured`."""
    async with _starting() as start:
        yield start


@pytest.fixture(scope="module")
async def shared_serve() -> AsyncIterator[Serve]:
    """The same for services that all tests of a module use."""
    async with _starting() as start:
        yield start


@pytest.fixture
async def api(serve: Serve, data: Data) -> Api:
    """The service on the test's own database."""
    return await serve(data.dsn)


@pytest.fixture(scope="module")
async def shared_api(shared_serve: Serve, shared_data: Data) -> Api:
    """The service on the module's database, for tests that change neither rows nor limits."""
    return await shared_serve(shared_data.dsn)


@pytest.fixture(scope="module")
async def golden(shared_serve: Serve, postgres: Databases, golden_database: str) -> Api:
    """The service on the golden corpus."""
    return await shared_serve(postgres.dsn(golden_database), AUTH__SECRETS=json.dumps([GOLDEN_SECRET]))
