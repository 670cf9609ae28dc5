"""Stand in for `js2py.utils.injector`, which rewrites bytecode and fails from CPython 3.12 on.

`fix_js_args` gives a function of js2py the two parameters `this` and `arguments`. It compiles the function again from
its syntax tree, which works with every version of CPython.
"""

from __future__ import annotations

import ast
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["fix_js_args", "install"]

_ADDED = ("this", "arguments")


def fix_js_args(function: FunctionType) -> FunctionType:
    """Return a function that takes `this` and `arguments` as its last parameters."""
    code = function.__code__
    last = code.co_varnames[code.co_argcount - 2 : code.co_argcount]
    if last in (_ADDED, ("arguments", "var")):
        return function
    made = _compile(code)
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    closure = tuple(cells.get(name, CellType()) for name in made.co_freevars)
    return FunctionType(made, function.__globals__, function.__name__, function.__defaults__, closure)


def _compile(code: CodeType) -> CodeType:
    """Return the code of a function with the parameters added, from the source of its module."""
    found = _functions(code.co_filename).get((code.co_name, code.co_firstlineno))
    if found is None:
        raise ImportError(f"the source of {code.co_name} in {code.co_filename} cannot be found")
    definition = deepcopy(found)  # with its line numbers, by which a function inside of it is found later
    definition.decorator_list = []
    definition.name = "injected"  # its own name would hide a global of that name, such as abs
    definition.args.args += [ast.arg(name) for name in _ADDED]
    # a function around it, so that its free variables are those of a closure
    frees = ast.arguments([], [ast.arg(name) for name in code.co_freevars], None, [], [], None, [])
    outer = ast.FunctionDef("outer", frees, [definition], [], lineno=1, col_offset=0)
    if sys.version_info >= (3, 12):
        outer.type_params = []
    module = ast.fix_missing_locations(ast.Module([outer], []))
    made = _nested(_nested(compile(module, code.co_filename, "exec"), "outer"), definition.name)
    return made.replace(co_name=code.co_name)


def _nested(code: CodeType, name: str) -> CodeType:
    return next(one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name)


@cache
def _functions(filename: str) -> dict[tuple[str, int], ast.FunctionDef]:
    """Return the functions of a module by name and first line."""
    tree = ast.parse(Path(filename).read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {(node.name, _first_line(node)): node for node in found}


def _first_line(node: ast.FunctionDef) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


def install() -> None:
    """Put this module in the place of js2py's own before js2py is imported."""
    name = "js2py.utils.injector"
    if name not in sys.modules:
        module: Any = ModuleType(name)
        module.fix_js_args = fix_js_args
        sys.modules[name] = module
