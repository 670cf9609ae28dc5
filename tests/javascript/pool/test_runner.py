from __future__ import annotations

from typing import Any

import pytest

from portal import ConfigError
from portal.javascript import PoolSettings


@pytest.mark.parametrize(
    "wrong",
    [{"max_size": 0}, {"min_size": -1}, {"min_size": 9}, {"idle_time": 0}, {"max_uses": 0}, {"max_growth": 0},
     {"max_waiting": -1}],
)  # fmt: skip
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        PoolSettings(**wrong)
    assert caught.value.path == f"pool.{next(iter(wrong))}"
