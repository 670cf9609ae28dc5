"""Translate JavaScript of edition 5.1 to Python code that is held against a list of what the translator writes.

The translator of js2py builds Python text from templates, so it has to be assumed that a script can inject code.
"""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import CodeType
from typing import Any

from ...engine import EngineError
from .hardening import Runtime

__all__ = ["check_and_tick", "translate"]

_lock = threading.Lock()  # the translator keeps its state in globals of its modules
_NODES = (
    *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Delete, ast.Assign, ast.For, ast.While),
    *(ast.If, ast.Raise, ast.Try, ast.ClassDef, ast.Expr, ast.Pass, ast.Break, ast.Continue, ast.BoolOp, ast.And),
    *(ast.Or, ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop, ast.IfExp, ast.Dict, ast.Compare, ast.cmpop),
    *(ast.Call, ast.Constant, ast.Attribute, ast.Subscript, ast.Name, ast.List, ast.Tuple, ast.keyword),
    *(ast.expr_context, ast.ExceptHandler),
)
_ATTRIBUTES = frozenset(
    (
        *("registers", "register", "put", "get", "callprop", "create", "own", "force_own_put", "delete", "typeof"),
        *("neg", "contains", "instanceof", "to_number", "_set_name", "func_name", "define_own_property"),
    )
)
_TICK = "PyJsTick"
_TRIES = 20


def translate(runtime: Runtime, source: str) -> CodeType:
    """Return the Python code of a script.

    Raises: EngineError (stage "syntax") for source that is not ECMAScript 5.1; (stage "analysis") if the translation
        contains something that the translator does not write.
    """
    try:
        with _lock:
            text = runtime.translate(source)
    except RecursionError:
        raise EngineError("stack", "the source is nested too deeply", name="RangeError") from None
    except NotImplementedError as error:
        raise EngineError("syntax", _only_es5(str(error)), name="SyntaxError") from None
    except Exception as error:  # the parser raises errors of its own, and those of its faults
        raise EngineError("syntax", _only_es5(_words_of(error)), name="SyntaxError", line=_line_of(error)) from None
    try:
        return check_and_tick(text)
    except (RecursionError, MemoryError):
        raise EngineError("stack", "the source is nested too deeply", name="RangeError") from None


def check_and_tick(text: str) -> CodeType:
    """Compile translated code, with a call of `PyJsTick` in each loop and function.

    Raises: EngineError (stage "analysis").
    """
    try:
        tree = _compile_step(partial(ast.parse, text))
    except (SyntaxError, ValueError) as error:
        raise EngineError("analysis", f"the translation is not Python: {error}") from None
    for node in ast.walk(tree):
        problem = _problem(node)
        if problem:
            raise EngineError("analysis", f"the translation contains {problem}")
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.While | ast.FunctionDef):
            node.body.insert(0, ast.Expr(ast.Call(ast.Name(_TICK, ast.Load()), [], [])))
    # CPython 3.14 and later warn of `continue` in a `finally` block, which JavaScript allows.
    warnings.filterwarnings("ignore", ".*in a 'finally' block", SyntaxWarning, "<javascript>")
    code: CodeType = _compile_step(partial(compile, ast.fix_missing_locations(tree), "<javascript>", "exec"))
    return code


def _compile_step(step: Callable[[], Any]) -> Any:
    """Run a step of CPython's compiler, again if another thread has disturbed it.

    Some versions count the depth of a syntax tree for all threads together (CPython issue 106905). They raise
    SystemError if the threads switch at the wrong moment.
    """
    for _ in range(_TRIES):
        with suppress(SystemError):
            return step()
    return step()


def _problem(node: ast.AST) -> str:
    if not isinstance(node, _NODES):
        return f"the syntax {type(node).__name__}"
    if isinstance(node, ast.Attribute) and node.attr not in _ATTRIBUTES:
        return f"the attribute {node.attr}"
    name = _name_of(node)
    if name == _TICK or (name.startswith("__") and name.endswith("__")):
        return f"the name {name}"
    if isinstance(node, ast.ClassDef):
        bases = [one.id for one in node.bases if isinstance(one, ast.Name)]
        if bases != ["Exception"] or node.keywords or node.decorator_list:
            return f"the class {node.name}"
    if isinstance(node, ast.FunctionDef):
        decorators = [one.id for one in node.decorator_list if isinstance(one, ast.Name)]
        if len(decorators) != len(node.decorator_list) or any(one != "Js" for one in decorators):
            return "a decorator"
    return ""


def _name_of(node: ast.AST) -> str:
    for attribute in ("id", "name", "arg"):
        found = getattr(node, attribute, None)
        if isinstance(found, str):
            return found
    return ""


def _only_es5(reason: str) -> str:
    engines = "quickjs, quickjs-wasm and v8 run newer code"
    return f"js2py runs ECMAScript 5.1; {engines}: {reason}"


def _words_of(error: Exception) -> str:
    message: Any = getattr(error, "mes", None)
    return str(message if message is not None else error).partition("\n")[0][:500]


def _line_of(error: Exception) -> int | None:
    import re

    found = re.search(r"Line (\d+)", _words_of(error))
    return int(found[1]) if found else None
