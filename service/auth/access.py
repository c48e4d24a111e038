"""A token's subject to the caller it stands for (contract 4.3)."""

from typing import Protocol

from service.auth.tokens import Dynamic, Subject
from service.errors import unauthorized
from service.selection import Caller


class Source(Protocol):
    """Where access rows, customers and profiles are read."""

    async def access(self, api_access_id: int) -> Caller | None: ...

    async def profile(self, customer_id: int, profile_id: int) -> bool | None: ...


async def caller(subject: Subject, source: Source) -> Caller:
    """Who asks. Raises Refused (401) when the access row, the customer or the profile is gone."""
    if not isinstance(subject, Dynamic):
        found = await source.access(subject)
        if found is None:
            raise unauthorized()
        return found
    may_listen = await source.profile(subject.customer_id, subject.customer_portal_access_profile_id)
    if may_listen is None:
        raise unauthorized()
    return Caller(subject.customer_id, tuple(subject.account_ids or ()) or None, may_listen)
