"""What runs in the background survives its own faults: log lines that raise nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from .test_rooms import MODULES

#: The functions of the standard library that only these modules may call.
ONLY_IN = {
    "logging.getLogger": {"_internal.log"},
}


def calls_of(name: str) -> Iterator[tuple[str, int]]:
    """Every dotted name that a module calls, with its line."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_use_the_guarded_form(name: str) -> None:
    found = [
        f"{MODULES[name]}:{line}: {called}"
        for called, line in calls_of(name)
        if called in ONLY_IN and name not in ONLY_IN[called]
    ]
    assert found == []


def test_the_rule_finds_calls() -> None:
    for called, modules in ONLY_IN.items():
        for name in modules:
            assert called in {found for found, _ in calls_of(name)}, name
