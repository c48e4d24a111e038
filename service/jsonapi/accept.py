"""The Accept header: whether a client takes JSON:API (contract 0, D7 and D20), and what else it names."""

import re
from collections.abc import Iterable

from service.jsonapi.quality_values import Choice, parse

MEDIA_TYPE = "application/vnd.api+json"
SIMPLE_TYPES = (MEDIA_TYPE, "application/json", "audio/mpeg")
OF_TABLES = {"q", "charset", "header"}
NEUTRAL = {"q", "ext", "profile"}  # Parameters that leave the JSON:API type what it is.

PROFILE = re.compile(r"https?://jsonapi\.org/profiles/ethanresnick/cursor-pagination/?")


class Accept:
    """The header of one request, read once; all its lines are joined by commas."""

    def __init__(self, header: str) -> None:
        self.header = header
        self._ranges = [choice for choice in parse(header) if "/" in choice.name]

    @property
    def json_api(self) -> bool:
        """Whether the most specific range that matches JSON:API has a quality above zero; no header takes anything."""
        return not self.header.strip() or self._quality() > 0

    @property
    def cursor_profile(self) -> str | None:
        """The address of the cursor pagination profile, as the client names it with the JSON:API type, or None."""
        for media_range in self._ranges:
            if media_range.name == MEDIA_TYPE and media_range.quality > 0:
                for address in media_range.parameters.get("profile", "").strip('"').split():
                    if PROFILE.fullmatch(address):
                        return address
        return None

    @property
    def first_simple_type(self) -> str:
        """The first type named of those that an empty answer may carry; text/html where none is."""
        return next((r.name for r in self._ranges if r.name in SIMPLE_TYPES and r.quality > 0), "text/html")

    def preferred(self, types: Iterable[str]) -> str | None:
        """That of these types of tables which the client names and likes best, if better than JSON:API."""
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


def _counts(media_range: Choice) -> bool:
    return media_range.name != MEDIA_TYPE or media_range.parameters.keys() <= NEUTRAL
