"""Identifies the customer of a request before it is parsed, for fair scheduling on the event loop."""

import asyncio
import re
from collections import OrderedDict

from service.concurrency.round_robin import RoundRobin

CREDENTIALS = re.compile(rb"\r\n(?:authorization|cookie):[^\r]*", re.IGNORECASE)
MAX_KNOWN = 10_000  # Credentials with a known customer.


def credentials_of(head: bytes) -> int:
    """A hash of the credentials in a request head."""
    return hash(tuple(CREDENTIALS.findall(head)))


class Clients:
    """Maps credentials that were accepted before to customers; other clients are identified by address.

    `turns` schedules the parsing of requests. The mapping is only a hint, so nothing but the order may depend on it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.turns = RoundRobin(loop)
        self._customers: OrderedDict[int, int] = OrderedDict()

    def key_of(self, credentials: int, address: str | None) -> int | str | None:
        """The id of the customer if known, else the address."""
        return self._customers.get(credentials, address)

    def identify(self, credentials: int, customer: int) -> None:
        """Stores the customer of accepted credentials."""
        self._customers[credentials] = customer
        self._customers.move_to_end(credentials)
        if len(self._customers) > MAX_KNOWN:
            self._customers.popitem(last=False)
