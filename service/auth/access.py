"""A token's subject to the caller it stands for (contract 4.3)."""

from typing import Protocol

from service.auth.tokens import Dynamic, Subject
from service.errors import unauthorized
from service.memory import Memory
from service.selection import Caller

MOST_KEPT = 10_000


class Source(Protocol):
    """Where access rows, customers and profiles are read."""

    async def access(self, api_access_id: int) -> Caller | None: ...

    async def profile(self, customer_id: int, profile_id: int) -> bool | None: ...


class Access:
    """Finds callers; what it knows of access rows, customers and profiles is at most `seconds` old."""

    def __init__(self, source: Source, seconds: float) -> None:
        self.rows = Memory("caller", source.access, seconds, MOST_KEPT)
        self.profiles = Memory[tuple[int, int], bool | None](
            "caller", lambda key: source.profile(*key), seconds, MOST_KEPT
        )

    async def caller(self, subject: Subject) -> Caller:
        """Who asks. Raises Refused (401) when the access row, the customer or the profile is gone."""
        if not isinstance(subject, Dynamic):
            found = await self.rows.get(subject)
            if found is None:
                raise unauthorized()
            return found
        may_listen = await self.profiles.get((subject.customer_id, subject.customer_portal_access_profile_id))
        if may_listen is None:
            raise unauthorized()
        return Caller(subject.customer_id, tuple(subject.account_ids or ()) or None, may_listen)
