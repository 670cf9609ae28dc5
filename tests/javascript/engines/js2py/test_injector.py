from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from portal.javascript.engines.js2py.injector import fix_js_args, install


def plain(a, b=1):  # type: ignore[no-untyped-def]
    return a, b, this, arguments  # type: ignore[name-defined]  # noqa: F821


def outer(free: int) -> Callable[..., Any]:
    def inner(a):  # type: ignore[no-untyped-def]
        return a, free, this, arguments  # type: ignore[name-defined]  # noqa: F821

    return inner


def complete(a: int, this: int, arguments: int) -> int:
    return a + this + arguments


def test_two_parameters_are_added() -> None:
    made: Any = fix_js_args(plain)  # type: ignore[arg-type]
    assert made.__code__.co_varnames[:4] == ("a", "b", "this", "arguments")
    assert made(1, 2, 3, 4) == (1, 2, 3, 4)
    assert made.__name__ == "plain"


def test_a_closure_keeps_its_variables() -> None:
    made: Any = fix_js_args(outer(7))  # type: ignore[arg-type]
    assert made(1, 2, 3) == (1, 7, 2, 3)


def nested(a):  # type: ignore[no-untyped-def]
    def inside(b):  # type: ignore[no-untyped-def]
        return b, this  # type: ignore[name-defined]  # noqa: F821

    return inside


def test_a_function_inside_of_one_that_was_changed() -> None:
    outside: Any = fix_js_args(nested)  # type: ignore[arg-type]
    inside: Any = fix_js_args(outside(1, 2, 3))
    assert inside(4, 5, 6) == (4, 5)


def test_a_function_that_has_them_is_returned() -> None:
    assert isinstance(complete, FunctionType)
    assert fix_js_args(complete) is complete


def test_a_function_without_source_is_an_error() -> None:
    namespace: dict[str, Any] = {}
    exec(compile("def lost(a):\n return a", __file__, "exec"), namespace)
    with pytest.raises(ImportError, match="lost"):
        fix_js_args(namespace["lost"])


def test_the_module_takes_the_place_of_that_of_js2py() -> None:
    install()
    assert sys.modules["js2py.utils.injector"].fix_js_args is not None
