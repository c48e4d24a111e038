"""Verifies the model of docs/scaling.md: it is fitted to two small databases, and compared with three others.

`python -m benchmarks.capacity` creates the databases on a separate PostgreSQL and prints predictions and measurements.
`python -m benchmarks.capacity paper` prints the table of docs/scaling.md. Linux only: it reads /proc.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.databases import CUSTOMER, OPTIONS, Databases, Size, execute
from service.db import select
from service.db.partitions import PartitionDirectory
from service.db.pool import Limits, Pool
from service.db.search import PartitionSearch, SearchLimits
from service.db.statement import Statement
from service.query import Caller, Query
from service.schemas.resource import configured

FITTED = (Size(40, 500), Size(20, 6000))
COMPARED = (Size(30, 4000), Size(45, 6000), Size(60, 4000))
# One core, and the plans of large partitions; small partitions would be read by sequential scans.
PLANS = {"max_parallel_workers_per_gather": "0", "enable_seqscan": "off", "enable_bitmapscan": "off"}
REPEATS = 8
ROUNDS = 6
UNKNOWN = 2**62
PARTITIONS = """
SELECT count(*), sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'cdr.cdr'::regclass
"""
ROWS = "SELECT count(*), count(*) FILTER (WHERE vendor_id = %s) FROM cdr.cdr"
DISK, TOTAL, SEARCH, DIRECTORY = (
    "disk, MiB",
    "total, CPU ms",
    "search of all partitions, CPU ms",
    "partition directory, CPU ms",
)


class Scale(NamedTuple):
    """The variables of the model."""

    partitions: int
    rows: int
    counted: int  # Calls in the measured total.


class Line(NamedTuple):
    """A linear cost: `first` is constant or a variable, `each` is another variable."""

    first: Callable[[Scale], float]
    each: Callable[[Scale], float]


def _one(_: Scale) -> float:
    return 1


MODEL = {
    DISK: Line(lambda scale: scale.partitions, lambda scale: scale.rows),
    TOTAL: Line(lambda scale: scale.partitions, lambda scale: scale.counted),
    SEARCH: Line(_one, lambda scale: scale.partitions),
    DIRECTORY: Line(_one, lambda scale: scale.partitions),
}


@dataclass(frozen=True)
class Measured:
    """One database: its size, and the measured values by the names of MODEL."""

    scale: Scale
    values: dict[str, float]


def fit(line: Line, points: Sequence[tuple[Scale, float]]) -> tuple[float, float]:
    """The two coefficients of the line through two points."""
    (a, value_a), (b, value_b) = points
    determinant = line.first(a) * line.each(b) - line.first(b) * line.each(a)
    first = (value_a * line.each(b) - value_b * line.each(a)) / determinant
    each = (line.first(a) * value_b - line.first(b) * value_a) / determinant
    return first, each


def predict(line: Line, costs: tuple[float, float], scale: Scale) -> float:
    """The predicted cost for another scale."""
    return costs[0] * line.first(scale) + costs[1] * line.each(scale)


def measure(databases: Databases, sizes: Sequence[Size]) -> list[Measured]:
    """Creates the databases and measures them in turn, because the load of the machine varies."""
    found = [(databases.dsn(size), _size_of(databases, size)) for size in sizes]
    rounds = [[asyncio.run(_times(dsn)) for dsn, _ in found] for _ in range(ROUNDS)]
    return [
        Measured(scale, {DISK: disk, **{what: min(times[what] for times in each) for what in each[0]}})
        for (_, (scale, disk)), each in zip(found, zip(*rounds, strict=True), strict=True)
    ]


def _size_of(databases: Databases, size: Size) -> tuple[Scale, float]:
    """The scale of a database and its size in MiB."""
    dsn = databases.dsn(size)
    execute(dsn, "VACUUM cdr.cdr")  # Otherwise, a total reads the table for each index entry.
    [(partitions, disk)] = execute(dsn, PARTITIONS)
    [(rows, counted)] = execute(dsn, ROWS, CUSTOMER)
    return Scale(partitions, rows, counted), float(disk) / 2**20


async def _times(dsn: str) -> dict[str, float]:
    """Milliseconds. Searches and the directory use new connections, as in the service after an idle period."""
    pool = Pool("cdr", dsn, Limits(1, 10, 10, 600))
    search = PartitionSearch(pool, limits=SearchLimits(rest=0))
    directory = PartitionDirectory(pool, search, 60, reload=0)
    everything = Query(configured(UTC, {})["incoming-cdrs"], ("id",), Caller(CUSTOMER, None, False))
    total = select.count(everything)
    try:
        return {
            DIRECTORY: await _least(pool, directory.refresh, pool.close_idle),
            SEARCH: await _least(pool, lambda: search.find(UNKNOWN), pool.close_idle),
            TOTAL: await _least(pool, lambda: pool.fetch(total)),
        }
    finally:
        await search.close()
        await pool.close()


async def _least(pool: Pool, ask: Callable[[], Awaitable[object]], before: Callable[[], None] = lambda: None) -> float:
    """The minimum CPU time of PostgreSQL in several runs, which depends least on other load."""
    times = []
    for _ in range(REPEATS):
        before()
        [(pid,)] = await pool.fetch(Statement("SELECT pg_backend_pid()"))
        began = _processor_time(pid)
        await ask()
        times.append(_processor_time(pid) - began)
    return min(times)


def _processor_time(pid: int) -> float:
    """The CPU time of a process in milliseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 10**6


def compare(fitted: Sequence[Measured], others: Sequence[Measured]) -> Iterator[str]:
    """A table of predictions and measurements."""
    yield "| database | what | predicted | measured | off |"
    yield "|---|---|---|---|---|"
    for what, line in MODEL.items():
        costs = fit(line, [(one.scale, one.values[what]) for one in fitted])
        for one in others:
            predicted, measured = predict(line, costs, one.scale), one.values[what]
            name = f"{one.scale.rows:,} calls in {one.scale.partitions} partitions"
            yield f"| {name} | {what} | {predicted:.1f} | {measured:.1f} | {predicted / measured - 1:+.0%} |"


# Measured values, with their sources.
BYTES_PER_CALL = 747  # With all indexes of sql/schema: 3.3 million calls in 137 partitions.
NS_PER_COUNTED = {
    "a day": 80,
    "30 days": 127,
}  # Index-only totals: 35,000 calls in 2.8 ms, 1,050,000 in 133 ms.
LOCKS_PER_LEAF = 8  # For a search of all partitions.
SEARCH_PER_LEAF = 1.0  # Milliseconds on a new connection: 2.1 to 3.5 s for 3,650.
DIRECTORY_PER_LEAF = 1.5  # Milliseconds on a new connection: 88 ms for 60.
SHARE = 10  # The largest customer has a tenth of the calls.


class Load(NamedTuple):
    """The amount of calls. Each shard has a part of each day's partition."""

    calls: int  # Per day.
    days: int
    shards: int = 1


LOADS = (
    Load(10**6, 120),
    Load(10**6, 3650),
    Load(10**8, 120),
    Load(10**8, 3650),
    Load(10**9, 120, shards=12),
    Load(10**9, 3650, shards=12),
)


def paper() -> Iterator[str]:
    """The table of docs/scaling.md: the requirements of each load."""
    rows = [_row(load) for load in LOADS]
    yield f"| {' | '.join(rows[0])} |"
    yield f"|{'---|' * len(rows[0])}"
    for row in rows:
        yield f"| {' | '.join(row.values())} |"


def _row(load: Load) -> dict[str, str]:
    a_day, leaves = load.calls * BYTES_PER_CALL, load.days * load.shards
    counted = load.calls / SHARE / 10**9  # Per day, in 10^9 calls: nanoseconds per call give seconds.
    return {
        "calls a day": f"{load.calls:,}",
        "days kept": f"{load.days:,}",
        "disk": _size(a_day * load.days),
        "two days, in memory": _size(2 * a_day),
        "tables": f"{leaves:,}" if load.shards == 1 else f"{load.days:,} x {load.shards}",
        "largest": _size(a_day / load.shards),
        "locks of a search": f"{leaves * LOCKS_PER_LEAF:,}",
        "search of all": _seconds(leaves * SEARCH_PER_LEAF / 1000),
        "directory, first read": _seconds(leaves * DIRECTORY_PER_LEAF / 1000),
        "total of a tenth, 24 h": _seconds(counted * NS_PER_COUNTED["a day"]),
        "30 days": _seconds(30 * counted * NS_PER_COUNTED["30 days"]),
    }


def _seconds(number: float) -> str:
    return f"{number:.0f} s" if number >= 10 else f"{number:.1g} s" if number < 1 else f"{number:.1f} s"


def _size(number: float) -> str:
    """Bytes with two significant digits."""
    for unit, size in (("PB", 10**15), ("TB", 10**12), ("GB", 10**9)):
        if number >= size:
            return f"{number / size:.0f} {unit}" if number >= 10 * size else f"{number / size:.1f} {unit}"
    return f"{number / 10**6:.0f} MB"


def main() -> None:
    if sys.argv[1:] == ["paper"]:
        print("\n".join(paper()))
        return
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder, Databases.open(Path(folder), _say, {**OPTIONS, **PLANS}) as databases:
        measured = measure(databases, (*FITTED, *COMPARED))
    lines = compare(measured[: len(FITTED)], measured[len(FITTED) :])
    print("\n".join(lines))
    print(f"\n{os.cpu_count()} cores, {(datetime.now(UTC) - began).total_seconds():.0f} s in all.")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
