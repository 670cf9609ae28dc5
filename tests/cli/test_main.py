"""The command: what it prints, where, and the exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest
import trustme
from click.testing import CliRunner

import portal
from portal import (
    BearerAuth,
    CallContext,
    Certificate,
    FunctionSchema,
    HTTPPortal,
    Idempotency,
    ServingConfig,
    TLSConfig,
    errors,
)
from portal.cli import errors as cli_errors
from portal.cli import main as cli
from portal.examples.orders import service


def run(*arguments: str, stdin: str | None = None):
    return CliRunner().invoke(cli.main, list(arguments), input=stdin, prog_name="portal")


@pytest.fixture(scope="module")
def base():
    with HTTPPortal() as http:
        http.apply_service(service)
        yield str(http.base)


@pytest.fixture
def dead():
    """An address where nobody listens: a port that is bound and does not."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}/api/add"


# the command itself


def test_version():
    assert run("--version").output == f"portal {portal.__version__}\n"


def test_version_as_a_module_loads_little():
    code = (
        "import runpy, sys\nsys.argv = ['portal', '--version']\n"
        "try: runpy.run_module('portal', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, {'rich', 'requests', 'urllib3', 'jsonschema'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == f"portal {portal.__version__}\n0 set()\n"


@pytest.mark.parametrize("command", ["serve", "call", "describe", "list"])
def test_each_command_has_help(command):
    answer = run(command, "--help")
    assert answer.exit_code == 0
    assert answer.output.startswith(f"Usage: portal {command} ")


def test_help_tells_the_exit_codes():
    assert "\n    5  nobody answered" in run("--help").output


# call


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["add", "a=1", "b=2.5"], "3.5\n"),
        (["add", "a:=1", "b:=2"], "3.0\n"),
        (["add", "--json", '{"a": 1, "b": 2}'], "3.0\n"),
        (["add", "--json", '{"a": 1, "b": 2}', "--output", "json", "--timeout", "30"], "3.0\n"),
        (
            ["quote", "sku=PEN-001", "--output", "json"],
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
    answer = run("call", f"{base}/orders/{name}", *rest)
    assert (answer.stdout, answer.stderr, answer.exit_code) == (printed, "", 0)


def test_call_reads_its_parameters_from_stdin(base):
    answer = run("call", f"{base}/orders/add", "--json", "-", stdin='{"a": 1, "b": 2}')
    assert (answer.stdout, answer.exit_code) == ("3.0\n", 0)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fail", "reason=no"], 1, ["error: FunctionError: "]),
        (["add", "a"], 2, ["a is not NAME=VALUE"]),
        (["add", "=1"], 2, ["=1 is not NAME=VALUE"]),
        (["add", "a=1", "a=2"], 2, ["a is given twice"]),
        (["add", "a:=one"], 2, ["a:=one", "not JSON"]),
        (["add", "a:=NaN"], 2, ["NaN is not JSON"]),
        (["add", "a=1", "--json", "{}"], 2, ["not both"]),
        (["add", "--json", "{"], 2, ["--json", "not JSON"]),
        (["add", "--json", "[1]"], 2, ["a JSON object"]),
        (["add", "--json", "[" * 100_000], 2, ["not JSON"]),
        (["add", "--timeout", "0"], 2, ["--timeout"]),
        (["add", "a=x"], 3, ["error: ValidationError: 2 faults\n", "  /a: ", "  /b: "]),
        (["add", "a=NaN", "b=1"], 3, ["error: ValidationError: 1 fault\n", "  /a: "]),
        (["quote", "sku=ZZZ-999"], 3, ["  /sku: unknown article"]),
        (["subtract"], 4, ["error: RegistryError: ", "subtract"]),
        (["slow", "seconds=30", "--timeout", "0.2"], 5, ["error: CallTimeout: "]),
    ],
)
def test_call_says_what_is_wrong(base, arguments, code, said):
    name, *rest = arguments
    answer = run("call", f"{base}/orders/{name}", *rest)
    assert answer.exit_code == code, answer.output
    assert answer.stdout == ""
    assert [text for text in said if text not in answer.stderr] == []


@pytest.mark.parametrize("command", ["call", "describe", "list"])
@pytest.mark.parametrize(("address", "code"), [("nonsense", 3), ("local://nobody/here", 4)])
def test_each_command_refuses_a_bad_address(command, address, code):
    answer = run(command, address)
    assert (answer.exit_code, answer.stdout) == (code, "")
    assert answer.stderr.startswith("error: ")


@pytest.mark.parametrize("command", ["call", "describe", "list"])
def test_each_command_says_that_a_server_is_dead(command, dead):
    answer = run(command, dead)
    assert answer.exit_code == 5
    assert answer.stderr.startswith("error: TransportError: ")


@pytest.mark.parametrize(
    "arguments",
    [["call", "ADDRESS", "--output", "json"], ["describe", "ADDRESS", "--json"], ["list", "ADDRESS", "--json"]],
)
def test_errors_are_json_where_the_output_is(arguments, dead):
    answer = run(*(dead if argument == "ADDRESS" else argument for argument in arguments))
    error = errors.PortalError.from_dict(json.loads(answer.stderr))
    assert type(error) is errors.TransportError
    assert error.retryable


def test_a_fault_of_the_whole_value_says_so():
    error = errors.ValidationError(errors=[errors.Fault("", "no object", "type")])
    assert list(cli_errors._lines(error)) == ["error: ValidationError: 1 fault", "  (the whole value): no object"]


EXIT_CODES = {
    "AddressError": 3,
    "CallTimeout": 5,
    "CircuitOpenError": 5,
    "ConfigError": 2,
    "OverloadedError": 5,
    "RegistryError": 4,
    "TransportError": 5,
    "ValidationError": 3,
}


@pytest.mark.parametrize("name", [row[0] for row in errors.error_table()])
def test_the_exit_code_of_each_error(name):
    assert cli_errors._exit_code(getattr(errors, name)("said")) == EXIT_CODES.get(name, 1)


def test_a_name_that_is_none_is_refused_input():
    assert cli_errors._exit_code(errors.RegistryError("said", kind="invalid")) == 3


# how NAME=VALUE is read


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
def test_a_value_is_json_unless_the_parameter_takes_text(schema, text, value):
    defs = {"Text": TEXT, "Loop": {"anyOf": [{"$ref": "#/$defs/Loop"}]}}
    contract = FunctionSchema("f", input={"type": "object", "properties": {"p": schema}, "$defs": defs}, output={})
    assert cli._params([f"p={text}"], contract) == {"p": value}


def test_an_unknown_parameter_and_one_with_an_equals_sign_are_passed_on():
    contract = FunctionSchema("f", input={"type": "object"}, output={})
    assert cli._params(["p=a=b", "q=1", "r:=null"], contract) == {"p": "a=b", "q": 1, "r": None}


# describe, list


def test_describe_shows_the_contract(base):
    answer = run("describe", f"{base}/orders/quote")
    assert answer.exit_code == 0
    lines = [" ".join(line.split()) for line in answer.stdout.splitlines()]
    assert lines[0] == "quote version 1, idempotent, cacheable"
    assert lines[1:3] == ["Return the list price of an article.", "parameters:"]
    assert lines[3].startswith("sku string, pattern ^[A-Z]{3}-[0-9]{3}$")
    assert lines[3].endswith("required Article number, such as PEN-001.")
    assert lines[4] == "quantity integer, minimum 1, maximum 10000 default 1"
    assert lines[5].startswith("returns: ")
    assert lines[6].startswith('example: {"input": {"sku": "BAG-002", "quantity": 2}, "output": ')


def test_describe_of_a_stream(base):
    assert "\neach item: " in run("describe", f"{base}/orders/history").stdout


def test_describe_as_json_is_the_schema(base):
    told = json.loads(run("describe", f"{base}/orders/add", "--json").stdout)
    assert FunctionSchema.from_dict(told) == service["add"].schema


def test_describe_of_a_bare_function(capsys):
    cli._describe(FunctionSchema("f", input={"type": "object"}, output={}))
    assert capsys.readouterr().out == "f  version 1\nparameters: none\nreturns: anything\n"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "anything"),
        (True, "anything"),
        ({"$ref": "#/$defs/Order"}, "Order"),
        ({"type": ["integer", "null"]}, "integer or null"),
        ({"type": "array", "items": {"type": "string", "minLength": 1}}, "array of string, minLength 1"),
        ({"anyOf": [{"$ref": "#/$defs/Order"}, {"type": "null"}]}, "Order or null"),
        ({"enum": ["a", 1]}, '"a" or 1'),
        ({"minimum": 0}, "anything, minimum 0"),
        ({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]}, "object {a, b?}"),
    ],
)
def test_a_schema_in_words(schema, words):
    assert cli._type(schema) == words


def test_list_shows_each_address(base):
    answer = run("list", base)
    assert answer.exit_code == 0
    rows = dict(line.split(maxsplit=1) for line in answer.stdout.splitlines())
    assert len(rows) == len(service.functions)
    address = next(address for address in rows if "/add/" in address)
    assert address.startswith(f"{base}/orders/add/")
    assert rows[address].strip() == "Add two numbers."


def test_list_of_a_server_without_a_path_means_its_api(base):
    assert run("list", base.removesuffix("/api")).stdout == run("list", base).stdout != ""


def test_list_as_json_is_the_answer(base):
    told = json.loads(run("list", base, "--json").stdout)
    assert [row["name"] for row in told["functions"]] == list(service.functions)
    assert [row["name"] for row in told["services"]] == ["orders"]


def test_list_of_an_empty_server_prints_nothing():
    with HTTPPortal() as http:
        answer = run("list", str(http.base))
    assert (answer.output, answer.exit_code) == ("", 0)


# who calls, and whom it trusts


@pytest.fixture
def guarded(tmp_path):
    """A server over TLS that lets in one token; its address, and the file of its authority."""
    authority = trustme.CA()
    chain, ca = tmp_path / "server.pem", tmp_path / "ca.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
    authority.cert_pem.write_to_path(str(ca))
    seen = []

    def note(text: str, context: CallContext) -> int:
        seen.append(text)
        return len(seen)

    tls = TLSConfig(Certificate(chain))
    auth = BearerAuth({"t0ken": "ann"})
    with HTTPPortal(auth=auth, middleware=[Idempotency()], config=ServingConfig(tls=tls)) as http:
        yield str(http.apply(note)), str(ca)


def test_each_command_can_say_who_calls_and_whom_it_trusts(guarded, monkeypatch):
    address, ca = guarded
    monkeypatch.setenv("MINE", "t0ken")
    reach = ("--token", "$MINE", "--tls-ca", ca)
    assert run("call", address, "text=a", *reach).output == "1\n"
    assert run("call", address, "text=a", *reach, "--idempotency-key", "k").output == "2\n"
    assert run("call", address, "text=a", *reach, "--idempotency-key", "k").output == "2\n"
    assert run("describe", address, *reach).output.startswith("note  version 1")
    assert run("list", address.partition("/api")[0], *reach).output == f"{address}\n"


def test_what_is_missing_is_said(guarded):
    address, ca = guarded
    untrusted = run("call", address, "text=a", "--token", "t0ken")
    assert untrusted.exit_code == cli_errors.UNREACHABLE
    assert "its certificate is of no authority that is trusted here; --tls-ca says whom to trust" in untrusted.output
    nobody = run("call", address, "text=a", "--tls-ca", ca)
    assert nobody.exit_code == cli_errors.FAILED
    assert "AuthenticationError: a credential is needed; none was sent: --token takes one\n" in nobody.output
    assert "none was sent: --token takes one" in run("describe", address, "--tls-ca", ca).output
    listed = run("list", address.partition("/api")[0], "--json", "--tls-ca", ca)
    assert json.loads(listed.stderr)["message"].endswith("none was sent: --token takes one")
    wrong = run("call", address, "text=a", "--tls-ca", ca + "x", "--token", "t0ken")
    assert wrong.exit_code == cli_errors.MISUSED
    assert "tls.ca is" in wrong.output
    unset = run("call", address, "text=a", "--token", "$NOT_THERE_AT_ALL")
    assert unset.exit_code == cli_errors.MISUSED
    assert "the environment has no NOT_THERE_AT_ALL" in unset.output


def test_a_path_that_is_wrong_is_nothing_found(base):
    answer = run("call", base.removesuffix("/api") + "/orders/quote", "sku=PEN-001")
    assert answer.exit_code == cli_errors.NOT_FOUND
    assert "nothing is served at /orders/quote; there is /api," in answer.output


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("http://localhost/api/add", 5, "error: TransportError: "),
        ("https://localhost/api/add", 2, "--socket is for http:// addresses"),
        ("local://add", 2, "--socket is for http:// addresses"),
        ("nonsense", 3, "error: AddressError: "),
    ],
)
@pytest.mark.parametrize("command", ["call", "describe", "list"])
def test_a_socket_that_leads_nowhere(command, address, code, said, tmp_path):
    answer = run(command, address, "--socket", str(tmp_path / "nobody"))
    assert (answer.exit_code, answer.stdout) == (code, "")
    assert said in answer.stderr
