"""Writes flat records to a Parquet file with typed columns."""

from collections.abc import Iterable, Sequence
from typing import BinaryIO

import pyarrow as pa
from pyarrow import parquet

from service.jsonapi.render import Flat
from service.schemas.base import dasherize
from service.schemas.fields import Boolean, Decimal, Identifier, Integer, Timestamp
from service.schemas.resource import ACCOUNT, Resource

ROW_GROUP = 50_000  # Records in a row group, which is buffered in memory.
# Numerics become doubles, which all readers support; exact values require a text format.
TYPES = {
    Identifier: pa.int64(),
    Integer: pa.int64(),
    Decimal: pa.float64(),
    Boolean: pa.bool_(),
    Timestamp: pa.timestamp("ms", tz="UTC"),
}


class ParquetWriter:
    """Writes to an open file, which is a valid Parquet file after `close`."""

    def __init__(self, file: BinaryIO, resource: Resource, headings: Sequence[str]) -> None:
        types = {dasherize(name): TYPES.get(type(field), pa.string()) for name, field in resource.attributes.items()}
        types |= {"id": pa.int64() if resource.integer_ids else pa.string(), ACCOUNT: pa.string()}
        self._schema = pa.schema([(name, types[name]) for name in headings])
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._waiting: list[Flat] = []

    def write(self, records: Iterable[Flat]) -> None:
        """Adds records. Raises OverflowError for a value that its column's type cannot represent."""
        self._waiting += records
        if len(self._waiting) >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Writes the remaining records and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        columns = [self._column(column) for column in self._schema]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._waiting.clear()

    def _column(self, column: pa.Field) -> pa.Array:
        values = [record[column.name] for record in self._waiting]
        try:
            return pa.array(values).cast(column.type)
        except pa.ArrowInvalid as error:
            raise OverflowError(
                f"{column.name} has a value that Parquet's {column.type} cannot represent; use another format."
            ) from error
