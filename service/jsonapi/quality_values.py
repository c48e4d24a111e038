"""Parses headers with quality values, such as Accept (RFC 9110, 12.4.2)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

MAX_LENGTH = 4096  # Characters; longer headers are ignored.
MAX_CACHED_LENGTH = 256

NAME_PART = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
QUOTED = r'"(?:[^"\\]|\\.)*+"'
ELEMENT = re.compile(rf'(?:[^",]++|{QUOTED})*+')
NAME = re.compile(rf"[ \t]*+({NAME_PART}(?:/{NAME_PART})?+)")
PARAMETER = re.compile(rf"[ \t]*+;[ \t]*+(?:({NAME_PART})=({NAME_PART}|{QUOTED}))?+")
QUALITY = re.compile(r"0?\.\d++|[01]\.?|1\.0++", re.ASCII)


@dataclass(frozen=True, slots=True)
class Choice:
    """One element of the header: a token or media range, and its parameters by name, both in lower case."""

    name: str
    parameters: Mapping[str, str]
    quality: float


def parse(header: str) -> tuple[Choice, ...]:
    """All valid elements in order."""
    if len(header) > MAX_LENGTH:
        return ()
    return _cached(header) if len(header) <= MAX_CACHED_LENGTH else _parse(header)


def _parse(header: str) -> tuple[Choice, ...]:
    return tuple(choice for element in _elements(header) if (choice := _choice(element)))


_cached = lru_cache(256)(_parse)


def _elements(header: str) -> Iterator[str]:
    """Splits at commas outside of quoted strings. A quote that is not closed is an ordinary character."""
    position = 0
    while position <= len(header):
        end = ELEMENT.match(header, position).end()  # type: ignore[union-attr] # It matches anything.
        if header[end : end + 1] == '"':
            yield from header[position:].split(",")
            return
        yield header[position:end]
        position = end + 1


def _choice(element: str) -> Choice | None:
    name = NAME.match(element)
    if not name:
        return None
    parameters: dict[str, str] = {}
    position = name.end()
    while match := PARAMETER.match(element, position):
        if match[1]:
            parameters.setdefault(match[1].lower(), match[2])
        position = match.end()
    quality = parameters.get("q", "1")
    if element[position:].strip(" \t") or not QUALITY.fullmatch(quality):
        return None
    return Choice(name[1].lower(), parameters, float(quality))
