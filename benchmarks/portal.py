"""Logins and statistics on the usual database: their overhead over bcrypt and SQL, and their effect on look-ups."""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection
from itertools import count
from urllib.parse import urlsplit

import bcrypt
import psycopg2

from benchmarks.databases import CUSTOMER, Databases, Size, execute
from benchmarks.programs import TOKEN, Program
from service.db import select
from service.query import Caller, Filter, Query
from service.schemas.base import PREFIX
from service.schemas.resource import configured
from service.statistics import buckets

ACCOUNT, UUID = 10, "00000000-0000-4000-8000-000000000010"  # The customer's account as a vendor.
LOGIN, PASSWORD, COST = "benchmark", "benchmark", 10
LOW_COST = 4  # A hash of 1 ms: after a longer one the idle cores of a virtual machine take milliseconds to wake up.
TRIES = 5
LOGINS = 50  # Concurrent.
RANGES = {"hour": 1, "day": 30}  # Days by sampling.
PREPARE = f"""
INSERT INTO billing.accounts (
    id, contractor_id, uuid, name, balance, min_balance, max_balance, currency_id, currency_name
) VALUES ({ACCOUNT}, {CUSTOMER}, '{UUID}', 'benchmark', 0, 0, 0, 1, 'USD') ON CONFLICT DO NOTHING;
INSERT INTO sys.api_access (id, customer_id, login, password_digest) VALUES (1, {CUSTOMER}, '{LOGIN}', '')
ON CONFLICT DO NOTHING;
"""

Values = dict[str, Callable[[], float]]


def measures(databases: Databases, size: Size, cached: Program, uncached: Program) -> Values:
    """Seconds and milliseconds by name; `uncached` is a service that does not cache sums."""
    dsn = databases.dsn(size)
    execute(dsn, PREPARE)
    _set_digest(dsn, COST)
    found: Values = {
        "login overhead": lambda: _login_overhead(uncached, dsn),
        "statistics reopened": lambda: _reopened(cached),
    }
    for sampling in RANGES:
        found[f"statistics by {sampling} service"] = partial(_by_service, uncached, sampling)
        found[f"statistics by {sampling} SQL"] = partial(_by_sql, dsn, sampling)
    return found


@contextmanager
def logins(program: Program) -> Iterator[None]:
    """Sends this many concurrent logins repeatedly until the block ends."""
    running = True

    def again() -> None:
        with _connected(program) as connection:
            while running:
                _log_in(connection)

    with ThreadPoolExecutor(LOGINS) as executor:
        for _ in range(LOGINS):
            executor.submit(again)
        try:
            yield
        finally:
            running = False


def _set_digest(dsn: str, cost: int) -> str:
    digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode()
    execute(dsn, "UPDATE sys.api_access SET password_digest = %s", digest)
    return digest


def _login_overhead(program: Program, dsn: str) -> float:
    """Milliseconds of a login beyond those of its hash, measured in turn."""
    differences, digest = [], _set_digest(dsn, LOW_COST)
    with _connected(program) as connection:
        for _ in range(10 * TRIES):
            alone = _seconds(lambda: bcrypt.checkpw(PASSWORD.encode(), digest.encode()))
            differences.append(1000 * (_seconds(lambda: _log_in(connection)) - alone))
    _set_digest(dsn, COST)
    return statistics.median(differences)


def _log_in(connection: HTTPConnection) -> None:
    body = json.dumps({"auth": {"login": LOGIN, "password": PASSWORD}})
    connection.request("POST", f"{PREFIX}/auth", body, {"Content-Type": "application/json"})
    with connection.getresponse() as answer:
        answer.read()
        assert answer.status == 201


@contextmanager
def _connected(program: Program) -> Iterator[HTTPConnection]:
    """A persistent connection, so that connecting is not measured."""
    with closing(HTTPConnection(urlsplit(program.url).netloc, timeout=60)) as connection:
        yield connection


_different = count(2)


def _reopened(program: Program) -> float:
    """The ratio of the second to the first request for 30 days; each pair uses a new filter."""
    ratios = []
    for _ in range(TRIES):
        with _connected(program) as connection:
            opening = partial(_ask, connection, "day", f"&duration-gt=-{next(_different)}")
            first = _seconds(opening)
            ratios.append(_seconds(opening) / first)
    return statistics.median(ratios)


def _by_service(program: Program, sampling: str) -> float:
    """Seconds of a response."""
    with _connected(program) as connection:
        return _median(partial(_ask, connection, sampling))


def _ask(connection: HTTPConnection, sampling: str, more: str = "") -> None:
    start = datetime.now(UTC) - timedelta(days=RANGES[sampling])
    query = f"account-id={UUID}&from-time={start:%Y-%m-%dT%H:%M:%SZ}&sampling={sampling}{more}"
    connection.request("GET", f"{PREFIX}/termination-statistics?{query}", headers={"Authorization": TOKEN})
    with connection.getresponse() as answer:
        assert json.load(answer)["totals"]["total_calls"] > 0


def _by_sql(dsn: str, sampling: str) -> float:
    """Seconds of the service's statement without the service, on a connection that has planned the partitions."""
    until = datetime.now(UTC)
    since = until - timedelta(days=RANGES[sampling])
    query = Query(
        configured(UTC, {})["incoming-cdrs"],
        (),
        Caller(CUSTOMER, None, False),
        (Filter("account_id", "eq", (ACCOUNT,)),),
        ranges=((since.isoformat(), until.isoformat()),),
    )
    statement = select.sums(query, "duration", "vendor_price", buckets.starts(sampling, UTC, since, until))
    with closing(psycopg2.connect(dsn, options="-c jit=off")) as connection, connection.cursor() as cursor:

        def run() -> None:
            cursor.execute(statement.text, statement.parameters)
            cursor.fetchall()

        return _median(run)


def _median(work: Callable[[], object]) -> float:
    work()  # The first time is slow.
    return statistics.median(_seconds(work) for _ in range(TRIES))


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
