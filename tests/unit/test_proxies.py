"""The peers that are trusted, by the addresses that sockets report."""

import pytest

from service.web import proxies

LOOPBACK = ("127.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("peer", "counts"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("a socket of the file system", False),
    ],
)
def test_a_peer_counts_by_its_address_however_it_is_written(peer: str, counts: bool) -> None:
    assert proxies._among(LOOPBACK, peer) is counts
