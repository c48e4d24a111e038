"""Builds all parts of the service from the settings, independent of HTTP. All wiring is here."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

from service.auth.access import Access
from service.auth.login import LoginService
from service.auth.passwords import PasswordChecker
from service.auth.tokens import TokenService
from service.concurrency.tasks import BackgroundTasks, Work
from service.db.access import AccessRepository
from service.db.export import ExportReader
from service.db.health import DatabaseHealth
from service.db.logins import LoginRepository
from service.db.lookup import RecordLookup
from service.db.partition_changes import PartitionChanges
from service.db.partitions import PartitionDirectory
from service.db.pool import Limits, Pool
from service.db.records import RecordReader
from service.db.replicas import Replica, ReplicaRouter
from service.db.schema_check import SchemaCheck
from service.db.search import PartitionSearch
from service.db.statistics import StatisticsRepository
from service.jsonapi import cursors
from service.observability.problem_log import ProblemLog
from service.observability.readiness import Part
from service.recordings import stores
from service.recordings.delivery import Store
from service.schemas import resource
from service.schemas.resource import Resource
from service.settings import CallDatabase, Database, Settings
from service.statistics.partition_cache import PartitionCache
from service.statistics.service import CallStatistics

SEARCH_TIMEOUT = 60.0  # Seconds that a search of all partitions waits for a connection.


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the service. `background` are the tasks, by name, that a server starts in `tasks`."""

    settings: Settings
    resources: Mapping[str, Resource]  # By type.
    tokens: TokenService
    access: Access
    logins: LoginService
    cursor_keys: tuple[bytes, ...]  # The first signs, all verify.
    records: RecordReader
    lookup: RecordLookup
    exports: ExportReader
    statistics: Mapping[str, CallStatistics]  # By table.
    recordings: Store
    directories: Mapping[str, PartitionDirectory]  # By table.
    replicas: Sequence[Replica]
    health: Sequence[DatabaseHealth]
    background: Mapping[str, Work]
    tasks: BackgroundTasks

    async def parts(self) -> dict[str, Part]:
        """The parts that the service needs, with their current problems."""
        problems = await asyncio.gather(*(database.problems() for database in self.health))
        parts = {f"database {one.name}": Part(found) for one, found in zip(self.health, problems, strict=True)}
        for replica in self.replicas:
            parts[replica.pool.name] = Part([replica.reason] if replica.reason else [], required=False)
        failing = {f"task {name}": Part([problem]) for name, problem in self.tasks.problems.items()}
        return parts | failing


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    """The services, closed at the end of the block. Opens no database connection before one is needed."""
    async with AsyncExitStack() as stack:
        tasks = BackgroundTasks()
        pools = _Pools(settings, tasks)
        calls, routing = pools.calls(), pools.open("routing", settings.databases.routing)
        # Searches have their own connections, so that a search of all partitions does not delay other requests.
        searching = pools.open("cdr", settings.databases.cdr, "search", size=2, acquire_timeout=SEARCH_TIMEOUT)
        resources = _resources(settings)
        tables = {one.sql: one.table for one in resources.values() if one.meta.database == "cdr"}
        searches = {table: PartitionSearch(searching, table) for table in tables.values()}
        directories = {
            table: PartitionDirectory(searching, search, settings.databases.cdr.directory_refresh, table=table)
            for table, search in searches.items()
        }
        exporting = {
            name: pools.open(name, database, f"{name} exports", size=settings.export.pool_size)
            for name, database in (("cdr", settings.databases.cdr), ("routing", settings.databases.routing))
        }
        passwords = PasswordChecker(settings.auth.login_threads)
        stack.push_async_callback(passwords.close)
        health = (
            DatabaseHealth("cdr", calls.ping, SchemaCheck(calls.primary.checks, "cdr", tables), pools.problems["cdr"]),
            DatabaseHealth("routing", routing.ping, SchemaCheck(routing.checks, "routing"), pools.problems["routing"]),
        )
        pools_closed = [pool.close for pool in (routing, searching, *exporting.values())]
        for close in (calls.close, *pools_closed, *(search.close for search in searches.values())):
            stack.push_async_callback(close)

        def partition_cache(name: str, table: str, seconds: float) -> PartitionCache[Any]:
            changes = PartitionChanges(calls.primary, table)
            return PartitionCache(name, changes.read, seconds, _lag(settings.databases.cdr))

        records = RecordReader(
            calls,
            routing,
            directories,
            settings.resources.total_cache_seconds,
            settings.resources.total_timeout,
            {
                table: partition_cache("day_counts", table, settings.resources.past_total_cache_seconds)
                for table in searches
            },
        )
        yield Services(
            settings=settings,
            resources=resources,
            tokens=TokenService(settings.auth.secrets, settings.auth.token_lifetime),
            access=Access(AccessRepository(routing), settings.auth.cache_seconds),
            logins=LoginService(LoginRepository(routing), passwords),
            cursor_keys=cursors.keys(settings.auth.secrets),
            records=records,
            lookup=RecordLookup(calls, routing, directories),
            exports=ExportReader(exporting, records, settings.export.transaction_timeout),
            statistics={
                table: CallStatistics(
                    StatisticsRepository(calls, directory),
                    partition_cache("day_sums", table, settings.statistics.cache_seconds),
                )
                for table, directory in directories.items()
            },
            recordings=await stack.enter_async_context(stores.opened(settings.recordings)),
            directories=directories,
            replicas=calls.replicas,
            health=health,
            background={
                "replicas": calls.watch,
                **{f"partition directory {table}": directory.watch for table, directory in directories.items()},
            },
            tasks=tasks,
        )


def _lag(database: CallDatabase) -> float:
    """The maximal lag of reads behind the primary, in seconds."""
    return database.replica_max_lag if database.replicas else 0.0


def _resources(settings: Settings) -> dict[str, Resource]:
    zone = settings.resources.time_zone
    return resource.configured(
        UTC if zone == "UTC" else ZoneInfo(zone), settings.resources.hidden, settings.databases.cdr.originated_table
    )


class _Pools:
    """Creates the pools. The pools of a database share its problem log."""

    def __init__(self, settings: Settings, tasks: BackgroundTasks) -> None:
        self.problems = {"cdr": ProblemLog(), "routing": ProblemLog()}
        self._settings = settings.databases
        self._tasks = tasks

    def calls(self) -> ReplicaRouter:
        """The primary with its replicas."""
        cdr = self._settings.cdr
        primary = self.open("cdr", cdr)
        replicas = [
            Replica(Pool(f"replica {number}", dsn, primary.limits, tasks=self._tasks))
            for number, dsn in enumerate(cdr.replicas, 1)
        ]
        return ReplicaRouter(primary, replicas, cdr.replica_max_lag)

    def open(
        self,
        database: str,
        settings: Database | CallDatabase,
        name: str | None = None,
        size: int | None = None,
        acquire_timeout: float | None = None,
    ) -> Pool:
        """A pool for a database; name, size and timeout default to those of the database."""
        shared = self._settings
        limits = Limits(
            size or settings.pool_size,
            shared.connect_timeout,
            acquire_timeout or shared.acquire_timeout,
            shared.statement_timeout,
            shared.prepared_statements,
            shared.transaction_pooling,
        )
        problems = self.problems[database]
        return Pool(name or database, settings.dsn, limits, database=database, tasks=self._tasks, problems=problems)
