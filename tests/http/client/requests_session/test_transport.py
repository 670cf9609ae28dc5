"""HTTPClient(session=...), against portals and stand-ins for servers."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from requests.adapters import HTTPAdapter
from urllib3 import Retry as AdapterRetry

from portal import (
    BearerAuth,
    CallTimeout,
    Certificate,
    ConfigError,
    Consumer,
    HTTPPortal,
    OverloadedError,
    ProtocolError,
    RegistryError,
    ServingConfig,
    TLSConfig,
    TransportError,
    ValidationError,
    function,
)
from portal.http import ClientTLS, HTTPClient
from tests.support.forward_proxy import ForwardProxy
from tests.support.waiting import WAIT, eventually

SCHEMA = {"name": "add", "version": "1", "input": {}, "output": {}}


@function(idempotent=True)
def add(a: int, b: int) -> int:
    return a + b


def count(number: int) -> Iterator[int]:
    yield from range(number)


def reject(a: int) -> int:
    raise RegistryError(f"there is no article {a}")


@pytest.fixture
def http() -> Iterator[HTTPPortal]:
    with HTTPPortal() as portal:
        for published in (add, count, reject):
            portal.apply(published)
        yield portal


class Recording(HTTPAdapter):
    """An adapter that keeps what passes through it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[requests.PreparedRequest] = []
        self.threads: set[int] = set()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self.sent.append(request)
        self.threads.add(threading.get_ident())
        return super().send(request, *args, **kwargs)


def session_with(adapter: HTTPAdapter) -> requests.Session:
    session = requests.Session()
    session.mount("http://", adapter)
    return session


def test_every_exchange_goes_through_the_session(http: HTTPPortal) -> None:
    adapter = Recording()
    session = session_with(adapter)
    session.headers["X-Team"] = "shop"
    session.params = {"tenant": "a"}
    session.cookies.set("theme", "dark")
    statuses: list[int] = []
    session.hooks["response"].append(lambda response, **_: statuses.append(response.status_code))
    with session, Consumer(http=HTTPClient(session=session)) as consumer:
        base = http.base
        assert consumer.call_at(base.child("add"), {"a": 1, "b": 2}) == 3
        assert list(consumer.stream_at(base.child("count"), {"number": 3})) == [0, 1, 2]
        assert {row["name"] for row in consumer.list_at(base)["functions"]} == {"add", "count", "reject"}
    assert [request.method for request in adapter.sent] == ["GET", "POST", "GET", "POST", "GET"]
    post = adapter.sent[1]
    assert (post.headers["X-Team"], post.headers["Cookie"], post.body) == ("shop", "theme=dark", b'{"a":1,"b":2}')
    assert "tenant=a" in str(post.url)
    assert post.headers["User-Agent"].startswith("python-requests/")
    assert "X-Portal-Timeout" in post.headers
    assert statuses == [200] * 5


def test_errors_are_portal_errors(http: HTTPPortal) -> None:
    with Consumer(http=HTTPClient(session=requests.Session())) as consumer:
        with pytest.raises(RegistryError, match="no article 3"):
            consumer.call_at(http.base.child("reject"), {"a": 3})
        with pytest.raises(ValidationError):
            consumer.call_at(http.base.child("add"), {"a": "1"})
        with pytest.raises(RegistryError):
            consumer.call_at(http.base.child("nothing"))
        with pytest.raises(TransportError) as caught:
            consumer.call_at("http://127.0.0.1:1/api/add")
        assert not caught.value.may_have_executed


def test_a_hook_may_read_the_body(http: HTTPPortal) -> None:
    session, seen = requests.Session(), []
    session.hooks["response"].append(lambda response, **_: seen.append(response.text))
    with Consumer(http=HTTPClient(session=session)) as consumer:
        assert consumer.call_at(http.base.child("add"), {"a": 1, "b": 2}) == 3
    assert seen[-1] == "3"


def test_the_credential_of_the_consumer_precedes_that_of_the_session() -> None:
    with HTTPPortal(auth=BearerAuth({"t0ken": "ann"})) as http:
        address = http.apply(add)
        session = requests.Session()
        session.auth = ("ann", "wrong")
        with Consumer(http=HTTPClient(session=session), auth="t0ken") as consumer:
            assert consumer.call_at(address, {"a": 1, "b": 2}) == 3  # that of the Consumer takes precedence

        def add_token(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = "Bearer t0ken"
            return request

        session.auth = add_token
        with Consumer(http=HTTPClient(session=session)) as consumer:
            assert consumer.call_at(address, {"a": 1, "b": 2}) == 3


def test_a_proxy_and_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    config = ServingConfig(tls=TLSConfig(Certificate(tmp_path / "server.pem")))
    with HTTPPortal(config=config) as secure:
        address = secure.apply(add)
        session = requests.Session()
        with Consumer(http=HTTPClient(session=session)) as consumer, pytest.raises(TransportError, match="trust"):
            consumer.call_at(address, {"a": 1, "b": 2})
        session.verify = str(tmp_path / "ca.pem")
        with Consumer(http=HTTPClient(session=session)) as consumer:
            assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
    with HTTPPortal(allowed_hosts=["*"]) as http, ForwardProxy() as proxy:
        port = http.apply(add).port
        session = requests.Session()
        session.proxies["http"] = proxy.url
        with Consumer(http=HTTPClient(session=session)) as consumer:
            assert consumer.call_at(f"http://orders.invalid:{port}/api/add", {"a": 1, "b": 2}) == 3
        assert len(proxy.lines) == 2


def test_a_callable_makes_a_session_for_each_thread(http: HTTPPortal) -> None:
    adapters: list[Recording] = []

    def make() -> requests.Session:
        adapters.append(Recording())
        return session_with(adapters[-1])

    client = HTTPClient(session=make, max_exchanges=4)
    with Consumer(http=client) as consumer:
        results = list(consumer.map_at(http.base.child("add"), ({"a": n, "b": 1} for n in range(40)), max_in_flight=8))
    assert results == list(range(1, 41))
    assert 1 <= len(adapters) <= 4
    assert all(len(adapter.threads) == 1 for adapter in adapters)


class Hanging(HTTPAdapter):
    def __init__(self) -> None:
        super().__init__()
        self.free, self.begun = threading.Event(), threading.Event()

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        self.begun.set()
        self.free.wait(WAIT)
        return super().send(*args, **kwargs)


def test_the_caller_of_an_adapter_that_hangs_leaves_at_the_deadline(http: HTTPPortal) -> None:
    adapter = Hanging()
    client = HTTPClient(session=session_with(adapter), max_exchanges=4)
    with Consumer(http=client) as consumer:
        address = http.base.child("add")
        for _ in range(2):
            with pytest.raises(CallTimeout):
                consumer.call_at(address, {"a": 1, "b": 2}, timeout=0.5)
        assert client.stats() == {"abandoned": 2, "abandoned_total": 2}
        with pytest.raises(OverloadedError, match="2 abandoned exchanges") as caught:
            consumer.call_at(address, {"a": 1, "b": 2})
        assert not caught.value.may_have_executed
        adapter.free.set()
        eventually(lambda: client.stats()["abandoned"] == 0)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
    assert client.stats()["abandoned_total"] == 2


def test_a_call_that_waited_for_a_worker_was_not_sent(http: HTTPPortal) -> None:
    adapter = Hanging()
    with Consumer(http=HTTPClient(session=session_with(adapter), max_exchanges=1)) as consumer:
        address = http.base.child("add")
        first = consumer.submit_at(address, {"a": 1, "b": 2})
        assert adapter.begun.wait(WAIT)
        with pytest.raises(CallTimeout) as caught:
            consumer.call_at(address, {"a": 1, "b": 2}, timeout=0.05)
        assert not caught.value.may_have_executed
        adapter.free.set()
        assert first.result(WAIT) == 3


# servers that behave badly


def read_request(connection: socket.socket) -> bytes:
    """Read a request with its body. A close before its end could reach the client while it is still sending."""
    data = b""
    while True:
        piece = connection.recv(65536)
        data += piece
        head, end, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
        if not piece or (end and len(body) >= length):
            return data


class Server:
    """Accept connections, count the POST requests, and treat each as told."""

    def __init__(self, *responses: bytes) -> None:
        self.posts = 0
        self._responses = list(responses)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/api/add"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.posts += read_request(connection).startswith(b"POST")
                connection.sendall(self._responses.pop(0) if self._responses else b"")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(WAIT)


def document(text: str, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(text)}", *headers]
    return ("\r\n".join([*lines, "Connection: close", "", ""]) + text).encode()


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[Server] = []

    def start(*responses: bytes) -> Server:
        servers.append(Server(*responses))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def schema_document(*, idempotent: bool) -> bytes:
    return document(json.dumps(SCHEMA | {"idempotent": idempotent}))


@pytest.mark.parametrize("retries", [0, AdapterRetry(total=3, allowed_methods=None, backoff_factor=0)])
@pytest.mark.parametrize("idempotent", [False, True])
def test_a_call_is_not_sent_twice_by_an_adapter(serve: Any, retries: Any, idempotent: bool) -> None:
    server = serve(schema_document(idempotent=idempotent))  # further requests get no response
    session = session_with(HTTPAdapter(max_retries=retries))
    with Consumer(http=HTTPClient(session=session)) as consumer, pytest.raises(TransportError) as caught:
        consumer.call_at(server.url, {"a": 1})
    assert caught.value.may_have_executed
    # Portal repeats an idempotent call once on a connection that was closed without a response, beside the adapter.
    expected = 1 if not idempotent else 2 if retries == 0 else 5
    assert server.posts == expected


def test_an_adapter_may_repeat_a_connection(http: HTTPPortal) -> None:
    session = session_with(HTTPAdapter(max_retries=3))
    with Consumer(http=HTTPClient(session=session)) as consumer:
        with pytest.raises(TransportError) as caught:
            consumer.call_at("http://127.0.0.1:1/api/add")
        assert not caught.value.may_have_executed
        assert list(consumer.stream_at(http.base.child("count"), {"number": 2})) == [0, 1]


def test_redirects_are_not_followed(serve: Any) -> None:
    other = serve(document("3"))
    server = serve(schema_document(idempotent=True), document("", "307 Temporary Redirect", f"Location: {other.url}"))
    with Consumer(http=HTTPClient(session=requests.Session())) as consumer, pytest.raises(ProtocolError, match="307"):
        consumer.call_at(server.url, {"a": 1})
    assert (server.posts, other.posts) == (1, 0)


def test_an_incomplete_response(serve: Any) -> None:
    server = serve(schema_document(idempotent=False), document("3").replace(b"Length: 1", b"Length: 9"))
    with Consumer(http=HTTPClient(session=requests.Session())) as consumer, pytest.raises(TransportError):
        consumer.call_at(server.url, {"a": 1})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_process_opens_connections_of_its_own(http: HTTPPortal) -> None:
    session = requests.Session()
    with Consumer(http=HTTPClient(session=session)) as consumer:
        address = http.base.child("add")
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if consumer.call_at(address, {"a": 1, "b": 4}, timeout=WAIT) == 5 else 2
            finally:
                os._exit(code)
        assert consumer.call_at(address, {"a": 2, "b": 4}) == 6
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# libraries that stand for servers


def test_the_library_responses_may_stand_for_a_server() -> None:
    responses = pytest.importorskip("responses")
    with responses.RequestsMock() as mocked:
        mocked.get("http://stock.example/api/add", json=SCHEMA)
        matcher = responses.matchers.json_params_matcher({"a": 1, "b": 2})
        mocked.post("http://stock.example/api/add", json=3, match=[matcher])
        with Consumer(http=HTTPClient(session=requests.Session())) as consumer:
            assert consumer.call_at("http://stock.example/api/add", {"a": 1, "b": 2}) == 3


def test_the_library_requests_mock_may_stand_for_a_server() -> None:
    requests_mock = pytest.importorskip("requests_mock")
    with requests_mock.Mocker() as mocked, requests.Session() as session:
        mocked.get("http://stock.example/api/add", json=SCHEMA)
        mocked.post("http://stock.example/api/add", json=3)
        with Consumer(http=HTTPClient(session=session)) as consumer:
            assert consumer.call_at("http://stock.example/api/add", {"a": 1, "b": 2}) == 3
        assert mocked.last_request.json() == {"a": 1, "b": 2}
        mocked.post("http://stock.example/api/add", exc=requests.ConnectTimeout)
        with Consumer(http=HTTPClient(session=session)) as consumer, pytest.raises(TransportError) as caught:
            consumer.call_at("http://stock.example/api/add", {"a": 1, "b": 2})
        assert not caught.value.may_have_executed


def test_vcr_records_and_replays_calls(http: HTTPPortal, tmp_path: Path) -> None:
    vcr = pytest.importorskip("vcr")
    recorder = vcr.VCR(cassette_library_dir=str(tmp_path), match_on=["method", "uri", "body"])
    address = http.base.child("add")
    for record_mode in ("once", "none"):
        with recorder.use_cassette("calls.yaml", record_mode=record_mode) as cassette:
            with Consumer(http=HTTPClient(session=requests.Session())) as consumer:
                assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
            assert cassette.play_count == (0 if record_mode == "once" else 2)
            if record_mode == "none":
                unknown = pytest.raises(TransportError, match="failed with CannotOverwriteExistingCassetteException: ")
                with Consumer(http=HTTPClient(session=requests.Session())) as consumer, unknown:
                    consumer.call_at(address, {"a": 2, "b": 2})
        http.stop(0)


# settings


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"session": "requests"}, "client.session"),
        ({"session": requests.Session(), "tls": ClientTLS()}, "client.tls"),
        ({"session": requests.Session(), "proxy": "environment"}, "client.proxy"),
        ({"session": requests.Session(), "sockets": {"a": "/b"}}, "client.sockets"),
        ({"session": requests.Session(), "max_exchanges": 0}, "client.max_exchanges"),
    ],
)
def test_wrong_settings_are_rejected(settings: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HTTPClient(**settings)
    assert caught.value.path == path


def test_a_callable_must_make_a_session() -> None:
    with Consumer(http=HTTPClient(session=dict)) as consumer, pytest.raises(ConfigError, match=r"client\.session"):  # type: ignore[arg-type]
        consumer.call_at("http://127.0.0.1:1/api/add")


def test_sessions_that_were_made_are_closed(http: HTTPPortal) -> None:
    closed: list[requests.Session] = []

    class Own(requests.Session):
        def close(self) -> None:
            closed.append(self)
            super().close()

    given = Own()
    for source in (Own, given):
        with Consumer(http=HTTPClient(session=source)) as consumer:
            assert consumer.call_at(http.base.child("add"), {"a": 1, "b": 2}) == 3
    assert len(closed) == 1
    assert given not in closed
    assert HTTPClient().stats() == {}
