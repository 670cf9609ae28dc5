"""`portal describe` and `portal list`: what they print."""

from __future__ import annotations

import json

import pytest

from portal import FunctionSchema, HTTPPortal
from portal.cli.describe import echo_schema, type_text
from portal.examples.orders import service
from tests.support.command import run


def test_describe_shows_the_schema(base):
    result = run("describe", f"{base}/orders/quote")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "quote version 1, idempotent, cacheable"
    assert lines[1:3] == ["Return the list price of an article.", "parameters:"]
    assert lines[3].startswith("sku string, pattern ^[A-Z]{3}-[0-9]{3}$")
    assert lines[3].endswith("required Article number, such as PEN-001.")
    assert lines[4] == "quantity integer, minimum 1, maximum 10000 default 1"
    assert lines[5].startswith("returns: ")
    assert lines[6].startswith('example: {"input": {"sku": "BAG-002", "quantity": 2}, "output": ')


def test_describe_of_a_stream(base):
    assert "\neach item: " in run("describe", f"{base}/orders/history").stdout


def test_describe_of_a_service_lists_its_functions(base):
    lines = run("describe", f"{base}/orders").stdout.splitlines()
    assert lines[:3] == ["orders  version 1, a service", service.description, "functions:"]
    assert [line.split()[0].split("/")[-2] for line in lines[3:]] == sorted(service.functions)
    printed = json.loads(run("describe", f"{base}/orders", "--json").stdout)
    assert (printed["name"], len(printed["functions"])) == ("orders", len(service.functions))


def test_describe_of_a_base_address_lists_its_functions(base):
    for url in (base, base.removesuffix("/api")):
        assert run("describe", url).stdout == run("list", url).stdout
        assert run("describe", url, "--json").stdout == run("list", url, "--json").stdout


def test_describe_of_nothing_is_the_error_of_the_function(base):
    result = run("describe", f"{base}/order")
    assert result.exit_code == 4
    assert "there is no function order; did you mean orders" in result.stderr


def test_describe_as_json_is_the_schema(base):
    printed = json.loads(run("describe", f"{base}/orders/add", "--json").stdout)
    assert FunctionSchema.from_dict(printed) == service["add"].schema


def test_describe_of_a_bare_function(capsys):
    echo_schema(FunctionSchema("f", input={"type": "object"}, output={}))
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
def test_type_text(schema, words):
    assert type_text(schema) == words


def test_list_shows_each_address(base):
    result = run("list", base)
    assert result.exit_code == 0
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert len(rows) == len(service.functions)
    address = next(address for address in rows if "/add/" in address)
    assert address.startswith(f"{base}/orders/add/")
    assert rows[address].strip() == "Add two numbers."


def test_list_completes_a_url_without_path(base):
    assert run("list", base.removesuffix("/api")).stdout == run("list", base).stdout != ""


def test_list_as_json_is_the_full_listing(base):
    printed = json.loads(run("list", base, "--json").stdout)
    assert [row["name"] for row in printed["functions"]] == list(service.functions)
    assert [row["name"] for row in printed["services"]] == ["orders"]


def test_list_of_an_empty_server_prints_nothing():
    with HTTPPortal() as http:
        result = run("list", str(http.base))
    assert (result.output, result.exit_code) == ("", 0)


# portal explain

ADDRESSES = ("http://127.0.0.1:9/api/add", "ws://127.0.0.1:9/ws/add")


def test_the_choice_is_printed():
    result = run("explain", *ADDRESSES)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"add: round_robin picks among 2 of 2 instances; next is {ADDRESSES[0]}"
    assert lines[1] == "stages: pick (round_robin) > send"
    assert lines[3].startswith(f"> {ADDRESSES[0]}: ready; weight 1, 0 in progress")
    assert lines[4].startswith(f"- {ADDRESSES[1]}: ready")


def test_options_choose():
    result = run("explain", *ADDRESSES, "--transports", "ws,http", "--balance", "pick_first", "--json")
    found = json.loads(result.stdout)
    assert found["chosen"] == ADDRESSES[1]
    assert [one["state"]["tier"] for one in found["instances"]] == [1, 0]


def test_a_wrong_picker_is_an_error():
    result = run("explain", *ADDRESSES, "--balance", "fastest")
    assert result.exit_code != 0
    assert "policy.balance must be one of 'pick_first'" in result.stderr
