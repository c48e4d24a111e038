"""Spellings of names, and comma-separated lists in query values."""

import re

ITEM = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|$|\r\n|[\r\n])')
WORD_START = re.compile(r"(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z\d])(?=[A-Z])")

# Unicode's White_Space property; `str.strip` also removes four control characters.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


class MalformedListError(ValueError):
    """Double quotes are not balanced, or not at the ends of a value."""


def is_blank(text: str | None) -> bool:
    """True if the text is None, empty or only white space."""
    return not text or not text.strip(WHITE_SPACE)


def underscore(name: str) -> str:
    """`localTag`, `local-tag` and `LOCAL_TAG` are all `local_tag`."""
    return WORD_START.sub("_", name.replace("::", "/")).replace("-", "_").lower()


def split_list(text: str) -> list[str | None]:
    """The values of the first line; an unquoted empty value is None. Raises MalformedListError."""
    values: list[str | None] = []
    position, end = 0, ","
    while end == ",":
        match = ITEM.match(text, position)
        if not match:
            raise MalformedListError(text)
        quoted, plain, end = match.groups()
        values.append(plain or None if quoted is None else quoted.replace('""', '"'))
        position = match.end()
    return [] if values == [None] else values
