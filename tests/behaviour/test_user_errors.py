"""An error class of a user's comes back as itself, with its members, whatever carried it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests

from portal import Consumer, FunctionError, HTTPPortal, LocalPortal, PortalError, TestingPortal, function
from portal.jsonrpc import messages
from portal.testing import Recorder, Replay

Raising = Callable[[PortalError], None]


class ShortageError(PortalError):
    code = "tests_behaviour_shortage"
    status = 409
    members = ("sku", "wanted", "left", "places", "note", "nothing")

    def __init__(
        self,
        message: str = "",
        *,
        sku: str,
        wanted: int = 1,
        left: float = 0.0,
        places: tuple[str, ...] = (),
        note: str = "x",
        nothing: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.sku = sku
        self.wanted = wanted
        self.left = left
        self.places = places
        self.note = note
        self.nothing = nothing


class DatedError(PortalError):
    code = "tests_behaviour_dated"
    members = ("when",)

    def __init__(self, message: str = "", *, when: Any = None) -> None:
        super().__init__(message)
        self.when = when


@function
def sell(sku: str) -> int:
    places = ("north", "south")
    raise ShortageError("sold out", sku=sku, wanted=3, left=0.5, places=places, note="", hint="order more")


@function
def date_it() -> int:
    raise DatedError("then", when=date(2026, 1, 2))


@function
def sell_later(sku: str) -> Iterator[int]:
    yield 1
    raise ShortageError("sold out", sku=sku, wanted=0)


def raised(call: Callable[[], object]) -> PortalError:
    with pytest.raises(PortalError) as info:
        call()
    return info.value


@contextmanager
def local(tmp_path: Path) -> Iterator[Callable[..., PortalError]]:
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        yield lambda made, params: raised(lambda: consumer.call_at(portal.apply(made), params))


@contextmanager
def by_testing(tmp_path: Path) -> Iterator[Callable[..., PortalError]]:
    with TestingPortal() as portal, Consumer([portal]) as consumer:
        yield lambda made, params: raised(lambda: consumer.call_at(portal.apply(made), params))


@contextmanager
def http(tmp_path: Path) -> Iterator[Callable[..., PortalError]]:
    with HTTPPortal() as portal, Consumer() as consumer:
        yield lambda made, params: raised(lambda: consumer.call_at(portal.apply(made), params))


@contextmanager
def jsonrpc(tmp_path: Path) -> Iterator[Callable[..., PortalError]]:
    with HTTPPortal() as portal:

        def call(made: Any, params: dict[str, Any]) -> PortalError:
            base = str(portal.apply(made)).partition(f"/{made.name}/")[0]
            sent = requests.post(f"{base}/rpc", json=messages.request(1, made.name, params), timeout=10)
            return messages.error_from(sent.json()["error"])

        yield call


@contextmanager
def replayed(tmp_path: Path) -> Iterator[Callable[..., PortalError]]:
    path = tmp_path / "calls.json"

    def call(made: Any, params: dict[str, Any]) -> PortalError:
        with LocalPortal(middleware=[recorder := Recorder(path)]) as portal, Consumer([portal]) as consumer:
            address = portal.apply(made)
            raised(lambda: consumer.call_at(address, params))
            recorder.save()
        with Consumer([Replay(path)]) as consumer:
            return raised(lambda: consumer.call_at(address, params))

    yield call


TRANSPORTS = [local, by_testing, http, jsonrpc, replayed]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_members_arrive(transport: Any, tmp_path: Path) -> None:
    with transport(tmp_path) as call:
        error = call(sell, {"sku": "pen"})
    assert type(error) is ShortageError
    assert {name: getattr(error, name) for name in ShortageError.members} == {
        "sku": "pen",
        "wanted": 3,
        "left": 0.5,
        "places": ("north", "south"),
        "note": "",
        "nothing": None,
    }
    assert (error.message, error.hint, error.delivery, error.status) == ("sold out", "order more", "executed", 409)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_member_that_is_not_json_data_is_reported(transport: Any, tmp_path: Path) -> None:
    with transport(tmp_path) as call:
        error = call(date_it, {})
    assert type(error) is FunctionError
    assert error.message == "DatedError.when must be JSON data to be sent, got date"
    assert (error.type, error.delivery) == ("DatedError", "executed")


@pytest.mark.parametrize("portal", [LocalPortal, TestingPortal, HTTPPortal])
def test_members_arrive_at_the_end_of_a_stream(portal: Any) -> None:
    with portal() as served, Consumer([served]) as consumer:
        items = consumer.stream_at(served.apply(sell_later), {"sku": "pen"})
        assert next(items) == 1
        error = raised(lambda: next(items))
    assert isinstance(error, ShortageError)
    assert (error.sku, error.wanted, error.delivery) == ("pen", 0, "executed")
