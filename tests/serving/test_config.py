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


@pytest.mark.parametrize(
    ("settings", "threads", "function", "client", "waiting"),
    [
        ({}, None, 12, 14, 128),
        ({}, 32, 24, 28, 128),
        ({"workers": 1, "queue": 0}, None, 1, 1, 0),
        ({"workers": 2, "queue": 1}, None, 1, 1, 1),
        ({"workers": 4}, None, 2, 3, 128),  # one worker for another function, and one for another client
        ({"max_running_per_function": 16, "max_running_per_client": 3, "queue_per_client": 7}, None, 16, 3, 7),
    ],
)
def test_one_function_and_one_client_get_a_part_of_the_workers(
    settings: dict[str, int], threads: int | None, function: int, client: int, waiting: int
) -> None:
    limits = ServingConfig(**settings).key_limits(threads)  # type: ignore[arg-type]
    assert limits["function"] == (function, None)
    assert limits["client"] == (client, waiting)
    assert limits["identity"] == (client, None)
