from __future__ import annotations

from importlib.util import find_spec

import pytest

from portal import Consumer, JavaScriptError, JavaScriptPortal, JSFunction
from portal.javascript import Analysis, Sandbox
from portal.javascript.parsing import analysis
from portal.javascript.parsing.analysis import analyse

#: Found by the parser only: wrong syntax, and what leaves an inner function but not the loop.
PARSED = ("function f( {", "for (;;) { (() => { return 1 })() }")


@pytest.fixture(params=["parser", "tokens"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "tokens":
        monkeypatch.setattr(analysis, "find_spec", lambda name: None)
    elif find_spec("tree_sitter_javascript") is None:
        pytest.skip("tree-sitter is not installed")
    return str(request.param)


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("f = () => eval('1')", "eval"),
        ("new Function('return 1')", "Function"),
        ("Function('return 1')", "Function"),
        ("a.constructor.constructor('x')", "constructor"),
        ("import('x')", "dynamic-import"),
        ("with (a) {}", "with"),
        ("Array.prototype.x = 1", "prototype"),
        ("a.__proto__.x += 1", "prototype"),
        ("while (true) {}", "endless-loop"),
        ("for (;;) { (() => { return 1 })() }", "endless-loop"),
        ("do { x++ } while (1)", "endless-loop"),
        ("/(a+)+$/.test(s)", "regex"),
        ("x = " + "[" * 300 + "]" * 300, "nesting"),
        ("x = '" + "y" * 70_000 + "'", "literal"),
        ("function f( {", "syntax"),
        ("x" * 300_000, "size"),
    ],
)
def test_what_is_found(parser: str, source: str, rule: str) -> None:
    if parser == "tokens" and source in PARSED:
        pytest.skip("only the parser finds it")
    assert rule in {finding.rule for finding in analyse(source)}


@pytest.mark.parametrize(
    "source",
    [
        "export default async ({ a, b = 2 }) => a?.b ?? `${b}`",
        "function f() { for (;;) { if (x) break } while (true) { return 1 } }",
        "const o = { eval: 1, with: 2 }; o.eval; 'eval(1)'; // eval(2)",
        "class A { #x = 1n; get x() { return this.#x } }",
        "/^(?:[a-z]+)$/.test(s); /(ab)+/.test(s)",
        "import x from 'y'; x.prototype",
        "do { if (x) break } while (true); if (a.prototype == 1 || a.prototype >= 2) { f() } while (true) { break }",
    ],
)
def test_ordinary_code_has_no_findings(source: str) -> None:
    assert analyse(source) == []


def test_places_count_characters_from_one() -> None:
    found = analyse("let é = 'ü';\n  /* é */ eval('1'); with (a) {}")
    assert [(one.rule, one.line, one.column) for one in found] == [("eval", 2, 11), ("with", 2, 22)]
    assert str(found[0]) == "2:11: code must not be loaded or made while it runs (eval)"


def test_the_policy_rejects_warns_or_does_not_look(caplog: pytest.LogCaptureFixture) -> None:
    function = JSFunction("() => eval('1')", "f")
    with JavaScriptPortal(sandbox=Sandbox(analysis=Analysis("reject"))) as portal:
        with pytest.raises(JavaScriptError) as caught:
            portal.apply(function)
        assert (caught.value.stage, caught.value.line, caught.value.column) == ("analysis", 1, 7)
        with pytest.raises(JavaScriptError) as broken:
            portal.apply(JSFunction("() => {", "f"))
        assert broken.value.stage == "syntax"
    with JavaScriptPortal() as portal, Consumer([portal]) as consumer:
        assert consumer.call_at(portal.apply(function), {}) == 1
        assert "javascript f: 1:7: code must not be loaded" in caplog.text
    assert Analysis("off").check("f", "eval('1')") == []


@pytest.mark.parametrize("unit", ["1,", "-+", "for(;;){", "for(;;);", "a.prototype", "a[", "()", "=/[", "eval();"])
def test_the_analysis_of_a_long_line_ends(unit: str) -> None:
    source = "() => " + unit * 12_000  # minutes, if the time grew with the square of the length
    assert len(analyse(source, Analysis(max_size=len(source)))) <= 100


def test_no_more_than_a_hundred_findings() -> None:
    found = analyse("eval(1);" * 300)
    assert [one.column for one in found] == [8 * number + 1 for number in range(100)]
