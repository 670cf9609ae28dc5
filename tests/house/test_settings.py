"""Settings are validated in one module: no other tests them for booleans, NaN, infinity or a range."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from .test_rooms import MODULES

VALIDATORS = "_internal.settings"
_INFINITY = re.compile(r"\binf\b")
_FINITE = {"isfinite", "isinf", "isnan"}


def own_checks(source: str) -> list[int]:
    """Return the lines of a module that test the value of a setting, or define a function `_wrong`.

    A function that raises ConfigError tests a setting where it asks for a bool, NaN or infinity, or where an `if` that
    raises compares a value with a number.
    """
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef):
            continue
        if node.name == "_wrong":
            found.add(node.lineno)
        if any(_rejects(child) for child in ast.walk(node)):
            found.update(child.lineno for child in ast.walk(node) if _asks_for_a_kind_of_number(child))
        for child in ast.walk(node):
            if isinstance(child, ast.If) and any(_rejects(step) for step in child.body):
                found.update(part.lineno for part in ast.walk(child.test) if _is_range(part))
    return sorted(found)


def _rejects(node: ast.AST) -> bool:
    """Whether a statement raises ConfigError, or hands a value to a function that does."""
    if isinstance(node, ast.Raise) and node.exc is not None:
        return "ConfigError" in ast.unparse(node.exc) or "_wrong(" in ast.unparse(node.exc)
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith(("_check(", "_reject("))


def _asks_for_a_kind_of_number(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
        return "bool" in _names(node.args[1])
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).split(".")[-1] in _FINITE
    if isinstance(node, ast.Compare):
        return any(_INFINITY.search(ast.unparse(side)) for side in (node.left, *node.comparators))
    return False


def _is_range(node: ast.AST) -> bool:
    """Whether this orders a value and a number; the length of something may be compared."""
    if not isinstance(node, ast.Compare):
        return False
    if not any(isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for operator in node.ops):
        return False
    sides = [node.left, *node.comparators]
    if any(isinstance(side, ast.Call) and ast.unparse(side.func).endswith(("len", ".count")) for side in sides):
        return False
    return any(isinstance(side, ast.Constant) and isinstance(side.value, int | float) for side in sides)


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def modules_with_own_checks() -> Iterator[tuple[str, list[int]]]:
    for name, path in MODULES.items():
        if name != VALIDATORS and (lines := own_checks(path.read_text(encoding="utf-8"))):
            yield name, lines


def test_no_other_module_validates_settings() -> None:
    assert dict(modules_with_own_checks()) == {}


@pytest.mark.parametrize(
    "check",
    [
        "if isinstance(size, bool) or not isinstance(size, int):\n  raise ConfigError('no')",
        "if not isinstance(size, int | bool):\n  raise ConfigError.invalid('size', size, 'a number')",
        "if not math.isfinite(size):\n  raise ConfigError('no')",
        "if not size < math.inf:\n  raise ConfigError('no')",
        "ok = size != float('inf')\n if not ok:\n  raise ConfigError('no')",
        "if size < 1:\n  raise ConfigError('no')",
        "if not 0 <= size <= 9:\n  raise errors.ConfigError('no')",
        "_check('size', size, 0 < size < inf, 'a number')",
    ],
)
def test_a_check_is_found(check: str) -> None:
    assert own_checks(f"def __init__(self, size):\n {check}") != []


@pytest.mark.parametrize(
    "harmless",
    [
        "if len(secret) < 32:\n  raise ConfigError('no')",
        "if size < 1:\n  raise ValueError('no')",
        "if isinstance(value, bool):\n  return 'boolean'",
        "if size not in KNOWN:\n  raise ConfigError('no')",
        "self._size = count('size', size)",
    ],
)
def test_other_tests_are_not(harmless: str) -> None:
    assert own_checks(f"def __init__(self, size):\n {harmless}") == []


def test_a_function_with_the_old_name_is_found() -> None:
    assert own_checks("def _wrong(path):\n return path") == [1]
