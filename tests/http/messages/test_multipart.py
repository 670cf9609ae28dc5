from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import ProtocolError
from portal._internal.content import content_of
from portal.http.messages import multipart
from portal.http.messages.multipart import (
    MultipartBody,
    boundary_of,
    disposition_of,
    filename_in,
    parse_parts,
)
from portal.schema import File

HEAD = b'Content-Disposition: form-data; name="a"\r\n'


def parsed(body: bytes, boundary: bytes = b"b") -> list[tuple[str, str | None, bytes]]:
    content = content_of(body)
    return [
        (part.name, part.filename, content.read_at(part.start, part.size)) for part in parse_parts(content, boundary)
    ]


def test_fields_and_files() -> None:
    body = (
        b"preamble\r\n--b \r\n" + HEAD + b"\r\none\r\n--b\r\n"
        b'content-disposition: form-data; name="f"; filename="x \\"y\\".txt"\r\nContent-Type: text/plain\r\n\r\n'
        b"line\r\n--not the boundary\r\n--b--\r\nepilogue"
    )
    assert parsed(body) == [("a", None, b"one"), ("f", 'x "y".txt', b"line\r\n--not the boundary")]
    assert parse_parts(content_of(body), b"b")[1].type == "text/plain"
    assert parsed(b"--b\r\n" + HEAD + b"\r\n\r\n--b--") == [("a", None, b"")]
    assert parsed(b"--b--") == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"--c--", 400),
        (b"--b\r\n" + HEAD + b"\r\nno end", 400),
        (b"--b\r\nContent-Type: text/plain\r\n\r\n1\r\n--b--", 400),
        (b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--", 400),
        (b"--b\r\n" + HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n1\r\n--b--", 400),
        (b"--bb\r\n" + HEAD + b"\r\n1\r\n--b--", 400),
        (b"--b\r\n" + HEAD + b"X: 1\r\n" * 20 + b"\r\n1\r\n--b--", 400),
        (b"--b\r\n" + b"X: " + b"1" * 10_000 + b"\r\n\r\n1\r\n--b--", 413),
        ((b"--b\r\n" + HEAD + b"\r\n1\r\n") * 101 + b"--b--", 413),
        (b"x" * 10_000 + b"\r\n--b--", 400),
    ],
)
def test_malformed_and_large_forms_are_rejected(body: bytes, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        parsed(body)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "value", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "b" * 71]
)
def test_a_boundary_is_required(value: str) -> None:
    with pytest.raises(ProtocolError, match="boundary"):
        boundary_of(value)


def test_a_boundary_may_be_quoted() -> None:
    assert boundary_of('multipart/form-data; charset=utf-8; Boundary="a b=c"') == b"a b=c"


@given(st.binary(max_size=300), st.integers(min_value=1, max_value=64))
def test_what_is_written_is_read(data: bytes, window: int) -> None:
    body = MultipartBody({"n": [1]}, [("f", File(data, name="ü.bin", type="image/png"))])
    whole = b"".join(body)
    assert len(whole) == len(body)
    before = multipart._WINDOW
    multipart._WINDOW = max(window, 40)  # so that boundaries lie across windows
    try:
        found = parse_parts(content_of(whole), boundary_of(body.content_type))
    finally:
        multipart._WINDOW = before
    assert [(part.name, part.filename, part.type) for part in found] == [
        ("n", None, "application/json"),
        ("f", "ü.bin", "image/png"),
    ]
    assert whole[found[1].start : found[1].start + found[1].size] == data


@pytest.mark.parametrize("name", ["a.txt", 'q"u%o\\te.txt', "日本.png", None])
def test_a_file_name_comes_back(name: str | None) -> None:
    text = disposition_of("attachment", name)
    assert text.isascii()
    assert filename_in(text) == name


@given(st.text())
def test_any_disposition_is_read(text: str) -> None:
    filename_in(text)
