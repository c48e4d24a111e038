"""Benchmarks rendering, in microseconds per record: the renderer, and the schema's dump."""

import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC
from typing import Any

from service.jsonapi import render
from service.schemas.fields import Boolean, Decimal, Identifier, Integer, String, Timestamp
from service.schemas.resource import configured

RECORDS = 1000
INCOMING = configured(UTC, {})["incoming-cdrs"]
CELLS: dict[type, Callable[[int], Any]] = {
    Identifier: lambda number: 1_000_000 + number,
    Timestamp: lambda number: f"2026-11-14 {number % 24:02}:{number % 60:02}:14.{number * 7919 % 10**6:06}+00",
    Decimal: lambda number: f"{number * 7919 % 10**6 / 10**6:.6f}",
    Integer: lambda number: number * 7 % 300,
    Boolean: lambda number: number % 3 > 0,
    String: lambda number: f"4477009{number * 7919 % 10**8:08}",
}


def records(count: int = RECORDS) -> list[dict[str, Any]]:
    """Values as returned by the driver."""
    fields = {"id": INCOMING.schema.fields["id"], **INCOMING.attributes}
    return [{name: CELLS[type(field)](number) for name, field in fields.items()} for number in range(count)]


def get_renderer(made: list[dict[str, Any]]) -> Callable[[], bytes]:
    renderer = render.get_renderer(INCOMING)
    rows = [tuple(record[column] for column in renderer.columns) for record in made]
    return lambda: b'{"data":[%b]}' % b",".join(renderer.records(rows, "http://127.0.0.1"))


def dumped(made: list[dict[str, Any]]) -> Callable[[], bytes]:
    schema = type(INCOMING.schema)

    def dump() -> bytes:
        found = schema(base="http://127.0.0.1").dump(made, many=True)
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()

    return dump


def seconds(work: Callable[[], bytes], times: int) -> float:
    """The median CPU time of this thread in several runs, which other processes hardly affect."""
    taken = []
    for _ in range(times):
        begin = time.thread_time()
        work()
        taken.append(time.thread_time() - begin)
    return statistics.median(taken)
