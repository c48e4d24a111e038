"""Cursors: a keyset position to opaque text, signed for one sort order of one resource as one caller sees it."""

import base64
import hmac
from collections.abc import Sequence

import orjson

from service.query import Caller, KeysetPosition, Sort

PURPOSE = b"cdr-api cursor 1"  # Separates these keys from the secrets' other uses.
SIGNATURE_BYTES = 16  # The signature is cut to so many bytes.
MAX_LENGTH = 2048  # Bytes of a position; a longer cursor would not fit into a URL.


class InvalidCursorError(ValueError):
    """The text is not a cursor, or one of another order, resource or scope."""


class PositionTooLongError(ValueError):
    """The values of a position do not fit into a cursor."""


def keys(secrets: Sequence[bytes]) -> tuple[bytes, ...]:
    """A key of its own from each secret: the first signs, all verify."""
    return tuple(hmac.digest(secret, PURPOSE, "sha256") for secret in secrets)


class CursorSigner:
    """Signs and verifies for a resource and a caller. A change of the caller's scope invalidates its cursors."""

    def __init__(self, keys: Sequence[bytes], type_: str, caller: Caller) -> None:
        self._keys = keys
        self._scope = [type_, caller.customer_id, None if caller.account_ids is None else sorted(caller.account_ids)]

    def sign(self, sorts: Sequence[Sort], positions: Sequence[KeysetPosition]) -> list[str]:
        """A cursor for each position. Raises PositionTooLongError."""
        context = self._context(sorts)
        return [_encoded(self._keys[0], context, _payload(position)) for position in positions]

    def verify(self, sorts: Sequence[Sort], text: str) -> KeysetPosition:
        """The position that a cursor holds. Raises InvalidCursorError."""
        payload, context = _decoded(text)[SIGNATURE_BYTES:], self._context(sorts)
        if not any(hmac.compare_digest(_encoded(key, context, payload), text) for key in self._keys):
            raise InvalidCursorError(text)
        position: list[str | None] = orjson.loads(payload)
        return tuple(position)

    def _context(self, sorts: Sequence[Sort]) -> bytes:
        """A line of JSON, so that no context is the beginning of another."""
        return orjson.dumps([*self._scope, [[sort.column, sort.descending] for sort in sorts]]) + b"\n"


def _payload(position: KeysetPosition) -> bytes:
    payload = orjson.dumps(position)
    if len(payload) > MAX_LENGTH:
        raise PositionTooLongError
    return payload


def _encoded(key: bytes, context: bytes, payload: bytes) -> str:
    tag = hmac.digest(key, context + payload, "sha256")[:SIGNATURE_BYTES]
    return base64.urlsafe_b64encode(tag + payload).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    if not text.isascii():
        raise InvalidCursorError(text)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise InvalidCursorError(text) from error
