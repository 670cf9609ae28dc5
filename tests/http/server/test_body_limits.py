"""How large bodies may be, by function; and which go to disk, on the listener and under WSGI."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from portal import (
    AuthenticationError,
    BearerAuth,
    Consumer,
    HTTPPortal,
    Identity,
    ProtocolError,
    ServingConfig,
    function,
)
from portal.auth import needs_body
from portal.http import Compression, RequestLog
from portal.http.server.wsgi import WSGIApp
from portal.schema import File
from tests.support.waiting import eventually

MIB = 1024 * 1024
LARGE = bytes(range(256)) * 4096 * 3  # 3 MiB
BINARY = {"Content-Type": "application/octet-stream"}


@function(max_body=4 * MIB)
def measure(file: File) -> list[Any]:
    """Return the size of a file and its last bytes."""
    return [file.size, next(file.chunks(start=file.size - 2)).hex()]


@function(max_body=100)
def small(text: str) -> int:
    return len(text)


@function(max_body=4 * MIB)
def words(text: str) -> int:
    return len(text)


def plain(text: str) -> int:
    return len(text)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The temporary files that are made."""
    made: list[Any] = []
    real = tempfile.TemporaryFile

    def note(**settings: Any) -> Any:
        made.append(real(**settings))
        return made[-1]

    monkeypatch.setattr("tempfile.TemporaryFile", note)
    return made


def serve(**settings: Any) -> HTTPPortal:
    http = HTTPPortal(**settings)
    for published in (measure, small, words, plain):
        http.apply(published)
    return http


def chunks() -> Iterator[bytes]:
    for start in range(0, len(LARGE), 100_000):
        yield LARGE[start : start + 100_000]


@pytest.mark.parametrize("body", [lambda: LARGE, chunks], ids=["sized", "chunked"])
def test_a_large_file_goes_to_disk(stored: list[Any], body: Callable[[], Any]) -> None:
    with serve() as http:
        session = requests.Session()
        for _ in range(2):  # on one connection
            found = session.post(f"{http.base}/measure", data=body(), headers=BINARY, timeout=60)
            assert found.json() == [len(LARGE), "feff"]
        assert len(stored) == 2
        assert session.post(f"{http.base}/plain", json={"text": "x"}, timeout=60).json() == 1
        eventually(lambda: http.listener.stats()["input_on_disk"] == 0)
        assert http.listener.stats()["input_buffered"] == 0
    assert all(file.closed for file in stored)


def test_a_form_with_a_large_file(stored: list[Any]) -> None:
    with serve() as http:
        found = requests.post(f"{http.base}/measure", files={"file": ("a.bin", LARGE)}, timeout=60)
        assert found.json() == [len(LARGE), "feff"]
    assert len(stored) == 1


def test_small_files_and_json_stay_in_memory(stored: list[Any]) -> None:
    with serve() as http:
        assert requests.post(f"{http.base}/measure", data=b"abc", headers=BINARY, timeout=60).json() == [3, "6263"]
        assert requests.post(f"{http.base}/words", json={"text": "x" * 2 * MIB}, timeout=60).json() == 2 * MIB
    assert stored == []


@pytest.mark.parametrize("body", [lambda size: bytes(size), lambda size: iter([bytes(size)])], ids=["sized", "chunked"])
def test_each_function_has_its_limit(body: Callable[[int], Any]) -> None:
    with serve() as http:
        for name, size, limit in [
            ("measure", 4 * MIB + 1, 4 * MIB),
            ("words", 4 * MIB + 1, 4 * MIB),
            ("plain", MIB + 1, MIB),
        ]:
            try:
                found = requests.post(f"{http.base}/{name}", data=body(size), headers=BINARY, timeout=60)
            except requests.ConnectionError:  # the server has closed while the body was being sent
                continue
            assert found.status_code == 413
            assert f"at most {limit} bytes (max_body)" in found.json()["detail"]
        assert http.listener.stats()["input_on_disk"] == 0


def test_a_limit_below_that_of_the_server() -> None:
    with serve() as http:
        found = requests.post(f"{http.base}/small", json={"text": "x" * 100}, timeout=60)
        assert found.status_code == 413
        assert "at most 100 bytes (max_body)" in found.json()["detail"]
        assert requests.post(f"{http.base}/small", json={"text": "x"}, timeout=60).json() == 1


def test_clients_know_the_limit() -> None:
    with serve() as http, Consumer() as consumer:
        assert consumer.resolve(http.base.child("measure")).schema.max_body == 4 * MIB
        assert requests.get(f"{http.base}/measure", timeout=60).json()["max_body"] == 4 * MIB
        with pytest.raises(ProtocolError, match="max_body") as caught:
            consumer.call_at(http.base.child("small"), {"text": "x" * 100})
        assert caught.value.status == 413


def test_an_unknown_caller_stores_nothing(stored: list[Any]) -> None:
    auth = BearerAuth({"t": Identity("ann")})
    with serve(auth=auth) as http, Consumer() as stranger, Consumer(auth="t") as ann:
        with pytest.raises(AuthenticationError):
            stranger.resolve(http.base.child("measure"))(file=File(LARGE))
        assert stored == []
        assert ann.resolve(http.base.child("measure"))(file=File(LARGE)) == [len(LARGE), "feff"]
    assert len(stored) == 1


def test_an_authenticator_reads_the_body_in_memory(stored: list[Any]) -> None:
    @needs_body
    def signed(request: Any) -> Identity | None:
        return Identity("ann") if request.body.endswith(b"\xfe\xff") else None

    with serve(auth=signed) as http:
        assert requests.post(f"{http.base}/measure", data=LARGE, headers=BINARY, timeout=60).status_code == 200
        assert requests.post(f"{http.base}/measure", data=LARGE[:-1], headers=BINARY, timeout=60).status_code == 401
    assert stored == []


def test_middleware_sees_the_size_and_may_read_the_body(stored: list[Any]) -> None:
    lines: list[Any] = []
    sizes: list[int] = []

    def read(request: Any, call_next: Any) -> Any:
        sizes.append(len(request.body))
        return call_next(request)

    with serve(http_middleware=[RequestLog(lines.append), Compression(), read]) as http:
        found = requests.post(f"{http.base}/measure", data=LARGE, headers=BINARY, timeout=60)
        assert found.json() == [len(LARGE), "feff"]
    assert sizes == [len(LARGE)]
    assert len(stored) == 1


def test_a_client_gets_no_more_of_the_disk_than_its_share(stored: list[Any]) -> None:
    config = ServingConfig(max_input_on_disk=5 * MIB)
    with serve(config=config) as http:
        try:
            found = requests.post(f"{http.base}/measure", data=LARGE, headers=BINARY, timeout=60)
        except requests.ConnectionError:
            found = None
        assert found is None or found.status_code == 503
        assert http.listener.stats()["input_on_disk_refused"] == 1
        eventually(lambda: http.listener.stats()["input_on_disk"] == 0)
        assert requests.post(f"{http.base}/measure", data=LARGE[-2 * MIB :], headers=BINARY, timeout=60).ok


def test_a_client_that_leaves_frees_the_disk(stored: list[Any]) -> None:
    sent, leave = threading.Event(), threading.Event()

    def half() -> Iterator[bytes]:
        yield LARGE[: 2 * MIB]
        sent.set()
        leave.wait(60)
        raise OSError("gone")

    with serve() as http:
        client = threading.Thread(target=_post_and_fail, args=(f"{http.base}/measure", half()))
        client.start()
        assert sent.wait(60)
        eventually(lambda: http.listener.stats()["input_on_disk"] > MIB)
        leave.set()
        client.join()
        eventually(lambda: http.listener.stats()["input_on_disk"] == 0)


def _post_and_fail(url: str, body: Iterator[bytes]) -> None:
    with pytest.raises(OSError, match=r".*"):
        requests.post(url, data=body, headers=BINARY, timeout=60)


def test_under_wsgi(stored: list[Any]) -> None:
    http = serve(listen=False)
    app: WSGIApp = http.wsgi
    sent: list[Any] = []

    def post(name: str, body: bytes) -> str:
        sent[:] = [body]

        class Source:
            def read(self, size: int) -> bytes:
                piece, sent[0] = sent[0][: min(size, 70_000)], sent[0][min(size, 70_000) :]
                return bytes(piece)

        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": f"/api/{name}",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "CONTENT_TYPE": BINARY["Content-Type"],
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input": Source(),
        }
        status: list[str] = []
        text = b"".join(app(environ, lambda line, headers: status.append(line))).decode()  # type: ignore[arg-type]
        return f"{status[0][:3]} {text}"

    with http:
        assert post("measure", LARGE) == f'200 [{len(LARGE)},"feff"]'
        assert len(stored) == 1
        assert post("measure", b"abc") == '200 [3,"6263"]'
        assert post("measure", bytes(4 * MIB + 1)).startswith("413")
        assert post("plain", bytes(MIB + 1)).startswith("413")
    assert len(stored) == 1
