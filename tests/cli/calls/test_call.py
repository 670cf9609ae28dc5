"""`portal call`: how parameters are read, what is printed, and the exit code."""

from __future__ import annotations

import json

import pytest

from portal import FunctionSchema, HTTPPortal, service
from portal.cli.calls.call import parse_arguments
from portal.schema import Bytes, File
from tests.support.command import run


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["add", "a=1", "b=2.5"], "3.5\n"),
        (["add", "a:=1", "b:=2"], "3.0\n"),
        (["add", '{"a": 1, "b": 2}'], "3.0\n"),
        (["add", '{"a": 1, "b": 2}', "--json", "--timeout", "30"], "3.0\n"),
        (
            ["quote", "sku=PEN-001", "--json"],
            '{"sku": "PEN-001", "quantity": 1, "unit_price": "1.20", "total": "1.20"}\n',
        ),
        (
            ["quote", "sku=PEN-001"],
            '{\n  "sku": "PEN-001",\n  "quantity": 1,\n  "unit_price": "1.20",\n  "total": "1.20"\n}\n',
        ),
        (
            ["history", "customer=Zoë 李", "limit=2"],
            '{"number": "Zoë 李-1", "placed": "2026-01-08", "total": "10.50"}\n'
            '{"number": "Zoë 李-2", "placed": "2026-01-15", "total": "21.00"}\n',
        ),
    ],
)
def test_call_prints_the_result(base, arguments, printed):
    name, *rest = arguments
    result = run("call", f"{base}/orders/{name}", *rest)
    assert (result.stdout, result.stderr, result.exit_code) == (printed, "", 0)


def test_call_reads_its_parameters_from_stdin(base):
    result = run("call", f"{base}/orders/add", "-", stdin='{"a": 1, "b": 2}')
    assert (result.stdout, result.exit_code) == ("3.0\n", 0)
    result = run("call", f"{base}/orders/add", "a=1", "b=-", stdin="2")
    assert (result.stdout, result.exit_code) == ("3.0\n", 0)


def test_call_reads_its_parameters_from_files(base, tmp_path):
    whole, number = tmp_path / "all.json", tmp_path / "number"
    whole.write_text('{"a": 1, "b": 2}')
    number.write_text("2")
    for arguments in ([f"@{whole}"], ["a=1", f"b=@{number}"], ["a=1", f"b:=@{number}"]):
        result = run("call", f"{base}/orders/add", *arguments)
        assert (result.stdout, result.exit_code) == ("3.0\n", 0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fail", "reason=no"], 1, ["error: FunctionError: "]),
        (["add", "a"], 2, ["must be NAME=VALUE or NAME:=JSON, got a"]),
        (["add", "=1"], 2, ["must be NAME=VALUE or NAME:=JSON, got =1"]),
        (["add", "a=1", "a=2"], 2, ["a is passed twice"]),
        (["add", "a:=one"], 2, ["a:=one", "not valid JSON"]),
        (["add", "a:=NaN"], 2, ["NaN is not JSON"]),
        (["add", "a=1", "{}"], 2, ["not both"]),
        (["add", "a=-", "b=-"], 2, ["stdin can be read once"]),
        (["add", "@/nowhere"], 2, ["cannot read /nowhere: No such file"]),
        (["add", "{"], 2, ["OBJECT", "not valid JSON"]),
        (["add", "-"], 2, ["not valid JSON"]),
        (["add", "{" * 100_000], 2, ["not valid JSON"]),
        (["add", "--timeout", "0"], 2, ["--timeout"]),
        (["add", "a=x"], 3, ["error: ValidationError: 2 faults\n", "  /a: ", "  /b: "]),
        (["add", "a=NaN", "b=1"], 3, ["error: ValidationError: 1 fault\n", "  /a: "]),
        (["quote", "sku=ZZZ-999"], 3, ["  /sku: unknown article"]),
        (["subtract"], 4, ["error: RegistryError: ", "subtract"]),
        (["slow", "seconds=30", "--timeout", "0.2"], 5, ["error: CallTimeout: "]),
    ],
)
def test_call_reports_errors(base, arguments, code, message):
    name, *rest = arguments
    result = run("call", f"{base}/orders/{name}", *rest)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert [text for text in message if text not in result.stderr] == []


def test_a_wrong_path_exits_with_not_found(base):
    result = run("call", base.removesuffix("/api") + "/orders/quote", "sku=PEN-001")
    assert result.exit_code == 4
    assert "nothing is served at /orders/quote; served paths: /api," in result.output


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, "five", "five"),
        ({"type": "array"}, "[1, 2]", [1, 2]),
        ({"type": "boolean"}, "true", True),
        ({}, "null", None),
        ({}, "", ""),
        (True, "1", 1),
        (TEXT, "5", "5"),
        (TEXT, "", ""),
        ({"type": ["null", "string"]}, "null", "null"),
        ({"anyOf": [TEXT, {"type": "null"}]}, "1", "1"),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, "1", 1),
        ({"enum": ["1", "2"]}, "1", "1"),
        ({"enum": [1, 2]}, "1", 1),
        ({"const": "1"}, "1", "1"),
        ({"$ref": "#/$defs/Text"}, "1", "1"),
        ({"$ref": "#/$defs/Loop"}, "1", 1),
        ({"$ref": "#/$defs/Missing"}, "1", 1),
        ({"$ref": "https://example.com/"}, "1", 1),
    ],
)
def test_a_value_is_json_unless_the_parameter_accepts_strings(schema, text, value):
    defs = {"Text": TEXT, "Loop": {"anyOf": [{"$ref": "#/$defs/Loop"}]}}
    schema_of_f = FunctionSchema("f", input={"type": "object", "properties": {"p": schema}, "$defs": defs}, output={})
    assert parse_arguments([f"p={text}"], schema_of_f) == {"p": value}


def test_unknown_parameters_and_values_with_an_equals_sign_are_passed_on():
    schema_of_f = FunctionSchema("f", input={"type": "object"}, output={})
    assert parse_arguments(["p=a=b", "q=1", "r:=null"], schema_of_f) == {"p": "a=b", "q": 1, "r": None}


def test_alternatives_that_refer_to_one_another_are_looked_at_once():
    names = [f"n{number}" for number in range(40)]
    definitions = {name: {"anyOf": [{"$ref": f"#/$defs/{other}"} for other in names]} for name in names}
    schema = FunctionSchema("f", input={"properties": {"a": {"$ref": "#/$defs/n0"}}, "$defs": definitions})
    assert parse_arguments(["a=1"], schema) == {"a": 1}
    definitions["n39"] = {"type": "string"}
    assert parse_arguments(["a=1"], schema) == {"a": "1"}


@service(name="files")
class Files:
    """Takes files."""

    def facts(self, photo: File, note: str = "") -> list[str]:
        return [photo.name or "", photo.type, photo.read().hex(), note]

    def size(self, data: Bytes) -> int:
        return len(data)

    def names(self, photos: list[File]) -> list[str]:
        return [photo.name or "" for photo in photos]


def test_a_file_is_sent_to_a_parameter_that_is_one(tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"\x89PNG\xff")
    with HTTPPortal() as http:
        http.apply_service(Files)
        base = f"{http.base}/files"
        sent = run("call", f"{base}/facts", f"photo=@{photo}", "note=n", "--json")
        assert json.loads(sent.stdout) == ["photo.png", "image/png", "89504e47ff", "n"]
        sent = run("call", f"{base}/facts", "photo=-", "--json", stdin=b"\xff\x00")
        assert json.loads(sent.stdout) == ["", "application/octet-stream", "ff00", ""]
        assert run("call", f"{base}/size", f"data=@{photo}").stdout == "5\n"
        assert run("call", f"{base}/size", "data=YWJj").stdout == "3\n"
        given = json.dumps({"data": "YWJj"})
        assert json.loads(run("call", f"{base}/facts", f"photo:={given}", "--json").stdout)[2] == "616263"
        wrong = run("call", f"{base}/facts", "photo=photo.png")
        assert wrong.exit_code == 2
        assert "photo is a file; pass it as photo=@FILE, or photo=- for stdin" in wrong.stderr
        assert json.loads(run("call", f"{base}/names", f"photos=@{photo}", "photos=-", "--json").stdout) == [
            "photo.png",
            "",
        ]
        given = json.dumps([{"data": "YWJj", "name": "a"}])
        assert json.loads(run("call", f"{base}/names", f"photos={given}", "--json").stdout) == ["a"]
        described = run("describe", f"{base}/facts").stdout
        assert "photo  file " in described
        assert "data  bytes " in run("describe", f"{base}/size").stdout
