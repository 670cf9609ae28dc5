"""No frame keeps an exception that passes through it.

Exception, traceback, frame and local variable would refer to each other. Only the garbage collector would free them,
and with them everything that the call holds. Under a flood of errors it would pause all threads for long.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from .test_rooms import MODULES

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def own_nodes(function: _Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of the functions inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _Function | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


def released(function: _Function) -> set[str]:
    """Return the names that a `finally` of the function deletes or sets anew."""
    names = set()
    for node in own_nodes(function):
        for one in node.finalbody if isinstance(node, ast.Try) else ():
            if isinstance(one, ast.Delete | ast.Assign):
                names |= {ast.unparse(target) for target in one.targets}
    return names


def handled(function: _Function) -> set[str]:
    """Return the names of `except ... as name`. Python deletes them at the end of the handler."""
    return {node.name for node in own_nodes(function) if isinstance(node, ast.ExceptHandler) and node.name}


def kept(function: _Function) -> Iterator[str]:
    """Yield each place where the function keeps an exception while or after it raises it."""
    caught, free = handled(function), released(function)
    for node in own_nodes(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name | ast.Attribute):
            name = ast.unparse(node.exc)
            is_class = name.split(".")[-1].lstrip("_")[:1].isupper()
            if not is_class and name not in caught and not free & {name, name.split(".")[0]}:
                yield f"line {node.lineno}: raise {name}"
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in caught:
            names = {ast.unparse(target) for target in node.targets if isinstance(target, ast.Name)}
            if names - free:
                yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_frame_keeps_no_exception_that_it_raises(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, _Function))
    found = [place for function in functions for place in kept(function)]
    assert found == [], "raise an expression, do the work in the `except` block, or delete the variable in a `finally`"
