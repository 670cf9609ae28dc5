"""Error classes of a server that a client declares."""

from __future__ import annotations

import pickle

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


def test_a_class_of_this_process_takes_the_place_of_the_new_one() -> None:
    @declared_error("overloaded", status=503)
    class Busy(PortalError, abstract=True):
        """Busy."""

    assert OverloadedError.code == "overloaded"
    assert Busy is OverloadedError
    with pytest.raises(Busy):
        raise OverloadedError("busy")
