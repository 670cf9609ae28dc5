from __future__ import annotations

from typing import Any

import pytest

from portal import ValidationError
from portal.javascript import EngineError
from portal.javascript.json_text import decode_result, encode_parameters


@pytest.mark.parametrize("value", [2**53, -(2**53), 2**60, 10**22, 1.5, 1e300, 123456789012345, "9" * 30])
def test_what_a_double_holds_is_sent(value: Any) -> None:
    assert decode_result(encode_parameters({"a": [value]})) == {"a": [value]}


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1, 10**23 + 1, 10**400])
def test_an_integer_that_a_double_cannot_hold_is_rejected(value: int) -> None:
    with pytest.raises(ValidationError) as caught:
        encode_parameters({"a/b": [0, value], "c": "x"})
    (fault,) = caught.value.errors
    assert (fault.path, fault.rule) == ("/a~1b/1", "exact")


@pytest.mark.parametrize("text", ["NaN", "", "[" * 200_000, "1" * 5000, "{]"])
def test_a_result_that_python_cannot_decode(text: str) -> None:
    with pytest.raises(EngineError) as caught:
        decode_result(text)
    assert caught.value.stage == "convert"
