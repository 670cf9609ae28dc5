"""A server that sends schemas which cost a client minutes. The client gets an error, or its result, in time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import pytest
from click.testing import CliRunner

from portal import ConfigError, Consumer, PortalError, RegistryError
from portal.cli.main import main
from portal.http.client.client import HTTPClient
from portal.serving import Listener, Request, Response

TIMEOUT = 2.0


def diamonds(length: int, last: Any) -> dict[str, Any]:
    parts = {f"d{number}": {"allOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 2} for number in range(length)}
    return {"$defs": {**parts, f"d{length}": last}, "$ref": "#/$defs/d0"}


def shared(length: int, kind: str) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for number in range(length):
        part = {"$ref": f"#/$defs/d{number + 1}"}
        parts[f"d{number}"] = (
            {"type": "object", "properties": {"a": part, "b": part}, "additionalProperties": False}
            if kind == "object"
            else {"type": "array", "prefixItems": [part, part], "items": False, "minItems": 2}
        )
    return {"$defs": {**parts, f"d{length}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def with_parameter(schema: dict[str, Any]) -> dict[str, Any]:
    definitions = schema.pop("$defs", {})
    return {"type": "object", "properties": {"a": schema}, "$defs": definitions}


class Hostile:
    """Describes a function by a schema, and returns 1 for each call."""

    def __init__(self, schema: dict[str, Any], result: dict[str, Any]) -> None:
        self._described = json.dumps({"name": "f", "version": "1", "input": schema, "output": result}).encode()

    def handle(self, request: Request) -> Response:
        body = self._described if request.method == "GET" else b"1"
        return Response(200, [("Content-Type", "application/json")], body)


@contextmanager
def serving(schema: dict[str, Any], result: dict[str, Any]) -> Iterator[str]:
    listener = Listener()
    listener.mount("/", Hostile(schema, result))
    listener.start()
    try:
        yield f"http://127.0.0.1:{listener.port}/f"
    finally:
        listener.stop(1.0)


HOSTILE: dict[str, dict[str, Any]] = {
    "diamonds": diamonds(30, {"type": "integer"}),
    "recursive diamonds": diamonds(20, {"items": {"$ref": "#/$defs/d0"}}),
    "shared objects": shared(40, "object"),
    "shared arrays": shared(40, "array"),
    "a long chain": {
        "$defs": {**{f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(10_000)}, "d10000": {}},
        "$ref": "#/$defs/d0",
    },
    "lookaround": {"pattern": "(?=(a+)+$)b"},
    "a pattern that is costly": {"pattern": "((0|1)*1(0|1){1922}[45])[yz]"},
    "many alternatives": {"anyOf": [{"type": "object", "required": [f"a{number}"]} for number in range(1_200)]},
    "many required members": {
        "type": "object",
        "properties": {f"a{number}": True for number in range(4_000)},
        "required": [f"b{number}" for number in range(40_000)],
        "additionalProperties": False,
    },
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("place", ["input", "output"])
def test_a_call_ends_in_time(name: str, place: str) -> None:
    hostile, plain = json.loads(json.dumps(HOSTILE[name])), {"type": "object"}
    schemas = (with_parameter(hostile), {}) if place == "input" else (plain, hostile)
    with serving(*schemas) as address, Consumer(http=HTTPClient(timeout=TIMEOUT)) as consumer:
        began = monotonic()
        for call in (
            lambda: consumer.call_at(address, {"a": "01" * 30_000}, timeout=TIMEOUT),
            lambda: consumer.resolve(address)(a="01" * 30_000),
        ):
            with suppress(PortalError):
                assert call() == 1
        assert monotonic() - began < 4 * TIMEOUT


@pytest.mark.parametrize("name", HOSTILE)
def test_the_command_ends_in_time(name: str) -> None:
    hostile = json.loads(json.dumps(HOSTILE[name]))
    with serving(with_parameter(hostile), hostile) as address:
        began = monotonic()
        for arguments in (["describe", address], ["call", address, "a=01"]):
            result = CliRunner().invoke(main, arguments)
            assert result.exception is None or isinstance(result.exception, SystemExit)
        assert monotonic() - began < 4 * TIMEOUT


def test_the_error_of_a_call_names_the_schema() -> None:
    with (
        serving(with_parameter(diamonds(30, {})), {}) as address,
        Consumer() as consumer,
        pytest.raises(ConfigError, match="may apply to one value"),
    ):
        consumer.call_at(address, {"a": 1}, timeout=TIMEOUT)


def test_a_schema_that_is_nested_too_deeply_is_no_function() -> None:
    with serving(nested(400), {}) as address, Consumer() as consumer, pytest.raises(RegistryError, match="no function"):
        consumer.call_at(address, {}, timeout=TIMEOUT)
