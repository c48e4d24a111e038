"""The Accept header: whether the client accepts JSON:API (contract 0, D7 and D20) or prefers another type."""

import re
from collections.abc import Iterable
from functools import cached_property, lru_cache

from service.jsonapi.quality_values import Choice, parse

MEDIA_TYPE = "application/vnd.api+json"
SIMPLE_TYPES = (MEDIA_TYPE, "application/json", "audio/mpeg")
OF_TABLES = {"q", "charset", "header"}
NEUTRAL = {"q", "ext", "profile"}  # Parameters that JSON:API allows on its media type.

PROFILE = re.compile(r"https?://jsonapi\.org/profiles/ethanresnick/cursor-pagination/?")


MAX_CACHED = 256  # Characters of a header, so that clients cannot fill the cache with long ones.


def read(header: str) -> "Accept":
    """The parsed header. `header` is all its lines, joined by commas."""
    return _cached(header) if len(header) <= MAX_CACHED else Accept(header)


class Accept:
    """A parsed Accept header."""

    def __init__(self, header: str) -> None:
        self.header = header
        self._ranges = [choice for choice in parse(header) if "/" in choice.name]

    @cached_property
    def json_api(self) -> bool:
        """True if there is no header, or the most specific range that matches JSON:API has a quality above zero."""
        return not self.header.strip() or self._quality() > 0

    @cached_property
    def cursor_profile(self) -> str | None:
        """The URL of the cursor pagination profile, if requested as a parameter of the JSON:API type, else None."""
        for media_range in self._ranges:
            if media_range.name == MEDIA_TYPE and media_range.quality > 0:
                for address in media_range.parameters.get("profile", "").strip('"').split():
                    if PROFILE.fullmatch(address):
                        return address
        return None

    @property
    def first_simple_type(self) -> str:
        """The first accepted type of SIMPLE_TYPES, for an empty response; default: text/html."""
        return next((r.name for r in self._ranges if r.name in SIMPLE_TYPES and r.quality > 0), "text/html")

    def preferred(self, types: Iterable[str]) -> str | None:
        """The type with the highest quality among `types`, if it is higher than that of JSON:API, else None."""
        qualities = {
            media_range.name: media_range.quality
            for media_range in self._ranges
            if media_range.name in types and media_range.parameters.keys() <= OF_TABLES
        }
        best = max(qualities, key=qualities.__getitem__, default=None)
        return best if best and qualities[best] > self._quality() else None

    def _quality(self) -> float:
        qualities: dict[str, float] = {}
        for media_range in filter(_counts, self._ranges):
            qualities[media_range.name] = max(media_range.quality, qualities.get(media_range.name, 0))
        names = (MEDIA_TYPE, "application/*", "*/*")
        return next((qualities[name] for name in names if name in qualities), 0)


@lru_cache(1024)
def _cached(header: str) -> Accept:
    return Accept(header)


def _counts(media_range: Choice) -> bool:
    return media_range.name != MEDIA_TYPE or media_range.parameters.keys() <= NEUTRAL
