"""Errors that a function declares with `raises`."""

from __future__ import annotations

from typing import Any

import pytest

from portal import (
    ConfigError,
    Consumer,
    FunctionSchema,
    HTTPPortal,
    PortalError,
    RateLimitError,
    SerializationError,
    function,
)
from portal.schema.documentation.errors import declared_errors, describe_error, is_row


class SoldOut(PortalError):
    """The article is not in stock.

    More words.
    """

    code = "sold_out"
    status = 409
    members = ("sku", "left", "other")

    def __init__(self, message: str = "", *, sku: str = "", left: int = 0, other: object = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.sku, self.left, self.other = sku, left, other


ROW = {
    "name": "SoldOut",
    "code": "sold_out",
    "status": 409,
    "rpc_code": -32603,
    "retryable": False,
    "description": "The article is not in stock.",
    "members": {"sku": {"type": "string"}, "left": {"type": "integer"}, "other": {}},
}


def test_a_class_is_described() -> None:
    assert describe_error(SoldOut) == ROW
    assert is_row(ROW)
    assert declared_errors([SoldOut, SoldOut]) == (ROW,)
    assert declared_errors([ROW]) == (ROW,)
    assert describe_error(RateLimitError)["members"]["retry_after"] == {"type": ["number", "null"]}


@pytest.mark.parametrize(
    "raises", [SoldOut, [KeyError], [PortalError], "SoldOut", {"code": "sold_out"}, 3, [SoldOut()]]
)
def test_other_values_are_rejected(raises: Any) -> None:
    with pytest.raises(ConfigError, match=r"function.raises must be a list of subclasses of PortalError with a code"):
        function(name="f", raises=raises)(lambda: None)


def test_two_errors_with_one_code_are_rejected() -> None:
    with pytest.raises(ConfigError, match="one class for each code, got two for 'sold_out'"):
        declared_errors([SoldOut, ROW | {"name": "Empty"}])


@pytest.mark.parametrize(
    "row", [{}, ROW | {"status": "409"}, ROW | {"members": []}, 3, {**ROW, "code": None}, ROW | {"status": True}]
)
def test_a_server_cannot_send_other_rows(row: Any) -> None:
    assert not is_row(row)
    with pytest.raises(SerializationError, match="raises of a function schema must be a list of errors"):
        FunctionSchema.from_dict({"name": "sell", "raises": [row]})


def test_declared_errors_travel_with_the_schema_and_leave_the_fingerprint() -> None:
    @function(raises=[SoldOut])
    def sell(sku: str) -> int:
        raise SoldOut("no pens left", sku=sku, left=0)

    plain = FunctionSchema("sell", input=sell.schema.input, output=sell.schema.output)
    assert plain.fingerprint == sell.schema.fingerprint
    with HTTPPortal() as http, Consumer() as consumer:
        found = consumer.resolve(http.apply(sell))
        assert found.schema.raises == (ROW,)
        with pytest.raises(SoldOut) as caught:
            found(sku="PEN")
        assert (caught.value.sku, caught.value.left) == ("PEN", 0)


def test_a_method_keeps_its_errors() -> None:
    class Shop:
        @function(raises=[SoldOut])
        def sell(self, sku: str) -> int:
            return len(sku)

    assert Shop().sell.schema.raises == (ROW,)
