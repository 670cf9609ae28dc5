"""Code of the user that runs while parameters are decoded, seen by a client over HTTP and JSON-RPC."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Flag
from typing import Any
from uuid import UUID, uuid4

import pytest
from marshmallow import Schema, fields, pre_load

from portal import Consumer, HTTPPortal, LocalPortal, RegistryError, ValidationError, function, register_type
from portal.errors import Fault

SECRET = "postgres://user:secret@host"
RAISED = {
    1: ValueError("n must not be 1"),
    2: KeyError(SECRET),
    3: SystemExit(SECRET),
    4: KeyboardInterrupt(SECRET),
    5: ValueError("\ud800"),
    6: RegistryError("\ud800", name="\ud800", kind="invalid"),
    7: ValidationError(errors=[Fault("/\ud800", "\ud800", "x", {"\ud800": "\ud800"})]),
}


@dataclass
class Order:
    n: int

    def __post_init__(self) -> None:
        if self.n in RAISED:
            raise RAISED[self.n]


class Hooked(Schema):
    n = fields.Integer()

    @pre_load
    def check(self, data: Any, **_: Any) -> Any:
        if data.get("n") in RAISED:
            raise RAISED[data["n"]]
        return data


class Right(Flag):
    READ, WRITE, RUN = 1, 2, 4

    @classmethod
    def _missing_(cls, value: object) -> Any:
        raise {3: ValueError("n must not be 1"), 5: KeyError(SECRET), 6: SystemExit(SECRET)}[value]  # type: ignore[index]


class Money:
    def __init__(self, n: int) -> None:
        if n in RAISED:
            raise RAISED[n]
        self.n = n


register_type(Money, to_json=lambda money: money.n, from_json=Money, schema={"type": "integer"})


def allow(right: Right) -> int:
    return right.value


def pay(money: Money) -> int:
    return money.n


@dataclass
class Made:
    id: UUID = field(default_factory=uuid4)


def make(made: Made) -> UUID:
    return made.id


def place(order: Order) -> int:
    return order.n


@function(input=Hooked)
def hooked(n: int = 0) -> int:
    return n


@function(input={"type": "object", "properties": {"event": {}}})
def free(event: Any = None) -> int:
    return 1


def count(numbers: dict[str, int]) -> int:
    return len(numbers)


@pytest.fixture(scope="module")
def http() -> Iterator[HTTPPortal]:
    with HTTPPortal() as portal:
        for target in (place, hooked, free, count, allow, pay, make):
            portal.apply(target)
        yield portal


def post(http: HTTPPortal, path: str, text: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{http.port}/api/{path}", text.encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def batch(http: HTTPPortal, method: str, params: list[Any]) -> list[Any]:
    rows = [{"jsonrpc": "2.0", "id": i, "method": method, "params": each} for i, each in enumerate(params)]
    status, found = post(http, "rpc", json.dumps(rows))
    assert status == 200
    return list(found)


CALLS = [("place", '{"order":{"n":%d}}'), ("hooked", '{"n":%d}'), ("pay", '{"money":%d}')]


@pytest.mark.parametrize(("path", "body"), CALLS)
@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_failure_is_logged_and_its_text_withheld(
    http: HTTPPortal, caplog: pytest.LogCaptureFixture, path: str, body: str, n: int
) -> None:
    with caplog.at_level(logging.ERROR, "portal"):
        status, problem = post(http, path, body % n)
    assert (status, problem["code"]) == (500, "function_error")
    assert "secret" not in json.dumps(problem)
    assert SECRET in caplog.text
    assert problem["request_id"] in caplog.text


@pytest.mark.parametrize(("path", "body"), [*((path, body % 1) for path, body in CALLS), ("allow", '{"right":3}')])
def test_a_value_error_is_the_callers(http: HTTPPortal, path: str, body: str) -> None:
    status, problem = post(http, path, body)
    assert (status, problem["code"]) == (422, "validation_error")
    assert "n must not be 1" in problem["errors"][0]["message"]


@pytest.mark.parametrize("value", [5, 6])
def test_a_failure_of_an_enumeration_is_the_functions(
    http: HTTPPortal, caplog: pytest.LogCaptureFixture, value: int
) -> None:
    with caplog.at_level(logging.ERROR, "portal"):
        status, problem = post(http, "allow", f'{{"right":{value}}}')
    assert (status, problem["code"]) == (500, "function_error")
    assert "secret" not in json.dumps(problem)
    assert SECRET in caplog.text


def test_a_factory_runs_for_each_call(http: HTTPPortal) -> None:
    with LocalPortal() as local, Consumer() as consumer:
        for address in (f"http://127.0.0.1:{http.port}/api/make", str(local.apply(make))):
            assert len({consumer.call_at(address, {"made": {}}) for _ in range(5)}) == 5


@pytest.mark.parametrize(("method", "wrap"), [("place", True), ("hooked", False)])
def test_an_item_of_a_batch_that_exits_fails_alone(http: HTTPPortal, method: str, wrap: bool) -> None:
    found = batch(http, method, [{"order": {"n": n}} if wrap else {"n": n} for n in (0, 3, 4, 8)])
    assert [row.get("result") for row in found] == [0, None, None, 8]
    assert [row["error"]["code"] for row in found[1:3]] == [-32000, -32000]


LONE = [
    ("place", '{"\\ud800":1}', 422),
    ("place", '{"order":{"\\ud800":1}}', 422),
    ("place", '{"order":{"n":1,"a\\udfff":{"b":1}}}', 422),
    ("free", '{"\\ud800":1}', 422),
    ("free", '{"event":[{"\\ud800":1}]}', 422),
    ("count", '{"numbers":{"\\ud800":"x"}}', 422),
    ("hooked", '{"\\ud800":1}', 422),
    ("place", '{"order":{"n":5}}', 422),
    ("hooked", '{"n":5}', 422),
    ("place", '{"order":{"n":6}}', 404),
    ("place", '{"order":{"n":7}}', 422),
]


@pytest.mark.parametrize(("path", "body", "status"), LONE)
def test_a_lone_surrogate_is_written_as_its_escape(
    http: HTTPPortal, caplog: pytest.LogCaptureFixture, path: str, body: str, status: int
) -> None:
    with caplog.at_level(logging.ERROR, "portal"):
        code, problem = post(http, path, body)
        rows = batch(http, path, [json.loads(body), json.loads(body)])
    assert code == status
    assert problem["code"] in ("validation_error", "registry_error")
    assert "\\ud" in json.dumps(problem)
    assert [row["error"]["message"] == "internal error" for row in rows] == [False, False]
    assert caplog.text == ""


def test_a_client_gets_the_error_class_of_a_name_with_a_lone_surrogate(http: HTTPPortal) -> None:
    with Consumer() as consumer, pytest.raises(ValidationError) as caught:
        consumer.resolve(f"http://127.0.0.1:{http.port}/api/place")(**{"\ud800": 1})
    assert "/\\ud800" in [fault.path for fault in caught.value.errors]


PUBLISH = """
import secrets
from dataclasses import dataclass, field
from uuid import UUID, uuid4
from portal import Function

@dataclass(frozen=True)
class Order:
    id: UUID = field(default_factory=uuid4)
    tags: list[str] = field(default_factory=lambda: [secrets.token_hex(4)])

@dataclass
class Basket:
    order: Order = Order()
    orders: tuple[Order, ...] = (Order(),)

@dataclass(frozen=True)
class Point:
    x: str

@dataclass
class Computed:
    key: str = field(init=False)

    def __post_init__(self):
        self.key = secrets.token_hex(4)

def place(basket: Basket, order: Order = Order(), more: dict[str, Order] = {"a": Order()},
          computed: Computed = Computed(),
          points: frozenset[Point] = frozenset(map(Point, "abcdef"))) -> Basket: ...

print(Function.of(place).schema.fingerprint)
"""


def test_a_factory_adds_nothing_to_the_address() -> None:
    runs = [
        subprocess.run([sys.executable, "-c", PUBLISH], capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    ]
    assert len(set(runs)) == 1
