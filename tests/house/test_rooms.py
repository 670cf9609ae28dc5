"""The rooms of the package: imports go down only, no circles, modules and folders of a readable size."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "portal"
MAX_LINES = 400
MAX_MODULES = 22

#: From the bottom up; the rooms of one row do not import each other, but for the pairs in SIDEWAYS.
ROWS = (
    {"errors"},
    {"context", "address", "http11", "_internal"},
    {"schema", "processes"},
    {"function", "serving"},
    {"portal", "calls", "catalogue", "service"},
    {"auth", "resilience", "limits", "idempotency", "cache", "jsonrpc", "metrics", "network"},
    {"registry", "directory"},
    {"local", "http", "websocket", "javascript", "cluster"},
    {"consumer"},
    {"testing"},
    {"config", "health", "telemetry"},
    {"factory", "debug"},
    {"cli", "examples", "__main__", "pytest_plugin"},
)
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row}
SIDEWAYS = {
    ("context", "_internal"): "a context renews its locks after a fork",
    ("portal", "catalogue"): "a portal keeps its functions in a catalogue",
    ("portal", "service"): "a portal publishes services",
    ("cli", "examples"): "the command may serve the example",
    ("__main__", "cli"): "python -m portal is the command",
}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below `portal`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


MODULES = modules()


def imports_of(name: str, path: Path, *, lazy: bool) -> Iterator[tuple[str, int]]:
    """The modules of ours that a module imports when it runs, with their lines; type-checking imports do not run.

    Args:
        lazy: whether imports inside functions count, too.
    """
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.ImportFrom) and child.level and (lazy or not inside):
                base = package[: len(package) - child.level + 1]
                target = ".".join([*base, *(child.module.split(".") if child.module else [])])
                for alias in child.names:
                    full = f"{target}.{alias.name}".lstrip(".")
                    yield (full if full in MODULES else target), child.lineno
            function = isinstance(child, ast.FunctionDef | ast.Lambda)
            yield from visit(child, inside or function)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), False)


def test_imports_go_down() -> None:
    upward = []
    for name, path in MODULES.items():
        room = name.split(".")[0]
        for target, line in imports_of(name, path, lazy=True):
            other = target.split(".")[0]
            if other in ("", room):
                continue
            if LEVEL[other] >= LEVEL[room] and (room, other) not in SIDEWAYS:
                upward.append(f"{path.relative_to(PACKAGE)}:{line} imports {target}")
    assert upward == []


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            component = []
            while True:
                component.append(stack.pop())
                if component[-1] == node:
                    break
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def test_no_circle_of_modules() -> None:
    """Imports inside functions count: a circle that is put off is still a circle."""
    graph = {
        name: {target for target, _ in imports_of(name, path, lazy=True) if target and target != name}
        for name, path in MODULES.items()
    }
    assert circles(graph) == []


def folder_of(name: str) -> str:
    return name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]


def test_no_circle_of_packages() -> None:
    """Two folders of which neither holds the other do not import each other."""
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        mine = folder_of(name)
        for target, _ in imports_of(name, path, lazy=True):
            if not target:
                continue
            other = folder_of(target)
            if (
                other
                and mine
                and other != mine
                and not other.startswith(mine + ".")
                and not mine.startswith(other + ".")
            ):
                graph.setdefault(mine, set()).add(other)
    assert circles(graph) == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_is_short_enough_to_read(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_a_folder_is_short_enough_to_survey() -> None:
    crowded = {
        str(folder.relative_to(PACKAGE.parent)): count
        for folder in (PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir()))
        if (count := sum(1 for path in folder.iterdir() if path.suffix == ".py")) > MAX_MODULES
    }
    assert crowded == {}


def test_the_command_lives_in_its_room() -> None:
    assert [path.name for path in PACKAGE.glob("cli_*.py")] == []


def test_every_room_has_a_row() -> None:
    rooms = {name.split(".")[0] for name in MODULES}
    assert rooms - LEVEL.keys() == set()


def test_circles_are_found() -> None:
    """The search itself, on graphs whose circles are known."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "d": {"c"}}) == []
