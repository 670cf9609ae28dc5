"""Faults of parameters that an HTTP request has elsewhere than in a JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import requests

from portal import HTTPPortal, ValidationError, function
from portal.errors import Fault
from portal.schema import Body, File, Header


def hook(
    events: Annotated[list[dict[str, Any]], Body()],
    event: Annotated[str, Header("X-Event")],
    attempt: Annotated[int, Header("X-Attempt")] = 1,
) -> int:
    return len(events)


def upload(photo: File, width: int, event: Annotated[str, Header("X-Event")] = "") -> int:
    return photo.size


def add(a: float, b: float) -> float:
    return a + b


@function(name="own")
def own_fault(events: Annotated[list[int], Body()], event: Annotated[str, Header("X-Event")]) -> int:
    raise ValidationError(errors=[Fault("/event", "must be known here", "known"), Fault("/events", "is old", "age")])


@pytest.fixture
def http() -> Iterator[HTTPPortal]:
    with HTTPPortal() as portal:
        for published in (hook, upload, add, own_fault):
            portal.apply(published)
        yield portal


def faults_of(http: HTTPPortal, target: str, **sent: Any) -> dict[str, str]:
    response = requests.post(f"{http.base}/{target}", timeout=30, **sent)
    assert response.status_code == 422, response.text
    problem = response.json()
    faults = {fault["path"]: fault["message"] for fault in problem["errors"]}
    path, message = next(iter(faults.items()))
    assert f"{path}: {message}" in problem["detail"]
    return faults


def test_a_missing_header_is_named(http: HTTPPortal) -> None:
    assert faults_of(http, "hook", json=[]) == {"/event": "the header X-Event is required"}


def test_a_wrong_header_is_named(http: HTTPPortal) -> None:
    found = faults_of(http, "hook", json=[], headers={"X-Event": "a", "X-Attempt": "x"})
    assert found == {"/attempt": "the header X-Attempt must be an integer, got a string"}


def test_the_whole_body_is_named(http: HTTPPortal) -> None:
    headers = {"X-Event": "a"}
    assert faults_of(http, "hook", headers=headers) == {"/events": "the body of the request is required"}
    assert faults_of(http, "hook", json={}, headers=headers) == {"/events": "the body must be an array, got an object"}
    found = faults_of(http, "hook", json=[{}, 3], headers=headers)
    assert found == {"/events/1": "must be an object, got an integer (at /1 of the body)"}


def test_the_fields_of_a_form_are_named(http: HTTPPortal) -> None:
    assert faults_of(http, "upload", files={"photos": b"a"}) == {
        "/photo": "the field 'photo' of the form is required",
        "/photos": "'photos' is unknown",
        "/width": "the field 'width' of the form is required",
    }
    found = faults_of(http, "upload", files={"photo": b"a"}, data={"width": "x"})
    assert found == {"/width": "must be an integer, got a string"}


def test_a_file_alone_or_none(http: HTTPPortal) -> None:
    found = faults_of(http, "upload", data=b"a", headers={"Content-Type": "image/png"})
    assert found == {"/width": "'width' is required; send it beside the file in a form (multipart/form-data)"}
    assert faults_of(http, "upload", json={}) == {
        "/photo": "'photo' is required; send it as a field of a form (multipart/form-data)",
        "/width": "'width' is required",
    }


def test_a_parameter_in_the_query_is_named(http: HTTPPortal) -> None:
    found = faults_of(http, "add?a=1&c=3", json={"b": 2})
    assert found == {"/a": "'a' is required in the body; parameters in the query are ignored"}
    form = faults_of(http, "upload?width=3", files={"photo": b"a"})
    assert form == {"/width": "the field 'width' of the form is required; parameters in the query are ignored"}
    header = faults_of(http, "hook?event=push", json=[])
    assert header == {"/event": "the header X-Event is required; parameters in the query are ignored"}
    assert faults_of(http, "add?%ff&a", json={"b": 2})["/a"].endswith("ignored")
    assert faults_of(http, "add?" + "&".join(["x=1"] * 300), json={"b": 2}) == {"/a": "'a' is required"}


def test_faults_that_the_function_raises_stay(http: HTTPPortal) -> None:
    found = faults_of(http, "own", json=[], headers={"X-Event": "a"})
    assert found == {"/event": "must be known here", "/events": "is old"}


def test_the_same_fault_over_json_rpc_is_of_a_parameter(http: HTTPPortal) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "hook", "params": {"events": []}}
    error = requests.post(f"{http.base}/rpc", json=call, timeout=30).json()["error"]
    assert error["data"]["errors"][0]["message"] == "'event' is required"
