from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import Schema as MarshmallowSchema
from marshmallow import fields

from portal import ConfigError, FunctionSchema, JavaScriptError, JSFunction, RegistryError

ADD = "function add(a, b) { return a + b }"


def test_without_a_schema_the_parameters_have_any_type() -> None:
    assert JSFunction(ADD, "add").schema.input == {
        "type": "object",
        "properties": {"a": {}, "b": {}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    assert JSFunction("p => p", "same").schema.input == {"type": "object"}


class Sum(MarshmallowSchema):
    a = fields.Integer(required=True)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"input": {"type": "object", "properties": {"a": {"type": "integer"}}}, "output": {}}, "integer"),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, "integer"),
        ({"input": Sum, "output": int}, "integer"),
        (FunctionSchema("other", input={"type": "object", "properties": {"a": {"type": "integer"}}}), "integer"),
    ],
)  # fmt: skip
def test_a_schema_of_each_form(schema: Any, kind: str) -> None:
    found = JSFunction("p => p.a", "f", schema=schema).schema
    assert found.name == "f"
    assert found.input["properties"]["a"]["type"] == kind


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "add.js").write_text(ADD)
    (tmp_path / "twice.mjs").write_text("\ufeffexport default p => p.n * 2", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no code")
    (tmp_path / "lib").mkdir()
    assert [one.name for one in JSFunction.from_folder(tmp_path)] == ["add", "twice"]
    assert JSFunction.from_file(tmp_path / "add.js", name="sum").name == "sum"
    for wrong in (tmp_path / "none.js", tmp_path / "lib"):
        with pytest.raises(ConfigError, match=r"javascript\.path"):
            JSFunction.from_file(wrong)
    with pytest.raises(ConfigError, match="must be a folder"):
        JSFunction.from_folder(tmp_path / "add.js")


def test_the_hash_is_of_the_code_and_the_modules() -> None:
    plain = JSFunction(ADD, "add")
    assert plain.code_hash == JSFunction(ADD, "add", trusted=True).code_hash
    assert plain.code_hash != JSFunction(ADD + ";", "add").code_hash
    assert plain.code_hash != JSFunction(ADD, "add", modules={"m": "exports.a = 1"}).code_hash
    assert repr(plain) == f"<JSFunction add@1 {plain.code_hash[:8]}>"


def test_other_code_keeps_everything_else() -> None:
    function = JSFunction(ADD, "add", timeout=0.5, memory=2**24, engine="quickjs", trusted=True, version="3")
    other = function.with_code("(x, y) => x - y")
    assert other.schema == function.schema
    assert (other.timeout, other.memory, other.engine, other.trusted) == (0.5, 2**24, "quickjs", True)
    assert other.code != function.code


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"code": ""}, "javascript.code"),
        ({"code": 3}, "javascript.code"),
        ({"code": " " * 1_100_000}, "javascript.code"),
        ({"timeout": -1}, "function.timeout"),
        ({"memory": 0}, "function.memory"),
        ({"trusted": 1}, "function.trusted"),
        ({"engine": "netscape"}, "javascript.engine"),
        ({"modules": "m"}, "function.modules"),
        ({"modules": [3]}, "function.modules"),
        ({"schema": 3}, "javascript.schema"),
        ({"schema": {"input": {"type": "object"}, "colour": 1}}, "javascript.schema"),
    ],
)
def test_wrong_settings(arguments: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        JSFunction(**{"code": ADD, "name": "add", **arguments})
    assert caught.value.path == path


def test_wrong_names_and_module_syntax() -> None:
    with pytest.raises(RegistryError):
        JSFunction(ADD, "a/b")
    with pytest.raises(JavaScriptError, match="export is not supported") as caught:
        JSFunction("let a;\n export const {b} = a;", "f")
    assert (caught.value.stage, caught.value.line, caught.value.column) == ("syntax", 2, 2)
    with pytest.raises(ConfigError, match=r"function\.modules must be a module of the portal's host"):
        JSFunction(ADD, "add", modules=["missing"]).program("{}", {})


def test_modules_are_given_or_those_of_the_host() -> None:
    function = JSFunction(ADD, "add", modules=["tax"])
    assert function.program("{}", {"tax": "exports.rate = 1"}).modules[0][0] == "tax"
    with pytest.raises(JavaScriptError, match="tax: this form of import"):
        function.program("{}", {"tax": "import a, b from 'x'"})


WORDS = ("function", "export", "default", "async", "*", "{", "}", "(", ")", "f", "=", "=>", "const", "import", "from")
MORE = ("'a'", "as", "class", "/", "[", "`", "${", "/** @param {", "} */", "@typedef", "\n", ".", ",", "1", "\\", '"')


@given(st.lists(st.sampled_from(WORDS + MORE), max_size=12), st.sampled_from(["", " "]))
@settings(max_examples=200, deadline=None)
def test_any_text_makes_a_function_or_a_portal_error(words: list[str], between: str) -> None:
    with suppress(ConfigError, JavaScriptError, RegistryError):
        JSFunction(between.join(words), "f").program("{}", {})


@pytest.mark.parametrize(
    "code", ["function function function function", "export default", "export {", "import", "const", "async"]
)
def test_broken_declarations(code: str) -> None:
    with suppress(JavaScriptError):
        JSFunction(code, "f")
