"""Which connection gives way."""

from __future__ import annotations

import pytest

from portal.serving.bounds.shares import heaviest


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], None),
        ([("a", "ann", 0)], None),
        ([("a", "ann", 5), ("b", "bob", 4)], "a"),
        ([("a", "ann", 5), ("b", "bob", 4), ("c", "bob", 3)], "b"),
        ([(f"b{number}", "bob", 1) for number in range(10)] + [("a", "ann", 9)], "b0"),
    ],
    ids=["none", "nothing held", "the heavier client", "the heavier sum", "many small connections of one client"],
)
def test_the_client_that_holds_most_loses_its_heaviest_connection(
    rows: list[tuple[str, str, int]], found: str | None
) -> None:
    assert heaviest(rows) == found
