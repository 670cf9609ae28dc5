"""Versions and version ranges of PEP 440."""

from __future__ import annotations

import pytest

from portal.catalogue.versions import first_match, newest_first
from portal.errors import RegistryError


def identity(version: str) -> str:
    return version


def test_versions_are_ordered_by_pep_440_and_not_as_text() -> None:
    assert newest_first(("9", "10", "2.0rc1", "2.0"), identity) == ("10", "9", "2.0", "2.0rc1")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("2", "2.0"),
        ("2.0.0", "2.0"),
        (">=1,<3", "2.0"),
        ("<2", "1.5"),
        ("~=1.1", "1.5"),
        (">=3.0rc1", "3.0rc1"),
        (">=3", None),
        ("!=3.0rc1,!=2.0", "1.5"),
        ("4", None),
        (">=4", None),
    ],
)
def test_the_first_match_of_a_version_or_range(wanted: str, found: str | None) -> None:
    assert first_match(["3.0rc1", "2.0", "1.5", "1.0"], wanted, identity) == found


@pytest.mark.parametrize("wanted", ["latest", ">=", "1,2", "=1", "", " ", ",", "9" * 200, ">=1" + ",>=1" * 100])
def test_other_text_is_rejected(wanted: str) -> None:
    with pytest.raises(RegistryError) as caught:
        first_match(["1"], wanted, identity)
    assert caught.value.kind == "invalid"
