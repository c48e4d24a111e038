"""Cursors: keyset positions as opaque text, signed for a resource, a sort order and a caller's scope."""

import base64
import hmac
from collections.abc import Sequence

import orjson

from service.query import Caller, KeysetPosition, Sort

PURPOSE = b"cdr-api cursor 1"  # Separates these keys from other uses of the secrets.
SIGNATURE_BYTES = 16  # The signature is truncated to this length.
MAX_LENGTH = 2048  # Bytes of an encoded position, so that the cursor fits into a URL.


class InvalidCursorError(ValueError):
    """The text is not a cursor, or a cursor of another order, resource or scope."""


class PositionTooLongError(ValueError):
    """The values of a position are too long for a cursor."""


def keys(secrets: Sequence[bytes]) -> tuple[bytes, ...]:
    """A signing key derived from each secret: the first signs, all verify."""
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
        """The position in a cursor. Raises InvalidCursorError."""
        payload, context = _decoded(text)[SIGNATURE_BYTES:], self._context(sorts)
        if not any(hmac.compare_digest(_encoded(key, context, payload), text) for key in self._keys):
            raise InvalidCursorError(text)
        position: list[str | None] = orjson.loads(payload)
        return tuple(position)

    def _context(self, sorts: Sequence[Sort]) -> bytes:
        """A line of JSON, so that no context is a prefix of another."""
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
