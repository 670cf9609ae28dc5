"""The parameters of reserved notifications: by name, by position, and wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.errors import ValidationError
from portal.jsonrpc.messages import Request
from portal.websocket import reserved
from portal.websocket.events import CompleteReceived, EventReceived, GapReceived, GoAwayReceived

EVENT = {"subscription": "s", "epoch": "e", "offset": 1, "data": None}


@pytest.mark.parametrize(
    ("read", "params", "expected"),
    [
        (reserved.id_of, {"id": 1}, 1),
        (reserved.id_of, ["a"], "a"),
        (reserved.credit_of, {"id": 1, "items": 2}, (1, None, 2)),
        (reserved.credit_of, [1, 2], (1, None, 2)),
        (reserved.credit_of, {"subscription": "s", "items": 2}, (None, "s", 2)),
        (reserved.item_of, {"id": 1, "data": None}, (1, None)),
        (reserved.item_of, ["a", [1]], ("a", [1])),
        (reserved.event_of, EVENT, EventReceived("s", "e", 1, None, None)),
        (reserved.event_of, ["s", "e", 1, 2, "k"], EventReceived("s", "e", 1, 2, "k")),
        (reserved.gap_of, {"subscription": "s", "reason": "r"}, GapReceived("s", None, "r", None, None)),
        (reserved.gap_of, ["s", 2, "r", "e", 4], GapReceived("s", 2, "r", "e", 4)),
        (reserved.complete_of, ["s"], CompleteReceived("s", None)),
        (reserved.go_away_of, {}, GoAwayReceived("", 0.0, None)),
        (reserved.go_away_of, ["r", 1, "x"], GoAwayReceived("r", 1.0, "x")),
    ],
)
def test_parameters_are_read(read: Callable[[Request], Any], params: Any, expected: Any) -> None:
    assert read(Request(None, "rpc.x", params, True)) == expected


@pytest.mark.parametrize(
    ("read", "params", "path"),
    [
        (reserved.id_of, {}, "/id"),
        (reserved.id_of, {"id": None}, "/id"),
        (reserved.id_of, {"id": True}, "/id"),
        (reserved.id_of, {"id": [1]}, "/id"),
        (reserved.credit_of, {"id": 1}, "/items"),
        (reserved.credit_of, {"id": 1, "items": 0}, "/items"),
        (reserved.credit_of, {"id": 1, "items": -1}, "/items"),
        (reserved.credit_of, {"id": 1, "items": True}, "/items"),
        (reserved.credit_of, {"id": 1, "items": 1.0}, "/items"),
        (reserved.credit_of, {"id": 1, "items": 10**9}, "/items"),
        (reserved.credit_of, {"items": 1}, "/id"),
        (reserved.credit_of, {"subscription": 1, "items": 1}, "/subscription"),
        (reserved.item_of, {"id": 1}, "/data"),
        (reserved.item_of, {"data": 1}, "/id"),
        (reserved.event_of, EVENT | {"offset": -1}, "/offset"),
        (reserved.event_of, EVENT | {"offset": 1.5}, "/offset"),
        (reserved.event_of, EVENT | {"epoch": 1}, "/epoch"),
        (reserved.event_of, EVENT | {"key": 1}, "/key"),
        (reserved.event_of, {"subscription": "s", "epoch": "e", "offset": 1}, "/data"),
        (reserved.gap_of, {"subscription": "s"}, "/reason"),
        (reserved.gap_of, {"subscription": "s", "reason": "r", "count": "3"}, "/count"),
        (reserved.complete_of, {}, "/subscription"),
        (reserved.go_away_of, {"delay": -1}, "/delay"),
        (reserved.go_away_of, {"delay": float("inf")}, "/delay"),
        (reserved.go_away_of, {"delay": True}, "/delay"),
        (reserved.go_away_of, {"session": 1}, "/session"),
    ],
)
def test_wrong_parameters_are_rejected(read: Callable[[Request], Any], params: Any, path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(Request(None, "rpc.x", params, True))
    assert [fault.path for fault in caught.value.errors] == [path]
