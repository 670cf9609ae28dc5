"""The tests that docs/testing.md shows pass under pytest with the fixtures of Portal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import portal
from tests.support.pytest_arguments import PLUGIN_ARGUMENTS

PAGE = Path(portal.__file__).parents[1] / "docs" / "testing.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
TESTS = [block for block in BLOCKS if re.search(r"^def test_", block, re.MULTILINE)]

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("code", TESTS)
def test_a_test_of_the_page_passes(code: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(code)
    pytester.runpytest_subprocess(*PLUGIN_ARGUMENTS).assert_outcomes(passed=1)


def test_the_page_shows_each_fixture() -> None:
    shown = set(re.findall(r"\b(portal_\w+|local_portal)\b", PAGE.read_text(encoding="utf-8")))
    assert shown == {
        "portal_testing",
        "portal_testing_at",
        "portal_consumer",
        "local_portal",
        "portal_server",
        "portal_faults",
    }
    assert len(TESTS) >= 4
