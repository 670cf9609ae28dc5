"""Each field that threads share is in docs/decisions/0025-shared-fields.md, with its guard.

A class whose docstring says that several threads may use it is shared. Its fields are those that a method other than
`__init__` assigns, or whose container it changes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_rooms import MODULES

PAGE = Path(__file__).parents[2] / "docs" / "decisions" / "0025-shared-fields.md"
CONTAINERS = {"dict", "list", "set", "deque", "OrderedDict", "LRUCache"}
CHANGES = {
    *("append", "appendleft", "pop", "popleft", "popitem", "add", "discard", "remove", "clear", "update"),
    *("setdefault", "extend", "insert", "move_to_end"),
}
#: Run before other threads see the object, or in the child of a fork, where there is no other thread.
ALONE = {"__init__", "__post_init__", "after_fork", "_reset"}


def is_shared(cls: ast.ClassDef) -> bool:
    found = re.search(r"^ *Threads: (\w+)", ast.get_docstring(cls) or "", re.MULTILINE)
    return found is not None and found[1] not in ("one", "immutable")


def own_field(node: ast.AST) -> str | None:
    """Return the name of a field of `self`, of which the node may be an item."""
    while isinstance(node, ast.Subscript):
        node = node.value
    is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return node.attr if is_own else None  # type: ignore[attr-defined]


def targets(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Assign | ast.Delete):
        for target in node.targets:
            yield from target.elts if isinstance(target, ast.Tuple) else [target]
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
        yield node.target


def is_container(value: ast.AST | None) -> bool:
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in CONTAINERS
    return isinstance(value, ast.Dict | ast.List | ast.Set)


def containers_of(cls: ast.ClassDef) -> set[str]:
    found = set()
    for node in ast.walk(cls):
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_container(node.value):
            found |= {name for target in targets(node) if (name := own_field(target)) is not None}
    return found


def changed_fields(cls: ast.ClassDef) -> set[str]:
    containers, found = containers_of(cls), set()
    methods = [one for one in cls.body if isinstance(one, ast.FunctionDef) and one.name not in ALONE]
    for node in (node for method in methods for node in ast.walk(method)):
        found |= {name for target in targets(node) if (name := own_field(target)) is not None}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            name = own_field(node.func.value)
            found |= {name} & containers if name is not None else set()
    return found


def shared_fields() -> dict[str, set[str]]:
    """Return the fields by class, such as "serving.loop.leader.LeaderFollower"."""
    found = {}
    for module, path in MODULES.items():
        for cls in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(cls, ast.ClassDef) and is_shared(cls) and (fields := changed_fields(cls)):
                found[f"{module}.{cls.name}"] = fields
    return found


def listed_fields() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `portal\.([\w.]+)` \| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    found: dict[str, set[str]] = {}
    for cls, fields in rows:
        found.setdefault(cls, set()).update(re.findall(r"`(\w+)`", fields))
    return found


SHARED = shared_fields()
LISTED = listed_fields() if PAGE.exists() else {}


@pytest.mark.parametrize("cls", sorted(SHARED))
def test_a_shared_field_is_listed_with_its_guard(cls: str) -> None:
    missing = SHARED[cls] - LISTED.get(cls, set())
    assert missing == set(), f"add the fields of {cls} and their guard to docs/decisions/{PAGE.name}"


def test_what_is_listed_exists() -> None:
    known = shared_fields()
    gone = {cls: fields - known.get(cls, set()) for cls, fields in LISTED.items()}
    assert {cls: fields for cls, fields in gone.items() if fields} == {}
