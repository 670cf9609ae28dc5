"""Calls through proxies, over real sockets: one proxy for all requests, or those in the environment."""

from __future__ import annotations

import base64
import logging
import pathlib
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import trustme

from portal import (
    CallTimeout,
    Certificate,
    ConfigError,
    Consumer,
    HTTPPortal,
    OverloadedError,
    ProtocolError,
    ServingConfig,
    TLSConfig,
    TransportError,
    function,
)
from portal.address import Address
from portal.errors import AuthorizationError, PortalError
from portal.http import ClientTLS, HTTPClient
from portal.network.proxies import Proxies, Proxy
from tests.support.forward_proxy import ForwardProxy
from tests.support.ports import free_port

WAIT = 20.0
SECRET = "s3cret"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without settings of proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    return monkeypatch


def double(number: int) -> int:
    return 2 * number


def behind(address: object) -> str:
    """Return the address with a host name that only the proxy can reach."""
    return str(address).replace("127.0.0.1", "orders.invalid").replace("localhost", "orders.invalid")


@contextmanager
def consumer_of(**settings: Any) -> Iterator[tuple[Consumer, HTTPClient]]:
    client = HTTPClient(**settings)
    with HTTPPortal(http=client) as portal, Consumer([portal]) as consumer:
        yield consumer, client
    client.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: pathlib.Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def secure(authority: trustme.CA, tmp_path: pathlib.Path) -> Iterator[str]:
    """The address of `double` over https, behind the proxy."""
    pem = tmp_path / "server.pem"
    authority.issue_cert("orders.invalid").private_key_and_cert_chain_pem.write_to_path(str(pem))
    with HTTPPortal(allowed_hosts=["*"], config=ServingConfig(tls=TLSConfig(Certificate(str(pem))))) as portal:
        yield behind(portal.apply(double))


# requests through a proxy


def test_all_requests_go_through_one_proxy(secure: str, ca: str) -> None:
    with HTTPPortal(allowed_hosts=["*"]) as portal, ForwardProxy() as proxy:
        plain = behind(portal.apply(double))
        with consumer_of(proxy=proxy.url, tls=ClientTLS(ca=ca)) as (consumer, client):
            for number in range(3):
                assert consumer.call_at(plain, {"number": number}, timeout=WAIT) == 2 * number
            assert proxy.lines == [f"GET {plain} HTTP/1.1", *[f"POST {plain} HTTP/1.1"] * 3]
            assert proxy.connections == 1  # it was kept
            for number in range(3):
                assert consumer.call_at(secure, {"number": number}, timeout=WAIT) == 2 * number
            assert [line.split()[:2] for line in proxy.lines[4:]] == [["CONNECT", Address.parse(secure).authority]]
            assert proxy.connections == 2
            assert set(proxy.authorizations) == {None}
            assert len(client._transport._pools) == 0


def test_the_connection_to_the_proxy_may_use_tls(secure: str, ca: str, authority: trustme.CA) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with HTTPPortal(allowed_hosts=["*"]) as portal, ForwardProxy(tls=tls) as proxy:
        addresses = (behind(portal.apply(double)), secure)
        with consumer_of(proxy=proxy.url, tls=ClientTLS(ca=ca)) as (consumer, _):
            for address in addresses:
                assert consumer.call_at(address, {"number": 2}, timeout=WAIT) == 4
        with consumer_of(proxy=proxy.url) as (consumer, _):
            for address in addresses:
                with pytest.raises(TransportError, match="cannot trust the certificate of") as caught:
                    consumer.call_at(address, {"number": 2}, timeout=WAIT)
                assert not caught.value.may_have_executed
                assert not caught.value.retryable


@pytest.mark.parametrize(
    ("user_info", "sent"),
    [("ann:s3cret", b"ann:s3cret"), ("ann", b"ann:"), ("a%40b:s%3Acret%2F%C3%A9", "a@b:s:cret/é".encode()),
     ("ann:s3/c@ret", b"ann:s3/c@ret"), (":s3cret", b":s3cret")],
)  # fmt: skip
@pytest.mark.parametrize("variable", [None, "ALL_PROXY"])
def test_user_and_password_are_sent_to_the_proxy_only(
    variable: str | None, user_info: str, sent: bytes, secure: str, ca: str, environment: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def note(request: Any, call_next: Callable[[Any], Any]) -> Any:
        seen.append(request.headers.get("proxy-authorization"))
        return call_next(request)

    with HTTPPortal(allowed_hosts=["*"], http_middleware=[note]) as portal, ForwardProxy() as proxy:
        setting = proxy.url.replace("//", f"//{user_info}@")
        if variable is not None:
            environment.setenv(variable, setting)
        with consumer_of(proxy=setting if variable is None else "environment", tls=ClientTLS(ca=ca)) as (
            consumer,
            client,
        ):
            assert consumer.call_at(behind(portal.apply(double)), {"number": 2}, timeout=WAIT) == 4
            assert consumer.call_at(secure, {"number": 2}, timeout=WAIT) == 4
            assert set(proxy.authorizations) == {f"Basic {base64.b64encode(sent).decode()}"}
            assert len(proxy.authorizations) == 3
            assert set(seen) == {None}
            assert "s3" not in repr(client)


def test_the_environment_is_ignored_by_default(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port()}")
    environment.setenv("http_proxy", "nonsense://")
    with HTTPPortal(allowed_hosts=["*"]) as portal, Consumer() as consumer:
        assert consumer.call_at(portal.apply(double), {"number": 2}, timeout=WAIT) == 4


def test_the_environment_is_read_once(environment: pytest.MonkeyPatch) -> None:
    with HTTPPortal(allowed_hosts=["*"]) as portal, ForwardProxy() as proxy:
        address = behind(portal.apply(double))
        environment.setenv("http_proxy", proxy.url)
        with consumer_of(proxy="environment") as (consumer, _):
            environment.setenv("http_proxy", "http://127.0.0.1:1")
            environment.setenv("no_proxy", "*")
            assert consumer.call_at(address, {"number": 2}, timeout=WAIT) == 4
        assert proxy.connections == 1


def test_a_server_in_no_proxy_is_connected_to_directly(environment: pytest.MonkeyPatch) -> None:
    with HTTPPortal(allowed_hosts=["*"]) as portal, ForwardProxy() as proxy:
        address = portal.apply(double)
        environment.setenv("HTTP_PROXY", proxy.url)
        environment.setenv("NO_PROXY", "127.0.0.1")
        with consumer_of(proxy="environment") as (consumer, client):
            assert consumer.call_at(address, {"number": 2}, timeout=WAIT) == 4
            assert len(client._transport._pools) == 1  # a plain connection, without urllib3
            assert consumer.call_at(behind(address), {"number": 2}, timeout=WAIT) == 4
            assert len(client._transport._pools) == 1
        assert proxy.connections == 1


@pytest.mark.parametrize("through", ["proxy", "environment"])
def test_a_unix_socket_is_used_without_a_proxy(
    through: str, tmp_path: pathlib.Path, environment: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "s")
    dead = f"http://127.0.0.1:{free_port()}"
    environment.setenv("ALL_PROXY", dead)
    with HTTPPortal(f"unix:{path}") as portal:
        address = behind(portal.apply(double))
        setting = dead if through == "proxy" else through
        with consumer_of(proxy=setting, sockets={"orders.invalid": path}) as (consumer, _):
            assert consumer.call_at(address, {"number": 2}, timeout=WAIT) == 4
            with pytest.raises(TransportError, match="cannot connect to"):  # the socket is for http only
                consumer.call_at("https://orders.invalid/api/double", {"number": 2}, timeout=WAIT)


# the environment


P, Q, R = "http://p:1", "http://q:2", "https://r:3"


@pytest.mark.parametrize(
    ("variables", "address", "wanted"),
    [
        ({}, "http://a.example/", None),
        ({"HTTP_PROXY": P}, "http://a.example/", P),
        ({"HTTP_PROXY": P}, "https://a.example/", None),
        ({"HTTP_PROXY": P, "https_proxy": R}, "ws://a.example/", P),
        ({"HTTP_PROXY": P, "https_proxy": R}, "wss://a.example/", R),
        ({"HTTP_PROXY": P, "https_proxy": R}, "js://a.example/", None),
        ({"https_proxy": R}, "https://a.example/", R),
        ({"ALL_PROXY": P, "HTTPS_PROXY": Q}, "http://a.example/", P),
        ({"ALL_PROXY": P, "HTTPS_PROXY": Q}, "https://a.example/", Q),
        ({"ALL_PROXY": "socks5://s:4", "http_proxy": P, "https_proxy": P}, "https://a.example/", P),
        ({"HTTP_PROXY": P, "http_proxy": Q}, "http://a.example/", Q),
        ({"HTTP_PROXY": P, "http_proxy": ""}, "http://a.example/", None),
        ({"HTTP_PROXY": " p:1/ "}, "http://a.example/", P),
        ({"HTTP_PROXY": "http://[::1]:8/"}, "http://a.example/", "http://[::1]:8"),
        # httpoxy: a CGI server makes this variable of the header "Proxy" of a request
        ({"REQUEST_METHOD": "GET", "HTTP_PROXY": P}, "http://a.example/", None),
        ({"REQUEST_METHOD": "GET", "HTTP_PROXY": P, "http_proxy": Q}, "http://a.example/", Q),
        ({"REQUEST_METHOD": "GET", "HTTP_PROXY": P, "ALL_PROXY": Q}, "http://a.example/", Q),
        ({"REQUEST_METHOD": "GET", "HTTP_PROXY": "nonsense://"}, "http://a.example/", None),
    ],
)
def test_the_proxy_of_an_address_from_the_environment(
    variables: dict[str, str], address: str, wanted: str | None, environment: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    found = Proxies("environment").find(Address.parse(address))
    assert (found and found.url) == wanted


@pytest.mark.parametrize(
    ("no_proxy", "address", "direct"),
    [
        ("", "http://a.example/", False),
        ("*", "http://a.example/", True),
        ("b.example, *", "http://a.example/", True),
        ("a.example", "http://a.example/", True),
        ("A.Example", "http://a.example/", True),
        ("a.example", "http://a.example.:8080/", True),
        ("a.example", "http://b.a.example/", True),
        (".a.example", "http://b.a.example/", True),
        ("*.a.example", "http://b.a.example/", True),
        ("a.example", "http://nota.example/", False),
        ("b.example a.example", "http://a.example/", True),
        ("b.example,,  a.example ", "https://a.example/", True),
        ("a.example:8080", "http://a.example:8080/", True),
        ("a.example:8080", "http://a.example/", False),
        ("a.example:80", "http://a.example/", True),
        ("a.example:443", "https://a.example/", True),
        ("a.example:443", "http://a.example/", False),
        ("127.0.0.1", "http://127.0.0.1:8080/", True),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("a.example,10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("10.0.0.0/8", "http://a.example/", False),
        ("::1", "http://[::1]:8080/", True),
        ("[::1]", "http://[::1]:8080/", True),
        ("fd00::/8", "http://[fd12::1]/", True),
        ("fd00::/8", "http://10.1.2.3/", False),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_excludes_hosts_from_the_proxy_of_the_environment(
    name: str, no_proxy: str, address: str, direct: bool, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ALL_PROXY", P)
    environment.setenv(name, no_proxy)
    assert (Proxies("environment").find(Address.parse(address)) is None) is direct
    assert Proxies(P).find(Address.parse(address)) is not None  # NO_PROXY does not apply to an explicit proxy


WRONG = [
    f"socks5://ann:{SECRET}@p:1",
    f"http://ann:{SECRET}@",
    f"http://ann:{SECRET}@p:99999",
    f"http://ann:{SECRET}@p:port",
    f"http://ann:{SECRET}@p/path",
    f"http://ann:{SECRET}@p?query",
    f"http://ann:{SECRET}@p#fragment",
    f"http://ann:{SECRET}",
    f"http://ann {SECRET}@p:1",
    f"http://ann:{SECRET}\udcff@p:1",
    "http://",
]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", ["client.proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_wrong_proxy_is_rejected_and_not_shown(name: str, wrong: str, environment: pytest.MonkeyPatch) -> None:
    if name != "client.proxy":
        environment.setenv(name, wrong)
    with pytest.raises(ConfigError, match=name) as caught:
        HTTPClient(proxy=wrong if name == "client.proxy" else "environment")
    assert caught.value.path == name
    assert caught.value.__context__ is None
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("wrong", [7, b"http://p:1", "", "p:3128", "Environment"])
def test_a_wrong_setting_is_rejected(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="environment"):
        HTTPClient(proxy=wrong)


# proxies that reject or fail


def response_of(status: int, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


def hang_up(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_RDWR)


#: What the proxy does at the request for the schema, the scheme, and the class, `may_have_executed` and `retryable` of
#: the error.
REJECTIONS: list[tuple[Any, str, type[PortalError], bool, bool]] = [
    (response_of(407, "Proxy-Authenticate: Basic realm=x"), "http", TransportError, False, False),
    (response_of(407, "Proxy-Authenticate: Basic realm=x"), "https", TransportError, False, False),
    (response_of(403), "http", AuthorizationError, False, False),  # the server may have sent it
    (response_of(403), "https", TransportError, False, False),
    (response_of(429), "https", TransportError, False, True),
    (response_of(502), "http", TransportError, False, True),
    (response_of(502), "https", TransportError, False, True),
    (response_of(503), "http", OverloadedError, False, True),
    (response_of(503), "https", TransportError, False, True),
    (response_of(504), "http", CallTimeout, False, False),
    (response_of(504), "https", TransportError, False, True),
    (b"\x00\xff\r\n\r\n", "http", ProtocolError, False, False),
    (b"\x00\xff\r\n\r\n", "https", TransportError, False, True),
    (hang_up, "http", TransportError, False, True),
    (hang_up, "https", TransportError, False, True),
]


@pytest.mark.parametrize(("instead", "scheme", "kind", "executed", "retryable"), REJECTIONS)
def test_a_proxy_that_rejects_or_fails(
    instead: Any,
    scheme: str,
    kind: type[PortalError],
    executed: bool,
    retryable: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        ForwardProxy(instead) as proxy,
        consumer_of(proxy=proxy.url.replace("//", f"//ann:{SECRET}@")) as (consumer, _),
    ):
        with pytest.raises(kind) as caught:
            consumer.call_at(f"{scheme}://orders.invalid/api/double", {"number": 2}, timeout=WAIT)
        error = caught.value
        assert type(error) is kind
        assert error.may_have_executed is executed
        assert error.retryable is retryable
        assert len(proxy.lines) == 1 + (instead is hang_up and scheme == "http")  # a schema may be requested twice
        token = base64.b64encode(f"ann:{SECRET}".encode()).decode()
        for shown in ("".join(traceback.format_exception(error)), repr(error), str(error.to_dict()), caplog.text):
            assert SECRET not in shown
            assert token not in shown


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_proxy_at_this_address(scheme: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with consumer_of(proxy=url.replace("//", f"//ann:{SECRET}@")) as (consumer, _):
        words = f"orders.invalid through the proxy {url}: .*are both running"
        with pytest.raises(TransportError, match=words) as caught:
            consumer.call_at(f"{scheme}://orders.invalid/api/double", {"number": 2}, timeout=WAIT)
        assert not caught.value.may_have_executed
        assert caught.value.retryable
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_does_not_respond(scheme: str) -> None:
    done = threading.Event()
    with ForwardProxy(lambda _: done.wait(WAIT)) as proxy:
        with consumer_of(proxy=proxy.url) as (consumer, _), pytest.raises(CallTimeout):
            consumer.call_at(f"{scheme}://orders.invalid/api/double", {"number": 2}, timeout=0.1)
        done.set()


def test_a_407_of_a_function_is_not_one_of_the_proxy() -> None:
    def refuse() -> None:
        raise ProtocolError("no", status=407)

    with (
        HTTPPortal(allowed_hosts=["*"]) as portal,
        ForwardProxy() as proxy,
        consumer_of(proxy=proxy.url) as (consumer, _),
    ):
        with pytest.raises(ProtocolError) as caught:
            consumer.call_at(behind(portal.apply(refuse)), timeout=WAIT)
        assert caught.value.status == 407
        assert caught.value.executed


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_proxy_that_closes_after_the_request(idempotent: bool) -> None:
    """The proxy may have forwarded the request, so only an idempotent call is sent again."""
    hung_up = threading.Event()

    @function(idempotent=idempotent)
    def work() -> int:
        if not hung_up.is_set():
            hung_up.set()
            proxy.drop()
        return 7

    with (
        HTTPPortal(allowed_hosts=["*"]) as portal,
        ForwardProxy() as proxy,
        consumer_of(proxy=proxy.url) as (consumer, _),
    ):
        address = behind(portal.apply(work))
        if idempotent:
            assert consumer.call_at(address, timeout=WAIT) == 7
        else:
            with pytest.raises(TransportError, match="may have been executed") as caught:
                consumer.call_at(address, timeout=WAIT)
            assert caught.value.may_have_executed
            assert not caught.value.retryable
        assert [line.split()[0] for line in proxy.lines] == ["GET", "POST", *["POST"] * idempotent]


def test_an_idle_connection_that_the_proxy_closed_is_not_used() -> None:
    with (
        HTTPPortal(allowed_hosts=["*"]) as portal,
        ForwardProxy() as proxy,
        consumer_of(proxy=proxy.url) as (consumer, _),
    ):
        address = behind(portal.apply(double))
        for number in range(3):
            assert consumer.call_at(address, {"number": number}, timeout=WAIT) == 2 * number
            proxy.drop()
        assert proxy.connections == 3


def test_repr_shows_no_password() -> None:
    assert repr(Proxies(f"http://ann:{SECRET}@p:1").find(Address.parse("http://a/"))) == repr(Proxy("http://p:1"))


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n"


@pytest.mark.parametrize("begun", [HEAD + b"X-Slow: ", HEAD + b"\r\n"], ids=["head", "body"])
def test_a_slow_response_ends_at_the_deadline(begun: bytes) -> None:
    enough = threading.Event()

    def drip(sock: socket.socket) -> None:
        sock.sendall(begun)
        while not enough.wait(0.02):  # each byte arrives well within the deadline; the response never ends
            sock.sendall(b"1")

    with ForwardProxy(drip) as proxy, consumer_of(proxy=proxy.url) as (consumer, _):
        call = consumer.submit_at("http://orders.invalid/api/add", {"a": 1, "b": 2}, timeout=0.3)
        try:
            error = call.exception(WAIT)
        finally:
            enough.set()
    assert isinstance(error, CallTimeout)


@pytest.mark.parametrize("begun", [HEAD + b"X-Slow: ", HEAD + b"\r\n"], ids=["head", "body"])
def test_a_slow_response_over_tls_ends_at_the_deadline(begun: bytes, authority: trustme.CA, ca: str) -> None:
    enough = threading.Event()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    def drip() -> None:
        taken, _ = listening.accept()
        with tls.wrap_socket(taken, server_side=True) as sock, suppress(OSError):
            sock.recv(65536)
            sock.sendall(begun)
            while not enough.wait(0.02):
                sock.sendall(b"1")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        dripping = threading.Thread(target=drip)
        dripping.start()
        with consumer_of(tls=ClientTLS(ca=ca)) as (consumer, _):
            call = consumer.submit_at(f"https://127.0.0.1:{listening.getsockname()[1]}/api/add", timeout=0.5)
            try:
                error = call.exception(WAIT)
            finally:
                enough.set()
                dripping.join(WAIT)
    assert isinstance(error, CallTimeout)
