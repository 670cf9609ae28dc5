"""Headers and whole bodies as parameters, alone and at a portal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import requests

from portal import Consumer, HTTPPortal, LocalPortal, SerializationError, ValidationError, WebSocketPortal
from portal.http.messages.transfer import decode_form, encode_transfer, header_params
from portal.schema import Body, Header
from portal.schema.transfer import HeaderParameter, Transfer

TRANSFER = Transfer(
    (
        HeaderParameter("event", "X-Event", frozenset({"string"})),
        HeaderParameter("attempt", "X-Attempt", frozenset({"integer", "null"})),
        HeaderParameter("live", "X-Live", frozenset({"boolean"})),
    ),
    "events",
)


def test_headers_become_parameters() -> None:
    headers = {"x-event": "3", "x-attempt": "3", "x-live": "true", "x-other": "1"}
    assert header_params(TRANSFER, headers) == {"event": "3", "attempt": 3, "live": True}
    assert header_params(TRANSFER, {}) == {}
    wrong = {"x-attempt": "three", "x-live": "[" * 100_000}
    assert header_params(TRANSFER, wrong) == {"attempt": "three", "live": "[" * 100_000}


def test_parameters_become_headers() -> None:
    body, headers = encode_transfer(TRANSFER, {"events": [1], "event": "push", "attempt": None, "live": False})
    assert (body, headers) == (b"[1]", {"X-Event": "push", "X-Live": "false"})
    assert encode_transfer(TRANSFER, {}) == (b"", {})
    assert encode_transfer(Transfer(TRANSFER.headers), {"event": "", "a": 1}) == (b'{"a":1}', {"X-Event": ""})


@pytest.mark.parametrize("text", ["a\nb", "\x00", "\u20ac", " a", "a\r\nX-Admin: 1"])
def test_text_that_no_header_can_carry_is_rejected(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        encode_transfer(TRANSFER, {"event": text})
    assert caught.value.errors[0].path == "/event"


def test_a_form_is_decoded_up_to_a_number_of_fields() -> None:
    assert decode_form(b"a=1&b=x+y&a=%C3%BC&c=") == {"a": ["1", "\u00fc"], "b": "x y", "c": ""}
    assert decode_form(b"a=1&a=2&a=3") == {"a": ["1", "2", "3"]}
    for wrong in (b"a=%ff", b"a=\xff", b"&".join([b"a=1"] * 1001)):
        with pytest.raises(SerializationError, match="1000 fields"):
            decode_form(wrong)


def hook(
    events: Annotated[list[dict[str, Any]], Body()],
    event: Annotated[str, Header("X-Event")],
    attempt: Annotated[int, Header("X-Attempt")] = 1,
) -> list[Any]:
    return [event, attempt, len(events)]


def form(fields: Annotated[dict[str, Any], Body(forms=True)]) -> dict[str, Any]:
    return fields


def note(text: str, event: Annotated[str, Header("X-Event")]) -> str:
    return f"{event}: {text}"


@pytest.fixture
def http() -> Iterator[HTTPPortal]:
    with HTTPPortal() as portal:
        for published in (hook, form, note):
            portal.apply(published)
        yield portal


def test_the_whole_body_and_headers(http: HTTPPortal) -> None:
    url = f"{http.base}/hook"
    headers = {"X-Event": "push", "x-attempt": "2"}
    assert requests.post(url, json=[{}, {}], headers=headers, timeout=30).json() == ["push", 2, 2]
    found = requests.post(url, json=[3], headers={"X-Attempt": "two"}, timeout=30)
    assert found.status_code == 422
    assert [fault["path"] for fault in found.json()["errors"]] == ["/attempt", "/event", "/events/0"]
    assert requests.post(url, data=b"", headers=headers, timeout=30).status_code == 422
    assert (
        requests.post(url, data="a=1", headers=headers | {"Content-Type": "text/plain"}, timeout=30).status_code == 415
    )
    deep = b"[" * 100 + b"]" * 100
    assert requests.post(url, data=deep, headers=headers, timeout=30).json()["errors"][0]["rule"] == "depth"


def test_forms_where_they_are_declared(http: HTTPPortal) -> None:
    url = f"{http.base}/form"
    assert requests.post(url, data={"a": "1", "b": ["x", "y"]}, timeout=30).json() == {"a": "1", "b": ["x", "y"]}
    assert requests.post(url, json={"a": 1}, timeout=30).json() == {"a": 1}
    assert requests.post(f"{http.base}/hook", data={"a": "1"}, timeout=30).status_code == 415
    foreign = requests.post(url, data={"a": "1"}, headers={"Origin": "http://evil.example"}, timeout=30)
    assert foreign.status_code == 415
    own = requests.post(url, data={"a": "1"}, headers={"Origin": f"http://127.0.0.1:{http.port}"}, timeout=30)
    assert own.json() == {"a": "1"}


def test_a_header_beside_an_object(http: HTTPPortal) -> None:
    url = f"{http.base}/note"
    assert requests.post(url, json={"text": "hi"}, headers={"X-Event": "a"}, timeout=30).json() == "a: hi"
    assert requests.post(url, json={"text": "hi"}, timeout=30).status_code == 422


@pytest.mark.parametrize("kind", [HTTPPortal, LocalPortal, WebSocketPortal])
def test_the_same_call_at_every_address(kind: type[Any]) -> None:
    with kind() as portal, Consumer() as consumer:
        at_hook, at_note = portal.apply(hook), portal.apply(note)
        assert consumer.call_at(at_hook, {"events": [{}], "event": "push"}) == ["push", 1, 1]
        assert consumer.call_at(at_note, {"text": "hi", "event": "a"}) == "a: hi"
        assert consumer.resolve(at_note)(text="hi", event="a") == "a: hi"
        with pytest.raises(ValidationError):
            consumer.call_at(at_hook, {"events": [{}]})


def test_the_document_says_so(http: HTTPPortal) -> None:
    paths = http.openapi()["paths"]
    call = paths["/api/hook"]["post"]
    found = {one["name"]: one for one in call["parameters"] if "name" in one}
    assert found["X-Event"] == {"name": "X-Event", "in": "header", "required": True, "schema": {"type": "string"}}
    assert found["X-Attempt"]["required"] is False
    assert set(call["requestBody"]["content"]) == {"application/json"}
    assert set(paths["/api/form"]["post"]["requestBody"]["content"]) == {
        "application/json",
        "application/x-www-form-urlencoded",
    }
    schemas = http.openapi()["components"]["schemas"]
    assert schemas["HookInput"]["type"] == "array"
    assert list(schemas["NoteInput"]["properties"]) == ["text"]


def test_a_body_does_not_stand_for_a_header(http: HTTPPortal) -> None:
    """A proxy may set the header or remove it; the body passes it as it is."""
    for headers in ({}, {"X-Event": "a"}):
        found = requests.post(f"{http.base}/note", json={"text": "hi", "event": "b"}, headers=headers, timeout=30)
        assert found.status_code == 422
        [fault] = found.json()["errors"]
        assert (fault["path"], fault["message"]) == ("/event", "must be the header X-Event, not in the body")
