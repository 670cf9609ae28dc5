"""`.ci/install_programs` installs what is absent where it may, and never fails the run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "install_programs"
BASH = shutil.which("bash")
PROGRAMS = {
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "wrk": "wrk",
    "nginx": "nginx-light",
    "curl": "curl",
    "node": "nodejs",
}
pytestmark = [
    pytest.mark.skipif(BASH is None, reason="needs bash"),
    pytest.mark.skipif(not SCRIPT.exists(), reason="not in a source distribution"),
]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return the only folder of PATH, with a program `id` that reports root."""
    add_program(tmp_path, "id", "echo 0")
    return tmp_path


def add_program(folder: Path, name: str, code: str = "true") -> None:
    path = folder / name
    path.write_text(f"#!{BASH}\n{code}\n")
    path.chmod(0o755)


def run(folder: Path) -> list[str]:
    """Run the script and return the lines that it prints."""
    command = [str(BASH), str(SCRIPT)]
    done = subprocess.run(command, env={"PATH": str(folder)}, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_nothing_is_installed_where_all_programs_are_there(programs: Path) -> None:
    for name in PROGRAMS:
        add_program(programs, name)
    add_program(programs, "apt-get", "echo called >&2; exit 1")
    assert run(programs) == []


def test_absent_programs_are_installed_from_debian(programs: Path) -> None:
    add_program(programs, "curl")
    add_program(programs, "apt-get", f'echo "$@" >> {programs}/calls')
    packages = [package for package in PROGRAMS.values() if package != "curl"]
    assert run(programs) == [f"installed from Debian: {package}" for package in packages]
    update, *installs = (programs / "calls").read_text().splitlines()
    assert update.startswith("update")
    assert [line.split()[-1] for line in installs] == packages


def test_a_package_that_cannot_be_installed_does_not_end_the_run(programs: Path) -> None:
    add_program(programs, "apt-get", '[[ "$1" != update && "$*" != *wrk* ]]')
    lines = run(programs)
    assert lines[0].startswith("apt-get update failed")
    assert "could not be installed from Debian: wrk" in lines
    assert "installed from Debian: nodejs" in lines


@pytest.mark.parametrize(("user", "has_apt"), [("1000", True), ("0", False)])
def test_without_root_or_apt_get_the_absent_programs_are_listed(programs: Path, user: str, has_apt: bool) -> None:
    add_program(programs, "id", f"echo {user}")
    if has_apt:
        add_program(programs, "apt-get", "exit 1")
    (line,) = run(programs)
    assert line == f"absent, and not installed without root and apt-get: {' '.join(PROGRAMS.values())}"
