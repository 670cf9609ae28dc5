"""Files of a request arrive wherever the function runs, beside other parameters, and in results of any shape."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import requests

from portal import Consumer, HTTPPortal, Idempotency, WebSocketPortal, function
from portal.schema import Bytes, File

TIMEOUT = 30
FILE = {"note": ("note.txt", b"hello", "text/plain")}


def double(note: File) -> File:
    return File(note.read() * 2, name="twice.txt")


def upper(note: Bytes) -> Bytes:
    return note.upper()


def letters(note: File) -> Iterator[str]:
    for byte in note.read():
        yield chr(byte)


def sizes(first: File, more: list[File], named: dict[str, File], last: Bytes = b"") -> list[int]:
    return [first.size, *(one.size for one in more), *(one.size for one in named.values()), len(last)]


def copies(note: File) -> list[File]:
    return [note, note]


def by_name(note: File) -> dict[str, Bytes]:
    return {"note": note.read()}


def join(notes: list[File], last: File | None = None) -> Bytes:
    return b"".join(one.read() for one in notes) + (b"" if last is None else last.read())


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def under_wsgi() -> Iterator[str]:
    portal = HTTPPortal(listen=False)
    for published in (double, upper, letters):
        portal.apply(published)
    with make_server("127.0.0.1", 0, portal.wsgi, handler_class=_Silent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()
    portal.close()


def _threads() -> HTTPPortal:
    return HTTPPortal(executor=ThreadPoolExecutor(2))


@pytest.mark.parametrize("make", [HTTPPortal, _threads], ids=["its own threads", "an executor"])
@pytest.mark.parametrize("headers", [{}, {"X-Portal-Timeout": "20000"}], ids=["no deadline", "a deadline"])
def test_a_file_arrives_in_the_thread_of_the_function(make: Callable[[], HTTPPortal], headers: dict[str, str]) -> None:
    with make() as portal:
        for published, expected in ((double, b"hellohello"), (upper, b"HELLO")):
            address = str(portal.apply(published))
            found = requests.post(address, files=FILE, headers=headers, timeout=TIMEOUT)
            assert (found.status_code, found.content) == (200, expected)
        streamed = requests.post(str(portal.apply(letters)), files=FILE, headers=headers, timeout=TIMEOUT)
        assert streamed.text.split() == ['"h"', '"e"', '"l"', '"l"', '"o"']


def test_a_file_arrives_under_wsgi_with_a_deadline(under_wsgi: str) -> None:
    headers = {"X-Portal-Timeout": "20000"}
    assert requests.post(f"{under_wsgi}/double", files=FILE, headers=headers, timeout=TIMEOUT).text == "hellohello"
    assert requests.post(f"{under_wsgi}/upper", files=FILE, headers=headers, timeout=TIMEOUT).text == "HELLO"
    streamed = requests.post(f"{under_wsgi}/letters", files=FILE, headers=headers, timeout=TIMEOUT)
    assert streamed.text.split() == ['"h"', '"e"', '"l"', '"l"', '"o"']


def test_a_file_arrives_in_another_process() -> None:
    with HTTPPortal() as portal:
        address = str(portal.apply(function(double, executor="processes")))
        assert requests.post(address, files=FILE, timeout=TIMEOUT).text == "hellohello"


def test_a_file_passes_through_a_gateway() -> None:
    with WebSocketPortal() as inner, HTTPPortal() as over_http, Consumer() as consumer, HTTPPortal() as gateway:
        for portal in (inner, over_http):
            behind = consumer.resolve(portal.apply(double))
            address = gateway.apply(behind)
            assert requests.post(str(address), files=FILE, timeout=TIMEOUT).content == b"hellohello"
            gateway.remove(address)


def test_a_replayed_result_is_the_same_file() -> None:
    runs = []

    def counted(note: File) -> File:
        runs.append(1)
        return double(note)

    with HTTPPortal(middleware=[Idempotency(max_response_size=1000)]) as portal:
        address = str(portal.apply(counted))
        for body in ({"files": FILE}, {"json": {"note": {"data": b64encode(b"hello").decode()}}}):
            key = {"Idempotency-Key": next(iter(body))}
            first, again = (requests.post(address, headers=key, timeout=TIMEOUT, **body) for _ in range(2))  # type: ignore[arg-type]
            assert (first.content, again.content) == (b"hellohello", b"hellohello")
            assert again.headers["Idempotent-Replayed"] == "true"
            assert again.headers["Content-Disposition"] == first.headers["Content-Disposition"]
        assert len(runs) == 2
        large = {"note": ("note.txt", b"x" * 1000)}
        key = {"Idempotency-Key": "large"}
        first, again = (requests.post(address, headers=key, files=large, timeout=TIMEOUT) for _ in range(2))
        assert (len(first.content), again.status_code) == (2000, 409)
        assert "was larger than 1000 bytes" in again.text


def test_files_inside_of_other_values_are_base64() -> None:
    text = b64encode(b"hello").decode()
    with HTTPPortal() as portal, Consumer() as consumer:
        found = requests.post(str(portal.apply(copies)), files=FILE, timeout=TIMEOUT).json()
        assert found == [{"data": text, "type": "text/plain", "name": "note.txt"}] * 2
        assert requests.post(str(portal.apply(by_name)), files=FILE, timeout=TIMEOUT).json() == {"note": text}
        call = consumer.resolve(portal.apply(sizes))
        assert call(first=File(b"1"), more=[File(b"12"), File(b"123")], named={"a": File(b"1234")}) == [1, 2, 3, 4, 0]
        assert call(first=File(b"1"), more=[], named={}, last=b"12") == [1, 2]


@pytest.mark.parametrize("number", [0, 1, 3, 99, 100, 101])
def test_a_consumer_sends_lists_of_files(number: int) -> None:
    files = [File(f"{n},".encode(), name=f"{n}.txt") for n in range(number)]
    expected = b"".join(one.read() for one in files)
    with HTTPPortal() as portal, Consumer() as consumer:
        call = consumer.resolve(portal.apply(join), returns=bytes)
        assert call(notes=files) == expected
        assert call(notes=files, last=File(b"end")) == expected + b"end"
