"""Flat records to the text of a table: CSV after RFC 4180, or a JSON object a line."""

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

# What makes spreadsheets take a text for a formula, unless it is nothing but a signed number.
FORMULA = re.compile("[=+@\t\r\n\uff1d\uff0b\uff0d\uff20-](?!(?<=[+-])\\d+(?:\\.\\d+)?\\Z)")
WORDS = {True: "true", False: "false"}


def headings(resource: Resource, view: View) -> list[str]:
    """The names of a table's columns; an account that is asked for comes last."""
    chosen = view.fieldsets.get(resource.type, resource.members)
    shown = [name for name in chosen if name not in resource.hidden]
    account = [ACCOUNT] if view.include and ACCOUNT in shown else []
    return ["id", *(dasherize(name) for name in shown if name in resource.attributes), *account]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of table: what goes first, and what each batch of records becomes."""

    suffix: str
    media_type: str
    content_type: str
    head: Callable[[Sequence[str]], bytes]
    piece: Callable[[Iterable[Flat]], bytes]


def _csv_head(headings: Sequence[str]) -> bytes:
    return _csv_lines([headings])


def _csv_piece(records: Iterable[Flat]) -> bytes:
    return _csv_lines(map(_cell, record.values()) for record in records)


def _csv_lines(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if type(value) is str:
        return f"'{value}" if FORMULA.match(value) else value
    return WORDS[value] if type(value) is bool else value


def _ndjson_piece(records: Iterable[Flat]) -> bytes:
    return b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)


CSV = Format("csv", "text/csv", "text/csv; charset=utf-8; header=present", _csv_head, _csv_piece)
NDJSON = Format("ndjson", "application/x-ndjson", "application/x-ndjson", lambda _: b"", _ndjson_piece)
FORMATS = {format_.suffix: format_ for format_ in (CSV, NDJSON)}
