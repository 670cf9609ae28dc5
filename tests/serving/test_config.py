from __future__ import annotations

import pytest

from portal.errors import ConfigError
from portal.serving import ServingConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 0), ("workers", True), ("workers", 1.5), ("queue", -1), ("max_body", "1"), ("idle_timeout", 0),
     ("linger", -1.0), ("grace", "soon"), ("head_timeout", True), ("write_timeout", 1e9)],
)  # fmt: skip
def test_invalid_limits_are_rejected(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        ServingConfig(**{name: value})  # type: ignore[arg-type]
    assert caught.value.path == f"serving.{name}"
    assert caught.value.expected
