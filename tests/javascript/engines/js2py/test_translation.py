from __future__ import annotations

import ast
import threading

import pytest

from portal.javascript import EngineError
from portal.javascript.engines.js2py.hardening import load
from portal.javascript.engines.js2py.translation import check_and_tick, translate


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "from os import system",
        "__import__('os')",
        "var.__class__",
        "var.get('x').own.items()",
        "class A(object): pass",
        "class A(Exception, metaclass=x): pass",
        "@evil\ndef f(): pass",
        "lambda: 1",
        "[x for x in y]",
        "with x: pass",
        "f'{x}'",
        "global x",
        "async def f(): pass",
        "x: int = 1",
        "def __build__(): pass",
        "PyJsTick = 1",
        "yield 1",
        "(x := 1)",
        "if",
        "def f(__x__): pass",
        "try:\n pass\nexcept* A:\n pass",
    ],
)
def test_what_the_translator_does_not_write_is_rejected(text: str) -> None:
    with pytest.raises(EngineError) as caught:
        check_and_tick(text)
    assert caught.value.stage == "analysis"


def test_a_catch_variable_that_lands_in_the_template() -> None:
    with pytest.raises(EngineError) as caught:
        translate(load(), "function f() { try { x } catch (BLOCK) { return 1 } }")
    assert caught.value.stage == "analysis"


@pytest.mark.parametrize(
    "source",
    ["f = a => a", "class A {}", "function f(a = 1) {}", "`x`", "function* g() {}", "with (a) {}"],
)
def test_newer_code_is_rejected_with_the_engines_that_run_it(source: str) -> None:
    with pytest.raises(EngineError, match=r"ECMAScript 5\.1; quickjs, quickjs-wasm and v8") as caught:
        translate(load(), source)
    assert caught.value.stage == "syntax"


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(EngineError) as caught:
        translate(load(), "x = " + "(" * 5000 + "1" + ")" * 5000)
    assert caught.value.stage in ("stack", "syntax")


def test_a_step_of_the_compiler_that_another_thread_disturbs_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, disturbed = ast.parse, iter([True, True, False])

    def parse_badly(text: str) -> ast.Module:
        if next(disturbed):
            raise SystemError("AST constructor recursion depth mismatch (before=21, after=15)")
        return parse(text)

    monkeypatch.setattr(ast, "parse", parse_badly)
    assert check_and_tick("var.put('x', 1)").co_filename == "<javascript>"


def test_threads_translate_one_after_the_other() -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        for index in range(10):
            name = f"v{number}_{index}"
            try:
                translate(load(), f"var {name} = {{get x() {{ return {index} }}}}; function f() {{ return {name}.x }}")
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
