"""Files over HTTP: forms, raw bodies, results and ranges, with requests as the client."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
import requests

from portal import Consumer, HTTPPortal, Idempotency
from portal.http.server.files import FileBody
from portal.schema import Bytes, File, Header
from portal.serving import ServingConfig

BIG = bytes(range(256)) * 1024  # more than is sent with the head


def describe(photo: File, title: str, width: int = 100, tags: list[str] | None = None) -> list[object]:
    return [photo.name, photo.type, photo.size, title, width, tags]


def echo(file: File) -> File:
    return file


def turn(data: Bytes) -> Bytes:
    return data[::-1]


def names(photos: list[File], also: list[Bytes] | None = None, title: str = "") -> list[object]:
    """Names.

    Args:
        photos: what to name.
    """
    return [[[one.name, one.read().decode()] for one in photos], also and [one.decode() for one in also], title]


def pair(one: File, other: File | None = None, raw: Bytes = b"raw") -> list[str | None]:
    return [one.read().decode(), other and other.read().decode(), raw.decode()]


def note(file: File, event: Annotated[str, Header("X-Event")]) -> str:
    return f"{event}: {file.size}"


@pytest.fixture
def http() -> Iterator[HTTPPortal]:
    with HTTPPortal(middleware=[Idempotency()]) as portal:
        for published in (describe, echo, turn, names, pair, note):
            portal.apply(published)
        yield portal


def test_a_form_has_files_and_parameters(http: HTTPPortal) -> None:
    url = f"{http.base}/describe"
    files = {"photo": ("ä.png", b"abc", "image/png")}
    found = requests.post(url, files=files, data={"title": "3", "width": "200", "tags": '["a"]'}, timeout=30)
    assert found.json() == ["ä.png", "image/png", 3, "3", 200, ["a"]]
    wrong = requests.post(url, files=files, data={"width": "wide"}, timeout=30)
    assert [fault["path"] for fault in wrong.json()["errors"]] == ["/title", "/width"]
    misspelt = requests.post(url, files={"foto": ("a.png", b"\xff", "image/png")}, timeout=30)
    assert misspelt.json()["detail"] == "the field 'foto' must be UTF-8 text; the fields for files are photo"
    twice = requests.post(url, files=[("photo", b"a"), ("photo", b"b")], timeout=30)
    assert twice.json()["errors"][0]["message"] == "must be sent once"
    tags = requests.post(url, files=files, data={"title": "3", "tags": ["a", "b"]}, timeout=30)
    assert tags.json()["detail"] == '/tags: must be sent once, as one field with JSON, such as ["a", "b"]'
    data = {"data": b64encode(b"abc").decode(), "name": "a.png"}
    assert requests.post(url, json={"photo": data, "title": "x"}, timeout=30).json()[:3] == ["a.png", "image/png", 3]
    foreign = requests.post(
        url, files=files, data={"title": "3"}, headers={"Origin": "http://evil.example"}, timeout=30
    )
    assert foreign.status_code == 415
    text = requests.post(url, data=b"abc", headers={"Content-Type": "text/csv"}, timeout=30)
    assert text.json()["errors"][0]["path"] == "/title"
    large = requests.post(url, files=files, data={"title": "x" * (1024 * 1024)}, timeout=30)
    assert large.status_code == 413
    assert "max_body" in large.json()["detail"]


def test_the_fields_of_a_form_have_as_many_objects_and_arrays_as_a_body() -> None:
    """Each field alone has fewer. They are counted before one is decoded; text is not counted."""
    brackets = "[" + ",".join(["[]"] * 60) + "]"
    files = {"photo": ("a", b"abc"), "tags": (None, brackets, "application/json"), "more": (None, brackets)}
    with HTTPPortal(config=ServingConfig(max_containers=100)) as http:
        http.apply(describe)
        url = f"{http.base}/describe"
        found = requests.post(url, files=files, data={"title": "a"}, timeout=30)
        assert (found.status_code, found.json()["status"]) == (413, 413)
        assert http.stats()["bodies_rejected"] == 1
        found = requests.post(url, files={"photo": ("a", b"abc")}, data={"title": brackets * 3}, timeout=30)
        assert (found.status_code, http.stats()["bodies_rejected"]) == (200, 1)


def test_several_parts_of_a_name_are_a_list_of_files(http: HTTPPortal) -> None:
    url = f"{http.base}/names"
    one, two = ("photos", ("a.png", b"1")), ("photos", ("b.png", b"2"))
    nothing_chosen = ("photos", ("", b"", "application/octet-stream"))  # as browsers send an empty field for files
    empty_file = ("photos", ("c.png", b""))
    as_json = ("photos", (None, json.dumps([{"data": "Mw==", "name": "d.png"}]), "application/json"))
    for parts, expected in (
        ([one, two], [[["a.png", "1"], ["b.png", "2"]], None, ""]),
        ([one], [[["a.png", "1"]], None, ""]),
        ([nothing_chosen], [[], None, ""]),
        ([empty_file], [[["c.png", ""]], None, ""]),
        ([as_json], [[["d.png", "3"]], None, ""]),
        ([one, ("also", ("x", b"x")), ("title", (None, b"t")), two, ("also", (None, b"y"))],
         [[["a.png", "1"], ["b.png", "2"]], ["x", "y"], "t"]),
    ):  # fmt: skip
        found = requests.post(url, files=parts, timeout=30)
        assert (found.status_code, found.json()) == (200, expected)
    for parts, message in (
        ([one, as_json], "must be sent once"),
        ([as_json, as_json], "must be sent once"),
        ([("also", ("x", b"x"))], "the field 'photos' of the form is required"),
    ):
        found = requests.post(url, files=parts, timeout=30)
        assert (found.status_code, found.json()["errors"][0]["message"]) == (422, message)
    assert requests.post(url, files=[one] * 100, timeout=30).status_code == 200
    assert requests.post(url, files=[one] * 101, timeout=30).status_code == 413
    alone = requests.post(url, data=b"1", headers={"Content-Type": "image/png"}, timeout=30)
    assert alone.status_code == 415
    assert "multipart/form-data or application/json" in alone.json()["detail"]


def test_a_field_with_json_is_no_content_of_a_file(http: HTTPPortal) -> None:
    url = f"{http.base}/pair"
    as_json = (None, json.dumps({"data": "Mg=="}), "application/json")
    for parts, expected in (
        ({"other": (None, "null", "application/json")}, ["1", None, "raw"]),
        ({"other": as_json, "raw": (None, '"Mw=="', "application/json")}, ["1", "2", "3"]),
        ({"other": ("a.json", "null", "application/json")}, ["1", "null", "raw"]),
        ({"other": (None, "null", "text/plain")}, ["1", "null", "raw"]),
    ):
        found = requests.post(url, files={"one": ("a", "1")} | parts, timeout=30)
        assert (found.status_code, found.json()) == (200, expected)
    with Consumer() as consumer:
        call = consumer.resolve(url)
        assert call(one=File(b"1"), other=None) == ["1", None, "raw"]
        assert call(one=File(b"1"), other=File(b"null", type="application/json")) == ["1", "null", "raw"]


def test_the_document_has_a_field_for_several_files(http: HTTPPortal) -> None:
    content = http.openapi()["paths"]["/api/names"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    fields = content["multipart/form-data"]["schema"]["properties"]
    several = {"type": "array", "items": {"type": "string", "format": "binary"}}
    assert fields["photos"] == several | {"description": "what to name."}
    assert fields["also"] == several


def test_curl_sends_a_file(http: HTTPPortal, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("needs curl")
    path = tmp_path / "note.txt"
    path.write_text("abc")
    command = [curl, "-s", "-F", f"photo=@{path}", "-F", "title=hello", f"{http.base}/describe"]
    assert json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout) == [
        *("note.txt", "text/plain", 3, "hello", 100, None)
    ]


def test_a_file_alone(http: HTTPPortal) -> None:
    headers = {"Content-Type": "image/png", "Content-Disposition": 'attachment; filename="a.png"'}
    found = requests.post(f"{http.base}/echo", data=BIG, headers=headers, timeout=30)
    assert (found.content, found.headers["content-type"]) == (BIG, "image/png")
    assert found.headers["content-disposition"] == 'attachment; filename="a.png"'
    assert found.headers["content-length"] == str(len(BIG))
    untyped = requests.post(f"{http.base}/turn", data=b"abc", timeout=30)
    assert (untyped.status_code, "the header Content-Type" in untyped.json()["hint"]) == (400, True)
    raw = {"Content-Type": "application/octet-stream"}
    assert requests.post(f"{http.base}/turn", data=b"abc", headers=raw, timeout=30).content == b"cba"
    event = raw | {"X-Event": "push"}
    assert requests.post(f"{http.base}/note", data=b"abc", headers=event, timeout=30).json() == "push: 3"


@pytest.mark.parametrize(
    ("wanted", "status", "content", "range_"),
    [
        ("bytes=0-1", 206, BIG[:2], f"bytes 0-1/{len(BIG)}"),
        ("bytes=10-", 206, BIG[10:], f"bytes 10-{len(BIG) - 1}/{len(BIG)}"),
        (f"bytes={len(BIG)}-", 416, b"", f"bytes */{len(BIG)}"),
        ("bytes=0-1,4-5", 200, BIG, None),
    ],
)
def test_a_part_of_a_file(http: HTTPPortal, wanted: str, status: int, content: bytes, range_: str | None) -> None:
    headers = {"Content-Type": "image/png", "Range": wanted}
    found = requests.post(f"{http.base}/echo", data=BIG, headers=headers, timeout=30)
    assert (found.status_code, found.content, found.headers.get("content-range")) == (status, content, range_)


def test_a_consumer_sends_and_gets_files(http: HTTPPortal, tmp_path: Path) -> None:
    path = tmp_path / "ä.png"
    path.write_bytes(BIG)
    with Consumer() as consumer:
        base = http.base
        assert consumer.resolve(base.child("describe"))(photo=File(path), title="x")[:3] == [
            "ä.png",
            "image/png",
            len(BIG),
        ]
        assert consumer.resolve(base.child("echo"), returns=File)(file=File(path)) == File(path)
        assert consumer.resolve(base.child("turn"), returns=Bytes)(data=b"abc") == b"cba"
        assert consumer.resolve(base.child("turn"))(data=b"abc") == b64encode(b"cba").decode()
        data = {"data": b64encode(b"abc").decode(), "type": "text/plain"}
        assert consumer.call_at(base.child("echo"), {"file": data}) == data
        assert consumer.call_at(base.child("echo"), {"file": data}, returns=File).read() == b"abc"
        assert consumer.resolve(base.child("note"))(file=File(b"abc"), event="push") == "push: 3"


def test_a_repeated_upload_is_the_same_call(http: HTTPPortal) -> None:
    headers = {"Content-Type": "image/png", "Idempotency-Key": "k"}
    first = requests.post(f"{http.base}/note", data=b"abc", headers=headers | {"X-Event": "a"}, timeout=30)
    again = requests.post(f"{http.base}/note", data=b"abc", headers=headers | {"X-Event": "a"}, timeout=30)
    other = requests.post(f"{http.base}/note", data=b"abd", headers=headers | {"X-Event": "a"}, timeout=30)
    assert (first.json(), again.json()) == ("a: 3", "a: 3")
    assert other.status_code >= 400


def test_the_document_has_a_field_for_the_file(http: HTTPPortal) -> None:
    paths = http.openapi()["paths"]
    content = paths["/api/describe"]["post"]["requestBody"]["content"]
    assert content["multipart/form-data"]["schema"]["properties"]["photo"] == {"type": "string", "format": "binary"}
    assert set(content) == {"multipart/form-data", "application/octet-stream", "application/json"}
    response = paths["/api/echo"]["post"]["responses"]["200"]
    assert response["content"] == {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def test_a_body_knows_its_length() -> None:
    body = FileBody(File(b"0123456789"), 2, 5)
    assert (body.length, b"".join(body)) == (3, b"234")


@pytest.mark.parametrize("media", ["foo", "/", "a/b;\x01", "a/" + "b" * 500, b"a/b; x=\xe9".decode("latin-1")])
def test_a_media_type_that_is_none_is_no_failure_of_the_server(http: HTTPPortal, media: str) -> None:
    url = f"{http.base}/describe"
    form = requests.post(url, files={"photo": ("a.png", b"abc", media)}, data={"title": "x"}, timeout=30)
    assert form.json()[:2] == ["a.png", "image/png"]
    data = {"data": b64encode(b"abc").decode(), "type": media}
    found = requests.post(url, json={"photo": data, "title": "x"}, timeout=30)
    assert found.json()[1] == "application/octet-stream"
    if media.isprintable():
        raw = requests.post(
            f"{http.base}/echo", data=b"abc", headers={"Content-Type": media.encode("latin-1")}, timeout=30
        )
        assert (raw.status_code, raw.content) == (200, b"abc")


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 415), ("same-site", 415), ("same-origin", 200), ("none", 200)]
)
def test_a_form_of_another_scheme_is_of_another_origin(http: HTTPPortal, site: str, status: int) -> None:
    """Origin has the same host for http and https. Who can change plain http could send forms to https."""
    headers = {"Origin": f"http://{http.base.authority}", "Sec-Fetch-Site": site}
    url, files = f"{http.base}/describe", {"photo": b"abc"}
    assert requests.post(url, headers=headers, files=files, data={"title": "x"}, timeout=30).status_code == status
