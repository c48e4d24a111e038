"""Parses the Cookie header like Rack."""

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

from service.jsonapi.query_string import BAD_ESCAPE

SEPARATOR = re.compile("; *")


def first(headers: Iterable[str], name: str) -> str:
    """The value of the first cookie with this name, or empty text. Quotes are part of a value, escapes are decoded."""
    for cookie in SEPARATOR.split("; ".join(headers)):
        key, _, value = cookie.partition("=")
        if key == name:
            return value if BAD_ESCAPE.search(value) else unquote_plus(value)
    return ""
