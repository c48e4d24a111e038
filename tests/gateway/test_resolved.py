"""A gateway that resolves the service's name at run time, with a DNS server whose response changes."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Api, Data
from tests.gateway import conftest
from tests.gateway.conftest import Gateway, Open
from tests.load import until

NOBODY, SERVICE = "127.0.0.9", "127.0.0.1"


class Names(asyncio.DatagramProtocol):
    """Answers every question with one address, or, without one, that there is no such name."""

    address: str | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        question = data[12 : data.index(0, 12) + 5]
        answers = [] if self.address is None else [socket.inet_aton(self.address)]
        flags = 0x8180 if answers else 0x8183
        header = data[:2] + struct.pack(">HHHHH", flags, 1, len(answers), 0, 0)
        found = b"".join(struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + answer for answer in answers)
        self.transport.sendto(header + question + found, sender)


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    _, server = await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    with closing(server.transport):
        yield server


async def test_the_services_address_may_change(
    opened: Open, api: Api, names: Names, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown at first, then where nobody listens, then right, all without a restart of nginx."""
    data.customer(7)
    port = names.transport.get_extra_info("sockname")[1]
    resolved = [
        ("nginx.conf", "include cdr-api/address.conf;", "include cdr-api/resolved.conf;"),
        ("cdr-api/resolved.conf", "resolver 127.0.0.11 valid=5s", f"resolver 127.0.0.1:{port} valid=1s"),
        ("cdr-api/resolved.conf", "default api:8080;", f"default api:{api.client.port};"),
    ]
    monkeypatch.setattr(conftest, "ALSO", resolved)
    gateway = await opened(api)
    for address, status in ((None, 503), (NOBODY, 503), (SERVICE, 200), (NOBODY, 503), (SERVICE, 200)):
        names.address = address
        await _until_answered(gateway, status)
    answer = await gateway.get("cdrs?filter[id_eq]=1&page[size]=1", 7)
    assert answer.status == 200
    assert "filter%5Bid_eq%5D=1" in answer.json["links"]["first"]


async def _until_answered(gateway: Gateway, status: int) -> None:
    async def answered() -> bool:
        return (await gateway.get("cdrs", 7)).status == status

    await until(answered)


def test_each_form_of_the_address_is_included_by_itself() -> None:
    """One file names the variable in each case, and only one is included."""
    included = (Path(conftest.CONFIG) / "nginx.conf").read_text()
    assert ("address.conf" in included) != ("resolved.conf" in included)
    for name in ("address.conf", "resolved.conf"):
        assert 'map "" $cdr_api_address' in (conftest.CONFIG / "cdr-api" / name).read_text()
