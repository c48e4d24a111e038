"""Issues and verifies JSON Web Tokens."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

from jose import jwk, jwt
from jose.backends.base import Key
from jose.utils import base64url_encode

from service.errors import unauthorized
from service.observability import metrics

ALGORITHM = "HS256"
AUDIENCE = "customer-v1"
DYNAMIC = "D"
MAX_TOKENS = 4096  # Cached tokens,
MAX_CACHED_LENGTH = 2048  # and the maximal length of each in characters.
OWN_CHECKS = {f"verify_{claim}": False for claim in ("aud", "exp", "nbf", "iat", "iss", "sub", "jti", "at_hash")}


@dataclass(frozen=True, slots=True)
class DynamicClaims:
    """The `cfg` claim of a token that contains its access rights instead of a row's id; in the reference's order."""

    customer_id: int
    customer_portal_access_profile_id: int = 1
    account_ids: Sequence[int] | None = ()
    allow_outgoing_numberlists_ids: Sequence[int] | None = ()
    allowed_ips: Sequence[str] | None = ("0.0.0.0/0", "::/0")
    provision_gateway_id: int | None = None


Subject = int | DynamicClaims


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The claims of a token: subject, `nbf` and `exp`, both in seconds since 1970."""

    subject: Subject
    start: float
    end: float


class TokenService:
    """Signs with the first secret and verifies with all. `lifetime` is in seconds; None issues tokens without `exp`.

    Verified tokens are cached; their times are checked at every use. `clock` returns seconds since 1970.
    """

    def __init__(self, secrets: Sequence[bytes], lifetime: int | None, clock: Callable[[], float] = time.time) -> None:
        self._keys = [_key(secret) for secret in secrets]
        self._cached = lru_cache(MAX_TOKENS)(self._verified)
        self.lifetime = lifetime
        self.clock = clock

    def read(self, token: str) -> Subject:
        """The subject of a token: the id of an access row, or the claims of a dynamic token. Raises ApiError (401)."""
        known = self._known(token)
        _require(known.start <= self.clock() < known.end)
        return known.subject

    def issue(self, subject: Subject) -> str:
        """A new token, with `exp` if there is a lifetime."""
        claims: dict[str, Any] = {"aud": [AUDIENCE], "sub": subject}
        if isinstance(subject, DynamicClaims):
            claims |= {"sub": DYNAMIC, "cfg": {name: getattr(subject, name) for name in DynamicClaims.__slots__}}
        if self.lifetime is not None:
            claims["exp"] = int(self.clock()) + self.lifetime
        return str(jwt.encode(claims, self._keys[0], algorithm=ALGORITHM))

    def _known(self, token: str) -> VerifiedToken:
        """The claims of a token. Long tokens are not cached, so that the cache stays small."""
        hits = self._cached.cache_info().hits
        try:
            return self._cached(token) if len(token) <= MAX_CACHED_LENGTH else self._verified(token)
        finally:
            metrics.count_cache_request("token", hit=self._cached.cache_info().hits > hits)

    def _verified(self, token: str) -> VerifiedToken:
        claims = self._claims(token)
        _require(AUDIENCE in _audiences(claims.get("aud")))
        start = _seconds(claims["nbf"]) if "nbf" in claims else -inf
        end = _seconds(claims["exp"]) if "exp" in claims else inf
        return VerifiedToken(_subject(claims), start, end)

    def _claims(self, token: str) -> Mapping[str, Any]:
        for key in self._keys:
            try:
                return jwt.decode(token, key, algorithms=[ALGORITHM], options=OWN_CHECKS)
            except Exception:  # noqa: S112 # For malformed tokens, the library raises other errors than its own.
                continue
        raise unauthorized()


def _key(secret: bytes) -> Key:
    """A JSON Web Key, because the library would interpret some texts as a PEM file, a JSON object or a list."""
    return jwk.construct({"kty": "oct", "k": base64url_encode(secret).decode()}, ALGORITHM)


def _subject(claims: Mapping[str, Any]) -> Subject:
    subject = claims.get("sub")
    if subject == DYNAMIC:
        return _dynamic(claims.get("cfg"))
    if isinstance(subject, str) and subject.isascii() and subject.isdigit() and len(subject) < 20:
        return int(subject)
    _require(_is_integer(subject))
    return int(subject)  # type: ignore[arg-type] # Checked above.


def _dynamic(words: Any) -> DynamicClaims:
    """The claims of `cfg`; the legacy key is ignored. Raises UnauthorizedError for unknown keys and wrong types."""
    _require(isinstance(words, dict))
    known = {name: value for name, value in words.items() if name != "allow_listen_recording"}
    _require(known.keys() <= set(DynamicClaims.__slots__))
    dynamic = DynamicClaims(**{"customer_id": None, **known})
    _require(_is_integer(dynamic.customer_id) and _is_integer(dynamic.customer_portal_access_profile_id))
    _require(dynamic.provision_gateway_id is None or _is_integer(dynamic.provision_gateway_id))
    for numbers in (dynamic.account_ids, dynamic.allow_outgoing_numberlists_ids):
        _require(_is_list(numbers, _is_integer))
    _require(_is_list(dynamic.allowed_ips, lambda address: isinstance(address, str)))
    return dynamic


def _audiences(claim: Any) -> Sequence[Any]:
    return claim if isinstance(claim, list) else [claim]


def _seconds(claim: Any) -> float:
    """A NumericDate claim as whole seconds. Raises UnauthorizedError if it is not a number."""
    if isinstance(claim, bool) or not isinstance(claim, int | float) or claim != claim:
        raise unauthorized()
    return claim // 1


def _is_list(values: Any, holds: Callable[[Any], bool]) -> bool:
    """True if `values` is null or a list whose items all pass `holds`."""
    return values is None or (isinstance(values, list | tuple) and all(map(holds, values)))


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _require(condition: bool) -> None:
    if not condition:
        raise unauthorized()
