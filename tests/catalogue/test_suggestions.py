"""Suggestions for paths that are not published."""

from __future__ import annotations

import pytest

from portal.catalogue.suggestions import most_similar

PUBLISHED = [("orders", "price"), ("orders", "place"), ("users", "get_user"), ("add",), ("subtract",)]


@pytest.mark.parametrize(
    ("path", "suggested"),
    [
        (("orders", "pirce"), [("orders", "price"), ("orders", "place")]),
        (("order", "price"), [("orders", "price"), ("orders", "place")]),
        (("ad",), [("add",)]),
        (("get_user",), [("users", "get_user")]),
        (("billing", "add"), [("add",)]),
        (("orders", "cancel"), []),
        ((), []),
    ],
)
def test_similar_paths_are_suggested(path: tuple[str, ...], suggested: list[tuple[str, ...]]) -> None:
    assert most_similar(path, PUBLISHED) == suggested


def test_at_most_three_paths_are_suggested() -> None:
    assert len(most_similar(("add1",), [(f"add{number}",) for number in range(2, 9)])) == 3
