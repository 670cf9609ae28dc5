"""The text of a client module: it runs, and calls what is published."""

from __future__ import annotations

import ast
import datetime as dt
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import pytest

from portal import (
    Consumer,
    FunctionSchema,
    HTTPPortal,
    LocalPortal,
    PortalError,
    Service,
    ValidationError,
    WebSocketPortal,
    function,
)
from portal.cli.stubs.module import Published, client_module
from portal.examples import orders
from portal.schema import Bytes, File


class Color(Enum):
    """A color."""

    RED = "red"


class SoldOutToday(PortalError):
    """The article is sold out."""

    code = "sold_out_today"
    status = 409
    members = ("sku",)

    def __init__(self, message: str = "", *, sku: str = "", **common: Any) -> None:
        super().__init__(message, **common)
        self.sku = sku


@dataclass
class Part:
    """A part."""

    name: str
    color: Color = Color.RED
    parts: list[Part] = field(default_factory=list)


@function(raises=[SoldOutToday, ValidationError], idempotent=True)
def sell(sku: str, unit: Literal["piece", "box"] = "piece", day: dt.date = dt.date(2026, 1, 1)) -> tuple[int, Part]:
    """Sell.

    Args:
        sku: the article.
    """
    if sku == "none":
        raise SoldOutToday("no pens", sku=sku)
    return day.day, Part(f"{sku} {unit}", parts=[Part("cap")])


@function(name="list")
def list_(numbers: list[int] = []) -> Iterator[Part | None]:  # noqa: B006
    """List."""
    for number in numbers:
        yield Part(str(number)) if number else None


@dataclass
class Album:
    """Files in another parameter."""

    name: str
    cover: File


@function(max_body=4096)
def store(photo: File, raw: Bytes, album: Album, pages: list[File], day: dt.date, more: File | None = None) -> File:
    """Store files."""
    content = b"".join([photo.read(), raw[:2], album.cover.read(), *(page.read() for page in pages)])
    return File(content, name=f"{album.name} {day:%d} {more}", type=photo.type)


@function
def first(data: Bytes) -> Bytes:
    """Return the first bytes."""
    return data[:2]


@function
def cover(album: Album) -> Bytes:
    """Return the content of the cover."""
    return album.cover.read()


@function
def split(data: Bytes) -> Iterator[Bytes]:
    """Stream the bytes."""
    for number in data:
        yield bytes([number])


def load(text: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = types.ModuleType("written_client")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(text, "written_client.py", "exec", dont_inherit=True), module.__dict__)
    return module


def written(service: Service, address: str) -> str:
    functions = [Published(one.schema, service.name, name) for name, one in service.functions.items()]
    return client_module(functions, {service.name: address}, {service.name: service.description})


def test_a_client_calls_every_function(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service("shop", [sell, list_], description='A shop with """quotes""".')
    with HTTPPortal() as http, Consumer() as consumer:
        module = load(written(service, str(http.apply_service(service))), monkeypatch)
        shop = module.Shop(consumer=consumer)
        day, part = shop.sell("PEN")
        assert (day, type(part), part.name, part.color) == (1, module.Part, "PEN piece", module.Color.RED)
        assert part.parts == [module.Part("cap", parts=[])]
        assert shop.sell(sku="PEN", unit="box", day=dt.date(2026, 1, 3))[0] == 3
        assert list(shop.list_([0, 1])) == [None, module.Part("1", parts=[])]
        assert list(shop.list_()) == []
        with pytest.raises(module.SoldOutToday) as caught:
            shop.sell("none")
        assert caught.value.sku == "none"
        assert module.SoldOutToday is SoldOutToday  # this process has the class of the server


@pytest.mark.parametrize("portal", [HTTPPortal, LocalPortal, WebSocketPortal])
def test_a_client_sends_files(portal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service("shop", [store, first, split], description="A shop.")
    types_of_bodies = []

    def note(request: Any, call_next: Any) -> Any:
        types_of_bodies.append(request.headers.get("content-type", "").partition(";")[0])
        return call_next(request)

    options = {"http_middleware": [note]} if portal is HTTPPortal else {}
    with portal(**options) as published, Consumer() as consumer:
        module = load(written(service, str(published.apply_service(service))), monkeypatch)
        shop = module.Shop(consumer=consumer)
        album = module.Album("summer", File(b"c"))
        photo = File(b"ab", name="a.png")
        found = shop.store(photo, bytes(3000), album, [File(b"1"), File(b"2")], dt.date(2026, 1, 3))
        assert found == File(b"ab\0\0c12", name="summer 03 None", type="image/png")
        assert shop.first(b"abc") == b"ab"
        assert list(shop.split(b"ab")) == [b"a", b"b"]
        with pytest.raises(ValidationError, match="/photo"):
            shop.store(None, b"", album, [], dt.date(2026, 1, 3))
    if portal is HTTPPortal:
        posted = [one for one in types_of_bodies if one]
        assert posted == ["multipart/form-data", "multipart/form-data", "application/json"]


def test_a_function_with_files_calls_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service("shop", [store, cover, split], description="A shop.")
    with HTTPPortal() as http, Consumer() as consumer:
        module = load(written(service, str(http.apply_service(service))), monkeypatch)
        shop = module.Shop(consumer=consumer)

        def relay(photo: File) -> list[str]:
            album = module.Album("summer", photo)
            stored = shop.store(photo, b"", album, [photo], dt.date(2026, 1, 3))
            return [stored.read().decode(), shop.cover(album).decode(), *map(bytes.decode, shop.split(photo.read()))]

        assert consumer.resolve(http.apply(relay))(photo=File(b"ab")) == ["ababab", "ab", "a", "b"]


def test_a_server_that_takes_base64_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cached schema rejects the call. The new one has no files any more."""
    monkeypatch.setattr("portal.network.function._MIN_SCHEMA_AGE", 0.0)

    @function(name="mark")
    def mark(data: Bytes, by: int | str = 1) -> str:
        return f"{data.decode()} {by}"

    @function(name="mark")
    def mark_with_files(data: Bytes, by: int = 1) -> str:
        return mark.target(data, by)

    @function(name="mark")
    def mark_with_base64(data: bytes, by: int | str = 1) -> str:
        return mark.target(data, by)

    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply_service(Service("shop", [mark_with_files]))
        shop = load(written(Service("shop", [mark]), str(address)), monkeypatch).Shop(consumer=consumer)
        assert shop.mark(b"ab", 2) == "ab 2"
        http.remove(address)
        http.apply_service(Service("shop", [mark_with_base64]))
        assert shop.mark(b"ab", "x") == "ab x"


def test_a_client_of_the_example_gives_the_results_of_its_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    service = orders.service
    with HTTPPortal() as http, Consumer() as consumer:
        module = load(written(service, str(http.apply_service(service))), monkeypatch)
        client = module.Orders(consumer=consumer)
        item = module.Item("PEN-001", 10, orders.PRICES["PEN-001"])
        order = module.Order(module.Customer("Ann Li", "ann@example.com"), [item], "WELCOME10", dt.date(2026, 12, 1))
        assert type(client.price(order)) is module.Invoice
        assert str(client.price(order).total) == "15.70"
        assert str(client.quote("BAG-002", 2).total) == "79.80"
        assert client.add(1, 2) == 3.0
        assert [entry.number for entry in client.history("ann", 2)] == ["ann-1", "ann-2"]
        assert client.slow(0.01) == 0.01
        with pytest.raises(PortalError):
            client.fail("out of stock")


def test_a_program_without_the_server_makes_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    row = sell.schema.raises[0] | {"name": "StaleMilk", "code": "stale_milk"}
    schema = FunctionSchema("eat", input={"type": "object"}, output={"type": "null"}, raises=[row])
    module = load(client_module([Published(schema, "shop", "eat")], {"shop": "http://h/api/shop"}, {}), monkeypatch)
    error = module.StaleMilk("the milk is old", sku="MLK")
    assert (str(error), error.sku, error.status) == ("the milk is old", "MLK", 409)
    found = PortalError.from_dict(error.to_dict())
    assert (type(found), found.sku) == (module.StaleMilk, "MLK")
    with pytest.raises(TypeError, match="sku"):
        module.StaleMilk("the milk is old")


def test_the_text_has_no_any_and_documents_errors() -> None:
    text = written(Service("shop", [sell, list_], description="A shop."), "http://h/api/shop")
    assert "Any" not in text
    assert '"""Sell.\n\n        Args:\n            sku: the article.\n\n        Raises:\n' in text
    assert "            SoldOutToday: The article is sold out.\n            ValidationError: " in text
    assert "day: dt.date | None = None" in text
    assert "returns=tuple[int, Part]" in text
    assert '"""A part' not in text
    assert text == written(Service("shop", [list_, sell], description="A shop."), "http://h/api/shop")


def test_names_of_a_server_are_only_names() -> None:
    hostile = 'x"):\n    import os\n'
    schema = FunctionSchema(
        "call",
        input={
            "type": "object",
            "properties": {hostile: {"type": "string", "default": hostile, "description": hostile}},
        },
        output={"title": hostile, "type": "object", "properties": {hostile: {"enum": [hostile], "title": hostile}}},
        description=f'{hostile}"""\nimport os',
    )
    text = client_module([Published(schema, "", "call")], {"": "http://h/api"}, {"": hostile})
    assert not any(isinstance(node, ast.Import) for node in ast.walk(ast.parse(text)))


def test_versions_and_equal_names() -> None:
    schema = FunctionSchema("add", input={"type": "object", "properties": {"a": {}, "a-": {}, "a_": {}}})
    rows = [Published(schema, "", "add"), Published(schema, "", "add@1"), Published(schema, "", "add_v1")]
    text = client_module(rows, {"": "local://"}, {})
    assert "def add(" in text
    assert '"add@1",' in text
    assert "def add_v1_(" in text
    assert '{"a": a, "a-": a_, "a_": a__}' in text


_TWICE = {
    f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}, {"type": "array", "items": {"$ref": f"#/$defs/a{i + 1}"}}]}
    for i in range(40)
}
_CHAIN = {f"a{i}": {"type": "object", "properties": {"x": {"$ref": f"#/$defs/a{i + 1}"}}} for i in range(3000)}


@pytest.mark.parametrize(
    "output",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"$ref": "#/$defs/a0", "$defs": _TWICE},
        {"$ref": "#/$defs/a0", "$defs": _CHAIN},
        {"title": "E", "enum": ["!" * length for length in range(1, 1500)]},
        {"type": "object", "properties": {"a": {}}, "required": 5},
        {"type": [["array"], {}, *["array"] * 1000]},
    ],
    ids=["itself", "doubling", "chain", "enumeration", "required", "types"],
)
def test_a_hostile_schema_costs_little(output: dict[str, Any]) -> None:
    """Before, each of them raised, or took minutes."""
    schema = FunctionSchema.from_dict({"name": "f", "input": {"required": 5}, "output": output})
    text = client_module([Published(schema, "", "f")], {"": "http://hostile/api"}, {})
    assert len(text) < 2_000_000


def test_a_list_of_itself_is_a_type() -> None:
    tree = {"type": "array", "items": {"$ref": "#/$defs/Tree"}}
    schema = FunctionSchema(name="f", output={"$ref": "#/$defs/Tree", "$defs": {"Tree": tree}})
    text = client_module([Published(schema, "", "f")], {"": "http://it/api"}, {})
    assert "-> list[list[JSONValue]]:" in text


@pytest.mark.parametrize("words", ['ends in a quote"\x00', '""\x00"', '\x00"""', 'a\\"\x85'])
def test_words_that_end_in_an_unprintable_letter(words: str) -> None:
    text = client_module(
        [Published(FunctionSchema(name="f", description=words), "", "f")],
        {"": "http://it/api"},
        {"": words},
    )
    ast.parse(text)
