"""One call in the history of a TestingPortal."""

from __future__ import annotations

import pytest

from portal.errors import RegistryError
from portal.testing.history import RecordedCall, format_params, snapshot


@pytest.mark.parametrize(
    ("params", "text"), [({}, ""), ({"a": 1, "b": "x"}, "a=1, b='x'"), ([1, 2], "[1, 2]"), (None, "None")]
)
def test_parameters_are_written_as_in_a_call(params: object, text: str) -> None:
    assert format_params(params) == text


def test_a_call_shows_its_parameters_and_outcome() -> None:
    call = RecordedCall("orders/price", {"sku": "PEN"}, 3.5, None, 0.01, "r-1")
    assert str(call) == "orders/price(sku='PEN') returned 3.5"
    failed = RecordedCall("orders/price", {"sku": "PEN"}, None, RegistryError("unknown"), 0.01, "r-1")
    assert str(failed) == "orders/price(sku='PEN') raised RegistryError"


def test_a_snapshot_does_not_change_with_its_source() -> None:
    items = {"lines": [1, 2]}
    kept = snapshot(items)
    items["lines"].append(3)
    assert kept == {"lines": [1, 2]}


def test_what_is_not_json_data_is_kept_as_it_is() -> None:
    value = object()
    assert snapshot(value) is value
