from __future__ import annotations

import pytest

from portal.http11.ranges import Unsatisfiable, read_range


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("bytes=0-3", (0, 4)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=9-9", (9, 10)),
        (None, None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
    ],
)
def test_a_range(value: str | None, found: tuple[int, int] | None) -> None:
    assert read_range(value, 10) == found


@pytest.mark.parametrize(("value", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_a_range_after_the_end(value: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        read_range(value, size)
