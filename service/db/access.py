"""Reads the scope of callers from the access tables."""

from service.db.pool import Pool
from service.db.statement import Statement
from service.query import Caller


class AccessRepository:
    """Reads access rows and portal profiles."""

    def __init__(self, routing: Pool) -> None:
        self._routing = routing

    async def access(self, api_access_id: int) -> Caller | None:
        """What an access row grants, or None if it does not exist. Raises ApiError."""
        rows = await self._routing.fetch(Statement.from_file("queries/api_access", id=api_access_id))
        for customer_id, account_ids, may_listen in rows:
            return Caller(customer_id, None if account_ids is None else tuple(account_ids), may_listen, api_access_id)
        return None

    async def profile(self, customer_id: int, profile_id: int) -> bool | None:
        """Whether a portal profile permits listening; None if it or the customer does not exist. Raises ApiError."""
        statement = Statement.from_file("queries/dynamic_access", customer_id=customer_id, profile_id=profile_id)
        rows = await self._routing.fetch(statement)
        return bool(rows[0][0]) if rows else None
