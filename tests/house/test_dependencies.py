"""The floors of the dependencies: known bad versions are excluded, and docs/decisions/0001-dependencies.md says why."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "decisions" / "0001-dependencies.md"
#: The last bad version, the first good one, and the reason.
BAD = [
    ("PyJWT", "2.10.0", "2.12", "CVE-2024-53861"),  # its issuer check takes prefixes
    ("PyJWT", "2.11.0", "2.12", "CVE-2026-32597"),
    ("requests", "2.32.3", "2.32.4", "CVE-2024-47081"),
    ("urllib3", "2.5.0", "2.7", "CVE-2025-66418"),
    ("urllib3", "2.6.2", "2.7", "CVE-2026-21441"),
    ("marshmallow", "4.1.1", "4.1.2", "CVE-2025-68480"),
    ("cryptography", "46.0.4", "46.0.7", "CVE-2026-26007"),
    ("gunicorn", "22.0.0", "23", "CVE-2024-6827"),
    ("idna", "3.6", "3.7", "CVE-2024-3651"),
    ("jsonschema", "4.23.0", "4.24", "unevaluatedProperties"),
    ("jsonschema-rs", "0.60.0", "0.60.1", "offline"),
    ("click", "8.2.0", "8.2.1", "standard output"),
]


def requirements() -> Iterator[tuple[str, Requirement]]:
    """Return every requirement of setup.cfg with its place."""
    config = configparser.ConfigParser(comment_prefixes=("#",), interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    places = {"install_requires": config["options"]["install_requires"], **config["options.extras_require"]}
    for place, text in places.items():
        for line in text.split("\n"):
            if line.strip():
                yield place, Requirement(line)


REQUIREMENTS = list(requirements())


def floor(requirement: Requirement) -> str | None:
    found = [one.version for one in requirement.specifier if one.operator in (">=", "==")]
    return found[0] if found else None


@pytest.mark.parametrize(("name", "bad", "good", "reason"), BAD, ids=[f"{row[0]} {row[1]}" for row in BAD])
def test_a_version_with_a_known_fault_is_excluded(name: str, bad: str, good: str, reason: str) -> None:
    found = [one for place, one in REQUIREMENTS if one.name == name and place not in ("bench", "conformance")]
    assert found
    for one in found:
        assert not one.specifier.contains(bad, prereleases=True), f"{one} admits {bad}: {reason}"
        assert one.specifier.contains(good)
    (row,) = re.findall(rf"^\| {re.escape(name)} \| [\d.]+ \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert reason in row.replace("`", "")


def test_the_page_has_the_floors_of_setup_cfg() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Lowest versions")[2]
    listed = dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", section, re.MULTILINE))
    assert len(listed) > 10
    for place, one in REQUIREMENTS:
        if one.name in listed and place not in ("bench", "conformance"):
            assert floor(one) == listed[one.name], f"{place}: {one}"


def test_every_requirement_of_the_package_has_one_floor() -> None:
    """So that a run with the lowest versions allowed shows whether the package works with each of them."""
    floors: dict[str, set[str | None]] = {}
    for place, one in REQUIREMENTS:
        if place not in ("bench", "conformance", "lint", "fuzz"):
            floors.setdefault(one.name, set()).add(floor(one))
    without = {"types-requests", "types-jsonschema"}
    assert {name: found for name, found in floors.items() if len(found - {None}) != 1 and name not in without} == {}
