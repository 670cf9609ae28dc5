from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from portal import function
from portal.catalogue import Catalogue
from portal.http.server.name_check import NameCheck


@function
def charge(cents: int) -> int:
    return cents


def layer(named: object) -> Any:
    return SimpleNamespace(named=named)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_name_of_nothing_published_is_logged_with_the_nearest_name(caplog: pytest.LogCaptureFixture) -> None:
    catalogue = Catalogue()
    catalogue.add(charge, ("billing",))
    layers = [layer(frozenset({"charge", "billing", "charges"})), layer(frozenset({"unlike"})), layer("foreign"), len]
    with caplog.at_level(logging.ERROR, "portal.http"):
        NameCheck(catalogue, layers).run()
    assert messages(caplog) == [
        "SimpleNamespace names charges, which is not published here; did you mean charge?",
        "SimpleNamespace names unlike, which is not published here",
    ]


def test_it_runs_once_and_with_what_is_published_by_then(caplog: pytest.LogCaptureFixture) -> None:
    catalogue = Catalogue()
    check = NameCheck(catalogue, [layer(frozenset({"charge", "gone"}))])
    assert not check.done
    catalogue.add(charge)
    check.run()
    check.run()
    assert check.done
    assert messages(caplog) == ["SimpleNamespace names gone, which is not published here"]
