"""The command `cdr-api database indexes`: shows, creates and drops search indexes."""

import sys
from collections.abc import Sequence

from service.db import index_builds, indexes
from service.db.indexes import SearchIndex, Status
from service.schemas.resource import CALLS

NAMES = ("all", *indexes.search_indexes())
UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def run(dsn: str, originated_table: str, to_create: Sequence[str], to_drop: Sequence[str]) -> None:
    """Creates or drops the named indexes on all tables of calls, or shows them. Raises SchemaError, KeyboardInterrupt.

    A table gets only the indexes that serve a resource which is read from it.
    """
    try:
        for table in dict.fromkeys((CALLS, originated_table)):
            if to_create:
                read = {"incoming-cdrs": CALLS, "cdrs": originated_table}
                wanted = [one for one in _named(to_create) if table in map(read.__getitem__, one.resources)]
                index_builds.create(dsn, wanted, _say, table)
            elif to_drop:
                index_builds.drop(dsn, _named(to_drop), _say, table)
            else:
                _show(dsn, table)
    except KeyboardInterrupt:
        _say("Interrupted. Finished indexes are kept; run the same command to continue.")
        raise


def _show(dsn: str, table: str) -> None:
    catalog = index_builds.inspect(dsn, table)
    if table != CALLS:
        print(f"\n{table}:")
    for index in indexes.search_indexes().values():
        print(f"{index.name:24} {_described(indexes.status(catalog, index))}\n    {index.serves}")


def _described(status: Status) -> str:
    """The status in one line."""
    parts = [f"{status.built} of {status.possible} partitions", f"{_size(status.size)}"]
    if status.built < status.possible:
        estimate = (
            "unknown size, no statistics" if status.missing_size is None else f"about {_size(status.missing_size)}"
        )
        parts.append(f"missing: {estimate}")
    if status.invalid:
        parts.append(f"{status.invalid} unfinished")
    if status.foreign:
        parts.append(f"{status.foreign} foreign partitions without the index")
    if status.built and not status.on_parent:
        parts.append("missing on the parent, so new partitions will not have it")
    return ", ".join(parts)


def _size(count: int) -> str:
    for unit, name in UNITS:
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"


def _named(names: Sequence[str]) -> list[SearchIndex]:
    known = indexes.search_indexes()
    return list(known.values()) if "all" in names else [known[name] for name in dict.fromkeys(names)]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
