"""The table of malformed and hostile requests, and what each must get.

A row sends its bytes, or runs its callable on the connected socket, and names every final response that may come back:

    rejected  one problem document, after which the server closes the connection by itself
    responded these responses, and none more once the client has closed its side; the connection lived on between
    dropped   no response at all, and a closed connection

Portal of the rows: `/api/add` (a, b: float), `/api/numbers` (a stream), limits as in `LIMITS`.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["GOOD", "LIMITS", "PLAIN", "TLS", "Row", "client_hello", "post"]

#: Limits of the portals that the rows are sent to.
LIMITS: dict[str, Any] = {
    "max_head": 8192,
    "max_headers": 50,
    "max_target": 2048,
    "max_body": 65_536,
    "head_timeout": 2.0,
    "body_timeout": 2.0,
    "idle_timeout": 20.0,
    "workers": 8,
    "queue": 512,
}

Act = Callable[[socket.socket], object]


@dataclass(frozen=True)
class Row:
    """One case.

    Attributes:
        name: of the case, unique.
        data: what is sent, or what is done with the socket.
        kind: see the module.
        statuses: of the final responses, in order; 0 is any of the client's errors.
        method: of the requests: a response to HEAD has no body.
        tls: how it is sent to the TLS portal: on the bare socket, or after the handshake.
        halves: whether the client closes its side when everything is sent.
    """

    name: str
    data: bytes | Act
    kind: Literal["rejected", "responded", "dropped"]
    statuses: tuple[int, ...] = ()
    method: str = "POST"
    tls: Literal["", "bare", "shaken"] = ""
    halves: bool = True


HOST = b"Host: localhost\r\n"
BODY = b'{"a":1,"b":2}'
LENGTH = b"Content-Length: 13\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"d\r\n" + BODY + b"\r\n0\r\n\r\n"


def post(headers: bytes = HOST + LENGTH, body: bytes = BODY, line: bytes = b"POST /api/add HTTP/1.1") -> bytes:
    """A request from its parts."""
    return line + b"\r\n" + headers + b"\r\n" + body


GOOD = post()
SMUGGLED = b"GET /api/add HTTP/1.1\r\nHost: smuggled\r\n\r\n"


def rejected(name: str, data: bytes | Act, status: int = 400, **more: Any) -> Row:
    return Row(name, data, "rejected", (status,), halves=False, **more)


def responded(name: str, data: bytes | Act, *statuses: int, **more: Any) -> Row:
    return Row(name, data, "responded", statuses, **more)


def dropped(name: str, data: bytes | Act, **more: Any) -> Row:
    return Row(name, data, "dropped", **more)


# acts


def _one_by_one(data: bytes) -> Act:
    def act(sock: socket.socket) -> None:
        for index in range(len(data)):
            sock.sendall(data[index : index + 1])

    return act


def _reset_after(data: bytes) -> Act:
    def act(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    return act


def _close_after(data: bytes) -> Act:
    def act(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.close()

    return act


# rows


def _lengths() -> Iterator[Row]:
    """Lengths given twice, in two ways, or not as a number, as used for request smuggling."""
    both = (b"Content-Length: 13\r\n", CHUNKED)
    yield rejected("cl.te", post(HOST + both[0] + CHUNKED, CHUNKS + SMUGGLED))
    yield rejected("te.cl", post(HOST + CHUNKED + both[0], CHUNKS + SMUGGLED))
    yield rejected("cl.te short", post(HOST + b"Content-Length: 3\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED))
    yield rejected("cl 0 and te", post(HOST + b"Content-Length: 0\r\n" + CHUNKED, CHUNKS + SMUGGLED))
    yield rejected("te.te", post(HOST + CHUNKED + CHUNKED, CHUNKS + SMUGGLED))
    yield rejected("te.te other name case", post(HOST + CHUNKED + b"tRANSFER-eNCODING: chunked\r\n", CHUNKS))
    yield rejected("te.te identity second", post(HOST + CHUNKED + b"Transfer-Encoding: identity\r\n", CHUNKS))
    yield rejected("te.te identity first", post(HOST + b"Transfer-Encoding: identity\r\n" + CHUNKED, CHUNKS))
    for coding in (
        b"chunked, identity", b"identity, chunked", b"identity", b"xchunked", b"chunkedx", b"gzip", b"gzip, chunked",
        b"chunked, chunked", b"chunked,", b",chunked", b'"chunked"', b"chunked;q=1", b"chunked\xa0", b"\x85chunked",
        b"chunke", b"cow", b"", b"chun ked", b"'chunked'", b"deflate, gzip, chunked",
    ):  # fmt: skip
        data = post(HOST + b"Transfer-Encoding: " + coding + b"\r\n", CHUNKS + SMUGGLED)
        yield rejected(f"transfer coding {coding!r}", data, 501)
    for coding in (b"\x0bchunked", b"chunked\x00", b"chu\rnked", b"chunked\r\n\tx", b"\nchunked", b"chunked\x0c"):
        data = post(HOST + b"Transfer-Encoding: " + coding + b"\r\n", CHUNKS + SMUGGLED)
        yield rejected(f"transfer coding {coding!r}", data)
    for name in (b"Transfer-Encoding ", b"Transfer-Encoding\t", b"Transfer-Encoding\x0b", b" Transfer-Encoding",
                 b"Transfer\x00-Encoding", b"Transfer-Encoding\x00", b"Transfer-Encod\xefng", b"\tTransfer-Encoding",
                 b"Transfer Encoding", b'"Transfer-Encoding"', b"Transfer-Encoding\r"):  # fmt: skip
        data = post(HOST + LENGTH + name + b": chunked\r\n", BODY + SMUGGLED)
        yield rejected(f"name {name!r}", data)
    yield rejected("te in http/1.0", post(HOST + CHUNKED, CHUNKS + SMUGGLED, b"POST /api/add HTTP/1.0"))
    yield rejected("te and cl in http/1.0", post(HOST + CHUNKED + LENGTH, CHUNKS, b"POST /api/add HTTP/1.0"))
    for length in (
        b"+13", b"-13", b"-0", b"13, 13", b"13,13", b"13, 14", b"0x0d", b"0xd", b"d", b"13.0", b"1e1", b"1_3", b"13 13",
        b"", b"13;", b"'13'", b"13\xa0", b"\xb2", b"\xd9\xa1", b"9" * 19, b"9" * 400, b"1 3", b"13\tx", b"NaN", b",13",
    ):  # fmt: skip
        data = post(HOST + b"Content-Length: " + length + b"\r\n", BODY + SMUGGLED)
        yield rejected(f"length {length[:20]!r}", data)
    for length in (b"13\x00", b"\x0b13", b"13\r", b"1\r3", b"13\r\n 4", b"\n13", b"13\x7f"):
        data = post(HOST + b"Content-Length: " + length + b"\r\n", BODY + SMUGGLED)
        yield rejected(f"length {length!r}", data)
    yield rejected("two lengths", post(HOST + LENGTH + b"Content-Length: 14\r\n", BODY + SMUGGLED))
    yield rejected("a length twice", post(HOST + LENGTH + LENGTH, BODY + SMUGGLED))
    yield rejected("a length twice in other case", post(HOST + LENGTH + b"content-length: 13\r\n", BODY + SMUGGLED))
    yield rejected("a length three times", post(HOST + LENGTH * 3))
    yield rejected("a huge length", post(HOST + b"Content-Length: 999999999999999999\r\n"), 413)
    yield rejected("just over the limit", post(HOST + b"Content-Length: 65537\r\n", b""), 413)
    yield rejected("over the limit with 100-continue", post(HOST + b"Content-Length: 65537\r\nExpect: 100-continue\r\n",
                  b""), 413)  # fmt: skip
    yield responded("a length with leading zeros", post(HOST + b"Content-Length: 0013\r\n"), 200)
    yield responded("blanks around a length", post(HOST + b"Content-Length: \t 13 \t\r\n"), 200)
    yield responded("no blank before a length", post(HOST + b"Content-Length:13\r\n"), 200)
    yield rejected("no length at all", post(HOST + b"Content-Type: application/json\r\n"), 411)
    yield rejected("no length in http/1.0", post(b"", BODY, b"POST /api/add HTTP/1.0"), 411)
    kept = b"Connection: keep-alive\r\n"
    yield rejected("no length in a kept http/1.0", post(kept, BODY, b"POST /api/add HTTP/1.0"), 411)
    typed = b"Content-Type: application/json\r\n"
    yield rejected("no length of json in http/1.0", post(typed, b"", b"POST /api/add HTTP/1.0"), 411)

    yield responded("more than its length, then the end", post(HOST + LENGTH, BODY + b"garbage"), 200)
    yield dropped("less than its length, then the end", post(HOST + LENGTH, BODY[:-1]))
    yield rejected("less than its length, then nothing", post(HOST + LENGTH, BODY[:-1]), 408)
    yield rejected("a length and no body", post(HOST + LENGTH, b""), 408)
    yield responded("a body of a GET request", post(HOST + LENGTH, BODY, b"GET /api/add HTTP/1.1"), 200)
    yield responded("a chunked GET", post(HOST + CHUNKED, CHUNKS, b"GET /api/add HTTP/1.1"), 200)


def _fields() -> Iterator[Row]:
    """Header lines."""
    for name, line in {
        "obs-fold with a blank": b"A: b\r\n c\r\n",
        "obs-fold with a tab": b"A: b\r\n\tc\r\n",
        "obs-fold first": b" A: b\r\n",
        "obs-fold of nothing": b"A: b\r\n \r\n",
        "bare CR in a value": b"A: b\rc\r\n",
        "bare CR at the end of a value": b"A: b\r\r\n",
        "bare LF in a value": b"A: b\nc: d\r\n",
        "bare LF hides a length": b"A: b\nContent-Length: 0\r\n",
        "NUL in a value": b"A: b\x00c\r\n",
        "NUL in a name": b"A\x00: b\r\n",
        "DEL in a value": b"A: b\x7f\r\n",
        "VT in a value": b"A: b\x0bc\r\n",
        "FF in a value": b"A: \x0c\r\n",
        "ESC in a value": b"A: \x1b[0m\r\n",
        "high bytes in a name": b"\xc3\x84: b\r\n",
        "latin-1 in a name": b"A\xe9: b\r\n",
        "a blank before the colon": b"A : b\r\n",
        "a tab before the colon": b"A\t: b\r\n",
        "VT before the colon": b"A\x0b: b\r\n",
        "no name": b": b\r\n",
        "no colon": b"A\r\n",
        "only blanks": b"   \r\n",
        "parentheses in a name": b"A(b): c\r\n",
        "a slash in a name": b"A/b: c\r\n",
        "a blank in a name": b"A b: c\r\n",
        "a bracket in a name": b"A[0]: c\r\n",
        "a request line as a header": b"GET / HTTP/1.1\r\n",
        "two authorizations": b"Authorization: a\r\nAuthorization: b\r\n",
        "two content types": b"Content-Type: application/json\r\nContent-Type: text/plain\r\n",
        "two idempotency keys": b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
        "two deadlines": b"X-Portal-Timeout: 1000\r\nX-Portal-Timeout: 2000\r\n",
        "two expectations": b"Expect: 100-continue\r\nExpect: 100-continue\r\n",
        "blanks and then NUL": b"A:" + b" " * 8000 + b"\x00\r\n",
    }.items():
        yield rejected(name, post(HOST + LENGTH + line, BODY + SMUGGLED))
    yield responded("a long run of blanks inside a value", post(HOST + LENGTH + b"A: b" + b" " * 8000 + b"c\r\n"), 200)
    yield responded("high bytes in a value", post(HOST + LENGTH + b"A: \xff\xfe\r\n"), 200)
    yield responded("an empty value", post(HOST + LENGTH + b"A:\r\n"), 200)
    line = b"POST /api/add HTTP/1.1\r\n"
    yield rejected("headers end with LF LF", b"POST /api/add HTTP/1.1\nHost: localhost\nContent-Length: 13\n\n" + BODY)
    yield rejected("headers end with LF CR LF", line + b"Host: localhost\r\nContent-Length: 13\n\r\n" + BODY)
    yield rejected("headers end with CR CR", b"GET /api HTTP/1.1\r\nHost: localhost\r\r\r\n\r\n")
    yield rejected("one bare LF, then nothing", b"GET /api HTTP/1.1\nHost: localhost")
    yield rejected("no host", post(LENGTH))
    yield rejected("two hosts", post(HOST + b"Host: y\r\n" + LENGTH))
    yield rejected("the host twice", post(HOST + HOST + LENGTH))
    for host in (b"a b", b"a/b", b"a@b", b"[::1", b"::1]", b"a:b", b"a,b/c", b"a:80:80", b"\xe4", b"a\\b", b"a?b",
                 b"a#b", b"a\"b", b"<a>", b"[x]"):  # fmt: skip
        yield rejected(f"host {host!r}", post(b"Host: " + host + b"\r\n" + LENGTH))
    yield responded("an empty host", post(b"Host:\r\n" + LENGTH), 421)
    yield responded("another host", post(b"Host: evil.example\r\n" + LENGTH) + GOOD, 421, 200)
    yield responded("an IPv6 host", post(b"Host: [::1]:80\r\n" + LENGTH), 200)
    yield rejected("too many headers", post(HOST + LENGTH + b"".join(b"A%d: b\r\n" % n for n in range(50))), 431)
    yield rejected("the same header too often", post(HOST + LENGTH + b"A: b\r\n" * 50), 431)
    yield rejected("a header too long", post(HOST + LENGTH + b"A: " + b"b" * 9000 + b"\r\n"), 431)
    yield rejected("a header without end", b"GET /api HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 9000, 431)
    yield rejected("a name too long", post(HOST + LENGTH + b"A" * 9000 + b": b\r\n"), 431)
    yield responded("expect 100 with the body at once", post(HOST + LENGTH + b"Expect: 100-continue\r\n"), 200)
    yield rejected("expect something else", post(HOST + LENGTH + b"Expect: 200-ok\r\n"), 417)
    yield rejected("expect two things", post(HOST + LENGTH + b"Expect: 100-continue, x\r\n"), 417)
    yield rejected("expect nothing", post(HOST + LENGTH + b"Expect:\r\n"), 417)
    yield rejected("expect 100 and then no body", post(HOST + LENGTH + b"Expect: 100-continue\r\n", b""), 408)
    yield dropped("expect 100 and then the end", post(HOST + LENGTH + b"Expect: 100-continue\r\n", b""))
    yield responded("expect in http/1.0", post(LENGTH + b"Expect: x\r\n", BODY, b"POST /api/add HTTP/1.0"), 200)
    yield responded(
        "expect 100 without a body", post(HOST + b"Content-Length: 0\r\nExpect: 100-continue\r\n", b""), 422
    )
    for protocol in (b"websocket", b"h2c", b"TLS/1.0", b"nonsense", b""):
        headers = HOST + LENGTH + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n"
        yield responded(f"upgrade to {protocol!r}", post(headers), 200)
    yield responded("upgrade without connection", post(HOST + LENGTH + b"Upgrade: websocket\r\n"), 200)
    yield responded("close and then more", post(HOST + LENGTH + b"Connection: close\r\n", BODY + GOOD), 200)
    yield responded("close among others", post(HOST + LENGTH + b"Connection: x, CLOSE ,y\r\n", BODY + GOOD), 200)
    yield responded("a deadline of letters", post(HOST + LENGTH + b"X-Portal-Timeout: soon\r\n"), 400)
    yield responded("a deadline below nought", post(HOST + LENGTH + b"X-Portal-Timeout: -1\r\n"), 400)
    yield responded("a deadline of no end", post(HOST + LENGTH + b"X-Portal-Timeout: " + b"9" * 400 + b"\r\n"), 400)
    yield responded("an id of odd letters", post(HOST + LENGTH + b"X-Request-ID: \xff<>\r\n"), 200)
    yield responded("a trace that is none", post(HOST + LENGTH + b"traceparent: 00-zz\r\n"), 200)


def _lines() -> Iterator[Row]:
    """Request lines."""
    for line in (
        b"POST", b"POST ", b"POST /api/add", b"POST /api/add ", b"POST  /api/add HTTP/1.1", b"POST /api/add  HTTP/1.1",
        b"POST /api/add HTTP/1.1 ", b" POST /api/add HTTP/1.1", b"\tPOST /api/add HTTP/1.1", b"POST\t/api/add HTTP/1.1",
        b"POST /api/add\tHTTP/1.1", b"POST /api/\tadd HTTP/1.1", b"POST /api/a dd HTTP/1.1", b"POST /api/add http/1.1",
        b"POST /api/add HTTP", b"POST /api/add HTTP/", b"POST /api/add HTTP/1", b"POST /api/add HTTP/1.",
        b"POST /api/add HTTP/1.1.1", b"POST /api/add HTTP/11", b"POST /api/add HTTP/01.1", b"POST /api/add HTTP/1.10",
        b"POST /api/add HTTP/a.b", b"POST /api/add HTTP 1.1", b"POST /api/add HTTPS/1.1", b"POST /api/add ICY/1.1",
        b"POST /api/add HTTP/-1.1", b"POST /api/add HTTP/1,1", b"P@ST /api/add HTTP/1.1", b"PO\x00ST /api/add HTTP/1.1",
        b"(POST) /api/add HTTP/1.1", b"P\xd6ST /api/add HTTP/1.1", b"POST /api/\x00add HTTP/1.1", b" ", b"/api/add",
        b"POST /api/add\r HTTP/1.1", b"POST /api/add HTTP/1.1\r", b"POST /api/\x7f HTTP/1.1", b"HTTP/1.1 200 OK",
        b"POST /api/\xc3\xa4 HTTP/1.1", b"POST api/add HTTP/1.1", b"POST * HTTP/1.1", b"POST add HTTP/1.1",
        b"POST ?a HTTP/1.1", b"POST #a HTTP/1.1", b"POST ftp://x/ HTTP/1.1", b"POST http:/api/add HTTP/1.1",
        b"POST http:///api/add HTTP/1.1", b"POST http://u@x/api/add HTTP/1.1", b"POST http:// HTTP/1.1",
        b"POST http://x:y:z/api/add HTTP/1.1", b"POST http://a\\b/api/add HTTP/1.1", b"POST http://[::1/api HTTP/1.1",
        b"POST http://:80/api/add HTTP/1.1", b"POST http://x|y/api/add HTTP/1.1", b"POST x:80 HTTP/1.1",
        b"POST javascript:alert(1) HTTP/1.1", b"/api/add POST HTTP/1.1", b"HTTP/1.1 /api/add POST",
    ):  # fmt: skip
        yield rejected(f"line {line!r}", post(line=line))
    for line in (b"POST /api/add HTTP/0.9", b"POST /api/add HTTP/2.0", b"POST /api/add HTTP/3.0", b"GET / HTTP/9.9",
                 b"GET / HTTP/0.0", b"PRI * HTTP/2.0"):  # fmt: skip
        yield rejected(f"line {line!r}", post(line=line), 505)
    yield rejected("the preface of http/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 505)
    yield rejected("connect", post(line=b"CONNECT x:443 HTTP/1.1"), 501)
    yield rejected("a simple request of http/0.9", b"GET /api\r\n\r\n")
    yield rejected("half a simple request of http/0.9", b"GET /api\r\n", 408)
    yield rejected("nothing but empty lines", b"\r\n\r\n\r\n\r\n")
    yield rejected("two empty lines and a request", b"\r\n\r\n" + GOOD)
    yield responded("an empty line before", b"\r\n" + GOOD, 200)
    yield responded("an empty line between", GOOD + b"\r\n" + GOOD + b"\r\n", 200, 200)
    yield rejected("a bare LF before", b"\n" + GOOD)
    yield rejected("a bare CR before", b"\r" + GOOD)
    yield rejected("a NUL before", b"\0" + GOOD)
    yield rejected("a byte order mark before", b"\xef\xbb\xbf" + GOOD)
    yield rejected("a target too long", post(line=b"POST /" + b"a" * 2048 + b" HTTP/1.1"), 414)
    yield rejected("a bad target too long", post(line=b"POST /" + b"\xff" * 2048 + b" HTTP/1.1"), 414)
    yield rejected("a line too long", post(line=b"POST /" + b"a" * 9000 + b" HTTP/1.1"), 431)
    yield rejected("a line without end", b"POST /" + b"a" * 9000, 431)
    yield rejected("a method without end", b"P" * 9000, 431)
    yield responded("http/1.2", post(line=b"POST /api/add HTTP/1.2"), 200)
    yield responded("http/1.0", post(LENGTH, BODY + GOOD, b"POST /api/add HTTP/1.0"), 200)
    yield responded("an unknown method", post(line=b"BREW /api/add HTTP/1.1"), 501)
    yield responded("a method in lower case", post(line=b"post /api/add HTTP/1.1"), 501)
    yield responded("delete", post(line=b"DELETE /api/add HTTP/1.1"), 405)
    yield responded("trace", post(line=b"TRACE /api/add HTTP/1.1"), 405)
    yield responded("head", post(HOST, b"", b"HEAD /api/add HTTP/1.1"), 200, method="HEAD")
    yield responded("head of nothing", post(HOST, b"", b"HEAD /nothing HTTP/1.1"), 404, method="HEAD")
    yield responded("options", post(HOST, b"", b"OPTIONS /api/add HTTP/1.1"), 204)
    yield responded("absolute form", post(line=b"POST http://localhost:80/api/add HTTP/1.1"), 200)
    yield responded("absolute form of another host", post(line=b"POST http://x/api/add HTTP/1.1"), 421)
    yield responded("absolute form in capitals", post(line=b"POST HTTPS://LOCALHOST/api/add HTTP/1.1"), 200)
    yield responded("absolute form without a path", post(line=b"POST http://x HTTP/1.1"), 404)
    yield responded("absolute form with a query only", post(line=b"POST http://x?a HTTP/1.1"), 404)
    for path in (b"/api/%61dd", b"/api/a%64d", b"/api/add/", b"//api/add", b"/api//add", b"/api/add//", b"/%61pi/add",
                 b"/api/%2e/add", b"/api/./add", b"/api/add%2f", b"/api/add;x", b"/api%2fadd"):  # fmt: skip
        yield responded(f"another spelling {path!r}", post(line=b"POST " + path + b" HTTP/1.1") + GOOD, 404, 200)
    yield responded("bad escapes in the path", post(line=b"POST /api/%zz%1 HTTP/1.1"), 404)
    yield responded("line ends escaped in the path", post(line=b"POST /api/%0d%0aA:%20b HTTP/1.1"), 404)
    yield responded("upwards in the path", post(line=b"POST /api/../../etc/passwd HTTP/1.1"), 404)
    yield responded("a NUL escaped in the path", post(line=b"POST /api/add%00 HTTP/1.1"), 404)
    yield responded("slashes only", post(line=b"POST ////// HTTP/1.1"), 404)
    for target in (b"/api/add#x", b"/api/add?a#x", b"/api/add#", b"http://localhost/api/add#x"):
        yield rejected(f"a fragment {target!r}", post(line=b"POST " + target + b" HTTP/1.1"))
    yield responded("a query of odd letters", post(line=b"POST /api/add?%ff&&==&versions HTTP/1.1"), 200)
    yield responded("a query with an empty version", post(line=b"POST /api/add?version HTTP/1.1"), 404)


def _chunks() -> Iterator[Row]:
    """Bodies in chunks."""

    def chunked(body: bytes, headers: bytes = b"") -> bytes:
        return post(HOST + CHUNKED + headers, body)

    for size in (b"-d", b"+d", b"0xd", b"0Xd", b" d", b"\td", b"g", b"", b"d_", b"1_0", b"d.0", b"\x00d",
                 b"d\x00", b"d\rx", b"0d\r", b"fffffffffffffffff", b"1" + b"0" * 16 + b"d", b"0" * 17 + b"d", b"\xb2",
                 b"d,d", b"d d", b"dh", b"'d'", b"d;a\x00", b"d;a\rb", b"d;\x7f", b"d;a=\x0b"):  # fmt: skip
        yield rejected(f"chunk size {size!r}", chunked(size + b"\r\n" + BODY + b"\r\n0\r\n\r\n" + SMUGGLED))
    for size in (b"ffffffffffffffff", b"7fffffffffffffff", b"80000000", b"10001"):
        yield rejected(f"chunk size {size!r}", chunked(size + b"\r\n" + BODY), 413)
    yield rejected("chunks too long together", chunked(b"8000\r\n" + b" " * 32768 + b"\r\n8001\r\n"), 413)
    yield rejected("a chunk line ends with LF", chunked(b"d\n" + BODY + b"\r\n0\r\n\r\n"))
    yield rejected("a chunk ends with LF", chunked(b"d\r\n" + BODY + b"\n0\r\n\r\n"))
    yield rejected("a chunk ends with CR", chunked(b"d\r\n" + BODY + b"\r0\r\n\r\n"))
    yield rejected("a chunk ends with nothing", chunked(b"d\r\n" + BODY + b"0\r\n\r\n"))
    yield rejected("a chunk longer than its size", chunked(b"c\r\n" + BODY + b"\r\n0\r\n\r\n"))
    yield rejected("a chunk shorter than its size", chunked(b"e\r\n" + BODY + b"\r\n0\r\n\r\n"))
    yield rejected("an LF hides a chunk", chunked(b"d;\nx\r\n" + BODY + b"\r\n0\r\n\r\n" + SMUGGLED))
    yield rejected("an LF ends the last chunk", chunked(b"d\r\n" + BODY + b"\r\n0\n\n"))
    yield rejected("an LF ends the trailers", chunked(b"d\r\n" + BODY + b"\r\n0\r\n\n"))
    yield rejected("no last chunk", chunked(b"d\r\n" + BODY + b"\r\n"), 408)
    yield rejected("no line after the last chunk", chunked(b"d\r\n" + BODY + b"\r\n0\r\n"), 408)
    yield dropped("no last chunk, then the end", chunked(b"d\r\n" + BODY + b"\r\n"))
    yield rejected("no chunks but a body", chunked(BODY + b"\r\n\r\n"))
    yield rejected("an extension too long", chunked(b"d;" + b"a" * 600 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"))
    yield rejected("an extension without end", chunked(b"d;" + b"a" * 6000), 431)
    yield rejected("extensions too long together", chunked((b"1;" + b"a" * 400 + b"\r\n \r\n") * 50))
    yield responded("blanks after a size", chunked(b"d \t\r\n" + BODY + b"\r\n0  \r\n\r\n"), 200)
    yield responded("an extension", chunked(b'd;a=b;c="d"\r\n' + BODY + b"\r\n0;e\r\n\r\n"), 200)
    yield responded("sizes with leading zeros", chunked(b"000d\r\n" + BODY + b"\r\n0000\r\n\r\n"), 200)
    yield responded("a size in capitals", chunked(b"D\r\n" + BODY + b"\r\n0\r\n\r\n"), 200)
    small = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY + b" " * 20_000)
    yield responded("chunks of one byte", chunked(small + b"0\r\n\r\n"), 200)
    yield responded("no body in chunks", chunked(b"0\r\n\r\n"), 422)
    for name, lines in {
        "without a colon": b"bad\r\n",
        "folded": b"A: b\r\n c\r\n",
        "with a blank before the colon": b"A : b\r\n",
        "without a name": b": b\r\n",
        "with a NUL": b"A: \x00\r\n",
        "with a bare CR": b"A: b\rc\r\n",
        "with a bare LF": b"A: b\nc\r\n",
        "of blanks and a NUL": b"A:" + b" " * 8000 + b"\0\r\n",
    }.items():
        yield rejected(f"a trailer {name}", chunked(b"d\r\n" + BODY + b"\r\n0\r\n" + lines + b"\r\n" + SMUGGLED))
    yield rejected("trailers too long", chunked(b"d\r\n" + BODY + b"\r\n0\r\n" + b"A: b\r\n" * 2500 + b"\r\n"), 431)
    yield rejected("a trailer without end", chunked(b"d\r\n" + BODY + b"\r\n0\r\nA: " + b"b" * 9000), 431)
    for name in (b"Content-Length: 500", b"Transfer-Encoding: gzip", b"Host: evil", b"Authorization: Bearer x",
                 b"Content-Type: text/plain", b"Trailer: x"):  # fmt: skip
        data = chunked(b"d\r\n" + BODY + b"\r\n0\r\n" + name + b"\r\n\r\n" + GOOD)
        yield responded(f"trailer {name!r}", data, 200, 200)


def _bodies() -> Iterator[Row]:
    """Whole requests that no function wants; the connection stays good, so a good one follows each."""
    for name, body, status in [
        ("no JSON", b"{]", 400),
        ("half of the JSON", BODY[:-1], 400),
        ("two values", BODY + BODY, 400),
        ("no UTF-8", b'{"a":"\xff"}', 400),
        ("a list", b"[1,2]", 422),
        ("a string", b'"x"', 422),
        ("null", b"null", 422),
        ("a parameter missing", b'{"a":1}', 422),
        ("a parameter too many", b'{"a":1,"b":2,"c":3}', 422),
        ("a wrong type", b'{"a":"1","b":2}', 422),
        ("not a number", b'{"a":NaN,"b":2}', 400),
        ("infinity", b'{"a":Infinity,"b":2}', 400),
        ("brackets only", b"[" * 60_000, 400),
        ("too deep", b'{"a":' + b"[" * 500 + b"]" * 500 + b',"b":2}', 422),
        ("far too deep", b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b',"b":2}', 0),
        ("nothing", b"", 422),
        ("NULs", b"\0" * 100, 400),
    ]:  # fmt: skip
        data = post(HOST + b"Content-Length: %d\r\n" % len(body), body)
        yield responded(f"body: {name}", data + GOOD, status, 200)
    for kind in (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"json", b"",
                 b";", b"application/xml"):  # fmt: skip
        yield responded(f"type {kind!r}", post(HOST + LENGTH + b"Content-Type: " + kind + b"\r\n") + GOOD, 415, 200)
    for accept in (b"text/html", b"image/png, text/css", b"", b"\xff"):
        data = post(HOST + b"Content-Length: 11\r\nAccept: " + accept + b"\r\n", b'{"count":3}')
        yield responded(f"accept {accept!r}", data.replace(b"/add", b"/numbers") + GOOD, 406, 200)
    yield responded("good, then bad", GOOD + b"bad\r\n\r\n", 200, 400)
    yield responded("good, then half", GOOD + GOOD[:-1], 200)
    yield responded("good, then a bad length", GOOD + post(HOST + b"Content-Length: x\r\n") + GOOD, 200, 400)
    yield responded("a hundred at once", GOOD * 100, *[200] * 100)


def _manners() -> Iterator[Row]:
    """How the bytes come, and how the client leaves."""
    for at in range(len(GOOD)):
        yield dropped(f"the end after {at}", GOOD[:at])
    for at in (0, 1, 20, 60, len(GOOD) - 1, len(GOOD)):
        yield dropped(f"reset after {at}", _reset_after(GOOD[:at]))
        yield dropped(f"closed after {at}", _close_after(GOOD[:at]))
    chunked = post(HOST + CHUNKED, CHUNKS)
    for at in range(len(chunked) - len(CHUNKS), len(chunked), 3):
        yield dropped(f"the end after {at} of chunks", chunked[:at])
    yield responded("byte by byte", _one_by_one(GOOD), 200)
    yield responded("chunks byte by byte", _one_by_one(chunked), 200)
    yield rejected("bad length byte by byte", _one_by_one(post(HOST + b"Content-Length: 5,5\r\n", b"")))
    yield rejected("two hosts byte by byte", _one_by_one(post(HOST + HOST, b"")))
    yield rejected("a bad chunk byte by byte", _one_by_one(post(HOST + CHUNKED, b"0xd\r\n")))
    yield rejected("a byte and then nothing", b"P", 408)
    yield rejected("a line and then nothing", b"POST /api/add HTTP/1.1\r\n", 408)
    yield rejected("a head without its end", b"POST /api/add HTTP/1.1\r\nHost: localhost\r\n", 408)
    yield dropped("nothing", b"")
    yield rejected("zeros", b"\0" * 10_000, 431)
    yield rejected("garbage", bytes(range(256)) * 4)
    yield rejected("garbage with a blank line", b"\xde\xad\xbe\xef\r\n\r\n")
    yield rejected("a TLS hello on a plain port", client_hello() + b"\r\n\r\n")
    yield rejected("an SSLv2 hello on a plain port", b"\x80\x2e\x01\x00\x02" + b"\r\n" * 20)
    yield rejected("an SMTP client", b"HELO x\r\nMAIL FROM:<a@b>\r\n\r\n")
    yield rejected("an SSH client", b"SSH-2.0-x\r\n\r\n")
    yield rejected("a PROXY line", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GOOD)
    yield rejected("a redis client", b"*1\r\n$4\r\nPING\r\n\r\n")


def client_hello(name: str = "localhost") -> bytes:
    """What a TLS client sends first."""
    out = ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
    raise AssertionError("a handshake without a server")


def _old_hello(version: bytes) -> bytes:
    body = version + bytes(32) + b"\0" + b"\0\2\0\x2f" + b"\1\0"
    handshake = b"\1" + struct.pack(">I", len(body))[1:] + body
    return b"\x16" + version + struct.pack(">H", len(handshake)) + handshake


def _tls_rows() -> Iterator[Row]:
    hello = client_hello()

    def bare(name: str, data: bytes | Act, *, halves: bool = True) -> Row:
        return Row(f"tls: {name}", data, "dropped", tls="bare", halves=halves)

    yield rejected("tls: plain http", GOOD, tls="bare")
    yield rejected("tls: plain http with another behind it", GOOD + SMUGGLED, tls="bare")
    yield rejected("tls: the beginning of plain http", GOOD[:9], tls="bare")
    yield Row("tls: plain http, then the end", GOOD, "rejected", (400,), tls="bare")
    yield bare("plain http, then a reset", _reset_after(GOOD))
    yield bare("nothing", b"")
    yield bare("nothing, for long", b"", halves=False)
    for at in (1, 5, 6, 11, 60, len(hello) // 2, len(hello) - 1):
        yield bare(f"{at} bytes of a hello", hello[:at])
        yield bare(f"{at} bytes of a hello, for long", hello[:at], halves=False)
        yield bare(f"reset after {at} bytes of a hello", _reset_after(hello[:at]))
    yield bare("a hello and no more", hello, halves=False)
    yield bare("a hello, then the end", hello)
    yield bare("a hello, then gone", _close_after(hello))
    yield bare("a hello, then a reset", _reset_after(hello))
    yield bare("a reset at once", _reset_after(b""))
    yield bare("a hello, then garbage", hello + b"\x16\x03\x03\x00\x10" + b"\xaa" * 16, halves=False)
    yield bare("a hello, then an alert", hello + b"\x15\x03\x03\x00\x02\x02\x28", halves=False)
    yield bare("a hello, then data in the clear", hello + b"\x17\x03\x03\x00\x20" + b"x" * 32, halves=False)
    yield bare("a hello byte by byte, then the end", _one_by_one(hello))
    yield bare("an alert first", b"\x15\x03\x01\x00\x02\x02\x28", halves=False)
    yield bare("data first", b"\x17\x03\x03\x00\x10" + b"x" * 16, halves=False)
    yield bare("a change of cipher first", b"\x14\x03\x03\x00\x01\x01" * 40, halves=False)
    yield bare("a record too long", b"\x16\x03\x01\xff\xff" + b"\1" * 70_000, halves=False)
    yield bare("a record of no length", b"\x16\x03\x01\x00\x00" * 40, halves=False)
    yield bare("a record of no type", b"\xff\x03\x01\x00\x05hello", halves=False)
    yield bare("garbage", bytes(range(256)) * 8, halves=False)
    yield bare("zeros", b"\0" * 5000, halves=False)
    yield bare("a hello of SSLv3", _old_hello(b"\3\0"), halves=False)
    yield bare("a hello of TLS 1.0", _old_hello(b"\3\1"), halves=False)
    yield bare("a hello of TLS 1.1", _old_hello(b"\3\2"), halves=False)
    yield bare("a hello of SSLv2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37), halves=False)
    yield bare("a hello damaged", hello[:50] + b"\xff" * 20 + hello[70:], halves=False)
    for name, data, status in [
        ("cl.te", post(HOST + LENGTH + CHUNKED, CHUNKS + SMUGGLED), 400),
        ("no host", post(LENGTH), 400),
        ("a bare LF", b"GET /api HTTP/1.1\nHost: localhost\n\n", 400),
        ("a bad chunk", post(HOST + CHUNKED, b"0xd\r\n"), 400),
        ("a header too long", post(HOST + b"A: " + b"b" * 9000 + b"\r\n"), 431),
        ("too long a body", post(HOST + b"Content-Length: 70000\r\n"), 413),
        ("half a head", b"POST /api/add HTTP/1.1\r\n", 408),
        ("half a body", post(HOST + LENGTH, b"{"), 408),
        ("connect", post(line=b"CONNECT x:443 HTTP/1.1"), 501),
    ]:
        yield rejected(f"tls: {name}", data, status, tls="shaken")
    # A TLS client that closes its side of the TCP connection only may have been cut off: the server gives it up.
    yield responded("tls: good, then bad", GOOD * 3 + b"bad\r\n\r\n", 200, 200, 200, 400, tls="shaken", halves=False)
    yield responded("tls: good", post(HOST + LENGTH + b"Connection: close\r\n"), 200, tls="shaken", halves=False)


PLAIN: list[Row] = [*_lengths(), *_fields(), *_lines(), *_chunks(), *_bodies(), *_manners()]
TLS: list[Row] = list(_tls_rows())
