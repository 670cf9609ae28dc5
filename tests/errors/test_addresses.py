"""cut_addresses removes what tells where a server is, and nothing else."""

from __future__ import annotations

import pytest

from portal.errors.addresses import cut_addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot connect to http://10.0.0.5:8080/api/x?k=1: refused", "cannot connect to [address]: refused"),
        ("see redis://:secret@cache:6379/0.", "see [address]."),
        ("10.0.0.5:6379 refused", "[address] refused"),
        ("the network 10.1.0.0/16 (192.168.1.1)", "the network [address] ([address])"),
        ("lost fe80::1%eth0, [2001:db8::1]:443 and ::1", "lost [address], [address] and [address]"),
        ("::ffff:10.0.0.5 refused", "[address] refused"),
        ("no route to db.shop.example:5432", "no route to [address]"),
        ("no route to localhost:5432", "no route to [address]"),
        ("unknown host orders.shop.svc.cluster.local", "unknown host [address]"),
        ("unknown host db.internal", "unknown host [address]"),
        ("no socket unix:/run/orders.sock or /run/portal/orders.sock", "no socket [address] or [address]"),
        ("orders is closed", "[host] is closed"),
    ],
)
def test_addresses_are_cut(text: str, expected: str) -> None:
    known = ("orders",) if expected.startswith("[host]") else ()
    assert cut_addresses(text, known) == expected.replace("[host]", "[address]")


@pytest.mark.parametrize(
    "text",
    [
        "card declined at 12:30:45 on 2026-11-29T12:30:45Z",
        "/n: 'n' is required",
        "/items/0/price: must be at most 7.5",
        "version 1.2.3 is not version 1.2.3.4.5",
        "std::x is not c, d:e",
        "the ratio is 3:4; 50% of 1,000",
        "expected shop.Order, got dict",
        "the file /etc/orders.conf is missing",
        "",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert cut_addresses(text) == text


def test_json_data_is_cut_within() -> None:
    data = {"where": ["http://10.0.0.5/", 7, None, True], "why": {"peer": "10.0.0.5"}}
    assert cut_addresses(data) == {"where": ["[address]", 7, None, True], "why": {"peer": "[address]"}}
    assert cut_addresses(("10.0.0.5", 1.5)) == ["[address]", 1.5]


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "1." * 50_000, "a-" * 50_000 + ":", ":" * 100_000, "/" * 100_000, "a." * 50_000]
)
def test_long_text_takes_linear_time(text: str) -> None:
    assert len(cut_addresses(text)) <= len(text)
