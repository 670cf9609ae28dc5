"""IP addresses as headers and sockets write them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from portal.http11.ip_address import parse_ip_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:80", "1.2.3.4"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::1]:8080", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
    ],
)
def test_an_address_is_parsed(text: str, expected: str) -> None:
    assert parse_ip_address(text) == ip_address(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "1.2.3",
        "1.2.3.4:",
        "1.2.3.4:99999",
        "1.2.3.4:x",
        "[::1",
        "[1.2.3.4]",
        "::1]",
        "1" * 65,
        "\u0661.2.3.4",
    ],
)
def test_other_text_is_not_an_address(text: str) -> None:
    assert parse_ip_address(text) is None
