"""Records: signed JSON, of which a consumer believes nothing that is not signed with its key."""

from __future__ import annotations

import json

import pytest

from portal.directory import Instance
from portal.directory.record import MAX_SKEW, Record, RejectedRecord, Served, decode, encode

KEY = b"0123456789abcdef"
RECORD = Record(
    (
        Served("add", Instance("http://a:1/api/add/12", 2.0, zone="z", version="3", fingerprint="12")),
        Served("billing/charge", Instance("http://a:1/api/billing/charge/34")),
    ),
    lease=10.0,
    load=4.0,
    at=1000.0,
)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_record_comes_back(key: bytes | None) -> None:
    assert decode(encode(RECORD, "me", key), "me", key, 1000.0) == RECORD


def test_a_signed_record_is_readable_without_the_key() -> None:
    assert decode(encode(RECORD, "me", KEY), "me", None, 1e9) == RECORD


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        (encode(RECORD, "me", None), "me"),
        (encode(RECORD, "me", b"another key 1234"), "me"),
        (encode(RECORD, "me", KEY), "you"),
        (encode(RECORD, "me", KEY).replace("http://a:1", "http://evil:1"), "me"),
    ],
)
def test_what_is_not_signed_with_the_key_is_rejected(text: str, owner: str) -> None:
    with pytest.raises(RejectedRecord, match="signature"):
        decode(text, owner, KEY, 1000.0)


def test_an_old_signature_is_rejected() -> None:
    text = encode(RECORD, "me", KEY)
    decode(text, "me", KEY, 1000.0 + 10.0 + MAX_SKEW)
    with pytest.raises(RejectedRecord, match="expired"):
        decode(text, "me", KEY, 1000.0 + 11.0 + MAX_SKEW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "[]",
        "{}",
        '{"body": 1}',
        '{"body": "{}"}',
        json.dumps(
            {"body": json.dumps({"functions": [{"name": "a", "address": "no"}], "lease": 1, "load": 0, "at": 0})}
        ),
        '{"body": "' + "[" * 100_000 + '"}',
        " " * 2_000_000,
    ],
)
def test_what_is_no_record_is_rejected(text: str) -> None:
    with pytest.raises(RejectedRecord):
        decode(text, "me", None, 0.0)


def test_a_renewal_changes_only_moment_and_load() -> None:
    later = RECORD.renewed(1003.0, 7.0)
    assert (later.at, later.load, later.functions, later.lease) == (1003.0, 7.0, RECORD.functions, 10.0)


@pytest.mark.parametrize("numbers", ['"lease":NaN', '"lease":1e999', '"lease":0', '"lease":-5', '"lease":1,"at":NaN'])
def test_a_lease_that_does_not_end_is_rejected(numbers: str) -> None:
    """What the store had lost would have stayed for ever."""
    body = '{"functions":[{"name":"f","address":"http://h/f"}],"load":0,"at":0,' + numbers + "}"
    with pytest.raises(RejectedRecord, match="finite"):
        decode(json.dumps({"body": body}), "me", None, 0.0)
