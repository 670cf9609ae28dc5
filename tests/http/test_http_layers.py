"""CORS, compression, security headers and the request log, one by one, without a socket."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import ConfigError, ProtocolError
from portal.http import CORS, Compression, RequestLog, SecurityHeaders, When
from portal.http.compression import choose_coding, decompress
from portal.http.middleware import build_http_chain
from portal.http.request_log import FileTarget
from portal.serving import Request, Response
from portal.serving.head import parse_request_head

SHOP = "https://shop.example"


def request(method: str = "POST", target: str = "/api/f", body: bytes = b"", **headers: str) -> Request:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Request(parse_request_head(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")), body, None, "192.0.2.1")


def answering(response: Response) -> Any:
    return lambda _: response


def header(response: Response, name: str) -> str | None:
    found = [value for key, value in response.headers if key.lower() == name.lower()]
    return ", ".join(found) if found else None


# CORS


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ([SHOP], SHOP, True),
        (SHOP, SHOP, True),
        ([SHOP], "https://shop.example:8443", False),
        ([SHOP], "http://shop.example", False),
        ([SHOP], "https://SHOP.example", False),
        ([SHOP], "https://shop.example.evil.org", False),
        ([SHOP], "https://evil-shop.example", False),
        ([SHOP], "null", False),
        (["null"], "null", True),
        ("*", "https://any.example", True),
        ("*", "no origin at all", False),
        (re.compile(r"https://[a-z]+\.example"), SHOP, True),
        (re.compile(r"https://[a-z]+\.example"), "https://shop.example.evil.org", False),
        (lambda origin: origin.endswith(".example"), SHOP, True),
        (lambda origin: False, SHOP, False),
    ],
)
def test_who_may_call_from_a_page(origins: Any, origin: str, allowed: bool) -> None:
    layer = CORS(origins)
    response = layer(request(Origin=origin), answering(Response(200, [("X-Request-ID", "r")], b"{}")))
    granted = header(response, "Access-Control-Allow-Origin")
    assert granted == (("*" if origins == "*" else origin) if allowed else None)
    assert (header(response, "Vary") == "Origin") is (origins != "*")
    assert ("X-Request-ID" in (header(response, "Access-Control-Expose-Headers") or "")) is allowed
    preflight = layer(request("OPTIONS", Origin=origin, Access_Control_Request_Method="POST"), answering(Response(500)))
    assert preflight.status == (204 if allowed else 403)
    assert (header(preflight, "Access-Control-Allow-Origin") is not None) is allowed


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", "", 204),
        ("POST", "content-type, X-Request-Id", 204),
        ("POST", "authorization", 204),
        ("POST", "x-unknown", 403),
        ("DELETE", "", 403),
        ("post", "", 403),
    ],
)
def test_preflight(method: str, headers: str, status: int) -> None:
    asked = {"Origin": SHOP, "Access_Control_Request_Method": method, "Access_Control_Request_Headers": headers}
    response = CORS([SHOP], credentials=True, max_age=5)(request("OPTIONS", **asked), answering(Response(500)))
    assert response.status == status
    if status == 204:
        assert header(response, "Access-Control-Max-Age") == "5"
        assert header(response, "Access-Control-Allow-Credentials") == "true"
        assert "POST" in (header(response, "Access-Control-Allow-Methods") or "")
        assert len((header(response, "Access-Control-Allow-Headers") or "").split(",")) == len(headers.split(","))


def test_options_without_an_origin_is_no_preflight() -> None:
    response = CORS([SHOP])(request("OPTIONS"), answering(Response(204, [("Allow", "POST")])))
    assert header(response, "Allow") == "POST"


@pytest.mark.parametrize(
    "options",
    [
        {"origins": "*", "credentials": True},
        {"origins": ["shop.example"]},
        {"origins": ["https://shop.example/"]},
        {"origins": [5]},
        {"origins": [SHOP], "headers": ["a b"]},
        {"origins": [SHOP], "max_age": -1},
        {"origins": [SHOP], "max_age": 1.5},
    ],
)
def test_wrong_cors_settings(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        CORS(**options)
    assert (caught.value.path or "").startswith("cors.")


# compression


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip", "gzip"),
        ("gzip;q=0.5, deflate;q=0.9", "deflate"),
        ("br, zstd", None),
        ("", None),
        ("*", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", "deflate"),
        ("identity", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("GZIP", "gzip"),
        ("gzip;q=x", None),
    ],
)
def test_the_coding_that_a_client_wants(accept: str, coding: str | None) -> None:
    assert choose_coding(accept) == coding


@given(st.text(max_size=60))
def test_choosing_never_fails(accept: str) -> None:
    assert choose_coding(accept) in ("gzip", "deflate", None)


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (gzip.compress(b"x" * 101), "gzip", 413),
        (zlib.compress(b"x" * 101), "deflate", 413),
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"x")[:-3], "gzip", 400),
        (gzip.compress(b"x") + b"more", "gzip", 400),
        (gzip.compress(b"x") * 2, "gzip", 400),
        (b"x", "br", 415),
        (gzip.compress(b"x"), "gzip, gzip", 415),
    ],
)
def test_compressed_bodies_that_are_refused(body: bytes, coding: str, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        decompress(body, coding, 100)
    assert caught.value.status == status
    response = Compression(max_decompressed=100)(request(body=body, Content_Encoding=coding), answering(Response(200)))
    assert response.status == status
    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["status"] == status
    assert (header(response, "Accept-Encoding") is not None) is (status == 415)


def test_a_compressed_request_is_read() -> None:
    seen: list[bytes] = []

    def app(inner: Request) -> Response:
        seen.append(inner.body)
        return Response(200, [], b"ok")

    for coding, body in (("gzip", gzip.compress(b"{}")), ("deflate", zlib.compress(b"{}")), ("identity", b"{}")):
        Compression()(request(body=body, Content_Encoding=coding), app)
    assert seen == [b"{}"] * 3


def test_answers_are_compressed_where_it_pays() -> None:
    layer, long = Compression(minimum=100), b"y" * 1000
    small = layer(request(Accept_Encoding="gzip"), answering(Response(200, [], b"y")))
    assert (small.body, header(small, "Vary")) == (b"y", None)
    plain = layer(request(), answering(Response(200, [], long)))
    assert (plain.body, header(plain, "Vary")) == (long, "Accept-Encoding")
    packed = layer(request(Accept_Encoding="gzip"), answering(Response(200, [("ETag", '"t"')], long)))
    assert isinstance(packed.body, bytes)
    assert gzip.decompress(packed.body) == long
    assert (header(packed, "ETag"), header(packed, "Content-Encoding")) == ('W/"t"', "gzip")
    kept = layer(request(Accept_Encoding="gzip"), answering(Response(304, [("ETag", '"t"')])))
    assert (header(kept, "ETag"), header(kept, "Content-Encoding")) == ('"t"', None)
    coded = layer(request(Accept_Encoding="gzip"), answering(Response(200, [("Content-Encoding", "br")], long)))
    assert coded.body == long


def test_each_item_of_a_stream_can_be_read_as_soon_as_it_is_sent() -> None:
    closed: list[bool] = []

    def items() -> Iterator[bytes]:
        try:
            yield b"one\n"
            yield b"two\n"
        finally:
            closed.append(True)

    response = Compression()(request(Accept_Encoding="deflate"), answering(Response(200, [], items())))
    reader = zlib.decompressobj()
    body = response.body
    assert not isinstance(body, bytes)
    assert reader.decompress(next(body)) == b"one\n"
    assert reader.decompress(next(body)) == b"two\n"
    assert reader.decompress(next(body)) == b""
    assert reader.eof
    assert list(body) == []
    assert closed == [True]


@pytest.mark.parametrize("options", [{"minimum": -1}, {"level": 0}, {"level": 10}, {"max_decompressed": 0}])
def test_wrong_compression_settings(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Compression(**options)


# security headers


def test_security_headers() -> None:
    response = SecurityHeaders(csp="")(request(), answering(Response(200, [("x-frame-options", "SAMEORIGIN")])))
    assert header(response, "X-Frame-Options") == "SAMEORIGIN"
    assert header(response, "Content-Security-Policy") is None
    assert header(response, "X-Content-Type-Options") == "nosniff"
    assert header(response, "Strict-Transport-Security") is None

    class Secure(Request):
        secure = True  # type: ignore[assignment]

    inner = request()
    over_tls = Secure(inner.head, b"")
    assert "max-age=60" in (
        header(SecurityHeaders(hsts=60)(over_tls, answering(Response())), "Strict-Transport-Security") or ""
    )
    assert header(SecurityHeaders(hsts=0)(over_tls, answering(Response())), "Strict-Transport-Security") is None
    for options in ({"hsts": -1}, {"csp": "a\r\nb"}):
        with pytest.raises(ConfigError):
            SecurityHeaders(**options)  # type: ignore[arg-type]


# the request log


def test_a_line_cannot_be_forged() -> None:
    lines: list[str] = []
    log = RequestLog(lines.append, headers=["x-note"], clock=lambda: 1_700_000_000.5)
    nasty = request("GET", "/api/%0a{}?password=p&a=1&Access_Token=t&x=%0d", X_Note="\x85\xa0" + "n" * 600)
    log(nasty, answering(Response(404, [("X-Request-ID", "r-1")], b"12345")))
    assert len(lines) == 1
    assert lines[0].isascii()
    assert "\n" not in lines[0]
    row = json.loads(lines[0])
    assert row["time"] == "2023-11-14T22:13:20.500Z"
    assert row["path"] == "/api/%0a{}?password=***&a=1&Access_Token=***&x=%0d"
    assert (row["status"], row["request_id"], row["response_bytes"], row["peer"]) == (404, "r-1", 5, "192.0.2.1")
    assert len(row["headers"]["x-note"]) < 600


def test_a_stream_is_logged_at_its_end_also_when_its_client_goes() -> None:
    lines: list[str] = []
    for all_of_it in (True, False):
        response = RequestLog(lines.append)(request(), answering(Response(200, [], iter([b"ab", b"c"]))))
        body = response.body
        assert not isinstance(body, bytes)
        assert len(lines) == (0 if all_of_it else 1)
        assert next(body) == b"ab"
        if all_of_it:
            assert list(body) == [b"c"]
        else:
            body.close()  # type: ignore[attr-defined]
    assert [json.loads(line)["response_bytes"] for line in lines] == [3, 2]


def test_a_target_that_fails_costs_no_request(caplog: pytest.LogCaptureFixture) -> None:
    def full(line: str) -> None:
        raise OSError("the disk is full")

    assert RequestLog(full)(request(), answering(Response(200))).status == 200
    assert "the disk is full" in caplog.text


def test_a_logger_takes_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "requests.of.a.test"):
        RequestLog(logging.getLogger("requests.of.a.test"))(request(), answering(Response(200)))
    assert json.loads(caplog.records[-1].message)["status"] == 200


def test_a_file_that_was_rotated_away_is_opened_anew(tmp_path: Path) -> None:
    now = [0.0]
    path = tmp_path / "log"
    target = FileTarget(path, clock=lambda: now[0])
    target("one")
    os.rename(path, tmp_path / "log.1")
    target("two")  # it is looked at once a second
    now[0] = 2.0
    target("three")
    path.unlink()
    now[0] = 4.0
    target("four")
    assert (tmp_path / "log.1").read_text() == "one\ntwo\n"
    assert path.read_text() == "four\n"
    target.close()
    target("five")
    target.close()
    assert path.read_text() == "four\nfive\n"


def test_wrong_log_targets(tmp_path: Path) -> None:
    for target in (tmp_path / "no" / "folder", 5):
        with pytest.raises(ConfigError):
            RequestLog(target)  # type: ignore[arg-type]


# the chain


def test_the_first_is_the_outermost_and_conditions_pass_by() -> None:
    order: list[str] = []

    def named(name: str) -> Any:
        def layer(inner: Request, call_next: Any) -> Response:
            order.append(name)
            response: Response = call_next(inner)
            order.append(f"/{name}")
            return response

        return layer

    layers = [named("a"), When(named("b"), path="/other"), When(named("c"), method="post"), named("d")]
    build_http_chain(layers, answering(Response(200)))(request())
    assert order == ["a", "c", "d", "/d", "/c", "/a"]
    with pytest.raises(ConfigError):
        When(named("x"))
