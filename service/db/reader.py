"""What the service reads: records and their totals, the accounts they point to, and what a caller may see."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.db import compose, sql_files
from service.db.pool import Pool
from service.schemas.fields import Integer
from service.schemas.resource import Resource
from service.selection import Caller, Filter, Selection, Sort

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A page of rows and how many there are on all pages."""

    rows: list[tuple[Any, ...]]
    total: int


class Reader:
    """Reads resources from the two databases; joins across them are not possible."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools

    async def page(self, resource: Resource, columns: Sequence[str], selection: Selection, caller: Caller) -> Found:
        """A page of a list; the total is only counted where the page does not tell it. Raises Refused."""
        pool, page = self._pool(resource), selection.page
        filters = [await self._by_number(condition) for condition in selection.filters]
        statement = compose.listing(
            resource.sql, columns, filters, selection.sorts, caller, limit=page.size, offset=page.offset
        )
        rows = await pool.fetch(*statement)
        if len(rows) < page.size and (rows or page.number == 1):
            return Found(rows, page.offset + len(rows))
        [(total,)] = await pool.fetch(*compose.count(resource.sql, filters, caller))
        return Found(rows, total)

    async def one(self, resource: Resource, columns: Sequence[str], identifier: str, caller: Caller) -> Row | None:
        """The record with this id in the caller's scope, or None. Raises Refused."""
        if isinstance(resource.schema.fields["id"], Integer) and not _fits(identifier):
            return None
        same = [Filter("id", "eq", (identifier,))]
        statement = compose.listing(resource.sql, columns, same, [Sort("id")], caller, limit=1)
        rows = await self._pool(resource).fetch(*statement)
        return rows[0] if rows else None

    async def numbered(
        self, resource: Resource, columns: Sequence[str], numbers: Iterable[int], caller: Caller
    ) -> dict[int, Row]:
        """Records by their internal numbers, as far as the caller may see them. Raises Refused."""
        wanted = tuple(numbers)
        if not wanted:
            return {}
        number = resource.meta.number
        statement = compose.listing(
            resource.sql, (number, *columns), [Filter(number, "in", wanted)], [Sort(number)], caller, limit=len(wanted)
        )
        rows = await self._pool(resource).fetch(*statement)
        return {row[0]: row[1:] for row in rows}

    async def access(self, api_access_id: int) -> Caller | None:
        """What an access row grants, or None where it is gone. Raises Refused."""
        rows = await self._pools["routing"].fetch(sql_files.text("queries/api_access"), {"id": api_access_id})
        for customer_id, account_ids, may_listen in rows:
            return Caller(customer_id, tuple(account_ids) or None, may_listen, api_access_id)
        return None

    async def profile(self, customer_id: int, profile_id: int) -> bool | None:
        """Whether a portal profile permits listening; None where it or the customer is gone. Raises Refused."""
        parameters = {"customer_id": customer_id, "profile_id": profile_id}
        rows = await self._pools["routing"].fetch(sql_files.text("queries/dynamic_access"), parameters)
        return bool(rows[0][0]) if rows else None

    async def _by_number(self, condition: Filter) -> Filter:
        """Accounts are named by UUID, CDRs hold their numbers. An unknown UUID is no account (D3)."""
        if not condition.accounts:
            return condition
        rows = await self._pools["routing"].fetch(
            sql_files.text("queries/account_numbers"), {"uuids": tuple(condition.values)}
        )
        return replace(condition, values=[number for (number,) in rows])

    def _pool(self, resource: Resource) -> Pool:
        return self._pools[resource.meta.database]


def _fits(identifier: str) -> bool:
    """Whether an integer's text is within bigint; beyond it no record can be, and PostgreSQL would search them all."""
    return len(identifier) <= 20 and -(2**63) <= int(identifier) < 2**63
