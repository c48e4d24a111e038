"""Evaluates conditional and range requests (RFC 9110, 13 and 14)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from service.recordings.delivery import RequestConditions

RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*", re.IGNORECASE)
ENTITY_TAG = re.compile(r'(?:W/)?("[!#-~]*")')
ENTITY_TAGS = re.compile(rf"\*|{ENTITY_TAG.pattern}(?:[ \t]*,[ \t]*{ENTITY_TAG.pattern})*")


@dataclass(frozen=True, slots=True)
class Validators:
    """The current state of a recording: size in bytes, entity tag with quotes, time in whole seconds."""

    size: int
    tag: str
    modified: datetime

    @property
    def headers(self) -> Mapping[str, str]:
        return {
            "accept-ranges": "bytes",
            "etag": self.tag,
            "last-modified": format_datetime(self.modified, usegmt=True),
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """A status, and the range of bytes to send."""

    status: int
    start: int
    count: int


def single(text: str) -> tuple[int | None, int | None] | None:
    """Parses a single byte range: (first, last), (None, n) for the last n bytes; None if Range must be ignored."""
    match = RANGE.fullmatch(text)
    if not match:
        return None
    first, last, final = (int(number) if number else None for number in match.groups())
    if first is None:
        return None, final
    return None if last is not None and last < first else (first, last)


def evaluate(version: Validators, asked: RequestConditions) -> Choice:
    """The response to a request: 304, 416, 206 or 200."""
    if _has(version, asked):
        return Choice(304, 0, 0)
    wanted = single(asked.range) if if_range_matches(asked.if_range, version.tag, version.modified) else None
    if wanted is None:
        return Choice(200, 0, version.size)
    first, last = wanted
    start = max(version.size - (last or 0), 0) if first is None else first
    end = version.size if first is None or last is None else min(last + 1, version.size)
    return Choice(206, start, end - start) if start < end else Choice(416, 0, 0)


def if_range_matches(if_range: str, tag: str, modified: datetime) -> bool:
    """True if there is no If-Range, or it equals the current entity tag or time."""
    return not if_range or if_range == tag or http_date(if_range) == modified


def etag_list(text: str) -> str | None:
    """A valid list of entity tags, or `*`; None for anything else."""
    return text.strip() if ENTITY_TAGS.fullmatch(text.strip()) else None


def strong_etag(text: str) -> str | None:
    """A single strong entity tag; None for anything else."""
    match = ENTITY_TAG.fullmatch(text)
    return text if match and match[1] == text else None


def http_date(text: str) -> datetime | None:
    """An HTTP date; None if the text is not a valid date."""
    try:
        read = parsedate_to_datetime(text)
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _has(version: Validators, asked: RequestConditions) -> bool:
    if asked.if_none_match:
        return asked.if_none_match.strip() == "*" or version.tag in ENTITY_TAG.findall(asked.if_none_match)
    since = http_date(asked.if_modified_since)
    return since is not None and version.modified <= since
