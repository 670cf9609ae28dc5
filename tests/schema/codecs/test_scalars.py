"""Native values of another class than the hint's."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import Enum, Flag
from ipaddress import IPv4Address
from typing import Any

import pytest

from portal import ValidationError
from portal.schema import Bytes, File, Schema


class Color(Enum):
    """A color."""

    RED = "red"


class Right(Flag):
    """A right."""

    READ = 1


@pytest.mark.parametrize(
    ("hint", "value", "path", "words"),
    [
        (dt.date, "2026-01-01", "", "date, got str"),
        (dt.date, dt.datetime(2026, 1, 1), "", "date, got datetime"),
        (dt.datetime, dt.date(2026, 1, 1), "", "datetime, got date"),
        (list[Decimal], ["1.2"], "/0", "Decimal, got str"),
        (float, Decimal("1.2"), "", "float, got Decimal"),
        (int, Decimal(1), "", "int, got Decimal"),
        (IPv4Address, "::1", "", "IPv4Address, got str"),
        (bytes, "text", "", "bytes, got str"),
        (Bytes, "text", "", "bytes, got str"),
        (File, "note.txt", "", "File, got str"),
        (Color, "red", "", "Color, got str"),
        (Right, 1, "", "Right, got int"),
        (set[int], [1], "", "set, got list"),
        (dt.date | dt.time, 3.5j, "", "of the hint, got complex"),
    ],
)
def test_the_error_names_the_class_that_is_expected(hint: Any, value: Any, path: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Schema.of(hint).dump(value)
    assert [(fault.path, fault.message) for fault in caught.value.errors] == [(path, f"must have the type {words}")]
