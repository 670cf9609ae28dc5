"""The limits of connections, and which connection gives way to a new one."""

from __future__ import annotations

from collections import Counter

import pytest

from portal.serving.bounds.connections import ConnectionLimits, choose_idle, connection_limits


@pytest.mark.parametrize(
    ("total", "per_client", "handshakes", "descriptors", "limits"),
    [
        (1000, None, None, None, (1000, 500, 250)),
        (1000, None, None, 100_000, (1000, 500, 250)),
        (10_000, None, None, 1024, (922, 461, 230)),
        (10_000, None, None, 256, (192, 96, 48)),
        (10_000, 400, 300, 256, (192, 192, 192)),
        (10, 1, 2, 64, (1, 1, 1)),
        (1, None, None, None, (1, 1, 1)),
    ],
)
def test_limits_keep_a_reserve_of_descriptors(
    total: int, per_client: int | None, handshakes: int | None, descriptors: int | None, limits: tuple[int, int, int]
) -> None:
    assert connection_limits(total, per_client, handshakes, descriptors) == ConnectionLimits(*limits)


Row = tuple[str, str, tuple[int, float]]


@pytest.mark.parametrize(
    ("rows", "busy", "count", "chosen"),
    [
        ([], {}, 1, []),
        ([("a", "ann", (0, 5.0))], {}, 1, ["a"]),
        ([("a", "ann", (0, 1.0)), ("b1", "bob", (0, 9.0)), ("b2", "bob", (0, 8.0))], {}, 1, ["b2"]),
        ([("a", "ann", (0, 1.0)), ("b", "bob", (0, 9.0))], {"bob": 5}, 1, ["b"]),
        ([("a", "ann", (1, 1.0)), ("b", "ann", (0, 9.0))], {}, 1, ["b"]),
        ([(f"b{i}", "bob", (0, float(i))) for i in range(5)] + [("a", "ann", (0, -1.0))], {}, 3, ["b0", "b1", "b2"]),
        ([("a", "ann", (0, 1.0)), ("b", "bob", (0, 2.0))], {}, 5, ["a", "b"]),
    ],
    ids=[
        "none",
        "one",
        "the fuller client",
        "connections in use count",
        "idle before unfinished",
        "several",
        "more than there are",
    ],
)
def test_the_longest_idle_of_the_fullest_client_gives_way(
    rows: list[Row], busy: dict[str, int], count: int, chosen: list[str]
) -> None:
    counts = Counter(client for _, client, _ in rows) + Counter(busy)
    assert choose_idle(rows, lambda client: counts[str(client)], count) == chosen
