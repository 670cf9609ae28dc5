"""A client that openapi-python-client generates from the document calls every function of the example."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests

from portal import HTTPPortal
from portal.examples import orders
from tests.conformance import odd_types
from tests.support import every_type_service

WAIT = 60.0

pytestmark = pytest.mark.skipif(
    find_spec("openapi_python_client") is None, reason="openapi-python-client is not installed"
)


def generate(document: str, folder: Path, package: str) -> None:
    """Generate a client, with every warning an error; formatting of the code is left out."""
    (folder / "document.json").write_text(document)
    (folder / "config.json").write_text('{"post_hooks": []}')
    command = [
        *[sys.executable, "-m", "openapi_python_client", "generate", "--path", "document.json", "--meta", "none"],
        *["--config", "config.json", "--output-path", package, "--fail-on-warning"],
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "arning" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("client")
    written = subprocess.run(
        [sys.executable, "-m", "portal", "openapi", "portal.examples.orders:service"],
        capture_output=True, text=True, check=True, timeout=WAIT,
    )  # fmt: skip
    name = "generated_orders_client"
    generate(written.stdout, folder, name)
    sys.path.insert(0, str(folder))
    try:
        yield name
    finally:
        sys.path.remove(str(folder))
        for module in [one for one in sys.modules if one.partition(".")[0] == name]:
            del sys.modules[module]


@pytest.fixture(scope="module")
def client(package: str) -> Iterator[Any]:
    with HTTPPortal() as portal:
        portal.apply_service(orders.service)
        root = f"http://127.0.0.1:{portal.port}"
        made = importlib.import_module(package).Client(base_url=root, timeout=WAIT, raise_on_unexpected_status=True)
        with made as opened:
            yield opened


@pytest.fixture(scope="module")
def models(package: str) -> ModuleType:
    return importlib.import_module(f"{package}.models")


def call(package: str, name: str, client: Any, **given: Any) -> Any:
    """The answer as the generated module parses it."""
    return importlib.import_module(f"{package}.api.{name}").sync(client=client, **given)


def test_every_operation_has_a_module_under_its_tag(package: str) -> None:
    folder = Path(str(importlib.import_module(package).__file__)).parent / "api"
    found = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/[a-z]*.py")}
    functions = [f"orders_{name}" for name in orders.service.functions]
    assert found == {
        *(f"orders/{name}" for name in functions),
        *(f"schemas/describe_{name}" for name in functions),
        "json_rpc/call_json_rpc",
    }


def test_models_have_the_names_of_the_classes(models: ModuleType) -> None:
    inputs = {f"Orders{name.title()}Input" for name in orders.service.functions}
    assert {
        "Customer",
        "Entry",
        "Fault",
        "Invoice",
        "Item",
        "Line",
        "Order",
        "Problem",
        "ProblemDelivery",
        "Quote",
    } | inputs == {name for name in models.__all__ if not name.startswith(("RPC", "FunctionSchema"))}


def test_add(package: str, client: Any, models: ModuleType) -> None:
    assert call(package, "orders.orders_add", client, body=models.OrdersAddInput(a=1, b=2)) == 3.0


def test_quote(package: str, client: Any, models: ModuleType) -> None:
    found = call(package, "orders.orders_quote", client, body=models.OrdersQuoteInput(sku="PEN-001", quantity=3))
    assert found == models.Quote(sku="PEN-001", quantity=3, unit_price="1.20", total="3.60")
    assert call(package, "orders.orders_quote", client, body=models.OrdersQuoteInput(sku="PEN-001")).total == "1.20"


def test_price(package: str, client: Any, models: ModuleType) -> None:
    order = models.Order(
        customer=models.Customer(name="Ann Li", email="ann@example.com"),
        items=[models.Item(sku="PEN-001", quantity=10, unit_price="1.20")],
        coupon="WELCOME10",
        deliver_on=date(2026, 12, 1),
    )
    found = call(package, "orders.orders_price", client, body=models.OrdersPriceInput(order=order))
    assert (found.customer, found.total, found.deliver_on) == ("Ann Li", "15.70", date(2026, 12, 1))
    assert found.lines == [models.Line(sku="PEN-001", quantity=10, amount="12.00")]


def test_history_as_lines(package: str, client: Any, models: ModuleType) -> None:
    """The generator has no streams: it gives the text, whose lines are items that its own models read."""
    text = call(package, "orders.orders_history", client, body=models.OrdersHistoryInput(customer="ann", limit=2))
    items = [models.Entry.from_dict(json.loads(line)) for line in text.splitlines()]
    assert [(item.number, item.placed, item.total) for item in items] == [
        ("ann-1", date(2026, 1, 8), "10.50"),
        ("ann-2", date(2026, 1, 15), "21.00"),
    ]


def test_slow(package: str, client: Any, models: ModuleType) -> None:
    assert call(package, "orders.orders_slow", client, body=models.OrdersSlowInput(seconds=0.01)) == 0.01


def test_a_function_that_fails_is_a_problem(package: str, client: Any, models: ModuleType) -> None:
    problem = call(package, "orders.orders_fail", client, body=models.OrdersFailInput(reason="out of stock"))
    assert isinstance(problem, models.Problem)
    assert (problem.status, problem.code, problem.retryable) == (500, "function_error", False)


def test_a_validation_error_is_a_problem_with_its_faults(package: str, client: Any, models: ModuleType) -> None:
    problem = call(package, "orders.orders_quote", client, body=models.OrdersQuoteInput(sku="pen", quantity=0))
    assert isinstance(problem, models.Problem)
    assert (problem.status, problem.code) == (422, "validation_error")
    assert all(isinstance(fault, models.Fault) for fault in problem.errors)
    assert [(fault.path, fault.rule) for fault in problem.errors] == [("/quantity", "minimum"), ("/sku", "pattern")]


def test_schemas_and_json_rpc(package: str, client: Any, models: ModuleType) -> None:
    for name in orders.service.functions:
        schema = call(package, f"schemas.describe_orders_{name}", client)
        assert (schema.name, schema.fingerprint) == (name, orders.service[name].schema.fingerprint)
    request = {"jsonrpc": "2.0", "method": "orders.add", "params": {"a": 1, "b": 2}, "id": 1}
    single = models.RPCRequest.from_dict(request)
    assert call(package, "json_rpc.call_json_rpc", client, body=single).result == 3.0
    batch = [models.RPCRequest.from_dict(request | {"id": number}) for number in (1, "b")]
    assert [one.id for one in call(package, "json_rpc.call_json_rpc", client, body=batch)] == [1, "b"]


@pytest.mark.parametrize("make", [every_type_service.protected, odd_types.portal])
def test_no_warning_for_any_kind_of_type(tmp_path: Path, make: Callable[[], HTTPPortal]) -> None:
    with make() as portal:
        document = requests.get(f"http://127.0.0.1:{portal.port}/openapi.json", timeout=WAIT).text
    generate(document, tmp_path, "generated_every_type_client")
