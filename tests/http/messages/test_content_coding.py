"""Compressed requests and responses, with servers that support them, do not, or send wrong headers."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from hypothesis import given
from hypothesis import strategies as st

from portal import Certificate, Consumer, HTTPPortal, ServingConfig, TLSConfig
from portal.address import Address
from portal.errors import ConfigError, ProtocolError, TransportError
from portal.http import ClientTLS, Compression, HTTPClient
from portal.http.messages.content_coding import compress, decompressed
from portal.serving import Listener, Request, Response

TEXT = "every good boy does fine " * 200


def echo(text: str) -> str:
    return text


def lines(count: int) -> Iterator[str]:
    for number in range(count):
        yield f"{number} {TEXT}"


class RecordCodings:
    """HTTP middleware that records the codings of requests and responses; put it outside of Compression."""

    def __init__(self) -> None:
        self.seen: list[tuple[str | None, str | None]] = []

    def __call__(self, request: Request, call_next: Any) -> Response:
        requested = request.headers.get("content-encoding")
        response = call_next(request)
        self.seen.append((requested, {name.lower(): value for name, value in response.headers}.get("content-encoding")))
        return response


@given(st.lists(st.binary(max_size=300)), st.sampled_from(["gzip", "deflate", " GZIP", "identity"]), st.integers(1, 40))
def test_a_body_in_pieces_of_any_size_is_decompressed(parts: list[bytes], coding: str, cut: int) -> None:
    body = b"".join(parts)
    name = coding.strip().lower()
    encoded = body if name == "identity" else zlib.compress(body) if name == "deflate" else compress(body)
    pieces = [encoded[at : at + cut] for at in range(0, len(encoded), cut)]
    assert b"".join(decompressed(pieces, coding)) == body


@pytest.mark.parametrize(
    ("pieces", "coding", "error"),
    [
        ([b"plain"], "gzip", ProtocolError),
        ([b"plain"], "br", ProtocolError),
        ([b"plain"], "gzip, gzip", ProtocolError),
        ([compress(b"x") + b"y"], "gzip", ProtocolError),
        ([compress(b"x"), b"y"], "gzip", ProtocolError),
        ([compress(b"x") + bytes(8)], "gzip", ProtocolError),
        ([compress(b"x"), compress(b"y")[:-1]], "gzip", ConnectionResetError),
        ([compress(b"x") + compress(b"y")[:5]], "gzip", ConnectionResetError),
        ([compress(b"x") + zlib.compress(b"y")], "gzip", ProtocolError),
        ([zlib.compress(b"x") * 2], "deflate", ProtocolError),
        ([zlib.compress(b"x"), b"y"], "deflate", ProtocolError),
        ([compress(b"x")[:-1]], "gzip", ConnectionResetError),
        ([], "gzip", ConnectionResetError),
    ],
)
def test_a_body_in_another_coding_is_rejected(pieces: list[bytes], coding: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(decompressed(pieces, coding))


@given(st.lists(st.binary(max_size=100), min_size=1), st.integers(1, 60))
def test_gzip_members_follow_each_other(members: list[bytes], cut: int) -> None:
    encoded = b"".join(map(compress, members))
    pieces = [encoded[at : at + cut] for at in range(0, len(encoded), cut)]
    assert b"".join(decompressed(pieces, "gzip")) == b"".join(members)


def test_many_gzip_members_are_bounded_together() -> None:
    members = compress(bytes(60_000)) * 20
    with pytest.raises(ProtocolError, match="100 decompressed bytes for each compressed byte"):
        list(decompressed([members], "gzip", 100))
    assert len(b"".join(decompressed([members], "gzip", None))) == 1_200_000


def test_a_reader_can_stop_between_empty_members() -> None:
    pieces = decompressed([compress(b"") * 1000], "gzip")
    assert [next(pieces), next(pieces)] == [b"", b""]


def test_a_compression_bomb_is_decompressed_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    total = largest = 0
    for piece in decompressed([bomb], "gzip"):
        total, largest = total + len(piece), max(largest, len(piece))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (total, largest) == (50_000_000, 65_536)
    assert peak < 2_000_000


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_requests_and_responses_are_compressed(secure: bool, tmp_path: Path) -> None:
    authority = trustme.CA()
    pem, ca = tmp_path / "server.pem", tmp_path / "ca.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(ca))
    config = ServingConfig(tls=TLSConfig(Certificate(str(pem)))) if secure else None
    codings = RecordCodings()
    client = HTTPClient(compress_min_size=1000, tls=ClientTLS(ca=str(ca)))
    with (
        HTTPPortal(config=config, http_middleware=[codings, Compression()]) as portal,
        HTTPPortal(http=client) as calling,
        Consumer([calling]) as consumer,
    ):
        address, stream = portal.apply(echo), portal.apply(lines)
        consumer.call_at(address, {"text": "short"})
        codings.seen.clear()
        assert consumer.call_at(address, {"text": "short"}) == "short"
        assert consumer.call_at(address, {"text": TEXT}) == TEXT
        assert list(consumer.stream_at(stream, {"count": 3})) == list(lines(3))
        assert codings.seen[:2] == [(None, None), ("gzip", "gzip")]
        assert codings.seen[-1] == (None, "gzip")
        calling.close()


def test_the_client_stops_compressing_for_a_server_that_rejects_it() -> None:
    codings = RecordCodings()
    with (
        HTTPPortal(http_middleware=[codings]) as portal,
        HTTPPortal(http=HTTPClient(compress_min_size=0)) as calling,
        Consumer([calling]) as consumer,
    ):
        address = portal.apply(echo)
        consumer.resolve(address)
        codings.seen.clear()
        for _ in range(2):
            assert consumer.call_at(address, {"text": TEXT}) == TEXT
        assert [coding for coding, _ in codings.seen if coding] == ["gzip"]
        calling.close()


@pytest.mark.parametrize("path", ["echo", "rpc"])
def test_a_compressed_body_without_compression_is_415(path: str) -> None:
    with HTTPPortal() as portal:
        portal.apply(echo)
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        response = requests.post(f"{portal.base}/{path}", data=compress(b'{"text":"x"}'), headers=headers, timeout=10)
        assert response.status_code == 415
        assert "gzip" in response.json()["detail"]
        assert response.headers["Accept-Encoding"] == "identity"


def test_a_415_from_a_function_is_not_retried() -> None:
    runs: list[str] = []

    def reject(text: str) -> str:
        runs.append(text)
        raise ProtocolError("not this type", status=415)

    with (
        HTTPPortal(http_middleware=[Compression()]) as portal,
        HTTPPortal(http=HTTPClient(compress_min_size=0)) as calling,
        Consumer([calling]) as consumer,
    ):
        with pytest.raises(ProtocolError):
            consumer.call_at(portal.apply(reject), {"text": "x"})
        assert runs == ["x"]
        calling.close()


class FixedResponse:
    """An application that sends the given headers and body for every request."""

    def __init__(self, headers: list[tuple[str, str]], body: bytes) -> None:
        self.headers, self.body = headers, body

    def handle(self, request: Request) -> Response:
        return Response(200, [("Content-Type", "application/json"), *self.headers], self.body)


@pytest.mark.parametrize(
    ("coding", "body", "error"),
    [
        ("gzip", compress(b'"fine"'), None),
        ("deflate", zlib.compress(b'"fine"'), None),
        ("gzip", b'"fine"', ProtocolError),
        ("br", b'"fine"', ProtocolError),
        ("gzip", compress(b'"fine"')[:-3], TransportError),
        ("gzip", gzip.compress(bytes(3_000_000)), ProtocolError),
    ],
    ids=["gzip", "deflate", "no gzip", "unknown", "cut", "too long"],
)
def test_the_content_coding_of_a_response(coding: str, body: bytes, error: type[Exception] | None) -> None:
    listener = Listener()
    listener.mount("/", FixedResponse([("Content-Encoding", coding)], body))
    listener.start()
    client = HTTPClient(max_response_size=1_000_000)
    try:
        address = Address.parse(f"http://127.0.0.1:{listener.port}/anything")
        if error is None:
            assert client.get(address) == "fine"
        else:
            with pytest.raises(error):
                client.get(address)
    finally:
        client.close()
        listener.stop(1.0)


@pytest.mark.parametrize("value", [-1, True, "1", 1.5])
def test_a_wrong_setting_is_a_config_error(value: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        HTTPClient(compress_min_size=value)
    assert raised.value.path == "client.compress_min_size"
