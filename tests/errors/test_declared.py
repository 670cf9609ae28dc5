"""Error classes of a server that a client declares."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from portal.errors import OverloadedError, PortalError, declared_error


@declared_error("frozen_stock", status=423, retryable=True)
class FrozenStock(PortalError, abstract=True):
    """The stock is frozen."""

    members = ("until",)
    until: str


def test_an_error_with_the_code_comes_back_as_the_class() -> None:
    found = PortalError.from_dict({"code": "frozen_stock", "message": "no", "until": "monday", "status": 423})
    assert isinstance(found, FrozenStock)
    assert (found.until, found.status, found.message, FrozenStock.retryable) == ("monday", 423, "no", True)
    assert type(pickle.loads(pickle.dumps(found))) is FrozenStock


def test_a_class_of_the_server_that_is_defined_later_is_caught_as_that_of_the_client() -> None:
    @declared_error("late_stock", status=409)
    class OfClient(PortalError, abstract=True):
        """Late."""

        members = ("sku",)

        def __init__(self, message: str = "", *, sku: str) -> None:
            super().__init__(message)
            self.sku = sku

    class ShopError(PortalError, abstract=True):
        """The base of a server."""

    class OfServer(ShopError):
        """Late."""

        code = "late_stock"
        status = 410
        members = ("sku", "days")

        def __init__(self, message: str = "", *, sku: str = "", days: int = 1, **common: Any) -> None:
            super().__init__(message, **common)
            self.sku, self.days = sku, days

    error = OfServer("late", hint="wait", sku="PEN")
    assert (error.sku, error.hint, OfClient("late", sku="BAG").sku) == ("PEN", "wait", "BAG")
    assert isinstance(error, OfClient)
    assert isinstance(error, ShopError)
    found = PortalError.from_dict({"code": "late_stock", "message": "late", "sku": "PEN", "days": 3})
    assert (type(found), found.status, OfServer.members) == (OfServer, 410, ("sku", "days"))
    with pytest.raises(TypeError, match="must be a code of its own"):
        type(PortalError)("Third", (PortalError,), {"code": "late_stock"})


def test_a_class_without_init_keeps_that_of_its_base() -> None:
    @declared_error("plain_late_stock", status=409)
    class OfClient(PortalError, abstract=True):
        """Late."""

        members = ("sku",)

        def __init__(self, message: str = "", *, sku: str) -> None:
            super().__init__(message)
            self.sku = sku

    class OfServer(PortalError):
        """Late."""

        code = "plain_late_stock"
        members = ("sku",)

    assert isinstance(OfServer("late", hint="wait"), OfClient)


def test_a_class_that_is_another_exception_too() -> None:
    @declared_error("late_disk", status=409)
    class OfClient(PortalError, abstract=True):
        """Late."""

    class OfServer(PortalError, OSError):
        """Late."""

        code = "late_disk"

    assert type(PortalError.from_dict({"code": "late_disk"})) is OfServer
    assert issubclass(OfServer, OfClient)
    assert isinstance(OfServer("late"), OSError)


def test_a_class_of_this_process_takes_the_place_of_the_new_one() -> None:
    @declared_error("overloaded", status=503)
    class Busy(PortalError, abstract=True):
        """Busy."""

    assert OverloadedError.code == "overloaded"
    assert Busy is OverloadedError
    with pytest.raises(Busy):
        raise OverloadedError("busy")
