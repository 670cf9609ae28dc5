"""Method names and parameters by position."""

from __future__ import annotations

import pytest

from portal import function
from portal.catalogue import Catalogue
from portal.errors import PortalError, RegistryError
from portal.jsonrpc.methods import find_method, look_up_method, method_names, params_by_name


def add(a: float, b: float = 1.0) -> float:
    return a + b


def publish() -> Catalogue:
    catalogue = Catalogue()
    for name, version, prefix in (
        ("add", "1", ()),
        ("add", "2", ()),
        ("dotted.name", "1", ()),
        ("price", "1", ("orders",)),
        ("price", "3", ("orders",)),
    ):
        catalogue.add(function(name=name, version=version)(add), prefix)
    return catalogue


@pytest.mark.parametrize(
    ("method", "path", "version"),
    [
        ("add", ("add",), "2"),
        ("add@1", ("add",), "1"),
        ("add@2", ("add",), "2"),
        ("add@<2", ("add",), "1"),
        ("orders.price", ("orders", "price"), "3"),
        ("orders/price", ("orders", "price"), "3"),
        ("orders.price@1", ("orders", "price"), "1"),
        ("dotted.name", ("dotted.name",), "1"),
    ],
)
def test_find_method_by_name_and_version(method: str, path: tuple[str, ...], version: str) -> None:
    entry = find_method(publish(), method)
    assert (entry.path, entry.function.schema.version) == (path, version)


@pytest.mark.parametrize(
    "method", ["", ".", "ad", "orders", "orders.prize", "orders//price", "add@3", "add@x", "a." * 99]
)
def test_an_unknown_method_is_a_registry_error(method: str) -> None:
    with pytest.raises(RegistryError):
        find_method(publish(), method)


def test_the_error_names_similar_methods() -> None:
    with pytest.raises(RegistryError, match="did you mean orders/price"):
        find_method(publish(), "orders.prize")


def test_the_path_of_an_address_is_a_method_name() -> None:
    catalogue = publish()
    entry = find_method(catalogue, "orders/price")
    assert find_method(catalogue, "/".join(entry.full_path)) is entry


def test_parameters_by_position_get_names() -> None:
    made = function(add)
    assert params_by_name(made, [3, 4]) == {"a": 3, "b": 4}
    assert params_by_name(made, [3]) == {"a": 3}
    assert params_by_name(made, {"b": 4}) == {"b": 4}
    with pytest.raises(PortalError, match="must be at most 2 parameters, got 3"):
        params_by_name(made, [1, 2, 3])


def test_every_entry_is_found_by_its_method_name() -> None:
    catalogue = publish()
    for name, prefix in (("b", ("a",)), ("a.b", ()), ("c.d", ("a",)), ("d", ("a.c",)), ("e", ("a", "b"))):
        for version in ("1", "2"):
            catalogue.add(function(name=name, version=version)(add), prefix)
    names = method_names(catalogue.entries())
    assert len(names) == len(catalogue)
    for name, entry in names.items():
        assert find_method(catalogue, name) is entry, name
    assert {"orders.price", "orders.price@1", "a.b", "a.b@1", "a/b", "a/b@1"} <= set(names)


def test_the_longest_names_are_found() -> None:
    catalogue = Catalogue()
    entry = catalogue.add(function(name="n" * 200, version="1")(lambda: None), ("s" * 200,))
    assert look_up_method(catalogue, ".".join(entry.path)) is entry
    assert look_up_method(catalogue, "/".join(entry.full_path) + "@1") is entry


@pytest.mark.parametrize("method", ["a" * 2000, "a." * 1000, "add@" + "1" * 2000, "add." + "x" * 2000])
def test_a_long_name_is_cut_in_the_error(method: str) -> None:
    assert look_up_method(publish(), method) is None
    with pytest.raises(RegistryError) as caught:
        find_method(publish(), method)
    assert len(str(caught.value)) < 200
    assert caught.value.hint == ""
    assert len(caught.value.name) <= 100
