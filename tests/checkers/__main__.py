"""Run mypy and basedpyright on code of users: `python -m tests.checkers`.

Each file of this folder is checked by both. A line that ends in `# error` must have an error, and no other line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MARK = "# error"

#: File and line.
Place = tuple[str, int]


def files() -> list[Path]:
    """Return the files to check."""
    return [path for path in sorted(HERE.glob("*.py")) if not path.name.startswith("_")]


def expected(paths: list[Path]) -> set[Place]:
    """Return the lines that end in the mark."""
    return {
        (path.name, number)
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if line.endswith(MARK)
    }


def mypy(paths: list[Path]) -> dict[Place, str]:
    """Return the errors of mypy, with the strict settings of the project."""
    command = [sys.executable, "-m", "mypy", "--output", "json", *map(str, paths)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode not in (0, 1):
        sys.exit(found.stdout + found.stderr)
    rows = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    return {
        (Path(row["file"]).name, row["line"]): row["message"]
        for row in rows
        if row["severity"] == "error" and Path(row["file"]).name in {path.name for path in paths}
    }


def basedpyright(paths: list[Path]) -> dict[Place, str]:
    """Return the errors of basedpyright in its strict mode."""
    return {place: text for place, (severity, text) in _basedpyright(paths, HERE).items() if severity == "error"}


def recommended(clients: list[Path]) -> dict[Place, str]:
    """Return the errors and warnings of basedpyright without settings, with which programs check their clients."""
    folder = clients[0].parent
    settings = {"extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    return {place: text for place, (_, text) in _basedpyright(clients, folder).items()}


def _basedpyright(paths: list[Path], project: Path) -> dict[Place, tuple[str, str]]:
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(project)]
    command += ["--pythonpath", sys.executable, *map(str, paths)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode not in (0, 1):
        sys.exit(found.stdout + found.stderr)
    return {
        (Path(row["file"]).name, row["range"]["start"]["line"] + 1): (row["severity"], row["message"])
        for row in json.loads(found.stdout)["generalDiagnostics"]
    }


def differences(marked: set[Place], found: dict[Place, str]) -> Iterator[str]:
    """Yield a line for each error without a mark, and for each mark without an error."""
    for name, line in sorted(found.keys() - marked):
        yield f"{name}:{line}: {found[name, line]}"
    for name, line in sorted(marked - found.keys()):
        yield f"{name}:{line}: must be an error, and is accepted"


def written_clients(folder: Path) -> list[Path]:
    """Write the clients of examples, which checkers must accept, and return their paths."""
    targets = {"orders": "portal.examples.orders:service", "shop": "tests.checkers.accepted:Shop"}
    for name, target in targets.items():
        command = [sys.executable, "-m", "portal", "stub", target, "--output", str(folder / f"{name}_client.py")]
        subprocess.run(command, cwd=ROOT, check=True)
    return [folder / f"{name}_client.py" for name in targets]


def main() -> None:
    """Check the files and exit with 1 if a checker disagrees with the marks."""
    with tempfile.TemporaryDirectory() as folder:
        clients = written_clients(Path(folder))
        check([*files(), *clients], clients)


def check(paths: list[Path], clients: list[Path]) -> None:
    """Check files and exit with 1 if a checker disagrees with the marks."""
    failed = False
    for checker, checked in ((mypy, paths), (basedpyright, paths), (recommended, clients)):
        marked = expected(checked)
        problems = list(differences(marked, checker(checked)))
        failed = failed or bool(problems)
        print(f"{checker.__name__}: {len(checked)} files, {len(marked)} marked lines, {len(problems)} differences")
        for problem in problems:
            print(f"  {problem}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
