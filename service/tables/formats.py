"""Text formats of tables: CSV (RFC 4180) and NDJSON."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.jsonapi.render import Flat
from service.jsonapi.view import View
from service.schemas.base import dasherize
from service.schemas.resource import ACCOUNT, Resource

# The start of a text that spreadsheets evaluate as a formula. Signed numbers are not formulas.
FORMULA = re.compile("[=+@\t\r\n\uff1d\uff0b\uff0d\uff20-](?!(?<=[+-])\\d+(?:\\.\\d+)?\\Z)")
WORDS = {True: "true", False: "false"}


def headings(resource: Resource, view: View) -> list[str]:
    """The column names of a table. The account is last, if included."""
    chosen = view.fieldsets.get(resource.type, resource.members)
    shown = [name for name in chosen if name not in resource.hidden]
    account = [ACCOUNT] if view.include and ACCOUNT in shown else []
    return ["id", *(dasherize(name) for name in shown if name in resource.attributes), *account]


@dataclass(frozen=True, slots=True)
class Format:
    """A format. `head` encodes the start of a file, `piece` a batch of records."""

    suffix: str
    media_type: str
    content_type: str
    head: Callable[[Sequence[str]], bytes]
    piece: Callable[[Iterable[Flat]], bytes]


def cell(value: Any) -> Any:
    """A value in CSV. Formulas are prefixed with an apostrophe."""
    if type(value) is str:
        return f"'{value}" if FORMULA.match(value) else value
    return WORDS[value] if type(value) is bool else value


def lines(rows: Iterable[Iterable[Any]], separator: str = ",") -> bytes:
    """Encodes rows of cells in UTF-8."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _csv_head(headings: Sequence[str]) -> bytes:
    return lines([headings])


def _csv_piece(records: Iterable[Flat]) -> bytes:
    return lines(map(cell, record.values()) for record in records)


def _ndjson_piece(records: Iterable[Flat]) -> bytes:
    return b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)


CSV = Format("csv", "text/csv", "text/csv; charset=utf-8; header=present", _csv_head, _csv_piece)
NDJSON = Format("ndjson", "application/x-ndjson", "application/x-ndjson", lambda _: b"", _ndjson_piece)
FORMATS = {format_.suffix: format_ for format_ in (CSV, NDJSON)}
