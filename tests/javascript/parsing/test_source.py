from __future__ import annotations

import pytest

from portal.javascript.parsing.source import arguments_for, prepare, prepare_module


@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        ("function f(a, b) { return a }", ("a", "b")),
        ("async function f(p) { }", ("p",)),
        ("function* g(){}; function f({a, b}, c = [1, 2], ...rest) {}", (None, "c", None)),
        ("const f = (a, b) => a", ("a", "b")),
        ("let f = a => a", ("a",)),
        ("var f = async function (x) {}", ("x",)),
        ("(a, b) => a", ("a", "b")),
        ("async p => p", ("p",)),
        ("function (q) {}", ("q",)),
        ("export default function other(a) {}", ("a",)),
        ("export default (a, b) => a", ("a", "b")),
        ("export function f(z) {}", ("z",)),
        ("function only(a) { function inner(b) {} }", ("a",)),
        ("var x = 1", None),
    ],
)
def test_the_function_and_its_parameters_are_found(source: str, parameters: tuple[str | None, ...] | None) -> None:
    assert prepare(source, "f").parameters == parameters


@pytest.mark.parametrize(
    "source",
    ["function f(p) {\n  return 1 }", "(p) =>\n 1", "import a from 'm';\nexport default\n(p) =>\n a",
     "import {\n a as b,\n c\n} from 'm';\nexport function f() {}"],
)  # fmt: skip
def test_no_code_moves_to_another_line(source: str) -> None:
    found = prepare(source, "f")
    lines = found.text.split("\n")[found.added_lines :]
    for number, line in enumerate(source.split("\n")):
        last = line.split()[-1]
        if last not in ("default", "{", "a", "b,", "c", "'m';"):
            assert last in lines[number]


@pytest.mark.parametrize(
    ("source", "message", "index"),
    [
        ("import x, y from 'm'", "import", 0),
        ("let a;\nexport const {b} = a;", "export", 7),
        ("export let [c] = []", "export", 0),
        ("import {a}", "import", 0),
    ],
)
def test_module_syntax_that_is_not_supported(source: str, message: str, index: int) -> None:
    for found in (prepare(source, "f"), prepare_module(source)):
        assert found.problem is not None
        assert message in found.problem[0]
        assert found.problem[1] == index


def test_words_in_strings_and_members_are_not_module_syntax() -> None:
    source = "function f() { return 'export default 1' + `import x` + a.export + {import: 1}.import }"
    assert prepare(source, "f").text.startswith(source)


def test_a_dynamic_import_is_not_rewritten() -> None:
    assert prepare("import('m'); function f() {}", "f").text.startswith("import('m')")


@pytest.mark.parametrize(
    ("parameters", "names", "expected"),
    [
        (("a", "b"), ["a", "b"], ("a", "b")),
        (("b", "a"), ["a", "b"], ("b", "a")),
        (("b",), ["a", "b"], ("b",)),
        (("p",), ["a", "b"], None),
        (("x", "y"), ["a", "b"], ("a", "b")),
        (("x", "y", "z"), ["a", "b"], ("a", "b")),
        ((None,), ["a"], None),
        ((None, "b"), ["a", "b"], None),
        ((), ["a"], None),
        (None, ["a"], None),
        (("a",), [], None),
    ],
)
def test_arguments(
    parameters: tuple[str | None, ...] | None, names: list[str], expected: tuple[str, ...] | None
) -> None:
    assert arguments_for(parameters, names) == expected
