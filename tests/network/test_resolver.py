"""RemoteResolver, through HTTPResolver with a client that returns scripted documents."""

from __future__ import annotations

from typing import Any

import pytest

from portal import Address, RegistryError
from portal.http import HTTPClient, HTTPResolver

BASE = "http://127.0.0.1:1/api/users"
GET_USER = {"name": "get_user", "address": "http://0.0.0.0:80/api/users/get_user/3f2a9c51"}


class ScriptedClient(HTTPClient):
    """Return documents by address, and keep the addresses that were fetched."""

    def __init__(self, documents: dict[str, Any]) -> None:
        super().__init__()
        self.documents = documents
        self.fetched: list[str] = []

    def get(self, address: Address) -> Any:
        self.fetched.append(str(address))
        found = self.documents[str(address)]
        if isinstance(found, Exception):
            raise found
        return found


def test_functions_of_a_service_are_resolved_below_its_address() -> None:
    """The response names another host, which must not get the caller's credential."""
    client = ScriptedClient(
        {
            BASE: {"name": "users", "state": "running", "version": "2", "functions": [GET_USER]},
            f"{BASE}/get_user/3f2a9c51": {"name": "get_user"},
        }
    )
    service = HTTPResolver(client).resolve_service(BASE)
    assert (service.name, service.version, list(service.functions)) == ("users", "2", ["get_user"])
    assert client.fetched == [BASE, f"{BASE}/get_user/3f2a9c51"]


@pytest.mark.parametrize("document", [None, [], {"name": "users"}, {"functions": []}, {"functions": {}, "state": "up"}])
def test_anything_else_is_not_a_service(document: Any) -> None:
    with pytest.raises(RegistryError, match=f"there is no service at {BASE}"):
        HTTPResolver(ScriptedClient({BASE: document})).resolve_service(BASE)


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        ({"name": "users", "fingerprint": "3f2a9c51"}, "; there is a function; use Consumer.resolve(address)"),
        (
            {"functions": [], "services": [{"name": "users"}, 3, {"name": "orders"}, {}]},
            "; this is the base address of a portal; its services are 'users', 'orders'",
        ),
        ({"functions": [], "services": 3}, ""),
        ({"functions": [], "services": []}, ""),
    ],
)
def test_the_error_says_what_there_is(document: Any, hint: str) -> None:
    with pytest.raises(RegistryError) as caught:
        HTTPResolver(ScriptedClient({BASE: document})).resolve_service(BASE)
    assert str(caught.value) == f"there is no service at {BASE}{hint}"


def test_the_error_of_a_server_for_an_unknown_service_names_the_service() -> None:
    unknown = RegistryError("there is no function shp", name="shp", kind="not_found", hint="did you mean shop?")
    with pytest.raises(RegistryError) as caught:
        HTTPResolver(ScriptedClient({BASE: unknown})).resolve_service(BASE)
    assert str(caught.value) == f"there is no service at {BASE}; did you mean shop?"
    assert (caught.value.kind, caught.value.__cause__) == ("not_found", unknown)


@pytest.mark.parametrize(
    "row",
    [
        "get_user",
        {"name": "get_user"},
        {"name": 3, "address": "http://h/a"},
        {"name": "../admin", "address": "http://h/a"},
        {"name": "get_user", "address": "not an address"},
        {"name": "get_user", "address": "http://h/"},
    ],
)
def test_a_malformed_row_of_a_service_is_rejected(row: Any) -> None:
    document = {"name": "users", "state": "running", "functions": [row]}
    with pytest.raises(RegistryError, match=f"the response from {BASE} is not a description of a service"):
        HTTPResolver(ScriptedClient({BASE: document})).resolve_service(BASE)


def test_another_document_is_not_taken_for_a_listing() -> None:
    listing = {"functions": [GET_USER], "services": []}
    assert HTTPResolver(ScriptedClient({BASE: listing})).list_at(BASE) == listing
    with pytest.raises(RegistryError, match=f"there is no listing at {BASE}"):
        HTTPResolver(ScriptedClient({BASE: {"name": "add"}})).list_at(BASE)
