"""Checks that a database has what the service's SQL needs: version, encoding, tables, columns and privileges."""

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

import structlog

from service.db.pool import Pool
from service.db.statement import Statement, read_sql
from service.files import SQL
from service.observability import metrics
from service.schemas.resource import CALLS

log = structlog.get_logger()

MIN_VERSION = 15  # Of PostgreSQL.
ENCODING = "UTF8"
CATALOG = "pg_catalog"
CALLS_SCHEMA = "cdr"  # Everything in other schemas is in the routing database.
TABLE = re.compile(r"(?:FROM|JOIN)\s+(\w+)\.(\w+)(?:\s+AS\s+(\w+))?", re.IGNORECASE)
COLUMN = re.compile(r"\b([a-z_]+)\.([a-z_][a-z_0-9]*)\b(?!\s*\()")

Column = tuple[str, str, str]  # Schema, table and column.
Tables = Mapping[str, str]


class SchemaCheck:
    """Checks one database: `cdr` (calls) or `routing` (everything else). `tables`: tables of calls by SQL file."""

    def __init__(self, pool: Pool, database: str, tables: Tables = MappingProxyType({})) -> None:
        self._pool = pool
        self._database = database
        self._tables = tables
        self._lock_warning = ""

    async def problems(self) -> list[str]:
        """What is missing, one line each, which names the object. Raises ApiError if the database does not respond."""
        [(number, version, encoding, role)] = await self._pool.fetch(Statement.from_file("queries/server_properties"))
        found = []
        if number < MIN_VERSION * 10000:
            found.append(f"PostgreSQL {version} is too old; {MIN_VERSION} or later is needed")
        if encoding != ENCODING:
            found.append(f"the encoding is {encoding}; {ENCODING} is needed")
        found.extend(await self._missing(role))
        if self._database == CALLS_SCHEMA:
            await self._check_locks()
        return found

    async def _missing(self, role: str) -> list[str]:
        needed = [
            column
            for column in needed_columns(tuple(self._tables.items()))
            if (column[0] == CALLS_SCHEMA) == (self._database == "cdr")
        ]
        schemas, tables, columns = (list(names) for names in zip(*needed, strict=True))
        statement = Statement.from_file("queries/missing_columns", schemas=schemas, tables=tables, columns=columns)
        rows = await self._pool.fetch(statement)
        return list(dict.fromkeys(_described(role, *names) for names in rows))

    async def _check_locks(self) -> None:
        """Logs a warning if the lock table is too small. Not a problem, since statements on all partitions are rare."""
        rows = [
            row
            for table in sorted({CALLS, *self._tables.values()})
            for row in await self._pool.fetch(Statement.from_file("queries/partition_locks", table=table))
        ]
        partitions, locks, capacity, setting = max(rows, key=lambda row: int(row[1]))
        metrics.PARTITION_LOCKS.set(locks)
        metrics.LOCK_CAPACITY.set(capacity)
        needed = math.ceil(setting * locks / capacity)
        warning = (
            f"max_locks_per_transaction is {setting}: a statement on all {partitions} partitions takes {locks} locks, "
            f"and there is room for {capacity}; set it to {needed} or more"
        )
        if locks > capacity and warning != self._lock_warning:
            log.warning("too few locks", database=self._database, problem=warning)
        self._lock_warning = warning if locks > capacity else ""


@cache
def needed_columns(tables: tuple[tuple[str, str], ...] = ()) -> tuple[Column, ...]:
    """The columns that the service's statements read, parsed from its SQL files. `tables`: tables of calls by file."""
    files = [*sorted((SQL / "resources").glob("*.sql")), *sorted((SQL / "queries").glob("*.sql"))]
    texts = {file.stem: read_sql(f"{file.parent.name}/{file.stem}") for file in files}
    chosen = dict(tables)
    return tuple(sorted({column for name, text in texts.items() for column in _columns(text, chosen.get(name, CALLS))}))


def _columns(text: str, calls: str) -> Iterator[Column]:
    text = text.replace("{calls}", calls).replace("{rec}", read_sql("shapes/rec"))
    tables = {alias or table: (schema, table) for schema, table, alias in TABLE.findall(text) if schema != CATALOG}
    for alias, column in COLUMN.findall(TABLE.sub("", text)):
        if alias in tables:
            yield (*tables[alias], column)


def _described(role: str, missing: str, schema: str, table: str, column: str) -> str:
    return {
        "schema": f"schema {schema} does not exist",
        "usage": f"role {role} may not use schema {schema}",
        "table": f"table {schema}.{table} does not exist",
        "column": f"column {schema}.{table}.{column} does not exist",
        "privilege": f"role {role} may not read column {schema}.{table}.{column}",
    }[missing]
