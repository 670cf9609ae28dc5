"""traceparent and tracestate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal._internal.trace_context import new_span_id, new_trace_id, next_traceparent, parse_traceparent
from portal._internal.trace_context import parse_tracestate as parse

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", (TRACE, SPAN, "01")),
        (f"00-{TRACE}-{SPAN}-00", (TRACE, SPAN, "00")),
        (f"cc-{TRACE}-{SPAN}-01-what-will-be", (TRACE, SPAN, "01")),
        (f"cc-{TRACE}-{SPAN}-01", (TRACE, SPAN, "01")),
        (None, None),
        ("", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        (f"cc-{TRACE}-{SPAN}-01-a\rb", None),
        (f"cc-{TRACE}-{SPAN}-01-€", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE[1:]}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        (f"00-{TRACE}-{SPAN}-01.", None),
        (f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01", None),
        (f"cc-{TRACE}-{SPAN}-01, cc-{TRACE}-{SPAN}-01", None),
        (f"cc-{TRACE}-{SPAN}-01-a, cc-{TRACE}-{SPAN}-01-b", None),
        (f" 00-{TRACE}-{SPAN}-01", None),
        (f"00_{TRACE}_{SPAN}_01", None),
    ],
)
def test_traceparent(text: str | None, expected: tuple[str, str, str] | None) -> None:
    assert parse_traceparent(text) == expected


@given(st.text())
def test_traceparent_of_any_text(text: str) -> None:
    assert parse_traceparent(text) is None


@pytest.mark.parametrize(
    ("version", "flags", "sent"), [("00", "00", "00"), ("00", "01", "01"), ("00", "ff", "03"), ("cc", "fe", "02")]
)
def test_the_next_traceparent_has_known_flags_and_version_00(version: str, flags: str, sent: str) -> None:
    found = str(next_traceparent(f"{version}-{TRACE}-{SPAN}-{flags}")).split("-")
    assert [found[0], found[1], found[3]] == ["00", TRACE, sent]
    assert found[2] != SPAN
    assert next_traceparent("00-xyz") is None


def test_new_ids_are_valid() -> None:
    assert parse_traceparent(f"00-{new_trace_id()}-{new_span_id()}-00")
    assert new_trace_id() != new_trace_id()
    assert new_span_id() != new_span_id()


_32 = [f"k{number}=v" for number in range(32)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("foo=1", "foo=1"),
        ("foo=1,bar=2", "foo=1,bar=2"),
        ("foo=1 \t , \t bar=2,,\t", "foo=1,bar=2"),
        ("foo= 1", "foo= 1"),  # a blank at the start of a value is part of it
        ("foo=1,foo=2", "foo=1"),
        ('0/a-b_c*d@e=!"#~', '0/a-b_c*d@e=!"#~'),
        ("k" * 256 + "=" + "v" * 256, "k" * 256 + "=" + "v" * 256),
        (",".join(_32), ",".join(_32)),
        (", ,".join(_32), ",".join(_32)),
        (",".join([*_32, _32[0]]), ",".join(_32)),
        ("", None),
        (" , ,\t", None),
        (",".join([*_32, "more=1"]), None),
        ("foo", None),
        ("foo=", None),
        ("=1", None),
        ("Foo=1", None),
        ("foo =1", None),
        ("foo.bar=1", None),
        ("@foo=1", None),
        ("foo=1=2", None),
        ("foo=ä", None),
        ("foo=1\x7f", None),
        ("foo=1\n", None),
        ("bar=1,foo=\x00", None),
        ("k" * 257 + "=1", None),
        ("k=" + "v" * 257, None),
    ],
)
def test_tracestate(text: str, expected: str | None) -> None:
    assert parse(text) == expected


@given(st.text())
def test_tracestate_is_stable(text: str) -> None:
    found = parse(text)
    assert found is None or parse(found) == found
