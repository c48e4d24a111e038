"""Authenticates a login, a password and a client address against the access rows (contract 20)."""

from collections.abc import Callable
from typing import Protocol

from service.auth.passwords import PasswordChecker
from service.concurrency.cache import TTLCache
from service.query import LoginRow

DEFAULT_COST = 12  # The bcrypt cost in Rails; used for failed logins if no row has a digest.
COST_SECONDS = 60.0  # Seconds for which the highest cost of all digests is cached.


class LoginSource(Protocol):
    """Reads access rows by login."""

    async def login(self, login: str, address: str | None) -> LoginRow | None: ...

    async def highest_cost(self) -> int | None: ...


class LoginService:
    """Checks logins. Every failure takes as long as the most expensive digest, so that timing reveals nothing."""

    def __init__(self, source: LoginSource, passwords: PasswordChecker) -> None:
        self._source = source
        self._passwords = passwords
        self._costs: TTLCache[None, int | None] = TTLCache("password_cost", COST_SECONDS, 1)

    async def authenticate(
        self, login: str, password: str, address: str | None, finished: Callable[[], None]
    ) -> int | None:
        """The id of the access row, or None if the login fails for any reason. Raises ApiError if a database fails.

        `finished` is called once, when nothing works on this login any more, even if the caller is cancelled before.
        """
        try:
            row = None if "\0" in login else await self._source.login(login, address)  # PostgreSQL's text has no NUL.
            cost = await self._costs.get(None, self._source.highest_cost)
        except BaseException:
            finished()
            raise
        accepted = await self._passwords.check(
            password,
            row.password_digest if row else None,
            finished,
            permitted=row is not None and row.permitted,
            cost=DEFAULT_COST if cost is None else cost,
        )
        return row.api_access_id if row and accepted else None
