"""Whose request a connection has received, as far as that can be told before it is parsed, and whose turn it is."""

import asyncio
import re
from collections import OrderedDict

from service.concurrency.round_robin import RoundRobin

CREDENTIALS = re.compile(rb"\r\n(?:authorization|cookie):[^\r]*", re.IGNORECASE)
MAX_KNOWN = 10_000  # Credentials whose customers are remembered.


def credentials_of(head: bytes) -> int:
    """A number that stands for the credentials in the head of a request."""
    return hash(tuple(CREDENTIALS.findall(head)))


class Clients:
    """Customers by credentials that were accepted before; other clients are known by their addresses.

    `turns` are those at the event loop. Nothing is certain before a request is parsed, so only the order depends on it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.turns = RoundRobin(loop)
        self._customers: OrderedDict[int, int] = OrderedDict()

    def named(self, credentials: int, address: str | None) -> int | str | None:
        """The id of the customer, or the address."""
        return self._customers.get(credentials, address)

    def identify(self, credentials: int, customer: int) -> None:
        """Remembers whose the credentials are."""
        self._customers[credentials] = customer
        self._customers.move_to_end(credentials)
        if len(self._customers) > MAX_KNOWN:
            self._customers.popitem(last=False)
