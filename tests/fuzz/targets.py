"""What must hold for any bytes whatever, one function a part that reads what a stranger sends.

Each takes bytes and raises nothing but AssertionError. Tests call them with what hypothesis makes up, and
`coverage_guided.py` with what atheris finds its way by.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

from portal import Address, HTTPPortal
from portal._internal.json_encoder import encode_json
from portal._internal.json_text import decode_json
from portal.cache.cache_control import freshness
from portal.context import CallContext
from portal.errors import AddressError, FunctionError, PortalError, ProtocolError, SerializationError
from portal.http.client.connection import HTTPConnection
from portal.http.client.response import ConnectionResponse
from portal.http.messages.call_headers import context_of
from portal.http.messages.event_stream import read_events
from portal.http.middleware.compression import Compression, choose_coding, decompress
from portal.http.middleware.cors import CORS
from portal.http.server.app import HTTPApp
from portal.http.server.negotiation import json_type, stream_type
from portal.http.server.rpc_messages import RPCMessages
from portal.http11.chunked import ChunkedDecoder
from portal.http11.client_network import client_network
from portal.http11.entity_tags import matches_tag
from portal.http11.forwarded import client_address, trusted_networks
from portal.http11.head_cache import HeadCache
from portal.http11.request_head import RequestHead, parse_request_head
from portal.http11.response_head import encode_head
from portal.jsonrpc import messages as jsonrpc
from portal.network.problem import error_of
from portal.serving.messages.request import Request
from portal.serving.messages.request_reader import RequestReader

__all__ = ["SEEDS", "TARGETS"]

MAX_HEAD, MAX_BODY = 4096, 4096
Outcome = tuple[list[Any], str]  # what was read, and how it ended: "more" is wanted, or "error"


def cut(data: bytes, size: int) -> list[bytes]:
    """The data in pieces of that size, and not more than some hundred of them."""
    size = max(size, len(data) // 100)
    return [data[at : at + size] for at in range(0, len(data), size)]


def _known(error: ProtocolError) -> int:
    """The status, which must be one that refuses a request."""
    assert error.status in (400, 411, 413, 414, 417, 431, 501, 505)
    return error.status


# requests


def facts(head: RequestHead) -> dict[str, Any]:
    """All that is known of a head."""
    return {name: getattr(head, name) for name in RequestHead.__slots__ if name != "template"}


def read_requests(pieces: Iterable[bytes], cache: HeadCache | None = None) -> Outcome:
    """The requests (method, target, headers, body) in what arrives piece by piece."""
    reader = RequestReader(MAX_HEAD, MAX_BODY, cache or HeadCache())
    found: list[Any] = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (request := reader.next_request()) is not None:
                head, body, _ = request
                found.append((head.method, head.target, dict(head.headers), body))
        except ProtocolError as error:
            _known(error)
            return found, "error"
    return found, "more"


def check_requests(data: bytes) -> None:
    """However they are cut, the same requests come, and what is remembered of heads changes none of them."""
    whole = read_requests([data])
    assert read_requests(cut(data, 1)) == whole
    assert read_requests(cut(data, 7)) == whole
    cache = HeadCache()
    for _ in range(3):
        assert read_requests([data], cache) == whole


def check_head(data: bytes) -> None:
    """A head is read the same by a cache that has seen it, its beginning, or neither; all else is a ProtocolError."""
    cache = HeadCache(max_entries=4)
    for text in (data, data + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n" + data + b"\r\n\r\n"):
        if not text.endswith(b"\r\n\r\n") or text.find(b"\r\n\r\n") != len(text) - 4:
            continue
        plain = _outcome(parse_request_head, text)
        for _ in range(3):
            assert _outcome(cache.parse, text) == plain
        tail = b"X-Request-ID: a\r\nContent-Length: 1\r\n\r\n"
        for more in (tail, tail.replace(b"a", b"b"), b"X-Request-ID: a\r\nHost: y\r\n\r\n"):
            assert _outcome(cache.parse, text[:-2] + more) == _outcome(parse_request_head, text[:-2] + more)


def _outcome(parse: Callable[[bytes], RequestHead], text: bytes) -> Any:
    try:
        head = parse(text)
    except ProtocolError as error:
        return _known(error)
    assert head.path.startswith(("/", "*"))
    assert "\n" not in str(head.headers.values())
    return facts(head)


def check_chunks(data: bytes) -> None:
    """However it is cut, a chunked body has the same data, end, trailers and rest."""
    whole = _dechunked([data])
    for size in (1, 2, 13):
        assert _dechunked(cut(data, size)) == whole


def _dechunked(pieces: list[bytes]) -> Any:
    decoder = ChunkedDecoder(MAX_BODY)
    body = b""
    try:
        for piece in pieces:
            body += decoder.feed(piece)
    except ProtocolError as error:
        _known(error)
        return "error"
    assert len(body) <= MAX_BODY
    return body, decoder.complete, decoder.trailers, decoder.remainder


# responses


class FedConnection(HTTPConnection):
    """A connection on which a server has sent pieces and then closed it."""

    __slots__ = ("closed", "left", "was_kept")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.left = list(pieces)
        self._buffer = b""
        self._exchanges = 1
        self.closed = self.was_kept = False

    def receive(self, deadline: float | None) -> bytes:
        return self.left.pop(0) if self.left else b""

    def release(self, keep: bool) -> None:
        self.was_kept = keep

    def close(self) -> None:
        self.closed = True


def response_of(pieces: Iterable[bytes]) -> Any:
    """Status, headers, body and whether the connection is kept; or the word for what went wrong."""
    connection = FedConnection([piece for piece in pieces if piece])
    try:
        response = ConnectionResponse(connection, None)
        body = response.read_buffered()
        if body is None:
            body = b"".join(response.iter_body())
    except ProtocolError:
        return "garbled"
    except ConnectionError:
        return "cut off"
    return response.status, response.headers, body, connection.was_kept


def check_response(data: bytes) -> None:
    """However it is cut, a response has the same status, headers and body."""
    whole = response_of([data])
    for size in (1, 5):
        other = response_of(cut(data, size))
        if isinstance(whole, tuple) and isinstance(other, tuple):
            # What came after the response, and when, decides whether the connection is reused.
            assert other[:3] == whole[:3]
            assert 200 <= whole[0] <= 999
        elif isinstance(whole, tuple) or isinstance(other, tuple):
            # More than the length that was told is noticed only where it comes with the rest.
            assert "content-length" in (whole if isinstance(whole, tuple) else other)[1]
            assert "garbled" in (whole, other)


def check_events(data: bytes) -> None:
    """However they are cut, the same events come."""
    whole = list(read_events([data], 1 << 20))
    for size in (1, 3):
        assert list(read_events(cut(data, size), 1 << 20)) == whole


# JSON


def check_rpc(data: bytes) -> None:
    """Any bytes decode to messages, and each message that needs a response gets exactly one."""
    for responses in (False, True):
        found = jsonrpc.decode(data, decode_json, responses=responses)
        assert found.messages
        for message in found.messages:
            if isinstance(message, jsonrpc.Invalid):
                encode_json(jsonrpc.error_response(message.id, message.error))
            elif isinstance(message, jsonrpc.JSONRPCResponse) and message.error is not None:
                assert isinstance(message.error, PortalError)
                assert 400 <= message.error.status <= 599
                str(message.error)
    found = jsonrpc.decode(data, decode_json)
    wanted = [one for one in found.messages if not (isinstance(one, jsonrpc.Request) and one.notification)]
    body = RPCMessages(data, CallContext()).handle(_run)
    if body is None:
        assert not wanted
        return
    sent = json.loads(body)
    assert len(sent if found.is_batch else [sent]) == len(wanted)


def _run(method: str, params: Any, context: CallContext) -> Any:
    if method == "fail":
        raise FunctionError("no", type="ValueError")
    return params


def check_json(data: bytes) -> None:
    """What is read as JSON is written as JSON that reads the same; all else is a SerializationError."""
    try:
        value = decode_json(data)
    except SerializationError:
        return
    try:
        text = encode_json(value)
    except SerializationError:
        return  # a lone surrogate, or a number beyond what a float holds
    assert decode_json(text) == value


# texts


def check_address(data: bytes) -> None:
    """A text is an address in normal form, which is its own normal form, or an AddressError."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        address = Address(text)
    except AddressError as error:
        _within(error.position, text)
        return
    assert str(address).isascii()
    again = Address(str(address))
    assert again == address
    for name in Address.__slots__:
        assert getattr(again, name) == getattr(address, name)
    assert address.resolve("") == Address(str(address).partition("#")[0])


def _within(position: int | None, text: str) -> None:
    assert position is None or 0 <= position <= len(text)


def check_fields(data: bytes) -> None:
    """Values of headers may be anything: each reader of one gives something, or a portal error."""
    text = data.decode("latin-1")
    found = freshness({"cache-control": text, "age": text, "expires": text, "date": text, "vary": text})
    assert found.seconds is None or 0 <= found.seconds <= 2**31
    matches_tag(text, '"a"')
    assert choose_coding(text) in ("gzip", "deflate", None)
    client_address("10.0.0.1", text, trusted_networks(["10.0.0.0/8"]))
    client_network(text)
    for read in (json_type, stream_type):
        with suppress(ProtocolError):
            read(text)
    for coding in ("gzip", "deflate", text):
        with suppress(ProtocolError):
            assert len(decompress(data, coding, 1000)) <= 1000
    headers = dict.fromkeys(("x-request-id", "x-portal-timeout", "traceparent", "idempotency-key", "retry-after"), text)
    with suppress(ProtocolError):
        assert context_of(headers, 0.0).request_id.isascii()
    for status in (401, 404, 429, 503):
        assert isinstance(error_of(status, text, data, headers), PortalError)


# all of it


def _add(a: float, b: float = 2) -> float:
    return a + b


def _hard(numbers: set[int], when: datetime | None = None, money: Decimal = Decimal(0), blob: bytes = b"") -> list[str]:
    return [str(when), str(money), blob.hex(), *map(str, numbers)]


def _stream(count: int) -> Iterator[int]:
    yield from range(min(count, 3))


@cache
def _app() -> HTTPApp:
    layers = [CORS(["http://a.example"]), Compression(max_decompressed=MAX_BODY)]
    portal = HTTPPortal(listen=False, http_middleware=layers)
    for one in (_add, _hard, _stream):
        portal.apply(one)
    return portal._app


def check_app(data: bytes) -> None:
    """Any request gets a response that can be sent, and none is an error of the server."""
    reader = RequestReader(MAX_HEAD, MAX_BODY, HeadCache())
    reader.feed(data)
    try:
        while (found := reader.next_request()) is not None:
            response = _app().handle(Request(*found[:2], None, "192.0.2.7"))
            body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
            assert response.status < 500 or response.status == 501, body
            encode_head(response.status, response.headers, keep_alive=True, length=len(body), now=0.0)
    except ProtocolError:
        return


TARGETS: dict[str, Callable[[bytes], None]] = {
    "head": check_head,
    "requests": check_requests,
    "chunks": check_chunks,
    "response": check_response,
    "events": check_events,
    "rpc": check_rpc,
    "json": check_json,
    "address": check_address,
    "fields": check_fields,
    "app": check_app,
}

SEEDS: dict[str, list[bytes]] = {
    "head": [
        b"GET /a?b#c HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n",
        b"POST http://y:80/a HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nExpect: 100-continue",
    ],
    "requests": [
        b"POST /a HTTP/1.1\r\nHost: x\r\nX-Request-ID: 1\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\nHost: x\r\n"
        b"\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nT: v\r\n\r\nGET /",
        b"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx\r\n",
    ],
    "chunks": [b'3;a="b"\r\nabc\r\n0a \r\n0123456789\r\n0\r\nA: b\r\n\r\nrest', b"0\r\n\r\n"],
    "response": [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.0 503 No\r\nRetry-After: 1\r\n\r\nbusy",
        b"HTTP/1.1 204 None\r\nConnection: close\r\n\r\n",
        b'HTTP/1.1 304 Same\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n',
    ],
    "events": [b"data: 1\n\nevent: complete\r\ndata: null\r\n\r\n", b": x\rdata\r\r"],
    "rpc": [
        b'{"jsonrpc":"2.0","method":"add","params":{"a":1},"id":1}',
        b'[{"jsonrpc":"2.0","method":"fail","id":"x"},{"jsonrpc":"2.0","method":"n","params":[1]},1]',
        b'{"jsonrpc":"2.0","error":{"code":-32029,"message":"m","data":{"code":"rate_limited","retry_after":1}},"id":1}',
    ],
    "address": [
        b"http://user.example:8080/api/add@2/3f2a9c51?version=>=1,<2#f",
        "HTTPS://Ä.example/%c3%a4/../b".encode(),
        b"ws://[::1]:80/",
        b"local://add",
        b"js://quickjs/a%2Fb",
    ],
    "fields": [
        b"max-age=5, no-cache, private",
        b"gzip;q=0.5, *;q=0, identity",
        b"1.2.3.4, [::1]:5, unknown",
        b'"a", W/"b"',
        b"Tue, 24 Nov 2026 22:00:00 GMT",
        gzip.compress(b"a" * 2000),
        zlib.compress(b"{}"),
        b"text/event-stream, application/json;q=0",
        b'{"code":"rate_limited","retry_after":1e999}',
    ],
    "app": [
        b'POST /api/_add HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nContent-Length: 7\r\n\r\n{"a":1}',
        b"POST /api/_hard?version=>=0 HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\n"
        b"Content-Type: application/json\r\nContent-Length: 85\r\n\r\n"
        b'{"numbers":[1,2],"when":"2026-01-01T00:00:00Z","money":"1.50","blob":"AAAA"}         ',
        b"GET /api/_add@1 HTTP/1.1\r\nHost: x\r\n\r\nGET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n",
        b'POST /api/_stream HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Length: 11\r\n\r\n{"count":2}',
        b"POST /api/rpc HTTP/1.1\r\nHost: x\r\nX-Portal-Timeout: 900\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'39\r\n{"jsonrpc":"2.0","method":"_add","params":{"a":1},"id":1}\r\n0\r\n\r\n',
    ],
    "json": [b'{"a":[1,-2.5e3,true,null,"\\u00e4\\ud83d\\ude00"]}', b' [ 1 , "x" ] '],
}
