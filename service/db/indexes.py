"""Optional search indexes: their definitions, and the partitions of a table that have them, regardless of names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property

from psycopg2.extensions import cursor as Cursor

from service.files import SQL

# Parts of a definition that do not matter for the searches that an index supports.
IRRELEVANT = re.compile(r""" WITH \([^)]*\)| TABLESPACE \S+|(?:"[^"]+"|\w+)\.(?=gin_trgm_ops\b)""")
BEGIN = re.compile(r"FROM \('(\d{4}-[^']+[+-][\d:]+)'\)")  # Of a partition's bounds.
CREATE_INDEX = re.compile(r"CREATE INDEX IF NOT EXISTS \w+\s+ON ([\w.]+) (\([^;]*);")
TABLES = """
SELECT tree.relid::bigint,
       tree.parentrelid::bigint,
       format('%%I.%%I', nspname, relname),
       relkind,
       pg_get_expr(relpartbound, pg_class.oid),
       greatest(reltuples, 0)::bigint
  FROM pg_partition_tree(to_regclass(%s)) AS tree
  JOIN pg_class ON pg_class.oid = tree.relid
  JOIN pg_namespace ON pg_namespace.oid = relnamespace
 ORDER BY tree.level
"""
INDEXES = """
SELECT indexrelid::bigint,
       indrelid::bigint,
       format('%%I.%%I', nspname, relname),
       pg_get_indexdef(indexrelid),
       indisvalid,
       inhparent::bigint,
       pg_relation_size(indexrelid)
  FROM pg_index
  JOIN pg_class ON pg_class.oid = indexrelid
  JOIN pg_namespace ON pg_namespace.oid = relnamespace
  LEFT JOIN pg_inherits ON inhrelid = indexrelid
 WHERE indrelid = ANY(%s::oid[])
 ORDER BY indexrelid
"""
WIDTHS = """
SELECT attname, avg(avg_width)::float
  FROM pg_stats
 WHERE (schemaname, tablename) IN (
         SELECT nspname, relname
           FROM pg_partition_tree(to_regclass(%s)) AS tree
           JOIN pg_class ON pg_class.oid = tree.relid
           JOIN pg_namespace ON pg_namespace.oid = relnamespace
       )
 GROUP BY attname
"""


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """An index of `sql/indexes`. `serves`: its description. `definition`: PostgreSQL's text after USING."""

    name: str
    serves: str
    definition: str

    @property
    def column(self) -> str:
        return self.definition.split("(")[1].split()[0]

    @property
    def resources(self) -> tuple[str, ...]:
        """The types of the resources whose filters use it."""
        named = self.serves.partition(":")[0]
        return ("cdrs", "incoming-cdrs") if named == "both resources" else (named,)

    @property
    def is_trigram(self) -> bool:
        return "gin_trgm_ops" in self.definition

    def bytes_per_row(self, width: float) -> float:
        """An estimate from the average width of the column: B-trees are about 90 % full; trigrams repeat."""
        return 5 * width if self.is_trigram else (12 + 8 * -(-width // 8)) / 0.9


@dataclass(frozen=True, slots=True)
class Table:
    """A table of calls or a partition. `kind`: p (partitioned), r (ordinary) or f (foreign). `name` is quoted."""

    oid: int
    parent: int | None
    name: str
    kind: str
    bounds: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class Index:
    """An existing index; `parent` is the oid of the index that it is attached to."""

    oid: int
    table: int
    name: str
    definition: str
    valid: bool
    parent: int | None
    size: int


@dataclass(frozen=True)
class Catalog:
    """A table of calls and all its partitions, parents before children, with their indexes."""

    tables: tuple[Table, ...]
    indexes: tuple[Index, ...]
    widths: dict[str, float]

    @property
    def partitions(self) -> list[Table]:
        """The ordinary tables, the newest first."""
        return sorted((table for table in self.tables if table.kind == "r"), key=self._begin, reverse=True)

    @property
    def foreign(self) -> list[Table]:
        return [table for table in self.tables if table.kind == "f"]

    def of(self, table: Table, wanted: SearchIndex) -> list[Index]:
        """The table's indexes of this definition, valid ones first."""
        return self._found.get((table.oid, wanted.definition), [])

    @cached_property
    def _found(self) -> dict[tuple[int, str], list[Index]]:
        found: dict[tuple[int, str], list[Index]] = {}
        for index in sorted(self.indexes, key=lambda index: not index.valid):
            found.setdefault((index.table, index.definition), []).append(index)
        return found

    def _begin(self, table: Table) -> datetime:
        """The lower time bound of the partition or of its parent; tables without a bound sort as the oldest."""
        by_oid = {table.oid: table for table in self.tables}
        current: Table | None = table
        while current is not None:
            if match := BEGIN.search(current.bounds or ""):
                return datetime.fromisoformat(match[1])
            current = by_oid.get(current.parent or 0)
        return datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Status:
    """The state of an index: numbers of partitions, and sizes in bytes.

    `invalid`: unfinished indexes. `possible`: all ordinary partitions. `missing_size`: estimate, None without
    statistics. `on_parent`: new partitions inherit the index.
    """

    built: int
    invalid: int
    possible: int
    foreign: int
    on_parent: bool
    size: int
    missing_size: int | None


@cache
def search_indexes() -> dict[str, SearchIndex]:
    """All of `sql/indexes` by name."""
    return {
        file.stem: _read(file.stem, file.read_text(encoding="utf-8")) for file in sorted((SQL / "indexes").glob("*"))
    }


def definition_of(statement: str) -> str:
    """The text after USING, without the parts that do not matter for searches."""
    text = IRRELEVANT.sub("", statement.partition(" USING ")[2])
    return " ".join(text.replace("varchar_pattern_ops", "text_pattern_ops").rstrip("; \n").split())


def read_catalog(cursor: Cursor, table: str) -> Catalog:
    """The current partitions and indexes of a table; no tables if it does not exist."""
    cursor.execute(TABLES, (table,))
    tables = tuple(Table(*row) for row in cursor.fetchall())
    indexes = read_indexes(cursor, [table.oid for table in tables])
    cursor.execute(WIDTHS, (table,))
    return Catalog(tables, indexes, dict(cursor.fetchall()))


def read_indexes(cursor: Cursor, tables: list[int]) -> tuple[Index, ...]:
    """The current indexes of the tables with these oids."""
    cursor.execute(INDEXES, (tables,))
    rows = cursor.fetchall()
    return tuple(Index(oid, table, name, definition_of(text), *rest) for oid, table, name, text, *rest in rows)


def status(catalog: Catalog, wanted: SearchIndex) -> Status:
    """The state of an index."""
    built: list[Table] = []
    missing: list[Table] = []
    invalid, size = 0, 0
    for table in catalog.partitions:
        found = catalog.of(table, wanted)
        size += sum(index.size for index in found)
        invalid += any(not index.valid for index in found)
        (built if found and found[0].valid else missing).append(table)
    return Status(
        len(built),
        invalid,
        len(built) + len(missing),
        len(catalog.foreign),
        bool(catalog.tables and catalog.of(catalog.tables[0], wanted)),
        size,
        _estimate(catalog, wanted, built, missing),
    )


def without_existing(cursor: Cursor, text: str) -> str:
    """The statements of a file without each CREATE INDEX whose table already has an index with the same definition."""
    statements = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return CREATE_INDEX.sub(lambda match: "" if _exists(cursor, match) else match[0], statements).strip()


def _exists(cursor: Cursor, match: re.Match[str]) -> bool:
    cursor.execute("SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = to_regclass(%s)", (match[1],))
    return definition_of(f" USING btree {match[2]}") in {definition_of(text) for (text,) in cursor.fetchall()}


def _read(name: str, text: str) -> SearchIndex:
    comments = [line.removeprefix("--").strip() for line in text.splitlines() if line.startswith("--")]
    return SearchIndex(name, " ".join(comments), definition_of(text))


def _estimate(catalog: Catalog, wanted: SearchIndex, built: Iterable[Table], missing: Iterable[Table]) -> int | None:
    """Estimated bytes of the missing indexes: from the existing ones, or else from the width of the column."""
    sizes = [(catalog.of(table, wanted)[0].size, table.rows) for table in built if table.rows]
    rows, width = sum(table.rows for table in missing), catalog.widths.get(wanted.column)
    if sizes:
        return round(rows * sum(size for size, _ in sizes) / sum(count for _, count in sizes))
    return None if width is None else round(rows * wanted.bytes_per_row(width))
