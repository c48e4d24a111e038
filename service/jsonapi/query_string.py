"""Parses query strings to nested parameters, by the reference's bracket rules: `a[b]=1` is `{"a": {"b": "1"}}`."""

import re
from typing import TypeAlias
from urllib.parse import quote_plus, unquote_to_bytes

from service import errors

Value: TypeAlias = "str | list[Value] | dict[str, Value] | None"
Parameters: TypeAlias = dict[str, Value]

MAX_DEPTH = 32
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
LEVEL = re.compile(r"\[([^\]]*)\]")


def parse(text: str) -> Parameters:
    """The parameters in order of first appearance. The last of equal keys wins; a key without `=` is None.

    Raises BadRequestError for broken escapes, invalid UTF-8 and keys with conflicting structures.
    """
    query: Parameters = {}
    for pair in text.split("&"):
        if not pair:
            continue
        key, equals, value = pair.partition("=")
        head, *levels = _path(_unescaped(key))
        if head:
            _store(query, head, levels, _unescaped(value) if equals else None)
    return query


def encode(query: Parameters) -> str:
    """The parameters as in the reference's links: form-encoded, sorted on each level."""
    return "&".join(sorted(_encoded(key, value) for key, value in query.items()))


def display_value(value: Value) -> str:
    """A parameter of the wrong structure as text for an error."""
    if isinstance(value, dict):
        return ",".join(value)
    if isinstance(value, list):
        return ",".join(display_value(item) for item in value)
    return value or ""


def _encoded(key: str, value: Value) -> str:
    if isinstance(value, dict):
        return encode({f"{key}[{name}]": nested for name, nested in value.items()})
    if isinstance(value, list):
        return "&".join(_encoded(f"{key}[]", nested) for nested in value)
    return f"{quote_plus(key)}={quote_plus(value or '')}"


def _unescaped(text: str) -> str:
    if BAD_ESCAPE.search(text):
        raise errors.bad_request("The query string has a broken percent-encoding.")
    try:
        return unquote_to_bytes(text.replace("+", " ").encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError as error:
        raise errors.bad_request("The query string is not valid UTF-8.") from error


def _path(key: str) -> list[str]:
    """`a[b][]` is a, b and the empty name, which means an array. Text outside of closed brackets is a name as well.

    So a filter with a missing bracket is rejected as unknown instead of being ignored.
    """
    start = key.find("[", 1)
    if start in (-1, len(key) - 1):
        return [key]
    path, position = [key[:start]], start
    while position < len(key):
        if len(path) > MAX_DEPTH:
            raise errors.bad_request("The query string is nested too deeply.")
        match = LEVEL.match(key, position)
        path.append(match[1] if match else key[position:])
        position = match.end() if match else len(key)
    return path


def _store(node: Parameters, name: str, levels: list[str], value: Value) -> None:
    if not levels:
        _must_be(node.get(name), (str, type(None)), name)
        node[name] = value
    elif levels[0] == "":
        items = node.setdefault(name, [])
        _must_be(items, list, name)
        items.append(value)  # type: ignore[union-attr] # Checked above.
    else:
        child = node.setdefault(name, {})
        _must_be(child, dict, name)
        _store(child, levels[0], levels[1:], value)  # type: ignore[arg-type] # Checked above.


def _must_be(found: Value, kind: type | tuple[type, ...], name: str) -> None:
    if not isinstance(found, kind):
        raise errors.bad_request(f"The query string uses {name} with conflicting structures.")
