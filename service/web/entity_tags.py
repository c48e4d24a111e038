"""Entity tags (contract 11.2)."""

import hashlib


def of(body: bytes) -> str:
    """The opaque tag of a body, without quotes."""
    return hashlib.sha256(body).hexdigest()[:32]
