"""Retain, Offset and the shared message of an event."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from portal.errors import ConfigError
from portal.websocket.topics.event import Offset, Retain, TopicEvent


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("events", 0),
        ("events", -1),
        ("events", True),
        ("events", 1.5),
        ("events", 10**8),
        ("bytes", 0),
        ("bytes", "1"),
        ("age", 0),
        ("age", -1),
        ("age", float("inf")),
        ("age", True),
    ],
)
def test_wrong_bounds_are_rejected(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"retain.{name}"):
        Retain(**{name: value})


def test_an_offset_is_a_pair_that_pickles() -> None:
    assert pickle.loads(pickle.dumps(Offset("e", 3))) == ("e", 3)


def test_subscriptions_of_one_id_share_the_message() -> None:
    event = TopicEvent(3, b'{"a":1}', "k")
    first = event.text("ticks", "e")
    assert event.text("ticks", "e") is first
    assert json.loads(first.data)["params"] == {
        "subscription": "ticks",
        "epoch": "e",
        "offset": 3,
        "key": "k",
        "data": {"a": 1},
    }


def test_another_id_or_epoch_has_its_own_message() -> None:
    event = TopicEvent(3, b"1")
    event.text("ticks", "e")
    assert b'"ticks#2"' in event.text("ticks#2", "e").data
    assert b'"f"' in event.text("ticks", "f").data
    assert b'"ticks"' in event.text("ticks", "e").data


def test_the_key_counts_for_the_size() -> None:
    assert TopicEvent(1, b"12345", "key").size == 8
    assert repr(TopicEvent(1, b"12345", "key")) == "TopicEvent(offset=1, key='key', size=8)"
