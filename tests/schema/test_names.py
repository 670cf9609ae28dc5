"""The names and versions that a function or service may have."""

from __future__ import annotations

from typing import Any

import pytest

from portal.errors import RegistryError
from portal.schema.names import check_name, check_version


@pytest.mark.parametrize("name", ["a", "billing.charge", "über-größe_1", "...", "x" * 200])
def test_a_valid_name_is_returned(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a@1", "a?", "a#", "50%", "a b", "a\n", "\x00", "\ud800", "x" * 201, None, 3]
)
def test_an_invalid_name_is_rejected(name: Any) -> None:
    with pytest.raises(RegistryError) as caught:
        check_name(name)
    assert caught.value.kind == "invalid"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/b", "the name of a function or service must not contain '/', got 'a/b'"),
        ("..", "must not be '.' or '..', which have a meaning in paths, got '..'"),
        ("", "must have 1 to 200 characters, got ''"),
        (3, "must be a string, got 3"),
    ],
)
def test_the_message_says_what_a_name_must_be(name: Any, message: str) -> None:
    with pytest.raises(RegistryError) as caught:
        check_name(name)
    assert caught.value.message.endswith(message)


@pytest.mark.parametrize("version", ["1", "2.0.1", "1.0rc1"])
def test_a_valid_version_is_returned(version: str) -> None:
    assert check_version(version) == version


@pytest.mark.parametrize("version", ["", "one", "1..2", 1, "1" * 129])
def test_an_invalid_version_is_rejected(version: Any) -> None:
    with pytest.raises(RegistryError) as caught:
        check_version(version)
    assert caught.value.kind == "invalid"
