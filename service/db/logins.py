"""Reads access rows by login. Nothing is cached, so changes take effect immediately."""

from dataclasses import replace

from service.db.pool import Pool
from service.db.statement import Statement
from service.query import LoginRow


class LoginRepository:
    """Reads from the routing database."""

    def __init__(self, routing: Pool) -> None:
        self._routing = routing

    async def login(self, login: str, address: str | None) -> LoginRow | None:
        """The row with exactly this login. An `address` of None is in no network. Raises ApiError."""
        statement = Statement.from_file("queries/login", login=login, address=address)
        rows = await self._routing.fetch(replace(statement, repeated=True))
        return LoginRow(*rows[0]) if rows else None

    async def highest_cost(self) -> int | None:
        """The highest bcrypt cost of all rows; None if no row has a digest. Raises ApiError."""
        [(cost,)] = await self._routing.fetch(Statement.from_file("queries/password_cost"))
        return None if cost is None else int(cost)
