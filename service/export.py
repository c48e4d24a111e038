"""The command `cdr-api export`: the export of the API, read straight from the databases into a file."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from service.app import create
from service.auth.access import Access
from service.auth.tokens import Subject
from service.db.stream import Streams, TooManyRows
from service.errors import Refused
from service.jsonapi import exports, query, render, tabular
from service.jsonapi.render import Flat
from service.jsonapi.tabular import Format
from service.progress import Progress
from service.schemas.resource import Resource
from service.selection import Caller
from service.settings import Settings, SettingsError
from service.web import keys

FORMATS = (*tabular.FORMATS, "parquet")
STANDARD_OUTPUT = Path("-")


class ExportFailed(Exception):
    """No complete file could be written; the message says why."""


class Table(Protocol):
    """A file in one of the formats, as far as it is written."""

    def write(self, records: Iterable[Flat]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export: `query` is a query string as the API takes it, and `format` one of FORMATS."""

    type: str
    query: str
    subject: Subject
    format: str
    output: Path


def run(settings: Settings, wanted: Wanted) -> None:
    """Writes the file, or none. Raises ExportFailed, and SettingsError where the words cannot be used."""
    try:
        asyncio.run(_run(settings, wanted))
    except Refused as refused:
        details = [problem.detail for problem in refused.problems]
        if refused.problems[0].status == 400:
            raise SettingsError(details) from refused
        raise ExportFailed(" ".join(details)) from refused
    except TooManyRows as error:
        raise ExportFailed(f"There are more than export.max_rows = {settings.export.max_rows} records.") from error
    except OverflowError as error:
        raise ExportFailed(str(error)) from error
    except OSError as error:
        raise ExportFailed(f"{wanted.output}: {error.strerror or error}") from error


async def _run(settings: Settings, wanted: Wanted) -> None:
    app = create(settings)
    app.freeze()
    await app.startup()
    try:
        caller = await _caller(wanted.subject, app[keys.ACCESS])
        resource = app[keys.RESOURCES][wanted.type]
        await _export(settings, wanted, resource, app[keys.STREAMS], caller)
    finally:
        await app.cleanup()


async def _caller(subject: Subject, access: Access) -> Caller:
    try:
        return await access.caller(subject)
    except Refused as refused:
        if refused.problems[0].status != 401:
            raise
        raise ExportFailed("There is no such access row, or no such customer and profile.") from refused


async def _export(settings: Settings, wanted: Wanted, resource: Resource, streams: Streams, caller: Caller) -> None:
    asked = exports.read(resource, query.parse(wanted.query), datetime.now(UTC), settings.export.max_days)
    renderer = render.chosen(resource, asked.selection)
    async with streams.read(
        resource, renderer.columns, asked.selection, caller, linked=renderer.linked, counted=True
    ) as found:
        with _complete(wanted.output) as file:
            table = _table(wanted.format, file, resource, tabular.headings(resource, asked.selection))
            progress = Progress(found.total or 0)
            async for rows in found.batches():
                table.write(renderer.flat(rows, found.related))
                progress.more(len(rows))
            table.close()
        progress.end("standard output" if wanted.output == STANDARD_OUTPUT else str(wanted.output))


class _Text:
    """A table in one of the formats that the API has too."""

    def __init__(self, file: BinaryIO, format_: Format, headings: Sequence[str]) -> None:
        self._file, self._piece = file, format_.piece
        file.write(format_.head(headings))

    def write(self, records: Iterable[Flat]) -> None:
        self._file.write(self._piece(records))

    def close(self) -> None:
        self._file.flush()


def _table(format_: str, file: BinaryIO, resource: Resource, headings: Sequence[str]) -> Table:
    if format_ in tabular.FORMATS:
        return _Text(file, tabular.FORMATS[format_], headings)
    try:
        from service import parquet  # Its library is large, and an extra.
    except ImportError as error:
        raise ExportFailed("Parquet needs another package: pip install 'cdr-api[parquet]'.") from error
    return parquet.Table(file, resource, headings)


@contextmanager
def _complete(output: Path) -> Iterator[BinaryIO]:
    """A file that gets its name only when it is whole."""
    if output == STANDARD_OUTPUT:
        with open(1, "wb", closefd=False) as file:
            yield file
        return
    unfinished = output.with_name(f"{output.name}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
