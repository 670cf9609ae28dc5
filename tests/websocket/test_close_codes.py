"""CloseCode: which codes may be sent."""

from __future__ import annotations

import pytest

from portal.websocket.close_codes import CloseCode, is_sendable


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    assert is_sendable(code)


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535, 65536])
def test_codes_that_are_never_sent(code: int) -> None:
    assert not is_sendable(code)


def test_the_codes_of_the_wire() -> None:
    assert {int(code) for code in CloseCode if code >= 4000} == {4401, 4403, 4408, 4409, 4413, 4429}
    assert [code for code in CloseCode if not is_sendable(code)] == [CloseCode.NO_STATUS, CloseCode.ABNORMAL]
