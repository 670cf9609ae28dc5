"""Writer: lines, names and limits of generated code."""

from __future__ import annotations

import pytest

from portal.schema.codecs import generate
from portal.schema.codecs.writer import MAX_LINES, Misfit, TooLarge, Writer


def test_lines_names_and_constants() -> None:
    out = Writer()
    limit = 2
    out.reject_if(f"value > {out.constant(limit)}")
    found = out.name()
    out.line(f"{found} = value")
    with out.block(f"if {found}:"):
        out.line(f"{found} += 1")
    assert out.name() != found
    convert = generate(f"def codec(value):\n{out.text}\n return {found}", out.scope)
    assert (convert(0), convert(2)) == (0, 3)
    with pytest.raises(Misfit):
        convert(3)


def test_nothing_is_checked_where_values_are_known_to_fit() -> None:
    out = Writer(checks=False)
    out.reject_if("True")
    assert out.text == ""


def test_a_block_without_lines_is_valid() -> None:
    out = Writer(indent=2)
    with out.block("for item in value:"):
        out.reject_if("item")
    silent = Writer(checks=False)
    with silent.block("for item in value:"):
        silent.reject_if("item")
    assert out.text == "  for item in value:\n   if item: raise Misfit"
    assert silent.text == " for item in value:\n  pass"


def test_an_equal_constant_of_another_class_has_its_own_name() -> None:
    out = Writer()
    names = [out.constant(value) for value in (1, True, 1.0)]
    assert len(set(names)) == 3
    assert out.constant(True) == names[1]


def test_code_has_a_limit() -> None:
    out = Writer()
    for _ in range(MAX_LINES):
        out.line("pass")
    with pytest.raises(TooLarge):
        out.line("pass")
    deep = Writer()

    def nest() -> None:
        with deep.block("if value:"):
            nest()

    with pytest.raises(TooLarge):
        nest()
