"""The targets, with bytes that hypothesis makes up: any at all, and good ones damaged."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

CASES = int(os.environ.get("PORTAL_FUZZ_CASES", "60"))
# What parsers trip over comes more often than other bytes.
_BYTES = st.one_of(st.sampled_from(b'\r\n\0 :;,\t-+0x{}[]"\\'), st.integers(0, 255))


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(1, 12))
        kind = draw(st.sampled_from(["flip", "insert", "delete", "repeat", "join"]))
        if kind == "flip":
            data = data[:at] + bytes([draw(_BYTES)]) + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + bytes(draw(st.lists(_BYTES, min_size=1, max_size=4))) + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + size :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + size] * draw(st.sampled_from([2, 3, 60])) + data[at:]
        else:
            data += draw(st.sampled_from(seeds))
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_random_input(name: str) -> None:
    @settings(max_examples=CASES, deadline=None)
    @given(st.one_of(damaged(SEEDS[name]), st.binary(max_size=200)))
    def check(data: bytes) -> None:
        TARGETS[name](data)

    check()
