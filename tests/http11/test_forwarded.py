from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import ConfigError
from portal.http11.forwarded import client_address, trusted_networks

TRUSTED = trusted_networks(["10.0.0.0/8", "192.168.1.7", "fd00::/8", ipaddress.ip_network("172.16.0.0/12")])
WITH_UNIX = (*TRUSTED, "unix:")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        # the peer is the client, unless it is a trusted proxy
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "1.2.3.4", "203.0.113.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("192.168.1.7", "1.2.3.4", "1.2.3.4"),
        ("192.168.1.8", "1.2.3.4", "192.168.1.8"),
        ("172.31.255.255", "1.2.3.4", "1.2.3.4"),
        # read from the right; text from a client is to the left of the entry of its proxy
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "10.0.0.9, 1.2.3.4, 10.0.0.2,10.0.0.3", "1.2.3.4"),
        ("10.0.0.1", "10.0.0.3 ,\t10.0.0.2", "10.0.0.3"),
        # an entry that is not an address: the proxy that wrote it
        ("10.0.0.1", "1.2.3.4, unknown", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "1.2.3.4, , 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "1.2.3.4,", "10.0.0.1"),
        ("10.0.0.1", ",", "10.0.0.1"),
        ("10.0.0.1", "_hidden", "10.0.0.1"),
        ("10.0.0.1", "evil.example", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4:99999", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4:", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.256", "10.0.0.1"),
        ("10.0.0.1", "01.2.3.4", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4/8", "10.0.0.1"),
        ("10.0.0.1", "[1.2.3.4]", "10.0.0.1"),
        ("10.0.0.1", "[::1", "10.0.0.1"),
        ("10.0.0.1", "[::1]5", "10.0.0.1"),
        ("10.0.0.1", "１.2.3.4", "10.0.0.1"),
        ("10.0.0.1", "1" * 5000, "10.0.0.1"),
        # ports, brackets, zones, mapped addresses
        ("10.0.0.1:4711", "1.2.3.4:80", "1.2.3.4"),
        ("10.0.0.1", "2001:DB8:0::1", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("fd00::1%eth0", "2001:db8::1%eth0", "2001:db8::1"),
        ("::ffff:10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"),
        ("[fd00::1]:80", "fd00::2, 1.2.3.4, fd00::3", "1.2.3.4"),
        # peers that are not addresses
        ("", "1.2.3.4", ""),
        ("somewhere", "1.2.3.4", "somewhere"),
        ("unix:", "1.2.3.4", "unix:"),
        ("unix:/run/portal.sock", None, "unix:"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_a_trusted_proxy(
    peer: str, forwarded: str | None, expected: str
) -> None:
    assert client_address(peer, forwarded, TRUSTED) == expected


def test_a_unix_peer_is_trusted_only_if_configured() -> None:
    assert client_address("unix:", "6.6.6.6, 1.2.3.4", WITH_UNIX) == "1.2.3.4"
    assert client_address("unix:/a", "1.2.3.4, nobody", WITH_UNIX) == "unix:"


def test_the_header_is_ignored_without_trusted_proxies() -> None:
    assert client_address("10.0.0.1", "1.2.3.4", ()) == "10.0.0.1"


def test_the_number_of_followed_entries_is_limited() -> None:
    assert client_address("10.0.0.1", ", ".join(["1.2.3.4", *["10.0.0.2"] * 31]), TRUSTED) == "1.2.3.4"
    assert client_address("10.0.0.1", ", ".join(["1.2.3.4", *["10.0.0.2"] * 32]), TRUSTED) == "10.0.0.2"


@given(st.text(max_size=60), st.ip_addresses().filter(lambda one: getattr(one, "ipv4_mapped", None) is None))
def test_a_client_cannot_change_its_address(written: str, client: object) -> None:
    untrusted = trusted_networks(["10.9.9.9"])
    if str(client) == "10.9.9.9":
        return
    assert client_address("10.9.9.9", f"{written}, {client}", untrusted) == str(client)


@pytest.mark.parametrize("wrong", ["10.0.0.0/8", ["10.0.0.1/8"], ["proxy.example"], [""], [7], ["unix"]])
def test_a_wrong_proxy_is_rejected(wrong: object) -> None:
    with pytest.raises(ConfigError) as caught:
        trusted_networks(wrong)  # type: ignore[arg-type]
    assert caught.value.path == "trusted_proxies"
