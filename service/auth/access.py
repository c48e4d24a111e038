"""Resolves a token's subject to a caller and its scope."""

from functools import partial
from typing import Protocol

from service.auth.tokens import DynamicClaims, Subject
from service.concurrency.cache import TTLCache
from service.errors import unauthorized
from service.query import Caller

MAX_ENTRIES = 10_000


class AccessRepository(Protocol):
    """Reads access rows, customers and profiles."""

    async def access(self, api_access_id: int) -> Caller | None: ...

    async def profile(self, customer_id: int, profile_id: int) -> bool | None: ...


class Access:
    """Finds callers. Access rows, customers and profiles are cached for `seconds`."""

    def __init__(self, source: AccessRepository, seconds: float) -> None:
        self._source = source
        self.rows: TTLCache[int, Caller | None] = TTLCache("caller", seconds, MAX_ENTRIES)
        self.profiles: TTLCache[tuple[int, int], bool | None] = TTLCache("caller", seconds, MAX_ENTRIES)

    async def caller(self, subject: Subject) -> Caller:
        """The caller. Raises UnauthorizedError if the access row, the customer or the profile no longer exists."""
        if not isinstance(subject, DynamicClaims):
            found = await self.rows.get(subject, partial(self._source.access, subject))
            if found is None:
                raise unauthorized()
            return found
        key = (subject.customer_id, subject.customer_portal_access_profile_id)
        may_listen = await self.profiles.get(key, partial(self._source.profile, *key))
        if may_listen is None:
            raise unauthorized()
        return Caller(subject.customer_id, tuple(subject.account_ids or ()) or None, may_listen)
