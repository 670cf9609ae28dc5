"""Secret text is compared in constant time and never shown."""

from __future__ import annotations

import pytest

from portal.auth.secrets import KeyTable, failure_origin, require_header_value
from portal.errors import (
    ConfigError,
)
from tests.support.credentials import SECRET


def test_every_key_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared: list[bytes] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or real(a, b))
    table = KeyTable([(f"key-{number}", number) for number in range(20)])
    assert table.find("key-0") == 0
    assert len(compared) == 20
    assert table.find("key-20") is None
    assert len(compared) == 40
    assert {len(one) for one in compared} == {64}  # digests


def test_where_an_exception_came_from() -> None:
    assert failure_origin(ValueError(SECRET)) == "ValueError"


def test_what_a_header_can_carry() -> None:
    assert require_header_value("x", "a b\tü") == "a b\tü"
    for wrong in ("", " a", "a ", "a\nb", "a\r", "a\x00", "a\x7f", "€", 1, None):
        with pytest.raises(ConfigError):
            require_header_value("x", wrong)
