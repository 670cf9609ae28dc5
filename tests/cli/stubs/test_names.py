"""Names in generated modules."""

from __future__ import annotations

import ast

import pytest

from portal.cli.stubs.names import Names, class_name, docstring, identifier, is_field_name, literal


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("level", "level"),
        ("stock-level", "stock_level"),
        ("from", "from_"),
        ("list", "list_"),
        ("self", "self_"),
        ("2fast", "n2fast"),
        ("_private", "private"),
        ("ä", "value"),
        ("x\n    import os", "x_import_os"),
    ],
)
def test_identifiers(name: str, found: str) -> None:
    assert identifier(name) == found
    assert found.isidentifier()


@pytest.mark.parametrize(
    ("name", "is_field"),
    [
        ("sku", True),
        ("from", False),
        ("id", True),
        ("dt", False),
        ("list", False),
        ("to-day", False),
        ("Decimal", False),
    ],
)
def test_names_of_fields(name: str, is_field: bool) -> None:
    assert is_field_name(name) is is_field


@pytest.mark.parametrize(
    "text",
    [
        'quotes """ inside',
        'ends with a quote"',
        "back\\slash",
        "\\",
        '"""',
        "two\nlines",
        "bell\x07",
        'a\n"""\nimport os',
    ],
)
def test_text_stays_inside_of_a_docstring(text: str) -> None:
    module = ast.parse("\n".join(["class A:", *docstring(text, "    "), "    pass"]))
    (cls,) = module.body
    assert isinstance(cls, ast.ClassDef)
    assert [type(node).__name__ for node in cls.body] == ["Expr", "Pass"]


def test_no_text_is_no_docstring() -> None:
    assert docstring("  \n", "    ") == []


@pytest.mark.parametrize("value", ["a", "it's", 'say "x"', "\\", "\n", 3, True, None, 1.5, ("a",), ("a", "b"), ()])
def test_literals(value: object) -> None:
    assert ast.literal_eval(literal(value)) == value
    assert literal("it's") == '"it\'s"'


def test_names_are_used_once() -> None:
    names = Names()
    assert [names.free("Order"), names.free("Order"), names.free("ORDER"), names.free("Decimal")] == [
        "Order",
        "Order2",
        "ORDER3",
        "Decimal2",
    ]
    assert class_name("get_user/input") == "GetUserInput"
