"""Tables as files, without a database."""

import io
import os
import pty
import subprocess
import sys
from datetime import UTC
from typing import Any

import pyarrow.parquet
import pytest

from service.schemas.resource import configured
from service.tables.parquet import ROW_GROUP, ParquetWriter

RESOURCE = configured(UTC, {})["cdrs"]
NAMES = ["id", "time-start", "duration", "customer-price", "success", "local-tag"]


def record(id: int, **values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(NAMES), "id": str(id), **{name.replace("_", "-"): value for name, value in values.items()}}


def test_nothing_is_a_table_too_and_so_are_many_row_groups() -> None:
    for count in (0, 1, ROW_GROUP + 1):
        file = io.BytesIO()
        table = ParquetWriter(file, RESOURCE, NAMES)
        for id in range(count):
            table.write([record(id)])
        table.close()
        read = pyarrow.parquet.read_table(io.BytesIO(file.getvalue()))
        assert read.column("id").to_pylist() == list(range(count))
        assert [str(field.type) for field in read.schema] == [
            "int64",
            "timestamp[ms, tz=UTC]",
            "int64",
            "double",
            "bool",
            "string",
        ]


def test_a_value_that_a_type_cannot_hold_is_told_by_its_column() -> None:
    table = ParquetWriter(io.BytesIO(), RESOURCE, NAMES)
    table.write([record(1, time_start="10000-01-01T00:00:00.000Z")])
    with pytest.raises(OverflowError, match="time-start has a value that Parquet"):
        table.close()


PROGRAM = "from service.commands.progress import Progress; p = Progress(4); p.more(2); p.more(2); p.end('x')"


def test_a_person_at_a_terminal_sees_a_bar() -> None:
    own, given = pty.openpty()
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=given, check=True)
    shown = os.read(own, 1000).decode()  # All of it lies in the terminal's buffer.
    os.close(given)
    os.close(own)
    assert "[###############               ]  50% of 4 records" in shown
    assert shown.endswith("4 records to x\r\n")


def test_a_log_gets_one_line() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ended.stderr == "4 records to x\n"
