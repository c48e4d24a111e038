"""Parses the body of a login: JSON or a form."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from service.errors import ApiError, bad_request
from service.jsonapi import query_string

MAX_BODY = 16384  # Bytes, after decompression.
BODY_TIMEOUT = 10.0  # Seconds.
JSON_TYPES = ("application/json", "application/vnd.api+json")
FORM_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """The credentials of a login. `cookie`: the token is to be sent as a cookie."""

    login: str
    password: str
    cookie: bool


async def read(request: web.Request) -> Credentials:
    """The credentials in a body. Raises ApiError (400)."""
    given = (await _parsed(request)).get("auth")
    if not isinstance(given, Mapping):
        raise bad_request("The body has no object named auth.")
    return Credentials(_text(given, "login"), _text(given, "password"), _truthy(given.get("cookie_auth")))


async def _parsed(request: web.Request) -> Mapping[str, Any]:
    body, type_ = await _body(request), request.content_type
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise bad_request("The body is not valid UTF-8.") from error
    if type_ in JSON_TYPES:
        return _json(text)
    if type_ == FORM_TYPE:
        return _form(text)
    raise bad_request(f"The body must be JSON ({JSON_TYPES[0]}) or a form ({FORM_TYPE}).")


async def _body(request: web.Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    raise bad_request(f"The body is longer than {MAX_BODY} bytes.")
    except TimeoutError as error:
        raise bad_request(f"The body did not arrive within {BODY_TIMEOUT:.0f} s.") from error
    except ApiError:
        raise
    except Exception as error:  # From the HTTP parser: an invalid chunk or compression.
        raise bad_request("The body cannot be read.") from error
    return bytes(body)


def _json(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise bad_request("The body is not valid JSON.") from error
    return found if isinstance(found, dict) else {}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without duplicate names, which parsers interpret differently. Raises ValueError."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("duplicate names")
    return members


def _form(text: str) -> Mapping[str, Any]:
    try:
        return query_string.parse(text)
    except ApiError as error:
        raise bad_request("The body is not a valid form.") from error


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not _is_unicode(value):
        raise bad_request(f"{name} must be text.")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # An unpaired surrogate.
        return False
    return True


def _truthy(value: Any) -> bool:
    """True for everything except null, false and the empty text."""
    return value is not None and value is not False and value != ""
