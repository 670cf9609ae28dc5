"""The network that counts as one client."""

from __future__ import annotations

import pytest

from portal.http11.client_network import client_network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_client_network(address: str, network: str) -> None:
    assert client_network(address) == network
