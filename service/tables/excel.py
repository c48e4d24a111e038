"""The dialect `excel` of CSV, for spreadsheets with a comma as decimal separator."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from service.jsonapi.render import Flat
from service.schemas.base import dasherize
from service.schemas.fields import Decimal
from service.schemas.resource import Resource
from service.tables.formats import CSV, FORMULA, Format, cell, lines

DIALECT = "excel"
SEPARATOR = ";"
BYTE_ORDER_MARK = "\ufeff".encode()  # Without it, Excel does not read UTF-8.
# Texts that Excel would convert to a number, a date or a time: phone numbers, Call-IDs, addresses.
NUMBER_LIKE = re.compile(r"(?=\D*\d)(?:[\d.,:/+()%eE-]|[^\S\r\n])+")
MAX_DIGITS = 15  # Excel replaces further digits by zeros.


def format_of(resource: Resource) -> Format:
    """The format for a resource: UTF-8 with a byte order mark, semicolons, decimal commas, and CR LF.

    Text that looks like a number is written as `="0380"`, which Excel shows unchanged.
    """
    decimals = {dasherize(name) for name, field in resource.attributes.items() if isinstance(field, Decimal)}

    def written(name: str, value: Any) -> Any:
        if name in decimals and value is not None:
            return value.replace(".", ",")
        if name == "id" and resource.integer_ids and len(value) <= MAX_DIGITS:
            return value
        return _text(value) if type(value) is str else cell(value)

    def piece(records: Iterable[Flat]) -> bytes:
        return lines(([written(*item) for item in record.items()] for record in records), SEPARATOR)

    return replace(CSV, head=lambda headings: BYTE_ORDER_MARK + lines([headings], SEPARATOR), piece=piece)


def _text(value: str) -> str:
    if NUMBER_LIKE.fullmatch(value) and not FORMULA.match(value):
        return f'="{value}"'
    return str(cell(value))
