"""Host and port of an address."""

from __future__ import annotations

from typing import Any

import pytest

from portal.address import Address
from portal.errors import AddressError

GOOD: list[tuple[str, str, dict[str, Any]]] = [
    ("HTTP://Example.COM:80/a", "http://example.com/a", {"port": None, "origin": ("http", "example.com", 80)}),
    ("https://h:443/a", "https://h/a", {"port": None, "authority": "h"}),
    ("https://h:80/a", "https://h:80/a", {"port": 80, "authority": "h:80", "origin": ("https", "h", 80)}),
    ("ws://h:080/a", "ws://h/a", {"port": None}),
    ("wss://h:/a", "wss://h/a", {"port": None}),
    ("http://h:0/", "http://h:0/", {"port": 0}),
    ("http://h:65535/", "http://h:65535/", {"port": 65535}),
    ("http://a_b.c-d./x", "http://a_b.c-d./x", {"host": "a_b.c-d."}),
    ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/", {"host": "127.0.0.1", "base": "http://127.0.0.1:8080"}),
    (
        "http://[2001:DB8:0::1]:81/",
        "http://[2001:db8::1]:81/",
        {"host": "2001:db8::1", "authority": "[2001:db8::1]:81"},
    ),
    ("http://[::FFFF:1.2.3.4]/", "http://[::ffff:1.2.3.4]/", {"host": "::ffff:1.2.3.4"}),
    ("http://Bücher.example/", "http://xn--bcher-kva.example/", {"host": "xn--bcher-kva.example"}),
    ("http://b%C3%BCcher.example/", "http://xn--bcher-kva.example/", {}),
    ("http://faß.de/", "http://xn--fa-hia.de/", {"host": "xn--fa-hia.de"}),
    ("http://FASS.de/", "http://fass.de/", {}),
    ("http://βόλος.com/", "http://xn--nxasmm1c.com/", {}),  # final sigma; IDNA 2003 has xn--nxasmq6b
    ("http://نامه\u200cای.com/", "http://xn--mgba3gch31f060k.com/", {}),  # zero-width non-joiner, in Persian
    ("http://Ⅷ．example。/", "http://viii.example./", {}),  # UTS 46 maps forms of letters and dots
    ("http://１２７。0.0.1/", "http://127.0.0.1/", {"host": "127.0.0.1"}),
    ("http://my_host.bücher.example/", "http://my_host.xn--bcher-kva.example/", {}),
    ("http://ẞ.example/", "http://xn--zca.example/", {}),
]

BAD: list[tuple[str, int, str]] = [
    ("http:///a", 7, "empty host"),
    ("http://:80/", 7, "empty host"),
    ("http://me@h/", 7, "credential"),
    ("http://me:secret@h:99999/", 7, "credential"),
    ("http://h:65536/", 9, "65535"),
    ("http://h:" + "9" * 5000, 9, "65535"),
    ("http://h:8x/", 10, "neither"),
    ("http://h:-1/", 9, "neither"),
    ("http://h:٣/", 9, "neither"),
    ("http://::1/", 7, "empty host"),
    ("http://fe80::1/", 12, "neither"),
    ("http://[::1/", 7, "neither"),
    ("http://[::1]x/", 12, "neither"),
    ("http://h[1]/", 8, "neither"),
    ("http://[]/", 8, "IPv6"),
    ("http://[1.2.3.4]/", 8, "IPv6"),
    ("http://[v1.x]/", 8, "IPv6"),
    ("http://[::g]/", 8, "IPv6"),
    ("http://[fe80::1%eth0]/", 15, "zone id"),
    ("http://[fe80::1%25eth0]/", 15, "zone id"),
    ("http://a..b/", 7, "host name"),
    ("http://-a/", 7, "host name"),
    ("http://a-/", 7, "host name"),
    ("http://a,b/", 7, "host name"),
    ("http://a%2Fb/", 7, "host name"),
    ("http://℀/", 7, "host name"),
    ("http://" + "ü" * 64 + "/", 7, "host name"),
    ("http://☃.example/", 7, "host name"),  # IDNA 2008 has no symbols
    ("http://a\u200cb.example/", 7, "host name"),
    ("http://\u0301a.example/", 7, "host name"),
    ("http://אa1.example/", 7, "host name"),
    ("http://ü..example/", 7, "host name"),
    ("http://ü-/", 7, "host name"),
    ("http://１２７。0.0.999/", 7, "IPv4"),
    ("http://" + "ü" * 300 + "/", 7, "host name"),
    ("http://" + "a" * 64 + "/", 7, "host name"),
    ("http://" + "a." * 140 + "/", 7, "host name"),
    ("http://1.2.3.256/", 7, "IPv4"),
    ("http://2130706433/", 7, "IPv4"),
    ("http://0x7f.1/", 7, "IPv4"),
]


@pytest.mark.parametrize(("text", "normal", "parts"), GOOD, ids=[row[0] for row in GOOD])
def test_an_address_has_this_host_in_normal_form(text: str, normal: str, parts: dict[str, Any]) -> None:
    address = Address.parse(text)
    assert str(address) == normal
    assert {name: getattr(address, name) for name in parts} == parts
    assert Address.parse(normal) == address


@pytest.mark.parametrize(("text", "position", "reason"), BAD, ids=[ascii(row[0][:30]) for row in BAD])
def test_a_malformed_host_is_rejected_at_its_position(text: str, position: int, reason: str) -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse(text)
    assert reason in caught.value.reason
    assert caught.value.position == position
