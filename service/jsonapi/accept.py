"""The Accept header: whether a client takes JSON:API (contract 0, D7), and which simple type it names first."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

MEDIA_TYPE = "application/vnd.api+json"
SIMPLE_TYPES = (MEDIA_TYPE, "application/json", "audio/mpeg")
OF_TABLES = {"q", "charset", "header"}
NEUTRAL = {"q", "ext", "profile"}  # Parameters that leave the JSON:API type what it is.

PROFILE = re.compile(r"https?://jsonapi\.org/profiles/ethanresnick/cursor-pagination/?")

TCHARS = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
PARAMETER = re.compile(rf'[ \t]*;[ \t]*(?:({TCHARS})=({TCHARS}|"(?:[^"\\]|\\.)*"))?')
RANGE = re.compile(rf"[ \t]*+(?:({TCHARS}/{TCHARS})|(?=,|$))")  # Possessive, or blanks would be tried in pairs.
END = re.compile(r"[ \t]*(,|$)")
QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One element of the header, its type in lower case."""

    name: str
    parameters: Mapping[str, str]
    quality: float


def takes_json_api(accept: str) -> bool:
    """Whether the most specific range that matches JSON:API has a quality above zero; unreadable text does not."""
    return _quality(accept) > 0


@lru_cache(256)
def preferred(accept: str, tables: tuple[str, ...]) -> str | None:
    """The type of a table that the client names and likes better than JSON:API, or None."""
    qualities = {
        media_range.name: media_range.quality
        for media_range in _ranges(accept) or ()
        if media_range.name in tables and media_range.parameters.keys() <= OF_TABLES
    }
    best = max(qualities, key=qualities.__getitem__, default=None)
    return best if best and qualities[best] > _quality(accept) else None


@lru_cache(256)
def _quality(accept: str) -> float:
    qualities: dict[str, float] = {}
    for media_range in _ranges(accept) or ():
        if media_range.name != MEDIA_TYPE or media_range.parameters.keys() <= NEUTRAL:
            qualities[media_range.name] = max(media_range.quality, qualities.get(media_range.name, 0))
    names = (MEDIA_TYPE, "application/*", "*/*")
    return next((qualities[name] for name in names if name in qualities), 0)


@lru_cache(256)
def cursor_profile(accept: str) -> str | None:
    """The address of the cursor pagination profile, as the client names it with the JSON:API type, or None."""
    for media_range in _ranges(accept) or ():
        if media_range.name == MEDIA_TYPE and media_range.quality > 0:
            for address in media_range.parameters.get("profile", "").strip('"').split():
                if PROFILE.fullmatch(address):
                    return address
    return None


@lru_cache(256)
def first_simple_type(accept: str) -> str:
    """The first type named of those that an empty answer may carry; text/html where none is."""
    return next((r.name for r in _ranges(accept) or () if r.name in SIMPLE_TYPES and r.quality > 0), "text/html")


def _ranges(accept: str) -> list[MediaRange] | None:
    """All elements in order; None where the header cannot be read."""
    ranges, position = [], 0
    while position < len(accept):
        match = RANGE.match(accept, position)
        if not match:
            return None
        position, parameters = _parameters(accept, match.end())
        end = END.match(accept, position)
        quality = parameters.get("q", "1")
        if not end or not QUALITY.fullmatch(quality):
            return None
        if match[1]:
            ranges.append(MediaRange(match[1].lower(), parameters, float(quality)))
        position = end.end()
    return ranges


def _parameters(accept: str, position: int) -> tuple[int, dict[str, str]]:
    found: dict[str, str] = {}
    while match := PARAMETER.match(accept, position):
        if match[1]:
            found.setdefault(match[1].lower(), match[2])
        position = match.end()
    return position, found
