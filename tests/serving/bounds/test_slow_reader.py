"""SlowReader: when a client is too slow, by tables of what it takes at which moment."""

from __future__ import annotations

import pytest

from portal.serving.bounds.slow_reader import NOTHING_READ, TOO_LONG, TOO_SLOW, SlowReader

TIMEOUT, RATE = 10.0, 100


def first_complaint(
    takes: dict[int, int], *, until: int = 100, end: float | None = None, rate: float = RATE
) -> tuple[int, str] | None:
    """Return the second of the first complaint. `takes` has the bytes that the client takes in each second."""
    reader = SlowReader(TIMEOUT, rate)
    reader.begin(0.0)
    if end is not None:
        reader.limit(end)
    for second in range(1, until + 1):
        if second in takes:
            reader.progress(takes[second], float(second))
        complaint = reader.complaint(float(second))
        if complaint is not None:
            return second, complaint
    return None


@pytest.mark.parametrize(
    ("takes", "found"),
    [
        ({}, (10, NOTHING_READ)),
        ({3: 5000}, (13, NOTHING_READ)),
        (dict.fromkeys(range(1, 101), RATE), None),
        (dict.fromkeys(range(1, 101), RATE - 1), (10, TOO_SLOW)),
        (dict.fromkeys(range(9, 101, 9), 1), (10, TOO_SLOW)),
        (dict.fromkeys(range(8, 101, 8), 10 * RATE), None),
        ({1: 10 * RATE, **dict.fromkeys(range(2, 101), 1)}, (20, TOO_SLOW)),
    ],
    ids=["nothing", "one large part", "the least rate", "below it", "a byte now and then", "in lumps", "fast once"],
)
def test_a_client_is_too_slow(takes: dict[int, int], found: tuple[int, str] | None) -> None:
    assert first_complaint(takes) == found


def test_a_rate_of_0_allows_a_byte_now_and_then() -> None:
    assert first_complaint(dict.fromkeys(range(9, 101, 9), 1), rate=0) is None


@pytest.mark.parametrize(("end", "found"), [(50.0, (50, TOO_LONG)), (200.0, None)])
def test_a_whole_response_has_an_end(end: float, found: tuple[int, str] | None) -> None:
    assert first_complaint(dict.fromkeys(range(1, 101), 10 * RATE), end=end) == found


def test_the_next_response_begins_anew() -> None:
    reader = SlowReader(TIMEOUT, RATE)
    reader.begin(0.0)
    reader.limit(5.0)
    assert reader.complaint(9.0) == TOO_LONG
    reader.begin(9.0)
    assert [reader.complaint(18.9), reader.complaint(19.0)] == [None, NOTHING_READ]
