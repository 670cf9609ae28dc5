"""Suggestions for paths that are not published."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


@pytest.mark.parametrize(
    "path",
    [
        ("a" * 1_000_000,),
        ("add" * 22,),
        ("orders", "price" * 1000),
        ("orders" * 1000, "price"),
        tuple("a" * 500_000),
        ("add",) * 5,
    ],
)
def test_a_path_that_is_longer_than_what_is_published_gets_no_suggestions(path: tuple[str, ...]) -> None:
    with limited_matchers(0):
        assert most_similar(path, PUBLISHED) == []


@pytest.mark.parametrize("path", [("item_500x",), ("shop", "item_77"), ("x",), ("i" * 60,)])
def test_few_of_many_published_paths_are_compared(path: tuple[str, ...]) -> None:
    published = [(f"item_{number}",) for number in range(5000)] + [("shop", f"item_{number}") for number in range(5000)]
    with limited_matchers(70) as compared:
        found = most_similar(path, published)
    assert len(found) <= 3
    assert all(one in published for one in found)
    assert len(compared) <= 70


def test_the_time_for_a_suggestion_does_not_grow_with_what_is_published() -> None:
    scanned: list[int] = []

    def published() -> Iterator[tuple[str, ...]]:
        for number in range(100_000):
            scanned.append(number)
            yield (f"item_{number}",)

    most_similar(("item_x",), published())
    assert len(scanned) <= 1001


def test_of_many_published_paths_the_likely_ones_are_compared() -> None:
    published = [(f"{letter}_function",) for letter in "abcdefghijklmnopqrstuvwxyz"] * 10 + [("price_of_order",)]
    assert most_similar(("price_of_ordr",), published)[0] == ("price_of_order",)


@contextmanager
def limited_matchers(most: int) -> Iterator[list[str]]:
    """Count the segments that difflib compares."""
    compared: list[str] = []
    set_seq1 = difflib.SequenceMatcher.set_seq1

    def counted(self: Any, segment: str) -> None:
        compared.append(segment)
        set_seq1(self, segment)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(difflib.SequenceMatcher, "set_seq1", counted)
        yield compared
    assert len(compared) <= most
