"""Ring: what is kept, against a plain list of all events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.websocket.topics.event import Retain, TopicEvent
from portal.websocket.topics.ring import Ring


def event(offset: int, size: int = 1, key: str | None = None, at: float = 0.0) -> TopicEvent:
    return TopicEvent(offset, b"x" * size, key, None, at)


def offsets(ring: Ring) -> list[int]:
    return [offset for offset in range(ring.head + 2) if ring.get(offset) is not None]


def test_a_new_ring_is_empty() -> None:
    ring = Ring(Retain(), "e")
    assert (ring.first, ring.head, ring.size, len(ring), ring.get(0), ring.get(1)) == (1, 0, 0, 0, None, None)


@pytest.mark.parametrize(
    ("retain", "expected"),
    [
        (Retain(events=3), [8, 9, 10]),
        (Retain(events=1), [10]),
        (Retain(bytes=20), [9, 10]),
        (Retain(bytes=29), [9, 10]),
        (Retain(bytes=30), [8, 9, 10]),
        (Retain(bytes=1), [10]),
        (Retain(events=2, bytes=1000), [9, 10]),
    ],
)
def test_the_first_bound_that_is_reached_counts(retain: Retain, expected: list[int]) -> None:
    ring = Ring(retain, "e")
    for offset in range(1, 11):
        ring.append(event(offset, 10))
    assert offsets(ring) == expected
    assert (ring.first, ring.head, ring.size) == (expected[0], 10, 10 * len(expected))


def test_old_events_expire_but_for_the_newest() -> None:
    ring = Ring(Retain(age=5), "e")
    for offset in range(1, 5):
        ring.append(event(offset, at=float(offset)))
    ring.expire(5.9)
    assert offsets(ring) == [1, 2, 3, 4]
    ring.expire(7.0)
    assert offsets(ring) == [3, 4]
    ring.expire(1000.0)
    assert offsets(ring) == [4]


def test_without_an_age_nothing_expires() -> None:
    ring = Ring(Retain(), "e")
    ring.append(event(1))
    ring.append(event(2))
    ring.expire(1e9)
    assert offsets(ring) == [1, 2]


def test_an_event_after_missed_ones_drops_the_earlier() -> None:
    ring = Ring(Retain(), "e")
    ring.append(event(1, key="a"))
    ring.append(event(5, key="b"))
    assert (offsets(ring), ring.first, ring.head, ring.size) == ([5], 5, 5, 2)


def test_a_reset_forgets_everything() -> None:
    ring = Ring(Retain(), "e")
    ring.append(event(1, key="a"))
    ring.reset("f", 7)
    assert (ring.epoch, ring.first, ring.head, ring.size, len(ring)) == ("f", 8, 7, 0, 0)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([None, "a", "b"])), max_size=60),
    st.integers(1, 10),
    st.integers(1, 100),
)
def test_against_a_list(published: list[tuple[int, str | None]], events: int, size: int) -> None:
    ring = Ring(Retain(events=events, bytes=size), "e")
    kept: list[TopicEvent] = []
    for offset, (length, key) in enumerate(published, 1):
        one = event(offset, length, key)
        expected = ring.would_drop(one.size)
        kept.append(one)
        dropped = 0
        while len(kept) > 1 and (len(kept) > events or sum(found.size for found in kept) > size):
            dropped = kept.pop(0).offset
        assert expected == dropped
        ring.append(one)
        assert [ring.get(found) for found in offsets(ring)] == kept
        assert ring.size == sum(found.size for found in kept)
        newest = {found.key: found.offset for found in kept}
        for found in kept:
            assert ring.is_superseded(found) == (found.key is not None and newest[found.key] != found.offset)
        assert set(ring._by_key) == {(found.key, None) for found in kept if found.key is not None}
